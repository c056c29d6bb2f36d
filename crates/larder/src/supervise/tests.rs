//! Recovery, schedule by schedule.

use crate::error::{Error, ErrorKind};
use crate::key;
use crate::scope::tag;
use crate::stamp::Stamp;
use crate::store::StoreErrorKind;
use crate::testing::{Call, Fault, Gate, LEASE, Node, Row, Server};
use std::future::Future;
use std::pin::pin;

mod delivering;

type Invalidated = tokio::task::JoinHandle<Result<Stamp, Error>>;

/// Begins an invalidation that fails, and is given up, when the gate opens; until then, heartbeats go through.
async fn deferring(server: &Server, node: &mut Node) -> (Gate, Invalidated) {
    let gate = Gate::default();
    server.on(Call::Invalidate, 1, Fault::HoldThenFail(gate.clone(), StoreErrorKind::Protocol));
    let acme = node.acme();
    let waiting = tokio::spawn(async move { acme.invalidate(tag("t")).await });
    gate.reached().await;
    for _ in 0..2 {
        server.clock.advance(LEASE * 4 / 5);
        node.beat().await;
    }
    (gate, waiting)
}

async fn defer(gate: Gate, waiting: Invalidated) {
    gate.open();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::Deferred);
}

/// Polls until it waits at the gate.
async fn until_held(held: &Gate, waiting: &mut (impl Future + Unpin)) {
    tokio::select! {
        biased;
        _ = waiting => panic!("it waits"),
        () = held.reached() => {}
    }
}

#[tokio::test]
async fn what_was_deferred_stays_blocked_until_the_new_epoch_is_entered() {
    let (server, row) = (Server::new(), Row::default());
    let mut node = Node::ready(&server).await;
    node.read(&row).await.unwrap();
    row.write();
    let (gate, waiting) = deferring(&server, &mut node).await;
    defer(gate, waiting).await;
    assert!(!node.engine.mirror.lease_left().is_zero(), "only the data connections failed");
    let held = server.hold(Call::Heartbeat);
    let acme = node.acme();
    {
        let mut connecting = pin!(node.connect());
        until_held(&held, &mut connecting).await;
        let found = acme.get::<u64>(key!("k")).await.unwrap();
        assert_eq!(found.map(|found| *found.value), None, "its invalidation is not delivered yet");
        held.open();
        connecting.await.unwrap();
    }
    assert_eq!(node.remote.undelivered_count(), 0);
    node.beat().await;
    for _ in 0..2 {
        assert_eq!(node.read(&row).await.unwrap(), 1);
    }
    assert_eq!(row.reads(), 2, "it may be kept again");
}

#[tokio::test]
async fn an_invalidation_deferred_while_connecting_is_not_forgotten() {
    let (server, row) = (Server::new(), Row::default());
    let mut node = Node::ready(&server).await;
    let other = Node::ready(&server).await;
    other.read(&row).await.unwrap();
    let epoch = server.epoch();
    row.write();
    let (gate, waiting) = deferring(&server, &mut node).await;
    node.cut(&server);
    node.beat().await;
    let held = server.hold(Call::Connect);
    {
        let mut connecting = pin!(node.connect());
        until_held(&held, &mut connecting).await;
        defer(gate, waiting).await;
        held.open();
        connecting.await.unwrap();
    }
    assert_eq!(node.remote.undelivered_count(), 0);
    node.beat().await;
    assert_eq!(node.read(&row).await.unwrap(), 1, "Redis has been told");
    assert_eq!(server.epoch(), epoch, "and keeps what it holds");
}

#[tokio::test]
async fn a_link_lost_while_trust_begins_is_not_followed_for_ever() {
    // A call over the old link learns that the state is gone, when the new link is being made.
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    let old = node.remote.link().unwrap();
    node.connect().await.unwrap();
    node.remote.lose_link(&old, "an old link's answer");
    assert!(node.beat().await);
    assert!(node.engine.mirror.is_good(), "what an old link says is not said of the new one");
}

#[tokio::test]
async fn epochs_that_came_and_went_while_connecting_do_not_confuse() {
    // Two nodes settle an outage at once: both begin an epoch, one between the other's subscription and its own.
    let (server, row) = (Server::new(), Row::default());
    let mut node = Node::ready(&server).await;
    let held = server.hold(Call::Connect);
    {
        let mut connecting = pin!(node.connect());
        until_held(&held, &mut connecting).await;
        server.bump();
        server.invalidate(&[crate::scope::ScopeHash::of_tag("acme", "x")]);
        server.bump();
        held.open();
        connecting.await.unwrap();
    }
    for _ in 0..3 {
        assert!(node.beat().await);
        server.clock.advance(LEASE / 4);
    }
    assert!(node.engine.mirror.is_good(), "the epoch of the server is the node's");
    node.read(&row).await.unwrap();
    let server_epoch = server.epoch();
    assert_eq!(node.engine.mirror.fence_alone().epoch, server_epoch);
}

