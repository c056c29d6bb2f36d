//! The program with a primary that Sentinels name, and replace.

use crate::outage::{Traffic, redis_cache};
use crate::server::{Dir, command, launch, log};
use crate::stack::{Kind, Stack};
use larder_testkit::{RedisSentinel, RedisServer, assert_eventually};
use std::sync::Arc;
use std::time::Duration;

const RETURN: Duration = Duration::from_secs(30);

#[tokio::test]
async fn the_server_follows_a_failover_and_fails_no_request() {
    let all = Arc::new(RedisSentinel::start());
    let stack = Stack::with(Kind::MemorySqlite, RedisServer::builder(), &[("REDIS_URL", &all.url())]).await;
    let acme = stack.acme().await;
    assert_eq!(redis_cache(&acme).await, "connected");
    assert!(stack.server.log().contains("min-replicas-to-write"), "the risk is told at the start");
    let campaign = acme.get("/api/v1/campaigns").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let traffic = Traffic::start(&acme, &campaign);
    traffic.goes_on(200).await;
    for round in ["on demand", "by a death"] {
        let servers = Arc::clone(&all);
        let failover = tokio::task::spawn_blocking(move || {
            if round == "on demand" {
                servers.failover()
            } else {
                let old = servers.primary().unwrap();
                servers.servers()[old].kill();
                servers.await_failover(old)
            }
        });
        let new = failover.await.unwrap();
        assert_eventually!(
            redis_cache(&acme).await == "connected",
            RETURN,
            "redis is used again: {}",
            stack.server.log()
        );
        let used = || all.servers()[new].command(&["CLIENT", "LIST"]).text().contains("name=larder:");
        assert_eventually!(used(), RETURN, "the new primary is used: {}", stack.server.log());
        traffic.goes_on(200).await;
    }
    traffic.stop().await;
}

#[tokio::test]
async fn the_check_names_what_each_sentinel_says() {
    let all = RedisSentinel::builder()
        .server(RedisServer::builder().password("data"))
        .sentinel(RedisServer::builder().password("watch"))
        .start();
    let dir = Dir::new();
    let check = |url: &str| {
        let output = command(&dir, &[("REDIS_URL", url)], &["check"]);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("watch") && !said.contains("data@"), "no password is shown: {said}");
        (output.status.code().unwrap(), said)
    };
    let url = all.url_by(":data@", &[0, 1, 2]);
    let (code, said) = check(&format!("{url}?sentinel_password=watch"));
    assert_eq!(code, 0, "{said}");
    assert_eq!(said.matches(&format!("names 127.0.0.1:{} as main", all.port(0))).count(), 3, "{said}");
    assert!(said.contains("sentinel_password=***"), "{said}");
    let (code, said) = check(&url);
    assert_eq!(code, 1);
    assert!(said.contains("NOAUTH") && said.contains("?sentinel_user=u&sentinel_password=p"), "{said}");
}

#[tokio::test]
async fn a_url_that_names_no_primary_is_refused_at_the_start() {
    let dir = Dir::new();
    let program = launch(&dir, &[("REDIS_URL", "redis+sentinel://h1,h2:0")]);
    assert_eq!(program.wait(RETURN).unwrap().code(), Some(2));
    let said = program.output() + &log(&dir);
    assert!(
        said.contains("under which name") && said.contains("no valid port for the Sentinel h2"),
        "{said}"
    );
}
