//! What becomes of leases, and who waits for whom.

use crate::engine::Options;
use crate::error::BoxError;
use crate::key;
use crate::key::Key;
use crate::loader::LoadContext;
use crate::scope::ScopeHash;
use crate::store::StoreErrorKind;
use crate::testing::{Call, Fault, Gate, LEASE, Node, Row, Server, policy};
use crate::value::{Codec, CodecError, Value};
use std::convert::Infallible;
use std::time::Duration;

#[tokio::test]
async fn a_lease_whose_reply_was_lost_is_given_back() {
    for kind in [StoreErrorKind::Timeout, StoreErrorKind::Disconnected] {
        let (server, row) = (Server::new(), Row::default());
        let mut node = Node::ready(&server).await;
        server.on(Call::Lease, 1, Fault::LoseReply(kind));
        node.read(&row).await.unwrap();
        if kind == StoreErrorKind::Disconnected {
            node.connect().await.unwrap();
        }
        node.settled().await;
        assert!(!server.is_leased("acme", "k"), "or everybody waits for nobody");
    }
}

#[tokio::test]
async fn a_lease_held_over_a_lost_link_is_given_back_over_the_next() {
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let mut node = Node::ready(&server).await;
    let reading = tokio::spawn(node.read_through(&row, &gate));
    gate.reached().await;
    node.cut(&server);
    assert!(!node.beat().await);
    gate.open();
    reading.await.unwrap().unwrap();
    assert!(server.is_leased("acme", "k"), "there was no way to give it back");
    node.connect().await.unwrap();
    node.settled().await;
    assert!(!server.is_leased("acme", "k"));
}

#[tokio::test]
async fn an_own_long_load_leaves_time_to_wait_for_another_nodes() {
    let (server, row) = (Server::new(), Row::default());
    let (mut node, mut other) = (Node::ready(&server).await, Node::ready(&server).await);
    let (own, others) = (Gate::default(), Gate::default());
    let elsewhere = tokio::spawn(other.read_through(&row, &others));
    others.reached().await;
    let (acme, gate) = (node.acme(), own.clone());
    let many = tokio::spawn(async move {
        let load = move |keys: Vec<Key>| {
            let gate = gate.clone();
            async move {
                gate.pass().await;
                Ok::<_, BoxError>(keys.into_iter().map(|key| (key, 7_u64)).collect())
            }
        };
        acme.get_or_load_many(vec![key!("own"), key!("k")], policy().tag("t"), load).await
    });
    own.reached().await;
    others.open();
    elsewhere.await.unwrap().unwrap();
    // The own load takes nearly its whole time.
    for _ in 0..25 {
        server.clock.advance(LEASE * 2 / 5);
        node.beat().await;
        other.beat().await;
    }
    own.open();
    let found = many.await.unwrap().expect("the other's value is there");
    let found: Vec<u64> = found.into_iter().map(|found| *found.unwrap().value).collect();
    assert_eq!(found, [7, 0]);
}

#[tokio::test]
async fn a_load_elsewhere_is_waited_for_however_many_leases_it_lasts() {
    // 16
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let quick = |options: &mut crate::engine::Options| options.lease = Duration::from_millis(5);
    let other = Node::with(&server, quick).made_ready().await;
    let mut node = Node::with(&server, quick).made_ready().await;
    let elsewhere = tokio::spawn(other.read_through(&row, &gate));
    gate.reached().await;
    let waiting = tokio::spawn(node.read_through(&row, &Gate::opened()));
    server.called(Call::Lease, 50).await;
    assert_eq!(row.reads(), 1, "one load, as long as its node lives");
    gate.open();
    elsewhere.await.unwrap().unwrap();
    node.beat().await;
    assert_eq!(waiting.await.unwrap().unwrap(), 0);
    assert_eq!(row.reads(), 1);
}

