//! Directed schedules of load policies, and futures that are dropped half-way.

use crate::error::ErrorKind;
use crate::key;
use crate::policy::{Policy, Tiers};
use crate::scope::{ScopeHash, tag};
use crate::status::Outcome;
use crate::store::StoreErrorKind;
use crate::testing::{Call, Fault, Gate, LEASE, Node, Row, Server, policy};
use std::convert::Infallible;
use std::time::Duration;

fn soft() -> ScopeHash {
    ScopeHash::of_tag("acme", "t").soft()
}

fn tolerant() -> Policy {
    policy().tag("t").stale_if_error(LEASE * 3600)
}

async fn failing(node: &Node, policy: Policy) -> Result<Outcome, ErrorKind> {
    let found = node.acme().fetch(key!("k"), policy, || async { Err::<u64, _>("down") }).await;
    found.map(|found| found.status.outcome).map_err(|error| error.kind())
}

#[tokio::test]
async fn a_value_read_while_it_is_expired_is_not_fresh_in_memory() {
    // 2, for expirations
    let (server, row) = (Server::new(), Row::default());
    let (first, mut node) = (Node::ready(&server).await, Node::ready(&server).await);
    first.read(&row).await.unwrap();
    server.on(Call::Read, 1, Fault::SlowReply(Duration::from_millis(20)));
    let (reads, acme) = (server.calls(Call::Read), node.acme());
    let reading = tokio::spawn(async move { acme.get::<u64>(key!("k")).await.unwrap() });
    server.called(Call::Read, reads + 1).await;
    server.invalidate(&[soft()]);
    reading.await.unwrap();
    node.beat().await;
    assert!(node.acme().get::<u64>(key!("k")).await.unwrap().is_none());
    assert_eq!(failing(&node, tolerant()).await, Ok(Outcome::Stale));
}

#[tokio::test]
async fn a_fill_whose_reply_overtakes_the_message_of_an_expiration_is_not_fresh() {
    // 3, for expirations: the head that comes with the reply is after the expiration.
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let mut node = Node::ready(&server).await;
    let reading = tokio::spawn(node.read_through(&row, &gate));
    gate.reached().await;
    server.invalidate(&[soft()]);
    gate.open();
    reading.await.unwrap().unwrap();
    node.settled().await;
    assert!(server.is_stored("acme", "k"), "an expiration refuses nothing");
    for _ in 0..2 {
        assert!(node.acme().get::<u64>(key!("k")).await.unwrap().is_none());
        node.beat().await;
    }
    assert_eq!(failing(&node, tolerant()).await, Ok(Outcome::Stale));
    assert_eq!(failing(&node, policy().tag("t")).await, Err(ErrorKind::Load));
}

#[tokio::test]
async fn an_invalidation_between_lease_and_fill_of_a_touch_keeps_the_value_dead() {
    // 26
    for by_key in [true, false] {
        for call in [Call::Read, Call::Fill] {
            let (server, row) = (Server::new(), Row::default());
            let (node, other) = (Node::ready(&server).await, Node::ready(&server).await);
            node.read(&row).await.unwrap();
            let held = server.hold(call);
            let acme = node.acme();
            let only_redis = policy().tiers(Tiers::Redis);
            let touching = tokio::spawn(async move { acme.touch(key!("k"), only_redis).await.unwrap() });
            held.reached().await;
            if by_key {
                other.acme().invalidate(key!("k")).await.unwrap();
            } else {
                other.acme().invalidate(tag("t")).await.unwrap();
            }
            held.open();
            assert!(!touching.await.unwrap(), "{by_key} {call:?}");
            node.settled().await;
            assert!(!server.is_leased("acme", "k"));
            assert!(Node::ready(&server).await.acme().get::<u64>(key!("k")).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_touch_whose_replies_are_lost_leaves_no_lease() {
    for call in [Call::Lease, Call::Read, Call::Fill] {
        let (server, row) = (Server::new(), Row::default());
        let node = Node::ready(&server).await;
        node.read(&row).await.unwrap();
        server.on(call, 1, Fault::LoseReply(StoreErrorKind::Timeout));
        node.acme().touch(key!("k"), policy()).await.unwrap();
        node.settled().await;
        assert!(!server.is_leased("acme", "k"), "{call:?}");
    }
}

#[tokio::test]
async fn of_two_nodes_that_load_ahead_at_once_one_loads() {
    // 21, 22: each has read the old value before either asks for the lease.
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let eager = || policy().tag("t").eager_refresh(10.0);
    let (mut one, mut other) = (Node::ready(&server).await, Node::ready(&server).await);
    let (clock, slow) = (server.clock.clone(), row.clone());
    let load = move || async move {
        clock.advance(LEASE / 2);
        Ok::<_, Infallible>(slow.read())
    };
    one.acme().fetch(key!("k"), eager(), load).await.unwrap();
    other.acme().get::<u64>(key!("k")).await.unwrap().expect("it is in Redis");
    for _ in 0..118 {
        server.clock.advance(LEASE / 2);
        one.beat().await;
        other.beat().await;
    }
    server.clock.advance(LEASE * 9 / 10);
    one.beat().await;
    other.beat().await;
    let leases = [server.hold(Call::Lease), server.hold(Call::Lease)];
    for node in [&one, &other] {
        // At each read all but certain.
        while node.engine.flights.len() == 0 {
            let (row, gate) = (row.clone(), gate.clone());
            let load = move || async move {
                gate.pass().await;
                Ok::<_, Infallible>(row.read())
            };
            let hit = node.acme().fetch(key!("k"), eager(), load).await.unwrap();
            assert_eq!(hit.status.outcome, Outcome::Hit);
        }
    }
    for held in &leases {
        held.reached().await;
    }
    leases[0].open();
    gate.reached().await;
    gate.open();
    // The first has filled and let go before the second asks.
    one.settled().await;
    gate.open();
    leases[1].open();
    other.settled().await;
    assert_eq!(row.reads(), 2);
    assert_eq!(server.calls(Call::Fill), 2);
}