#[tokio::test]
async fn an_outage_after_which_somebody_is_missing_is_settled_by_a_new_epoch() {
    // s12: it may have deferred something, and died.
    let server = Server::new();
    let node = Node::ready(&server).await;
    drop(node);
    server.clock.advance(LEASE * 10);
    let epoch = server.epoch();
    let mut node = Node::new(&server);
    node.connect_in_time(&server).await.unwrap();
    assert_ne!(server.epoch(), epoch);
    node.beat().await;
    assert!(node.engine.mirror.is_good());
}

#[tokio::test]
async fn an_outage_that_all_nodes_outlive_costs_nothing_that_is_stored() {
    let (server, row) = (Server::new(), Row::default());
    let (mut one, mut two) = (Node::ready(&server).await, Node::ready(&server).await);
    one.read(&row).await.unwrap();
    let epoch = server.epoch();
    server.set_up(false);
    server.clock.advance(LEASE * 10);
    server.set_up(true);
    for node in [&mut one, &mut two] {
        assert!(!node.beat().await);
    }
    let (first, second) = tokio::join!(one.connect(), two.connect());
    first.unwrap();
    second.unwrap();
    assert_eq!(server.epoch(), epoch);
    two.beat().await;
    assert_eq!(two.read(&row).await.unwrap(), 0);
    assert_eq!(row.reads(), 1, "it was still stored");
}

#[tokio::test]
async fn nobody_relies_on_redis_before_every_node_has_delivered_what_it_deferred() {
    // s13
    let (server, row) = (Server::new(), Row::default());
    let (mut one, mut two) = (Node::ready(&server).await, Node::ready(&server).await);
    one.read(&row).await.unwrap();
    let epoch = server.epoch();
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    one.beat().await;
    two.beat().await;
    row.write();
    let error = two.acme().invalidate(tag("t")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deferred);
    let ticket = error.ticket().expect("it is deferred").clone();
    assert_eq!(ticket.stamp(), None);
    server.set_up(true);
    let held = server.hold(Call::Connect);
    let (first, second) = {
        let mut waiting = pin!(async { tokio::join!(two.connect(), one.connect()) });
        until_held(&held, &mut waiting).await;
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("nobody may go on"),
            () = server.called(Call::Barrier, 2) => {}
        }
        held.open();
        waiting.await
    };
    first.unwrap();
    second.unwrap();
    assert_eq!(server.epoch(), epoch);
    let stamp = ticket.delivered().await.unwrap();
    assert_eq!(stamp.parts().map(|(_, epoch, _)| epoch).collect::<Vec<_>>(), [epoch]);
    one.beat().await;
    assert_eq!(one.read(&row).await.unwrap(), 1);
}

#[tokio::test]
async fn who_delivered_before_a_second_outage_and_died_in_it_is_missed_though_the_first_was_not_settled() {
    let (server, row) = (Server::new(), Row::default());
    let (mut one, mut two) = (Node::ready(&server).await, Node::ready(&server).await);
    two.read(&row).await.unwrap();
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    server.set_up(true);
    assert!(!one.beat().await && !two.beat().await);
    {
        let mut waiting = pin!(one.connect());
        tokio::select! {
            biased;
            _ = &mut waiting => panic!("the other has not delivered"),
            () = server.called(Call::Barrier, 1) => {}
        }
        server.set_up(false);
        waiting.await.unwrap_err();
    }
    row.write();
    server.clock.advance(LEASE * 2);
    let deferred = one.acme().invalidate(tag("t")).await.unwrap_err();
    assert_eq!(deferred.kind(), ErrorKind::Deferred);
    drop(one);
    server.set_up(true);
    two.connect_in_time(&server).await.unwrap();
    two.beat().await;
    assert!(two.engine.mirror.is_good());
    assert_eq!(two.read(&row).await.unwrap(), 1, "what it deferred is made good");
}

#[tokio::test]
async fn a_node_that_waits_for_others_is_heard_meanwhile() {
    // Else whoever comes next takes the wait for another outage, and all begin anew.
    let server = Server::new();
    let (mut one, other) = (Node::ready(&server).await, Node::ready(&server).await);
    server.mark_outage();
    assert!(!one.beat().await);
    {
        let mut waiting = pin!(one.connect());
        for step in 1..=6 {
            server.clock.advance(LEASE / 4);
            tokio::select! {
                biased;
                _ = &mut waiting => panic!("the other has not delivered"),
                () = server.called(Call::Heartbeat, 4 + step) => {}
            }
        }
    }
    assert!(!server.registered(&one.remote.node).is_zero());
    drop(other);
}

