//! Settling an outage, and asking for acknowledgements: the scripts on a real server.

use crate::support::{LEASE, LONG, Node, STATE, config, join, join_in, now_ms, scope};
use larder::store::{
    AckTo, BarrierReply, BarrierRequest, HeartbeatReply, InvalidateReply, InvalidateRequest, Push,
};
use larder_testkit::RedisServer;
use std::time::Duration;

/// Marks an outage that began when every registered node was alive; when it began.
async fn outage(server: &RedisServer, node: &Node) -> u64 {
    let since = (now_ms() - 90_000) * 1_000;
    server.command(&["ZADD", STATE, &format!("-{since}"), "!l"]);
    match node.link.heartbeat(LEASE, false, LONG).await.unwrap() {
        HeartbeatReply::Alive { outage: Some(outage), .. } => outage,
        other => panic!("{other:?}"),
    }
}

async fn flagged(node: &Node) -> bool {
    match node.link.heartbeat(LEASE, false, LONG).await.unwrap() {
        HeartbeatReply::Alive { outage, .. } => outage.is_some(),
        HeartbeatReply::Recover => panic!("not alive"),
    }
}

fn ask(outage: u64) -> BarrierRequest<'static> {
    BarrierRequest { outage, nodes: &[], evict: false }
}

#[tokio::test]
async fn an_outage_is_settled_when_all_who_were_there_have_delivered_and_nothing_is_lost() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    let since = outage(&server, &one).await;
    let waiting = one.link.barrier(ask(since), LONG).await.unwrap();
    assert_eq!(waiting, BarrierReply::Wait(vec!["n2".to_owned()]));
    assert_eq!(one.link.barrier(ask(since), LONG).await.unwrap(), waiting, "saying it twice changes nothing");
    assert!(flagged(&one).await);
    assert_eq!(two.link.barrier(ask(since), LONG).await.unwrap(), BarrierReply::Done);
    assert_eq!(one.link.barrier(ask(since), LONG).await.unwrap(), BarrierReply::Done);
    assert!(!flagged(&one).await);
    assert!(
        !server
            .command(&["ZRANGE", STATE, "0", "-1"])
            .items()
            .iter()
            .any(|member| member.text().starts_with("!a")),
        "nothing is left behind"
    );
    let epoch = join(&server, "n3").await.recovered;
    assert_eq!((epoch.epoch, epoch.bumped), (one.recovered.epoch, false));
}

#[tokio::test]
async fn whoever_does_not_come_back_is_struck_off_together_with_the_epoch() {
    let server = RedisServer::start();
    let (one, mut two) = (join(&server, "n1").await, join(&server, "n2").await);
    two.queued();
    let since = outage(&server, &one).await;
    let evict = BarrierRequest { evict: true, ..ask(since) };
    assert_eq!(one.link.barrier(evict, LONG).await.unwrap(), BarrierReply::Bumped);
    let registered = |node: &str| !server.command(&["ZSCORE", STATE, node]).is_nil();
    assert!(registered("!nn1") && !registered("!nn2"), "the others may still serve what they hold");
    assert!(!flagged(&one).await);
    two.link.heartbeat(LEASE, false, LONG).await.unwrap();
    let told = two.queued();
    assert!(matches!(told[..], [Push::Epoch { epoch, .. }] if epoch != one.recovered.epoch), "{told:?}");
    let HeartbeatReply::Alive { nodes, .. } = one.link.heartbeat(LEASE, true, LONG).await.unwrap() else {
        panic!()
    };
    assert_eq!(nodes.len(), 2, "it has registered anew since: {nodes:?}");
}

#[tokio::test]
async fn an_outage_is_settled_also_where_memory_is_full() {
    let server = RedisServer::start();
    let one = join(&server, "n1").await;
    let since = outage(&server, &one).await;
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(one.link.barrier(ask(since), LONG).await.unwrap(), BarrierReply::Done);
}

#[tokio::test]
async fn a_node_that_only_this_one_remembers_is_waited_for_too() {
    // The register may have been lost with the state just before the outage.
    let server = RedisServer::start();
    let one = join(&server, "n1").await;
    let since = outage(&server, &one).await;
    let remembered = ["gone".to_owned()];
    let ask = BarrierRequest { nodes: &remembered, ..ask(since) };
    assert_eq!(one.link.barrier(ask, LONG).await.unwrap(), BarrierReply::Wait(remembered.to_vec()));
}

#[tokio::test]
async fn what_was_said_of_one_outage_does_not_count_for_the_next() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    let first = outage(&server, &one).await;
    one.link.barrier(ask(first), LONG).await.unwrap();
    server.command(&["ZREM", STATE, "!o"]);
    let second = {
        let since = (now_ms() - 80_000) * 1_000;
        server.command(&["ZADD", STATE, &format!("-{since}"), "!l"]);
        match two.link.heartbeat(LEASE, false, LONG).await.unwrap() {
            HeartbeatReply::Alive { outage: Some(outage), .. } => outage,
            other => panic!("{other:?}"),
        }
    };
    assert_ne!(first, second);
    assert_eq!(two.link.barrier(ask(second), LONG).await.unwrap(), BarrierReply::Wait(vec!["n1".to_owned()]));
    assert_eq!(
        one.link.barrier(ask(first), LONG).await.unwrap(),
        BarrierReply::Done,
        "there is no such outage"
    );
    assert!(flagged(&one).await);
}

