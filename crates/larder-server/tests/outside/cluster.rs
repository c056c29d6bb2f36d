//! The program with a Redis Cluster.

use crate::outage::{Traffic, redis_cache};
use crate::server::{Dir, command};
use crate::stack::{Kind, Stack};
use larder_testkit::{RedisCluster, RedisServer, assert_eventually};
use std::sync::Arc;
use std::time::Duration;

const RETURN: Duration = Duration::from_secs(60);

#[tokio::test]
async fn the_server_follows_a_cluster_through_failovers_and_fails_no_request() {
    let cluster = Arc::new(RedisCluster::start());
    let stack =
        Stack::with(Kind::MemorySqlite, RedisServer::builder(), &[("REDIS_URL", &cluster.url())]).await;
    let acme = stack.acme().await;
    assert_eq!(redis_cache(&acme).await, "connected");
    let campaign = acme.get("/api/v1/campaigns").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let traffic = Traffic::start(&acme, &campaign);
    traffic.goes_on(200).await;
    let health = acme.get("/health/cache").await.json();
    assert_eq!((&health["status"], &health["backend"]), (&"healthy".into(), &"redis".into()), "{health}");
    for round in ["on demand", "by a death"] {
        let nodes = Arc::clone(&cluster);
        let failover = tokio::task::spawn_blocking(move || {
            if round == "on demand" {
                nodes.failover(4);
            } else {
                nodes.nodes()[0].kill();
                let _ = nodes.await_takeover(0);
            }
        });
        failover.await.unwrap();
        traffic.goes_on(200).await;
        assert_eventually!(
            redis_cache(&acme).await == "connected",
            RETURN,
            "redis is used again: {}",
            stack.server.log()
        );
        traffic.goes_on(200).await;
    }
    traffic.stop().await;
    let log = stack.server.log();
    assert!(log.matches("Redis connected").count() <= 6, "a line for all buckets, not for each: {log}");
}

#[tokio::test]
async fn the_tools_see_every_primary() {
    let cluster = RedisCluster::builder().node(RedisServer::builder().password("s3cret")).start();
    let url = cluster.url().replace("://", "://:s3cret@");
    let stack = Stack::with(Kind::MemorySqlite, RedisServer::builder(), &[("REDIS_URL", &url)]).await;
    let acme = stack.acme().await;
    for path in ["/api/v1/campaigns", "/api/stats", "/api/threats"] {
        assert_eq!(acme.get(path).await.status, 200, "{path}");
    }
    let dir = Dir::new();
    let run = |arguments: &[&str]| {
        let output = command(&dir, &[("REDIS_URL", &url)], arguments);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("s3cret"), "no password is shown: {said}");
        (output.status.code().unwrap(), said)
    };
    let (code, said) = run(&["check"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("3 primaries serve all 16384 slots"), "{said}");
    for primary in 0..3 {
        let at = format!("127.0.0.1:{}", cluster.port(primary));
        assert!(said.contains(&format!("{at} sharded pub/sub")), "{said}");
        assert!(
            said.lines().any(|line| line.contains(&format!("{at} commands")) && line.ends_with("27 allowed")),
            "{said}"
        );
    }
    let (code, said) = run(&["keys", "--redis"]);
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.lines().filter(|key| key.ends_with(":i")).count(), 16, "{said}");
    assert!(said.lines().any(|key| key.contains(":e:")), "{said}");
    cluster.nodes()[2].kill();
    let (code, said) = run(&["check"]);
    assert_eq!(code, 1, "{said}");
    let dead = format!("127.0.0.1:{}", cluster.port(2));
    let line = |start: &str| said.lines().any(|line| line.starts_with(start) && line.contains(&dead));
    assert!(line("FAILED") && line("ok"), "the primary is dead, and as a node to ask one of several: {said}");
}
