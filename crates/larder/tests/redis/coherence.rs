//! Heartbeats and pushes.

use crate::support::*;
use larder::store::{HeartbeatReply, Push, StoreErrorKind, Tags};
use larder_testkit::RedisServer;
use std::time::Duration;

#[tokio::test]
async fn what_was_pushed_before_a_heartbeat_is_queued_when_it_returns() {
    let server = RedisServer::start();
    let (mut one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    for n in 0..1_000 {
        let last = two.invalidate(&[numbered_scope(n)]).await.1;
        // Also in the middle of the stream.
        if n % 100 == 99 {
            let beat = one.link.heartbeat(LEASE, false, LONG).await.unwrap();
            let queued = one.queued();
            assert_eq!(queued.len(), 100, "after {n}");
            assert_chain(&queued);
            let HeartbeatReply::Alive { state, .. } = beat else { panic!("{beat:?}") };
            let Some(Push::Invalidated { stamp, .. }) = queued.last() else { panic!("no change") };
            assert_eq!((state.head, *stamp), (last, last));
        }
    }
}

#[tokio::test]
async fn pushes_that_come_while_heartbeats_run_are_never_behind_the_head() {
    let server = RedisServer::start();
    let (mut one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    let burst = tokio::spawn(async move {
        for n in 0..500 {
            two.invalidate(&[numbered_scope(n)]).await;
        }
        two
    });
    let mut seen = Vec::new();
    while !burst.is_finished() {
        let HeartbeatReply::Alive { state, .. } = one.link.heartbeat(LEASE, false, LONG).await.unwrap()
        else {
            panic!("not alive")
        };
        seen.extend(one.queued());
        let applied = seen.iter().rev().find_map(|push| match push {
            Push::Invalidated { stamp, .. } => Some(*stamp),
            _ => None,
        });
        assert!(applied.is_none_or(|applied| applied >= state.head) || seen.is_empty());
    }
    burst.await.unwrap();
    one.link.heartbeat(LEASE, false, LONG).await.unwrap();
    seen.extend(one.queued());
    assert_eq!(seen.len(), 500);
    assert_chain(&seen);
}

fn assert_chain(pushes: &[Push]) {
    let mut before = None;
    for push in pushes {
        let Push::Invalidated { prev, stamp, .. } = push else { panic!("{push:?}") };
        assert!(before.is_none_or(|before| before == *prev), "a gap before {push:?}");
        before = Some(*stamp);
    }
}

#[tokio::test]
async fn a_heartbeat_registers_the_node_and_never_shortens_its_registration() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let registered = || -server.command(&["ZSCORE", STATE, "!nn1"]).int().unwrap();
    let first = registered();
    let now = i64::try_from(now_ms() * 1_000).unwrap();
    assert!((first - now - 60_000_000).abs() < 5_000_000, "{first} {now}");
    node.link.heartbeat(Duration::from_secs(1), false, LONG).await.unwrap();
    assert_eq!(registered(), first);
    node.link.heartbeat(Duration::from_secs(120), false, LONG).await.unwrap();
    assert!(registered() > first);
    node.link.leave(LONG).await.unwrap();
    assert!(server.command(&["ZSCORE", STATE, "!nn1"]).is_nil());
}

#[tokio::test]
async fn a_heartbeat_tells_epoch_head_and_time() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let (epoch, stamp) = node.invalidate(&[scope(1)]).await;
    let beat = node.link.heartbeat(LEASE, false, LONG).await.unwrap();
    let HeartbeatReply::Alive { state, outage, now_us, .. } = beat else { panic!("{beat:?}") };
    assert_eq!((state.epoch, state.head, outage), (epoch, stamp, None));
    assert!(now_us.abs_diff(now_ms() * 1_000) < 5_000_000);
}

#[tokio::test]
async fn silence_of_all_nodes_for_longer_than_a_lease_sets_the_outage_flag_for_good() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let outage = async |lease| match node.link.heartbeat(lease, false, LONG).await.unwrap() {
        HeartbeatReply::Alive { outage, .. } => outage,
        HeartbeatReply::Recover => panic!("not alive"),
    };
    assert_eq!(outage(LEASE).await, None);
    let silent_since = (now_ms() - 90_000) * 1_000;
    server.command(&["ZADD", STATE, &format!("-{silent_since}"), "!l"]);
    assert_eq!(outage(LEASE).await, Some(silent_since));
    assert_eq!(outage(LEASE).await, Some(silent_since));
    // A new epoch settles it.
    join_in("ns", config(&server), "n2", true).await.unwrap();
    assert_eq!(outage(LEASE).await, None);
}

#[tokio::test]
async fn two_databases_of_one_server_do_not_hear_each_other() {
    let server = RedisServer::start();
    let mut other = config(&server);
    other.url = other.url.replace("/0", "/5");
    let mut one = join(&server, "n1").await;
    let mut two = try_join(other, "n1").await.unwrap();
    assert_ne!(one.recovered.epoch, two.recovered.epoch);
    one.invalidate(&[scope(1)]).await;
    two.link.heartbeat(LEASE, false, LONG).await.unwrap();
    assert_eq!(two.queued(), []);
    two.invalidate(&[scope(2)]).await;
    one.link.heartbeat(LEASE, false, LONG).await.unwrap();
    let heard = one.queued();
    assert!(matches!(&heard[..], [Push::Invalidated { scopes, .. }] if *scopes == [scope(1)]), "{heard:?}");
    assert_eq!(two.link.read(&[], &[scope(1)], Tags::Named, LONG).await.unwrap().stamps, [None]);
}

#[tokio::test]
async fn two_namespaces_of_one_database_do_not_hear_each_other() {
    let server = RedisServer::start();
    let mut one = join(&server, "n1").await;
    let two = join_in("other", config(&server), "n1", false).await.unwrap();
    two.invalidate(&[scope(1)]).await;
    one.link.heartbeat(LEASE, false, LONG).await.unwrap();
    assert_eq!(one.queued(), []);
}

#[tokio::test]
async fn a_message_that_makes_no_sense_ends_the_link() {
    let server = RedisServer::start();
    let mut node = join(&server, "n1").await;
    server.command(&["SPUBLISH", "ld1:ns:{0}:c:0", "hello"]);
    assert_eq!(node.push().await, Push::Lost);
    let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Disconnected);
}

#[tokio::test]
async fn the_queue_of_pushes_is_taken_once() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    assert!(node.link.pushes().is_none());
}
