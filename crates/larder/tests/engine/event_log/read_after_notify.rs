//! Whoever sees an event reads the new value, on any node: also on one that hears of nothing just then.

use super::SOON;
use crate::support::{Row, node, policy, ready};
use larder::{Cache, Event, Watch, WatchNext, key, tag};
use larder_testkit::{Fault, RedisServer, TcpProxy, assert_eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How an event gets into the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Published,
    /// Not behind its invalidation's acknowledgements: the fault that the tests must be able to see.
    InvalidatedAndAppended,
}

/// What was read on the events.
#[derive(Default)]
struct Reads {
    events: AtomicU64,
    all: AtomicU64,
    stale: AtomicU64,
}

/// Clients that read again on each event, on each node.
const CLIENTS: usize = 10;

/// Reads again, on all nodes, on every event that comes.
async fn read_on_events(mut watch: Watch, nodes: Vec<Cache>, row: Row, reads: Arc<Reads>) {
    while let Some(next) = watch.next().await {
        let WatchNext::Event(event) = next else { panic!("{next:?}") };
        let json: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
        let version = json["data"].as_u64().unwrap();
        let clients = nodes.iter().flat_map(|node| std::iter::repeat_n(node, CLIENTS));
        let read = clients.map(|node| {
            let (row, acme) = (row.clone(), node.tenant("acme"));
            async move { *acme.get_or_load(key!("k"), policy().tag("t"), move || row.load()).await.unwrap() }
        });
        let read = futures_util::future::join_all(read).await;
        let stale = read.iter().filter(|read| **read < version).count();
        reads.all.fetch_add(read.len() as u64, Ordering::Relaxed);
        reads.stale.fetch_add(stale as u64, Ordering::Relaxed);
        reads.events.fetch_add(1, Ordering::Relaxed);
    }
}

/// Writes again and again, while one node's connections are stopped and let go; what was read on the events.
async fn run(way: Way, at_least: u64, stops: u32) -> Arc<Reads> {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    // What it loads while it is cut off it does not keep: that is another promise.
    let stopped =
        Cache::builder("test").redis(url.as_str()).outage_memory_ttl(Duration::ZERO).build().await.unwrap();
    ready(&stopped).await;
    let (writer, other) = (node(&redis).await, node(&redis).await);
    let (row, reads): (Row, Arc<Reads>) = Default::default();
    let nodes = vec![writer.clone(), other.clone(), stopped.clone()];
    let watch = other.event_log().watch("acme").await.unwrap();
    let reader = tokio::spawn(read_on_events(watch, nodes, row.clone(), Arc::clone(&reads)));
    let mut round = 0;
    while reads.all.load(Ordering::Relaxed) < at_least || round < stops {
        round += 1;
        // Now and then the messages to the third node are held, and let go when its lease may have run out.
        let stop = round <= stops;
        if stop {
            ready(&stopped).await;
            let row = row.clone();
            stopped
                .tenant("acme")
                .get_or_load(key!("k"), policy().tag("t"), move || row.load())
                .await
                .unwrap();
            proxy.set(Fault::Stall).await;
        }
        for _ in 0..5 {
            let version = row.write();
            let event = Event::new("row.changed").data(version.into());
            let acme = writer.tenant("acme");
            match way {
                Way::Published => {
                    let mut publication = acme.publish(event.invalidates([tag("t")]));
                    let logged = publication.logged();
                    publication.await.unwrap();
                    tokio::time::timeout(SOON, logged).await.unwrap().unwrap();
                }
                Way::InvalidatedAndAppended => {
                    acme.invalidate(tag("t")).await.unwrap();
                    writer.event_log().append("acme", event).await.unwrap();
                }
            }
        }
        assert_eventually!(reads.events.load(Ordering::Relaxed) >= row.version(), SOON, "all are read on");
        proxy.heal().await;
    }
    other.shutdown().await;
    reader.await.unwrap();
    reads
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_who_reads_on_an_event_gets_an_old_value_from_any_node() {
    let reads = run(Way::Published, 20_000, 4).await;
    assert!(reads.all.load(Ordering::Relaxed) >= 20_000);
    assert_eq!(reads.stale.load(Ordering::Relaxed), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_does_not_wait_for_acknowledgements_is_seen_too_early() {
    // What the test above would see: this is how it is known to look.
    let reads = run(Way::InvalidatedAndAppended, 1_000, 4).await;
    assert!(reads.stale.load(Ordering::Relaxed) > 0, "of {} reads", reads.all.load(Ordering::Relaxed));
}