#[tokio::test]
async fn however_many_loads_end_elsewhere_one_by_one_none_of_them_is_made_again() {
    let (server, row) = (Server::new(), Row::default());
    let (other, mut node) = (Node::ready(&server).await, Node::ready(&server).await);
    let keys: Vec<Key> = (0..40).map(|number| key!("k", number)).collect();
    let mut elsewhere = Vec::new();
    for key in keys.clone() {
        let (acme, gate) = (other.acme(), Gate::default());
        let held = gate.clone();
        let load = move || async move {
            held.pass().await;
            Ok::<u64, Infallible>(1)
        };
        let loading = tokio::spawn(async move { acme.get_or_load(key, &policy(), load).await });
        gate.reached().await;
        elsewhere.push((gate, loading));
    }
    let (acme, read) = (node.acme(), row.clone());
    let many = tokio::spawn(async move {
        let load = move |keys: Vec<Key>| {
            read.read();
            async { Ok::<Vec<(Key, u64)>, Infallible>(keys.into_iter().map(|key| (key, 2)).collect()) }
        };
        acme.get_or_load_many(keys, &policy(), load).await
    });
    server.called(Call::Lease, 41).await;
    for (ended, (gate, loading)) in elsewhere.into_iter().enumerate() {
        gate.open();
        loading.await.unwrap().unwrap();
        node.beat().await;
        if ended < 39 {
            // It has looked at what has ended, and waits for the rest.
            server.called(Call::Lease, 42 + ended).await;
        }
    }
    let found = many.await.unwrap().unwrap();
    assert!(found.into_iter().all(|found| *found.unwrap().value == 1));
    assert_eq!(row.reads(), 0);
}

#[tokio::test]
async fn corrupt_bytes_are_dropped_once() {
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let quick = |options: &mut crate::engine::Options| options.lease = Duration::from_millis(5);
    let other = Node::with(&server, quick).made_ready().await;
    let mut node = Node::with(&server, quick).made_ready().await;
    server.corrupt("acme", "k");
    let held = server.hold(Call::Lease);
    let waiting = tokio::spawn(node.read_through(&row, &Gate::opened()));
    held.reached().await;
    let elsewhere = tokio::spawn(other.read_through(&row, &gate));
    gate.reached().await;
    held.open();
    // It waits for the other's load, and looks again now and then.
    server.called(Call::Lease, 10).await;
    gate.open();
    elsewhere.await.unwrap().unwrap();
    assert!(server.is_stored("acme", "k"), "nobody took the other's lease away");
    node.beat().await;
    waiting.await.unwrap().unwrap();
    assert_eq!((row.reads(), server.calls(Call::Invalidate)), (1, 1));
}

#[tokio::test]
async fn remainders_of_the_time_for_redis_do_not_open_the_breaker() {
    // 23: slow is not down
    let server = Server::new();
    let node = Node::ready(&server).await;
    let gate = Gate::default();
    let mut readers = Vec::new();
    for i in 0..4 {
        server.on(Call::Read, 1, Fault::Slow(Duration::from_millis(180)));
        let (acme, load) = (node.acme(), gate.clone());
        readers.push(tokio::spawn(async move {
            let load = move || async move {
                load.pass().await;
                Ok::<_, Infallible>(1_u8)
            };
            acme.get_or_load(key!("slow", i), policy(), load).await
        }));
        gate.reached().await;
    }
    server.on(Call::Fill, 4, Fault::Fail(StoreErrorKind::Timeout));
    (0..4).for_each(|_| gate.open());
    for reader in readers {
        reader.await.unwrap().unwrap();
    }
    assert!(node.remote.link().is_some());
}

/// A value whose bytes cannot be made, or not be read.
#[derive(Debug)]
struct Panics(bool);

impl Value for Panics {
    const CODEC: Codec = Codec::Raw;

    fn encode(&self, out: &mut Vec<u8>) -> Result<(), CodecError> {
        assert!(self.0, "cannot be written");
        out.push(1);
        Ok(())
    }

    fn decode(_bytes: &[u8]) -> Result<Self, CodecError> {
        panic!("cannot be read");
    }

    fn encoded_len(&self) -> Result<usize, CodecError> {
        assert!(self.0, "cannot be written");
        Ok(1)
    }
}

