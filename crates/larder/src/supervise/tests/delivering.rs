//! What was deferred, who delivers it, who is waited for.

use super::until_held;
use crate::engine::Options;
use crate::key;
use crate::scope::tag;
use crate::store::StoreErrorKind;
use crate::testing::{Call, Fault, Gate, LEASE, Node, Row, Server};
use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

#[tokio::test]
async fn a_node_that_only_the_others_remember_is_missed_after_an_outage() {
    // The register was lost with the state just before.
    let (server, row) = (Server::new(), Row::default());
    let (mut one, two) = (Node::ready(&server).await, Node::ready(&server).await);
    assert!(one.beat().await && one.beat().await, "a roll call");
    server.evict_state();
    assert!(!one.beat().await);
    one.connect().await.unwrap();
    server.clock.advance(LEASE / 4);
    one.beat().await;
    one.read(&row).await.unwrap();
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    row.write();
    two.acme().invalidate(tag("t")).await.unwrap_err();
    drop(two);
    server.set_up(true);
    assert!(!one.beat().await);
    one.connect_in_time(&server).await.unwrap();
    one.beat().await;
    assert_eq!(one.read(&row).await.unwrap(), 1);
}

#[tokio::test]
async fn nobody_waits_longer_however_many_outages_come_one_on_top_of_the_other() {
    let server = Server::new();
    drop(Node::ready(&server).await);
    server.clock.advance(LEASE * 10);
    let (epoch, mut node) = (server.epoch(), Node::new(&server));
    let mut connecting = pin!(node.connect_in_time(&server));
    for waits in 1..=10 {
        tokio::select! {
            biased;
            connected = &mut connecting => {
                connected.unwrap();
                break;
            }
            () = server.called(Call::Barrier, waits) => server.another_outage(),
        }
    }
    assert_ne!(server.epoch(), epoch, "who is missing is struck off");
}

#[tokio::test]
async fn an_invalidation_from_before_the_link_is_waited_for_before_an_outage_is_settled() {
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    let gate = Gate::default();
    server.on(Call::Invalidate, 1, Fault::HoldThenFail(gate.clone(), StoreErrorKind::Protocol));
    let acme = node.acme();
    let invalidating = tokio::spawn(async move { acme.invalidate(tag("t")).await });
    gate.reached().await;
    server.mark_outage();
    assert!(!node.beat().await);
    {
        let mut connecting = pin!(node.connect());
        for _ in 0..3 {
            let heard = server.calls(Call::Heartbeat);
            server.clock.advance(LEASE / 4);
            tokio::select! {
                biased;
                _ = &mut connecting => panic!("it may be deferred yet"),
                () = server.called(Call::Heartbeat, heard + 1) => {}
            }
        }
        assert_eq!(server.calls(Call::Barrier), 0);
        gate.open();
        connecting.await.unwrap();
    }
    invalidating.await.unwrap().unwrap();
}

#[tokio::test]
async fn what_was_delivered_over_a_link_that_is_lost_by_then_is_delivered_again() {
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    let error = node.acme().invalidate(tag("t")).await.unwrap_err();
    let ticket = error.ticket().expect("it is deferred").clone();
    server.set_up(true);
    let held = server.hold(Call::Invalidate);
    let remote = Arc::clone(&node.remote);
    {
        let mut connecting = pin!(node.connect());
        until_held(&held, &mut connecting).await;
        remote.lose("a test");
        held.open();
        connecting.await.unwrap_err();
    }
    assert_eq!((remote.undelivered_count(), ticket.stamp()), (1, None));
    assert_eq!(node.engine.mirror.blocked(), 1);
    node.connect().await.unwrap();
    assert!(ticket.stamp().is_some());
    assert_eq!(node.engine.mirror.blocked(), 0);
}

#[tokio::test]
async fn no_trust_begins_over_a_link_that_was_lost_meanwhile() {
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    server.on(Call::Heartbeat, 1, Fault::Slow(Duration::ZERO));
    let held = server.hold(Call::Heartbeat);
    let remote = Arc::clone(&node.remote);
    {
        let mut connecting = pin!(node.connect());
        until_held(&held, &mut connecting).await;
        remote.lose("a test");
        held.open();
        connecting.await.unwrap_err();
    }
    assert!(!node.engine.mirror.is_trusted());
}

