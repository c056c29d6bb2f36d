//! A cache in several buckets, on several servers of a Cluster.

use super::stage::{LEASE, Seen, Stage};
use super::{Schedule, play};
use crate::network::of_an_entry;
use crate::node::Node;
use larder::{Key, all, key, tag};
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::cluster("everything is in all buckets", play!(everything)),
    Schedule::cluster("a spread tenant's tag is in all its parts", play!(spread)),
    Schedule::cluster("what one bucket could not be told is not done", play!(partly)),
    Schedule::cluster("a server that restarts concerns its buckets", play!(restarted)),
    Schedule::cluster("a bucket moves while a part of it is loaded", play!(moved)),
    Schedule::cluster("a bucket moves, and what it held is lost", play!(moved_empty)),
    Schedule::cluster("two outages, one in the other", play!(two_outages)),
];

/// A key in each part of the spread tenant.
fn parts(stage: &Stage, node: &Node) -> [Key; 2] {
    let of = |server: usize| {
        let is_there = |key: &Key| stage.network.owner(node.tag_of("acme", key)) == server;
        (0..100).map(|id| key!("a", id)).find(is_there).expect("both servers have a part")
    };
    [of(0), of(1)]
}

/// The lowest version of the row that is read under the keys of both parts.
async fn read(stage: &Arc<Stage>, node: &Node, keys: &[Key; 2]) -> u64 {
    let mut lowest = u64::MAX;
    for key in keys {
        let reading = stage.reading_of(node, node.cache.tenant("acme"), key.clone());
        lowest = lowest.min(reading.await.expect("it runs to its end").0);
    }
    lowest
}

async fn everything(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let keys = parts(&stage, &a);
    read(&stage, &b, &keys).await;
    let needed = stage.commit();
    let cache = a.cache.clone();
    a.host.run(async move { cache.invalidate(all()).await }).await.expect("Redis is there");
    stage.pass(50).await;
    (read(&stage, &b, &keys).await.min(read(&stage, &a, &keys).await), needed)
}

async fn spread(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let keys = parts(&stage, &a);
    read(&stage, &b, &keys).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    (read(&stage, &b, &keys).await, needed)
}

async fn partly(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let keys = parts(&stage, &a);
    read(&stage, &b, &keys).await;
    let server = stage.network.at(1);
    server.set_down(true);
    let needed = stage.commit();
    let told = stage.invalidate(&a, tag("one")).await;
    let own = read(&stage, &a, &keys).await;
    server.set_down(false);
    let Some(ticket) = told.as_ref().err().and_then(larder::Error::ticket) else { return (0, needed) };
    ticket.delivered().await.expect("it lives");
    stage.good(&b).await;
    stage.pass(LEASE + 2).await;
    (own.min(read(&stage, &b, &keys).await), needed)
}

/// The other bucket stays as it was, in memory and in Redis.
async fn restarted(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let keys = parts(&stage, &a);
    read(&stage, &a, &keys).await;
    read(&stage, &b, &keys).await;
    let server = stage.network.at(1);
    let old = server.with_server(|server| server.data.clone());
    let needed = stage.change(&a, keys[1].clone()).await;
    let loads = stage.loads();
    server.restart(old);
    stage.good(&a).await;
    stage.good(&b).await;
    let there = stage.reading_of(&b, b.cache.tenant("acme"), keys[1].clone());
    let there = there.await.expect("it runs to its end").0;
    let other = stage.reading_of(&b, b.cache.tenant("acme"), keys[0].clone());
    let _ = other.await;
    (if stage.loads() == loads + 1 { there } else { 0 }, needed)
}

async fn moved(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let [here, _] = parts(&stage, &a);
    let tag_of_part = a.tag_of("acme", &here);
    stage.hold_loaders();
    let reading = stage.reading_of(&a, a.cache.tenant("acme"), here.clone());
    stage.until(|| stage.loads() == 1).await;
    stage.network.hold(0, of_an_entry, false);
    stage.network.move_slot(tag_of_part, 1, true);
    stage.good(&b).await;
    let needed = stage.change(&b, tag("one")).await;
    stage.let_loaders_go();
    stage.pass(50).await;
    stage.let_go(reading).await;
    stage.good(&a).await;
    let again = |node: &Node| stage.reading_of(node, node.cache.tenant("acme"), here.clone());
    let (first, second) = (again(&a), again(&b));
    let first = first.await.expect("it runs to its end").0;
    (first.min(second.await.expect("it runs to its end").0), needed)
}

async fn moved_empty(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let keys = parts(&stage, &a);
    read(&stage, &b, &keys).await;
    // It hears of nothing for a while, and its lease holds.
    stage.network.cut(1, true, true);
    stage.network.move_slot(a.tag_of("acme", &keys[0]), 1, false);
    stage.pass(LEASE / 2).await;
    stage.good(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(LEASE + 2).await;
    let cut_off = read(&stage, &b, &keys).await;
    stage.back(&b).await;
    (cut_off.min(read(&stage, &b, &keys).await), needed)
}

async fn two_outages(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let keys = parts(&stage, &a);
    read(&stage, &a, &keys).await;
    stage.network.at(0).set_down(true);
    stage.pass(LEASE * 3 / 2).await;
    stage.network.at(1).set_down(true);
    stage.pass(LEASE / 2).await;
    stage.network.at(0).set_down(false);
    stage.pass(LEASE).await;
    // The one has come back, and the other is away.
    let needed = stage.commit();
    let told = stage.invalidate(&a, all()).await;
    a.host.crash();
    stage.network.at(1).set_down(false);
    stage.pass(10).await;
    stage.good(&b).await;
    stage.pass(LEASE + 2).await;
    (if told.is_err() { read(&stage, &b, &keys).await } else { 0 }, needed)
}