#[tokio::test]
async fn a_value_that_panics_when_it_is_written_or_read_is_served_all_the_same() {
    let server = Server::new();
    let read = |node: &Node, writes: bool| {
        let acme = node.acme();
        let load = move || async move { Ok::<_, Infallible>(Panics(writes)) };
        async move { acme.get_or_load(key!("p", writes), policy(), load).await }
    };
    let (one, other, cut_off) = (Node::ready(&server).await, Node::ready(&server).await, Node::new(&server));
    for writes in [true, false] {
        for node in [&one, &other, &cut_off] {
            assert_eq!(read(node, writes).await.unwrap().0, writes);
            node.settled().await;
            assert!(!server.is_leased("acme", &format!("p:{writes}")));
        }
    }
    assert_eq!(other.engine.stats.read().corrupt, 1);
}

#[tokio::test]
async fn what_a_full_server_does_not_store_is_kept_in_memory_and_invalidated_all_the_same() {
    // Full before the lease is asked for, or only when the load has ended; invalidated during the load, or after it.
    for (full_early, early) in [(true, true), (true, false), (false, true), (false, false)] {
        let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
        let mut node = Node::ready(&server).await;
        if full_early {
            server.fill_up();
        }
        let reading = tokio::spawn(node.read_through(&row, &gate));
        gate.reached().await;
        server.fill_up();
        if early {
            row.write();
            server.invalidate(&[ScopeHash::of_tag("acme", "t")]);
        }
        gate.open();
        assert_eq!(reading.await.unwrap().unwrap(), 0);
        if !early {
            node.read(&row).await.unwrap();
            assert_eq!(row.reads(), 1, "memory serves on");
            row.write();
            server.invalidate(&[ScopeHash::of_tag("acme", "t")]);
        }
        node.beat().await;
        assert_eq!(node.read(&row).await.unwrap(), 1, "{full_early} {early}");
    }
}

#[tokio::test]
async fn what_is_loaded_without_redis_is_kept_from_the_start_of_its_load() {
    // s28
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let node = Node::new(&server);
    let reading = tokio::spawn(node.read_through(&row, &gate));
    gate.reached().await;
    server.clock.advance(Duration::from_millis(4_999));
    gate.open();
    reading.await.unwrap().unwrap();
    node.read(&row).await.unwrap();
    assert_eq!(row.reads(), 1);
    server.clock.advance(Duration::from_millis(1));
    node.read(&row).await.unwrap();
    assert_eq!(row.reads(), 2);
}

#[tokio::test]
async fn a_load_that_takes_six_minutes_is_the_only_one_on_all_nodes() {
    // 16
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let (mut node, mut other) = (Node::ready(&server).await, Node::ready(&server).await);
    let read = |node: &Node, gate: &Gate| {
        let (acme, row, gate) = (node.acme(), row.clone(), gate.clone());
        let load = move || async move {
            let value = row.read();
            gate.pass().await;
            Ok::<_, Infallible>(value)
        };
        let policy = policy().load_timeout(Duration::from_secs(600));
        tokio::spawn(async move { *acme.get_or_load(key!("k"), policy, load).await.unwrap() })
    };
    let mut readings = vec![read(&node, &gate)];
    gate.reached().await;
    for minute in 1..=6 {
        let leases = server.calls(Call::Lease);
        readings.push(read(&other, &gate));
        readings.push(read(&node, &gate));
        if minute == 1 {
            server.called(Call::Lease, leases + 1).await;
        }
        for _ in 0..150 {
            server.clock.advance(Duration::from_millis(400));
            assert!(node.beat().await && other.beat().await);
        }
    }
    gate.open();
    while !readings.iter().all(|reading| reading.is_finished()) {
        assert!(node.beat().await && other.beat().await);
        tokio::task::yield_now().await;
    }
    for reading in readings {
        assert_eq!(reading.await.unwrap(), 0);
    }
    assert_eq!(row.reads(), 1);
}