#[tokio::test]
async fn a_folded_journal_covers_as_much_and_honours_every_ticket() {
    let (server, row) = (Server::new(), Row::default());
    let (mut node, mut other) = (Node::ready(&server).await, Node::ready(&server).await);
    other.read(&row).await.unwrap();
    node.remote.bound_journal(3);
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    row.write();
    let mut tickets = Vec::new();
    for name in ["t", "a", "b", "c", "d"] {
        let error = node.acme().invalidate(tag(name)).await.unwrap_err();
        tickets.push(error.ticket().expect("it is deferred").clone());
    }
    assert_eq!(node.remote.undelivered_count(), 2, "the tenant, and the last");
    assert_eq!(node.engine.mirror.blocked(), 2);
    server.set_up(true);
    assert!(!node.beat().await && !other.beat().await);
    let (one, two) = tokio::join!(node.connect(), other.connect());
    one.unwrap();
    two.unwrap();
    assert!(tickets.iter().all(|ticket| ticket.stamp().is_some()));
    assert_eq!(node.engine.mirror.blocked(), 0);
    other.beat().await;
    assert_eq!(other.read(&row).await.unwrap(), 1);
}

#[tokio::test]
async fn who_has_acknowledged_an_invalidation_does_not_serve_what_was_before() {
    let (server, row) = (Server::new(), Row::default());
    let (mut one, mut two) = (Node::ready(&server).await, Node::ready(&server).await);
    two.read(&row).await.unwrap();
    row.write();
    let acme = one.acme();
    let invalidating = tokio::spawn(async move { acme.invalidate(tag("t")).acked().await });
    server.called(Call::Invalidate, 1).await;
    let (acme, held) = (two.acme(), server.hold(Call::Heartbeat));
    // It applies the push; that its heartbeat comes back must not be what makes the difference.
    let mut beating = pin!(two.beat());
    until_held(&held, &mut beating).await;
    server.called(Call::Acknowledge, 1).await;
    one.beat().await;
    invalidating.await.unwrap().unwrap();
    let found = acme.get::<u64>(key!("k")).await.unwrap();
    assert_eq!(found.map(|found| *found.value), None);
    held.open();
    beating.await;
}

#[tokio::test]
async fn an_acknowledged_invalidation_waits_for_all_who_hold_a_lease_and_for_those_nobody_knows() {
    let lease = Duration::from_millis(50);
    let server = Server::new();
    let short = |options: &mut Options| options.lease = lease;
    let mut one = Node::with(&server, short).made_ready().await;
    let mut two = Node::with(&server, short).made_ready().await;
    let mut silent = Node::with(&server, short).made_ready().await;
    for _ in 0..3 {
        server.clock.advance(lease / 2);
        for node in [&mut one, &mut two, &mut silent] {
            assert!(node.beat().await);
        }
    }
    let began = Instant::now();
    let acme = one.acme();
    let invalidating = tokio::spawn(async move { acme.invalidate(tag("t")).acked().await });
    server.called(Call::Invalidate, 1).await;
    two.beat().await;
    server.called(Call::Acknowledge, 1).await;
    one.beat().await;
    invalidating.await.unwrap().unwrap();
    assert!(began.elapsed() >= lease, "the silent one's lease had so long to run");
    drop((silent, two));
    server.evict_state();
    assert!(!one.beat().await);
    one.connect().await.unwrap();
    one.beat().await;
    let began = Instant::now();
    one.acme().invalidate(tag("t")).acked().await.unwrap();
    assert!(began.elapsed() >= lease, "the register is as young as the epoch");
}

#[tokio::test]
async fn an_invalidation_over_a_new_link_is_not_given_up_for_the_silence_before_it() {
    // The barrier does not wait for it, since it finds the link working.
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    server.set_up(false);
    server.clock.advance(LEASE * 10);
    server.set_up(true);
    server.bump_heartbeats();
    assert!(!node.beat().await);
    node.connect().await.unwrap();
    server.on(Call::Invalidate, 1, Fault::Fail(StoreErrorKind::Protocol));
    node.acme().invalidate(tag("t")).await.unwrap();
}