#[tokio::test]
async fn an_outage_that_another_node_has_settled_begins_no_second_epoch() {
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    server.mark_outage();
    assert!(!node.beat().await, "nothing is relied on before it is settled");
    let epoch = server.bump();
    node.connect().await.unwrap();
    assert_eq!(server.epoch(), epoch);
}

#[tokio::test]
async fn an_old_epoch_that_comes_back_is_replaced() {
    let (server, row) = (Server::new(), Row::default());
    let mut node = Node::ready(&server).await;
    let first = server.epoch();
    server.bump();
    node.beat().await;
    server.go_back_to(first);
    assert!(node.beat().await && node.beat().await);
    assert!(!node.beat().await, "nothing can be built on this link");
    node.connect().await.unwrap();
    node.beat().await;
    assert!(node.engine.mirror.is_good());
    assert_ne!(server.epoch(), first);
    node.read(&row).await.unwrap();
}

#[tokio::test]
async fn a_shutdown_gives_an_invalidation_under_way_the_link_that_it_needs() {
    let server = Server::new();
    let cache = cache(&server).await;
    let gate = Gate::default();
    server.on(Call::Invalidate, 1, Fault::HoldThenFail(gate.clone(), StoreErrorKind::Disconnected));
    let acme = cache.tenant("acme");
    let invalidating = tokio::spawn(async move { acme.invalidate(tag("t")).await });
    gate.reached().await;
    let closing = cache.clone();
    let shutdown = tokio::spawn(async move { closing.shutdown().await });
    cache.engine().closing.cancelled().await;
    gate.open();
    invalidating.await.unwrap().expect("delivered over a new link");
    shutdown.await.unwrap();
    assert_eq!(server.nodes(), 0, "the node has left the register");
}

/// A cache on the server, with its own coherence task.
async fn cache(server: &Server) -> crate::Cache {
    let connector = std::sync::Arc::new(server.clone());
    let builder = crate::Cache::builder("test").clock(server.clock.clone());
    builder.connector(connector, LEASE / 5).build().await.unwrap()
}

#[tokio::test]
async fn a_node_that_shuts_down_with_something_undelivered_stays_on_the_register() {
    // Else no barrier would ask for it, and what it deferred would be forgotten.
    let (server, row) = (Server::new(), Row::default());
    let other = Node::ready(&server).await;
    other.read(&row).await.unwrap();
    drop(other);
    let cache = cache(&server).await;
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    row.write();
    let error = cache.tenant("acme").invalidate(tag("t")).await.unwrap_err();
    let ticket = error.ticket().expect("it is deferred").clone();
    let held = server.hold(Call::Invalidate);
    server.set_up(true);
    held.reached().await;
    cache.shutdown().await;
    assert_eq!(ticket.delivered().await.unwrap_err().kind(), ErrorKind::Closed, "the cache is still there");
    assert_eq!(server.nodes(), 2, "the one that died, and this one");
    let mut node = Node::new(&server);
    node.connect_in_time(&server).await.unwrap();
    node.beat().await;
    assert_eq!(node.read(&row).await.unwrap(), 1);
}

#[tokio::test]
async fn a_node_that_died_long_before_an_outage_is_not_waited_for_after_it() {
    let (server, row) = (Server::new(), Row::default());
    let dead = Node::ready(&server).await;
    let mut node = Node::ready(&server).await;
    node.read(&row).await.unwrap();
    drop(dead);
    for _ in 0..20 {
        server.clock.advance(LEASE / 4);
        assert!(node.beat().await);
    }
    let epoch = server.epoch();
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    server.set_up(true);
    assert!(!node.beat().await);
    node.connect().await.expect("without waiting: the clock stands still");
    assert_eq!(server.epoch(), epoch);
}

#[tokio::test]
async fn a_long_journal_is_delivered_in_few_messages() {
    // One after the other they would take a round trip each, and others do not wait for longer than two leases.
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    let mut other = Node::ready(&server).await;
    server.set_up(false);
    server.clock.advance(LEASE * 2);
    let mut tickets = Vec::new();
    for i in 0..1200 {
        let error = node.acme().invalidate(tag(i.to_string())).await.unwrap_err();
        tickets.push(error.ticket().expect("it is deferred").clone());
        let what: [crate::Selector; 2] = [key!("k", i).into(), tag("t")];
        node.acme().invalidate(what).await.unwrap_err();
    }
    let before = server.calls(Call::Invalidate);
    server.set_up(true);
    assert!(!node.beat().await && !other.beat().await);
    let (one, two) = tokio::join!(node.connect(), other.connect());
    one.unwrap();
    two.unwrap();
    assert!(server.calls(Call::Invalidate) - before < 10);
    assert_eq!((node.remote.undelivered_count(), node.engine.mirror.blocked()), (0, 0));
    let mut stamps: Vec<_> = tickets.iter().map(|ticket| ticket.stamp().expect("delivered")).collect();
    stamps.dedup();
    assert!(stamps.len() < 10);
}

