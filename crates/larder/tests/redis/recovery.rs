//! Whether a server continues its history.

use crate::support::*;
use larder::store::{
    FillReply, HeartbeatReply, InvalidateReply, InvalidateRequest, LeaseReply, Push, StoreErrorKind, Tags,
};
use larder_testkit::{RedisServer, assert_eventually};

#[tokio::test]
async fn the_first_node_begins_an_epoch_and_the_next_joins_it() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    assert!(one.recovered.bumped && !two.recovered.bumped);
    assert_eq!(one.recovered.epoch, two.recovered.epoch);
    assert!((1..1 << 52).contains(&one.recovered.epoch));
}

#[tokio::test]
async fn an_empty_restart_begins_a_new_epoch() {
    let server = RedisServer::start();
    let before = join(&server, "n1").await.recovered.epoch;
    server.restart_empty();
    let after = join(&server, "n1").await.recovered;
    assert!(after.bumped && after.epoch != before);
}

#[tokio::test]
async fn a_restart_with_all_data_begins_a_new_epoch_with_a_later_head() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[]).await;
    let future = (now_ms() + 3_600_000) * 1_000;
    server.command(&["ZADD", STATE, &future.to_string(), "!h"]);
    server.restart_keeping_data();
    let again = join(&server, "n1").await;
    assert!(again.recovered.bumped);
    assert!(again.value().await.is_some(), "the bytes are still there");
    let state = again.link.read(&[], &[], Tags::Named, LONG).await.unwrap().state.unwrap();
    assert_eq!((state.head, state.floor), (future + 1, future + 1));
    // They are of an epoch that is over: a lease is granted over them.
    again.granted("t").await;
}

#[tokio::test]
async fn a_restored_backup_begins_a_new_epoch() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let backup = server.snapshot();
    node.invalidate(&[scope(1)]).await;
    server.restore_snapshot(&backup);
    let again = join(&server, "n1").await;
    assert!(again.recovered.bumped);
    assert!(again.recovered.epoch != node.recovered.epoch);
}

#[tokio::test]
async fn a_lease_from_a_restored_backup_keeps_nobody_waiting() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    let backup = server.snapshot();
    node.fill("t", grant, &[scope(1)]).await.expect("there is room");
    // The load has ended, but in the backup it goes on, and its node lives.
    server.restore_snapshot(&backup);
    let again = join(&server, "n1").await;
    let other = join(&server, "n2").await;
    other.granted("u").await;
    assert!(matches!(again.lease("v").await, LeaseReply::Wait(_)), "the new one counts");
}

#[tokio::test]
async fn a_state_that_is_gone_is_told_by_every_call() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    server.command(&["DEL", STATE]);
    assert_everything_says_recover(&node, grant).await;
    let again = join(&server, "n1").await;
    assert!(again.recovered.bumped);
}

#[tokio::test]
async fn a_state_of_another_type_is_a_state_that_is_gone() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    server.command(&["SET", STATE, "text"]);
    assert_everything_says_recover(&node, grant).await;
    let again = join(&server, "n1").await;
    assert!(again.recovered.bumped);
}

#[tokio::test]
async fn a_state_that_is_blessed_for_another_server_is_a_state_that_is_gone() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    server.command(&["ZREM", STATE, &blessing(&server)]);
    server.command(&["ZADD", STATE, "-1", "!i00000000000000000000000000000000"]);
    assert_everything_says_recover(&node, grant).await;
}

async fn assert_everything_says_recover(node: &Node, grant: (u64, u64)) {
    let read = node.link.read(&[ENTRY], &[scope(1)], Tags::Named, LONG).await.unwrap();
    assert_eq!(read.state, None);
    assert_eq!(node.lease("u").await, LeaseReply::Recover);
    assert_eq!(node.fill("t", grant, &[]).await.unwrap(), FillReply::Recover);
    let what = InvalidateRequest { scopes: &[scope(1)], keys: &[], globs: &[], ack: None };
    assert_eq!(node.link.invalidate(what, LONG).await.unwrap(), InvalidateReply::Recover);
    assert_eq!(node.link.heartbeat(LEASE, false, LONG).await.unwrap(), HeartbeatReply::Recover);
}

#[tokio::test]
async fn a_forced_epoch_is_told_to_all_nodes_and_keeps_their_registrations() {
    let server = RedisServer::start();
    let mut one = join(&server, "n1").await;
    one.invalidate(&[scope(1)]).await;
    assert!(matches!(one.push().await, Push::Invalidated { .. }));
    server.command(&["ZADD", STATE, "-1", "!i00000000000000000000000000000000"]);
    let two = join_in("ns", config(&server), "n2", true).await.unwrap();
    assert!(two.recovered.bumped);
    // Of the old epoch nothing is left: no stamp, and no other server's blessing.
    let label = blessing(&server);
    assert!(!label.contains("0000000000000000"), "{label}");
    assert_eq!(two.link.read(&[], &[scope(1)], Tags::Named, LONG).await.unwrap().stamps, [None]);
    let push = one.push().await;
    let Push::Epoch { epoch, head } = push else { panic!("{push:?}") };
    assert!(server.command(&["ZSCORE", STATE, "!nn1"]).int().is_some());
    assert_eq!(epoch, two.recovered.epoch);
    let beat = one.link.heartbeat(LEASE, false, LONG).await.unwrap();
    assert!(
        matches!(beat, HeartbeatReply::Alive { state, .. } if (state.epoch, state.head) == (epoch, head))
    );
}

