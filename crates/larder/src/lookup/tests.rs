//! Who joins whom, and what is left behind when something goes wrong.

use crate::cache::Cache;
use crate::clock::ManualClock;
use crate::error::ErrorKind;
use crate::flight::{Boarding, Flight};
use crate::key;
use crate::key::Key;
use crate::l1::FullKey;
use crate::limits::MAX_FLIGHTS;
use crate::scope::EntryScopes;
use crate::status::{Outcome, Tier};
use crate::testing::{Gate, Node, Row, Server, policy};
use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

const MINUTE: Duration = Duration::from_secs(60);

#[tokio::test]
async fn who_accepts_no_stale_value_does_not_get_one_from_a_flight_that_landed_it() {
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let (mut first, mut node) = (Node::ready(&server).await, Node::ready(&server).await);
    let lenient = policy().stale_while_revalidate(60 * MINUTE);
    let fetch = |node: &Node, policy: crate::Policy, gate: Gate| {
        let (acme, row) = (node.acme(), row.clone());
        let load = move || async move {
            let value = row.read();
            gate.pass().await;
            Ok::<_, Infallible>(value)
        };
        tokio::spawn(async move { acme.fetch(key!("k"), policy, load).await.unwrap() })
    };
    fetch(&first, lenient.clone(), Gate::opened()).await.unwrap();
    row.write();
    server.clock.advance(MINUTE + MINUTE / 60);
    server.bump_heartbeats();
    for node in [&mut first, &mut node] {
        node.beat().await;
    }
    let stale = fetch(&node, lenient, gate.clone()).await.unwrap();
    assert_eq!((stale.status.outcome, stale.status.tier, *stale.value), (Outcome::Stale, Tier::Redis, 0));
    gate.reached().await;
    let strict = fetch(&node, policy(), Gate::opened());
    tokio::task::yield_now().await;
    gate.open();
    assert_eq!(*strict.await.unwrap().value, 1);
}

#[tokio::test]
async fn the_same_key_twice_is_found_twice_where_nobody_joins() {
    let server = Server::new();
    let node = Node::with(&server, |options| options.outage_memory_ttl = Some(Duration::ZERO));
    // As a query would, it finds each once.
    let load = |keys: Vec<Key>| async move {
        let keys: BTreeSet<String> = keys.iter().map(|key| key.as_str().to_owned()).collect();
        let found = keys.iter().map(|key| (Key::from_encoded(key).unwrap(), 1_u8)).collect();
        Ok::<Vec<_>, Infallible>(found)
    };
    let keys = vec![key!("a"), key!("b"), key!("a")];
    let found = node.acme().get_or_load_many(keys, policy(), load).await.unwrap();
    assert!(found.iter().all(Option::is_some));
}

#[tokio::test]
async fn a_loader_that_cannot_be_made_leaves_no_flight_behind() {
    let node = Node::new(&Server::new());
    let acme = node.acme();
    let broken = tokio::spawn(async move {
        let prepare = || -> fn() -> std::future::Ready<Result<u8, Infallible>> { panic!("not made") };
        acme.fetch_prepared(key!("k"), policy(), prepare).await
    });
    assert!(broken.await.unwrap_err().is_panic());
    assert_eq!(node.engine.flights.len(), 0);
}

#[tokio::test]
async fn with_too_many_flights_a_stale_value_is_served_and_nothing_else() {
    let (clock, row) = (Arc::new(ManualClock::default()), Row::default());
    let cache = Cache::builder("test").clock(clock.clone()).build().await.unwrap();
    let fetch = |key: Key| {
        let (acme, row) = (cache.tenant("acme"), row.clone());
        let load = move || async move { Ok::<_, Infallible>(row.read()) };
        async move { acme.fetch(key, policy().stale_if_error(MINUTE), load).await }
    };
    fetch(key!("k")).await.unwrap();
    clock.advance(MINUTE);
    let scopes = EntryScopes::of("acme", &key!("x"));
    for i in 0..MAX_FLIGHTS {
        let full = FullKey { tenant: "acme".into(), key: key!("x", i) };
        let begin = || Flight::new(scopes.clone(), None, true, crate::nested::Hurry::default());
        let boarding = cache.engine().flights.board::<u8>(&full, |_| false, begin);
        assert!(matches!(boarding, Boarding::Begin(..)));
    }
    assert_eq!(fetch(key!("k")).await.unwrap().status.outcome, Outcome::Stale);
    assert_eq!(fetch(key!("other")).await.unwrap_err().kind(), ErrorKind::TooManyLoads);
}
