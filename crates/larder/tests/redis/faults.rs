//! Servers and connections that go away.

use crate::support::*;
use larder::store::{Push, StoreErrorKind, Tags};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::{Duration, Instant};

#[tokio::test]
async fn every_call_on_a_paused_server_ends_within_its_deadline_and_the_link_survives() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[]).await;
    server.pause();
    let within = Duration::from_millis(100);
    let started = Instant::now();
    let entries = [ENTRY];
    let scopes = [scope(1)];
    let what = larder::store::InvalidateRequest { scopes: &scopes, keys: &[], globs: &[], ack: None };
    let results = [
        node.link.read(&entries, &[], Tags::Named, within).await.map(drop),
        node.link.invalidate(what, within).await.map(drop),
        node.link.heartbeat(LEASE, false, within).await.map(drop),
        node.link.ping(within).await,
        node.link.release(ENTRY, key_scope(), "t", within, within).await,
    ];
    let took = started.elapsed();
    server.resume();
    for result in results {
        assert_eq!(result.unwrap_err().kind, StoreErrorKind::Timeout);
    }
    assert!(took < within * 5 + Duration::from_secs(1), "{took:?}");
    // The answers that came too late are not taken for later ones.
    assert!(node.value().await.is_some());
    node.link.heartbeat(LEASE, false, LONG).await.unwrap();
    assert!(node.link.info(LONG).await.unwrap().contains_key("redis_version"));
}

#[tokio::test]
async fn a_time_out_says_nothing_of_whether_it_was_done() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    server.pause();
    let scopes = [scope(1)];
    let what = larder::store::InvalidateRequest { scopes: &scopes, keys: &[], globs: &[], ack: None };
    assert!(node.link.invalidate(what, Duration::from_millis(50)).await.is_err());
    server.resume();
    assert_eventually!(
        node.link.read(&[], &scopes, Tags::Named, LONG).await.unwrap().stamps[0].is_some(),
        LONG,
        "the command runs after all"
    );
}

#[tokio::test]
async fn a_killed_server_ends_the_link_at_once_and_tells_once() {
    let server = RedisServer::start();
    let mut node = join(&server, "n1").await;
    server.kill();
    assert_eq!(node.push().await, Push::Lost);
    let started = Instant::now();
    for _ in 0..100 {
        let error = node.link.read(&[ENTRY], &[], Tags::Named, LONG).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Disconnected);
        let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Disconnected);
    }
    assert!(started.elapsed() < Duration::from_secs(1));
    assert_eq!(node.queued(), []);
}

#[tokio::test]
async fn a_call_under_way_fails_when_the_server_is_killed_and_does_not_wait_for_its_deadline() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    server.pause();
    let link = std::sync::Arc::clone(&node.link);
    let call = tokio::spawn(async move { link.ping(Duration::from_secs(60)).await });
    server.kill();
    let error = tokio::time::timeout(LONG, call).await.expect("at once").unwrap().unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Disconnected, "{error}");
}

#[tokio::test]
async fn the_end_of_any_connection_is_the_end_of_the_link() {
    let server = RedisServer::start();
    for kind in ["normal", "pubsub"] {
        let mut node = join(&server, kind).await;
        let list = server.command(&["CLIENT", "LIST", "TYPE", kind]).text();
        let ours = list.lines().find(|line| line.contains(&format!("name=larder:{kind} "))).expect(&list);
        let id = ours.split_whitespace().find_map(|field| field.strip_prefix("id=")).unwrap();
        server.command(&["CLIENT", "KILL", "ID", id]);
        assert_eq!(node.push().await, Push::Lost, "{kind}");
        let error = node.link.ping(LONG).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Disconnected, "{kind}");
        let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Disconnected, "{kind}");
    }
}

#[tokio::test]
async fn an_idle_connection_that_does_not_answer_is_noticed_by_the_health_check() {
    let server = RedisServer::start();
    let mut config = config(&server);
    config.health_interval = Duration::from_millis(50);
    let mut node = try_join(config.clone(), "n1").await.unwrap();
    // While all is well it says nothing.
    config.command_timeout = Duration::from_millis(200);
    let mut hasty = try_join(config, "n2").await.unwrap();
    let pings = server.calls_of("ping");
    assert_eventually!(server.calls_of("ping") > pings + 4, LONG, "checks run");
    assert_eq!(hasty.queued(), []);
    server.pause();
    assert_eq!(hasty.push().await, Push::Lost);
    server.resume();
    assert_eq!(node.queued(), []);
}

#[tokio::test]
async fn a_subscriber_that_the_server_drops_for_being_slow_has_lost_the_link() {
    let server = RedisServer::start();
    let mut node = join(&server, "n1").await;
    // As when a buffer limit is hit: the server closes the subscriber.
    server.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
    assert_eq!(node.push().await, Push::Lost);
}