#[tokio::test]
async fn a_second_silence_before_the_first_is_settled_has_everybody_asked_again() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    let first = outage(&server, &one).await;
    one.link.barrier(ask(first), LONG).await.unwrap();
    let both = outage(&server, &two).await;
    assert_eq!(both, first - 1, "as long as before, under another name");
    assert_eq!(one.link.barrier(ask(first), LONG).await.unwrap(), BarrierReply::Done, "a late command");
    assert_eq!(two.link.barrier(ask(both), LONG).await.unwrap(), BarrierReply::Wait(vec!["n1".to_owned()]));
    assert_eq!(one.link.barrier(ask(both), LONG).await.unwrap(), BarrierReply::Done);
    assert!(!flagged(&two).await);
}

#[tokio::test]
async fn a_silence_shows_also_after_the_servers_clock_went_back_and_right_after_an_epoch_began() {
    let server = RedisServer::start();
    let one = join(&server, "n1").await;
    let future = (now_ms() + 3_600_000) * 1_000;
    server.command(&["ZADD", STATE, &format!("-{future}"), "!l"]);
    assert!(!flagged(&one).await);
    let heard =
        |server: &RedisServer| -server.command(&["ZSCORE", STATE, "!l"]).text().parse::<f64>().unwrap();
    assert!(heard(&server) < future as f64, "the last one counts, not the latest");
    let begun = join_in("ns", config(&server), "n2", true).await.unwrap();
    assert!(begun.recovered.bumped && heard(&server) > 0.0, "though nobody has made a heartbeat in it");
    let since = outage(&server, &one).await;
    let evict = BarrierRequest { evict: true, nodes: &["n3".to_owned()], ..ask(since) };
    assert_eq!(one.link.barrier(evict, LONG).await.unwrap(), BarrierReply::Bumped);
    assert!(heard(&server) > 0.0);
}

#[tokio::test]
async fn the_roll_call_names_no_node_that_died_long_ago() {
    let server = RedisServer::start();
    let one = join(&server, "n1").await;
    server.command(&["ZADD", STATE, &format!("-{}", (now_ms() - 1) * 1_000), "!ndead"]);
    let beat = one.link.heartbeat(LEASE, true, LONG).await.unwrap();
    assert!(matches!(beat, HeartbeatReply::Alive { nodes, .. } if nodes == ["n1"]));
}

#[tokio::test]
async fn an_epoch_grows_old_also_where_its_stamps_are_ahead_of_the_clock() {
    // The clock went back just before. Else every acknowledged invalidation would wait for a lease until it has caught up.
    let server = RedisServer::start();
    let one = join(&server, "n1").await;
    let (since, future) = (outage(&server, &one).await, (now_ms() + 3_600_000) * 1_000);
    for begin in ["recover", "barrier"] {
        server.command(&["ZADD", STATE, &future.to_string(), "!h"]);
        if begin == "recover" {
            join_in("ns", config(&server), "n2", true).await.unwrap();
        } else {
            server.command(&["ZADD", STATE, &format!("-{since}"), "!o"]);
            let evict = BarrierRequest { evict: true, nodes: &["n3".to_owned()], ..ask(since) };
            assert_eq!(one.link.barrier(evict, LONG).await.unwrap(), BarrierReply::Bumped);
        }
        let what = InvalidateRequest { scopes: &[scope(1)], keys: &[], globs: &[], ack: Some(1) };
        let done = one.link.invalidate(what, LONG).await.unwrap();
        let InvalidateReply::Done { stamp, holders, .. } = done else { panic!() };
        assert!(stamp > future && holders.epoch_age > Duration::ZERO, "{begin}: {holders:?}");
    }
}

#[tokio::test]
async fn an_invalidation_names_those_who_hold_a_lease_and_they_can_acknowledge_it() {
    let server = RedisServer::start();
    let (mut one, mut two) = (join(&server, "n1").await, join(&server, "n2").await);
    one.queued();
    two.queued();
    let what = InvalidateRequest { scopes: &[scope(1)], keys: &[], globs: &[], ack: Some(42) };
    let InvalidateReply::Done { holders, .. } = one.link.invalidate(what, LONG).await.unwrap() else {
        panic!()
    };
    assert_eq!(holders.nodes.len(), 1);
    let (node, left) = &holders.nodes[0];
    assert_eq!(node, "n2");
    assert!(*left > Duration::ZERO && *left <= LEASE);
    assert!(holders.epoch_age < LONG);
    two.link.heartbeat(LEASE, false, LONG).await.unwrap();
    let [Push::Invalidated { ack: Some(to), .. }] = &two.queued()[..] else { panic!() };
    assert_eq!(*to, AckTo { node: "n1".to_owned(), ack: 42 });
    two.link.acknowledge(to, LONG).await.unwrap();
    one.link.heartbeat(LEASE, false, LONG).await.unwrap();
    let acknowledged = Push::Acknowledged { ack: 42, node: "n2".to_owned() };
    assert!(one.queued().contains(&acknowledged));
}

#[tokio::test]
async fn a_state_that_is_gone_settles_nothing() {
    let server = RedisServer::start();
    let one = join(&server, "n1").await;
    let since = outage(&server, &one).await;
    server.command(&["DEL", STATE]);
    assert_eq!(one.link.barrier(ask(since), LONG).await.unwrap(), BarrierReply::Recover);
    assert_eq!(server.command(&["EXISTS", STATE]).int(), Some(0), "and makes no state of its own");
}
