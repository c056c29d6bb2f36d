//! Making links.

use crate::support::*;
use larder::store::{Connector, Push, StoreErrorKind, redis::RedisConnector};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::{Duration, Instant};
use tokio::{
    io::copy_bidirectional,
    net::{TcpListener, UnixStream},
};

#[tokio::test]
async fn a_link_tells_who_the_server_is() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let info = server.info("server");
    let version = match info.get("valkey_version") {
        Some(version) => format!("valkey {version}"),
        None => format!("redis {}", info["redis_version"]),
    };
    assert_eq!(node.link.server(), version);
    assert!(!node.link.tls() && node.link.advice().is_empty());
    node.link.ping(LONG).await.unwrap();
    let info = node.link.info(LONG).await.unwrap();
    assert!(info.contains_key("evicted_keys") && info.contains_key("used_memory"));
    let connector = RedisConnector::new(config(&server), "ns").unwrap();
    assert_eq!(connector.address(), server.url());
}

#[tokio::test]
async fn a_link_has_as_many_connections_as_configured_named_after_the_node_and_drops_them() {
    let server = RedisServer::start();
    let mut config = config(&server);
    config.data_connections = 3;
    let node = try_join(config, "n1").await.unwrap();
    let named = || server.command(&["CLIENT", "LIST"]).text().matches("name=larder:n1 ").count();
    assert_eq!(named(), 4);
    for n in 0..9 {
        node.invalidate(&[scope(n)]).await;
    }
    drop(node);
    assert_eventually!(named() == 0, LONG, "the connections are closed");
}

#[tokio::test]
async fn a_unix_socket_serves_as_well() {
    let server = RedisServer::builder().unix_socket().password("secret").start();
    let node = join(&server, "n1").await;
    node.store(&[]).await;
    assert!(node.value().await.is_some());
}

#[tokio::test]
async fn nobody_at_the_address_is_a_disconnect_at_once() {
    let server = RedisServer::start();
    server.kill();
    let started = Instant::now();
    let error = try_join(config(&server), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Disconnected, "{error}");
    assert!(error.detail.contains("connection refused"), "{error}");
    assert!(started.elapsed() < LONG);
    let mut socket = config(&server);
    socket.url = "unix:///nowhere/redis.sock".into();
    let error = try_join(socket, "n1").await.err().unwrap();
    assert!(error.detail.contains("no such socket"), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_never_answers_is_a_time_out_in_time() {
    let server = RedisServer::start();
    let mut config = config(&server);
    (config.connect_timeout, config.command_timeout) = (LONG, Duration::from_millis(300));
    server.pause();
    let started = Instant::now();
    let error = try_join(config, "n1").await.err().unwrap();
    server.resume();
    assert_eq!(error.kind, StoreErrorKind::Timeout, "{error}");
    assert!(started.elapsed() < Duration::from_secs(5));
}

/// An address behind which `first` and `second` take turns.
async fn taking_turns(first: &RedisServer, second: &RedisServer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let servers = [first.socket(), second.socket()];
    tokio::spawn(async move {
        for server in servers.iter().cycle() {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut server = UnixStream::connect(server).await.unwrap();
            tokio::spawn(async move { copy_bidirectional(&mut client, &mut server).await });
        }
    });
    format!("redis://{address}/0")
}

#[tokio::test]
async fn connections_that_reach_different_servers_make_no_link() {
    let (one, two) = (RedisServer::start(), RedisServer::start());
    let mut config = config(&one);
    config.url = taking_turns(&one, &two).await;
    let error = try_join(config, "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
    for server in [one, two] {
        assert_eq!(server.command(&["DBSIZE"]).int(), Some(0), "nothing was begun");
    }
}

#[tokio::test]
async fn a_database_that_the_server_lacks_is_named() {
    let server = RedisServer::start();
    let mut config = config(&server);
    config.url = config.url.replace("/0", "/99");
    let error = try_join(config, "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert!(error.detail.contains("DB index is out of range"), "{error}");
}

#[tokio::test]
async fn a_command_that_the_server_lacks_is_named() {
    let file = std::env::temp_dir().join(format!("larder-lacking-{}.conf", std::process::id()));
    std::fs::write(&file, "rename-command SPUBLISH nobody\n").unwrap();
    let server = RedisServer::builder().arg("include", &file.display().to_string()).start();
    std::fs::remove_file(&file).unwrap();
    let error = try_join(config(&server), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert!(error.detail.contains("the server lacks SPUBLISH"), "{error}");
}

#[tokio::test]
async fn a_cluster_node_is_refused_with_a_clear_word() {
    let server = RedisServer::builder().arg("cluster-enabled", "yes").start();
    let error = try_join(config(&server), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert!(error.detail.contains("cluster"), "{error}");
}

#[tokio::test]
async fn a_server_or_proxy_that_speaks_resp2_only_is_refused_with_what_it_lacks() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("resp2.conf");
    // What proxies without RESP3 answer: "unknown command".
    std::fs::write(&file, "rename-command HELLO \"\"\n").unwrap();
    let server = RedisServer::builder().arg("include", &file.display().to_string()).start();
    let error = try_join(config(&server), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Unsupported, "{error}");
    assert!(error.detail.contains("RESP2 only"), "{error}");
}

#[tokio::test]
async fn the_memory_limit_is_applied_where_it_is_configured() {
    let server = RedisServer::start();
    let mut config = config(&server);
    config.maxmemory = Some(64 << 20);
    let node = try_join(config, "n1").await.unwrap();
    let memory = server.info("memory");
    assert_eq!(
        (memory["maxmemory"].as_str(), memory["maxmemory_policy"].as_str()),
        ("67108864", "volatile-lru")
    );
    assert!(node.link.advice().is_empty());
}

#[tokio::test]
async fn a_policy_that_may_evict_the_state_is_advised_against() {
    let server = RedisServer::builder().maxmemory(64 << 20, "allkeys-lru").start();
    let node = join(&server, "n1").await;
    let [advice] = node.link.advice() else { panic!("{:?}", node.link.advice()) };
    assert!(advice.contains("allkeys-lru") && advice.contains("volatile-lru"), "{advice}");
}

#[tokio::test]
async fn the_listing_shows_our_keys_and_nobody_elses() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[]).await;
    server.command(&["SET", "somebody:else", "x"]);
    let (mut cursor, mut found) = (0, Vec::new());
    loop {
        let (next, keys) = node.link.scan(cursor, 10, LONG).await.unwrap();
        found.extend(keys);
        cursor = next;
        if cursor == 0 {
            break;
        }
    }
    found.sort();
    assert_eq!(found, [RAW.as_bytes(), STATE.as_bytes()]);
}

#[tokio::test]
async fn probing_leaves_nothing_behind() {
    let server = RedisServer::start();
    let mut node = try_join(config(&server), "n1").await.unwrap();
    assert_eq!(server.command(&["KEYS", "*"]).items().len(), 1, "only the state");
    node.link.heartbeat(LEASE, false, LONG).await.unwrap();
    assert!(!node.queued().contains(&Push::Lost));
}