#[tokio::test]
async fn nodes_that_were_gone_long_before_anybody_was_last_heard_are_forgotten() {
    let server = RedisServer::start();
    join(&server, "n1").await;
    let at = |minutes_ago: u64| format!("-{}", (now_ms() - minutes_ago * 60_000) * 1_000);
    let nobody_was_heard_for = |minutes: u64| server.command(&["ZADD", STATE, &at(minutes), "!l"]);
    server.command(&["ZADD", STATE, &at(200), "!nlong-gone"]);
    server.command(&["ZADD", STATE, &at(100), "!nlately"]);
    let forgotten = |node: &str| server.command(&["ZSCORE", STATE, node]).is_nil();
    // A long outage: they may have deferred something.
    nobody_was_heard_for(150);
    try_join(config(&server), "n2").await.unwrap();
    assert!(!forgotten("!nlong-gone") && !forgotten("!nlately"));
    // Not settled yet.
    nobody_was_heard_for(0);
    server.command(&["ZADD", STATE, &at(150), "!o"]);
    try_join(config(&server), "n2").await.unwrap();
    assert!(!forgotten("!nlong-gone") && !forgotten("!nlately"));
    server.command(&["ZREM", STATE, "!o"]);
    nobody_was_heard_for(90);
    let again = try_join(config(&server), "n2").await.unwrap();
    assert!(forgotten("!nlong-gone") && !forgotten("!nlately"));
    assert!(!again.recovered.bumped);
}

#[tokio::test]
async fn the_first_replica_of_a_server_changes_its_name_and_not_its_history() {
    let server = RedisServer::start();
    let mut node = join(&server, "n1").await;
    let replica = replica_of(&server);
    assert_eventually!(online_replicas(&server) == 1, LONG, "the replica is online");
    let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
    assert_eq!(node.push().await, Push::Lost);
    let again = join(&server, "n1").await;
    assert!(!again.recovered.bumped);
    assert_eq!(again.recovered.epoch, node.recovered.epoch);
    drop(replica);
}

#[tokio::test]
async fn a_primary_that_was_a_replica_in_between_has_lost_its_history() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let other = replica_of(&server);
    assert_eventually!(online_replicas(&server) == 1, LONG, "the replica is online");
    other.command(&["REPLICAOF", "NO", "ONE"]);
    // Nobody connects to the other one: the state still blesses the process of the first one when it comes back.
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    assert_eventually!(online_replicas(&other) == 1, LONG, "the first one is a replica");
    let run = &server.info("server")["run_id"][..16];
    assert!(blessing(&server).starts_with(&format!("!i{run}")));
    server.command(&["REPLICAOF", "NO", "ONE"]);
    let again = join(&server, "n1").await;
    assert!(again.recovered.bumped && again.recovered.epoch != node.recovered.epoch);
}

#[tokio::test]
async fn a_replica_is_refused_and_a_primary_that_becomes_one_ends_the_link() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let mut node = join(&server, "n1").await;
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotWritable, "{error}");
    assert_eq!(node.push().await, Push::Lost);
    let error = try_join(config(&server), "n2").await.err().expect("it is a replica");
    assert_eq!(error.kind, StoreErrorKind::NotWritable, "{error}");
}

#[tokio::test]
async fn a_primary_that_becomes_a_replica_between_heartbeats_refuses_every_write() {
    let (server, other) = (RedisServer::start(), RedisServer::start());
    let node = join(&server, "n1").await;
    server.command(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]);
    let what = InvalidateRequest { scopes: &[scope(1)], keys: &[], globs: &[], ack: None };
    let error = node.link.invalidate(what, LONG).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotWritable, "{error}");
}

#[tokio::test]
async fn a_server_without_the_replicas_it_wants_is_not_written_to() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotWritable, "{error}");
}

#[tokio::test]
async fn a_server_that_forgot_the_scripts_has_changed() {
    let server = RedisServer::start();
    let mut node = join(&server, "n1").await;
    server.command(&["SCRIPT", "FLUSH"]);
    let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::Changed, "{error}");
    assert_eq!(node.push().await, Push::Lost);
    assert!(!join(&server, "n1").await.recovered.bumped);
}

/// The member of the state that blesses this server.
fn blessing(server: &RedisServer) -> String {
    let blessed = server.command(&["ZRANGE", STATE, "-1", "-1", "BYSCORE"]);
    let [blessing] = blessed.items() else { panic!("{blessed:?}") };
    blessing.text()
}

fn replica_of(server: &RedisServer) -> RedisServer {
    let replica = RedisServer::start();
    replica.command(&["REPLICAOF", "127.0.0.1", &server.port().to_string()]);
    replica
}

fn online_replicas(server: &RedisServer) -> usize {
    server.info("replication").values().filter(|value| value.contains("state=online")).count()
}