async fn read_at_least(node: &Node, row: &Row, stamp: &Stamp) -> (u64, crate::Tier) {
    let (acme, row) = (node.acme().at_least(stamp.clone()), row.clone());
    let load = move || async move { Ok::<_, std::convert::Infallible>(row.read()) };
    let found = acme.fetch(key!("k"), crate::testing::policy().tag("t"), load).await.unwrap();
    (*found.value, found.status.tier)
}

#[tokio::test]
async fn a_stamp_of_an_epoch_from_before_this_node_costs_a_look_at_redis() {
    // It may also be of one that this node has not heard of yet.
    let (server, row) = (Server::new(), Row::default());
    let old = Node::ready(&server).await;
    let stamp = old.acme().invalidate(tag("t")).await.unwrap();
    drop(old);
    server.bump();
    let (node, mut writer) = (Node::ready(&server).await, Node::ready(&server).await);
    node.read(&row).await.unwrap();
    let reads = server.calls(Call::Read);
    assert_eq!(read_at_least(&node, &row, &stamp).await, (0, crate::Tier::Memory));
    assert_eq!(read_at_least(&node, &row, &stamp).await, (0, crate::Tier::Memory));
    assert_eq!(server.calls(Call::Read), reads + 1, "once, not for each lookup");
    server.bump();
    assert!(writer.beat().await);
    row.write();
    let stamp = writer.acme().invalidate(tag("t")).await.unwrap();
    assert_eq!(
        read_at_least(&node, &row, &stamp).await,
        (1, crate::Tier::Origin),
        "its lease holds, its epoch is over"
    );
}

#[tokio::test]
async fn a_flight_from_before_what_was_missed_is_joined_by_nobody_who_must_reflect_it() {
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let node = Node::ready(&server).await;
    let reading = tokio::spawn(node.read_through(&row, &gate));
    gate.reached().await;
    row.write();
    server.invalidate(&[crate::scope::ScopeHash::of_tag("acme", "t")]);
    let at = crate::coherence::Stamped { epoch: server.epoch(), stamp: server.head() };
    // The coherence task learns of it by a heartbeat, and has not come to detach flights.
    assert!(node.engine.mirror.resync(at.epoch, at.stamp));
    let stamp = Stamp::new(0, at);
    let mut later = pin!(read_at_least(&node, &row, &stamp));
    for _ in 0..20 {
        assert!(futures_util::poll!(&mut later).is_pending());
        tokio::task::yield_now().await;
    }
    gate.open();
    assert_eq!(reading.await.unwrap().unwrap(), 0, "it had asked before");
    assert_eq!(later.await.0, 1);
}

#[tokio::test]
async fn a_node_is_registered_at_least_as_long_as_it_trusts_its_memory() {
    // s17
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    let holds = |node: &Node| server.registered(&node.remote.node) >= node.engine.mirror.lease_left();
    assert!(holds(&node));
    for slow in [Fault::Slow(LEASE / 3), Fault::SlowReply(LEASE / 3)] {
        server.clock.advance(LEASE / 4);
        server.on(Call::Heartbeat, 1, slow.clone());
        node.beat().await;
        assert!(holds(&node));
        node.cut(&server);
        server.on(Call::Heartbeat, 1, slow);
        node.connect().await.unwrap();
        assert!(holds(&node) && !server.registered(&node.remote.node).is_zero());
        node.beat().await;
        assert!(holds(&node) && node.engine.mirror.is_good());
    }
}

#[tokio::test]
async fn pushes_that_wait_are_applied_before_the_lease_is_renewed() {
    // s09
    let (server, row) = (Server::new(), Row::default());
    let mut node = Node::ready(&server).await;
    node.read(&row).await.unwrap();
    row.write();
    server.invalidate(&[crate::scope::ScopeHash::of_tag("acme", "t")]);
    server.clock.advance(LEASE);
    node.beat().await;
    assert_eq!(node.read(&row).await.unwrap(), 1);
    assert_eq!(node.engine.stats.read().missed_pushes, 0);
}