#[tokio::test]
async fn however_a_load_ends_its_lease_is_given_back() {
    // 17
    let ends = [
        "with an error",
        "with a panic",
        "in time never",
        "with what is not to be stored",
        "with what is too large",
        "and Redis does not take it",
        "and Redis does not say whether it took it",
    ];
    for end in ends {
        let server = Server::new();
        let too_large = end.ends_with("large");
        let set = |options: &mut Options| options.max_value_size = if too_large { 50 } else { 1 << 20 };
        let node = Node::with(&server, set).made_ready().await;
        match end {
            "and Redis does not take it" => server.on(Call::Fill, 1, Fault::Fail(StoreErrorKind::Timeout)),
            "and Redis does not say whether it took it" => {
                server.on(Call::Fill, 1, Fault::LoseReply(StoreErrorKind::Timeout));
            }
            _ => {}
        }
        let load = move |context: LoadContext| async move {
            match end {
                "with an error" => return Err(BoxError::from("down")),
                "with a panic" => std::panic::resume_unwind(Box::new("on purpose")),
                "in time never" => std::future::pending().await,
                "with what is not to be stored" => context.do_not_store(),
                _ => {}
            }
            Ok(Some("x".repeat(100)))
        };
        let policy = policy().load_timeout(Duration::from_millis(50));
        let _ = node.acme().fetch_with(key!("k"), policy, load).await;
        node.settled().await;
        assert!(!server.is_leased("acme", "k"), "a load that ended {end}");
    }
}

#[tokio::test]
async fn setting_a_value_waits_for_nobodys_load() {
    let (server, row, gate) = (Server::new(), Row::default(), Gate::default());
    let (node, other) = (Node::ready(&server).await, Node::ready(&server).await);
    let held = server.hold(Call::Lease);
    let acme = node.acme();
    let setting = tokio::spawn(async move { acme.set(key!("k"), 9_u64, policy()).await });
    held.reached().await;
    let elsewhere = tokio::spawn(other.read_through(&row, &gate));
    gate.reached().await;
    held.open();
    setting.await.unwrap().unwrap();
    gate.open();
    assert_eq!(elsewhere.await.unwrap().unwrap(), 0);
    assert_eq!(node.read(&row).await.unwrap(), 0, "all nodes have the same");
}

#[tokio::test]
async fn a_value_that_was_set_is_not_kept_if_anything_concerned_it_since_the_call() {
    let (tag, key) = (ScopeHash::of_tag("acme", "t"), ScopeHash::of_key("acme", &key!("k")));
    let other = ScopeHash::of_tag("acme", "other");
    let scopes = [(tag, false), (key, false), (tag.soft(), false), (key.soft(), false), (other, true)];
    let places = [Call::Invalidate, Call::Lease];
    for ((scope, kept), place) in scopes.into_iter().flat_map(|one| places.map(|place| (one, place))) {
        let server = Server::new();
        let mut node = Node::ready(&server).await;
        let acme = node.acme();
        let held = server.hold(place);
        let setting = {
            let acme = acme.clone();
            tokio::spawn(async move { acme.set(key!("k"), 1u64, policy().tag("t")).await })
        };
        held.reached().await;
        server.invalidate(&[scope]);
        held.open();
        while !setting.is_finished() {
            node.beat().await;
            tokio::task::yield_now().await;
        }
        setting.await.unwrap().unwrap();
        node.settled().await;
        let found = acme.get::<u64>(key!("k")).await.unwrap();
        assert_eq!((found.is_some(), server.is_stored("acme", "k")), (kept, kept), "{scope:?} {place:?}");
        assert!(!server.is_leased("acme", "k"));
    }
}

#[tokio::test]
async fn a_value_is_set_without_an_error_though_a_load_of_it_has_just_failed() {
    let server = Server::new();
    let (node, other) = (Node::ready(&server).await, Node::ready(&server).await);
    let held = server.hold(Call::Lease);
    let acme = node.acme();
    let setting = tokio::spawn(async move { acme.set(key!("k"), 1u64, policy().tag("t")).await });
    held.reached().await;
    let cools = policy().failure_cooldown(LEASE * 10);
    let failing = || async { Err::<u64, _>(BoxError::from("down")) };
    other.acme().get_or_load(key!("k"), &cools, failing).await.unwrap_err();
    other.settled().await;
    held.open();
    setting.await.unwrap().unwrap();
    node.settled().await;
    assert!(!server.is_stored("acme", "k"), "nobody stores it while it cools");
}
