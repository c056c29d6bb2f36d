//! Parts of a Cluster's data that move key by key, and primaries whose place another server takes at another address.

use super::stage::{LEASE, Seen, Stage, the_key};
use super::{Schedule, play};
use crate::network::Network;
use crate::node::Node;
use larder::{Key, key, tag};
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::cluster("a part of the data moves while it is loaded, and a tag is invalidated", play!(loaded)),
    Schedule::cluster("its coherence state moves first", play!(state_first)),
    Schedule::cluster("its entries move first", play!(entries_first)),
    Schedule::cluster("it moves there and back", play!(there_and_back)),
    Schedule::cluster("a replica elsewhere takes the place of one of two primaries", play!(of_two)),
    Schedule::sentinel("a replica elsewhere has not heard of the last invalidation", play!(lagging, false)),
    Schedule::sentinel("and the old primary is gone", play!(lagging, true)),
    Schedule::sentinel(
        "a stamp of a primary that this node has not heard of",
        play!(stamp_of_another_primary),
    ),
    Schedule::sentinel("no Sentinel knows yet who is the primary", play!(unknown)),
    Schedule::sentinel("a Sentinel knows it late", play!(known_late)),
    Schedule::sentinel(
        "an invalidation was acknowledged, and its server's place is taken",
        play!(acknowledged),
    ),
    Schedule::sentinel("a fill that was under way when another server took over", play!(fill)),
];

/// A key in the first server's part of acme's data, and the hash tag of that part.
fn a_part(stage: &Stage, node: &Node) -> (Key, &'static str) {
    let is_there = |key: &Key| stage.network.owner(node.tag_of("acme", key)) == 0;
    let key = (0..100).map(|id| key!("a", id)).find(is_there).expect("both servers have a part");
    let tag = node.tag_of("acme", &key);
    (key, tag)
}

async fn read(stage: &Arc<Stage>, node: &Node, key: &Key) -> u64 {
    let reading = stage.reading_of(node, node.cache.tenant("acme"), key.clone());
    reading.await.expect("it runs to its end").0
}

async fn read_both(stage: &Arc<Stage>, a: &Node, b: &Node, key: &Key) -> u64 {
    read(stage, a, key).await.min(read(stage, b, key).await)
}

/// The lease is there, the entry is not: the fill has to wait.
async fn loaded(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let (key, part) = a_part(&stage, &a);
    stage.hold_loaders();
    let reading = stage.reading_of(&a, a.cache.tenant("acme"), key.clone());
    stage.until(|| stage.loads() == 1).await;
    stage.network.begin_to_move(part, 1);
    let needed = stage.change(&b, tag("one")).await;
    stage.let_go(reading).await;
    let early = read(&stage, &b, &key).await;
    stage.network.end_move(part);
    stage.good(&a).await;
    stage.good(&b).await;
    (early.min(read_both(&stage, &a, &b, &key).await), needed)
}

/// Nothing can be invalidated until all has arrived.
async fn state_first(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let (key, part) = a_part(&stage, &a);
    read_both(&stage, &a, &b, &key).await;
    stage.network.begin_to_move(part, 1);
    stage.network.move_keys(part, |name| name.ends_with(b"}:i"));
    let needed = stage.commit();
    let told = stage.invalidate(&a, key.clone()).await;
    let own = read(&stage, &a, &key).await;
    stage.network.end_move(part);
    let Some(ticket) = told.as_ref().err().and_then(larder::Error::ticket) else { return (0, needed) };
    ticket.delivered().await.expect("it lives");
    stage.good(&b).await;
    stage.pass(LEASE + 2).await;
    (own.min(read_both(&stage, &a, &b, &key).await), needed)
}

/// They are where nobody looks, and what is invalidated meanwhile follows them.
async fn entries_first(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let (key, part) = a_part(&stage, &a);
    read(&stage, &a, &key).await;
    stage.network.begin_to_move(part, 1);
    stage.network.move_keys(part, |name| !name.ends_with(b"}:i"));
    let needed = stage.change(&a, tag("one")).await;
    stage.network.end_move(part);
    stage.good(&a).await;
    stage.good(&b).await;
    (read_both(&stage, &a, &b, &key).await, needed)
}

/// What it held when it left is not what it holds when it is back.
async fn there_and_back(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let (key, part) = a_part(&stage, &a);
    read(&stage, &a, &key).await;
    stage.network.begin_to_move(part, 1);
    stage.network.move_keys(part, |name| name.ends_with(b"}:i"));
    stage.network.end_move(part);
    stage.good(&a).await;
    read(&stage, &a, &key).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.network.begin_to_move(part, 0);
    stage.network.move_keys(part, |name| !name.ends_with(b"}:i"));
    stage.pass(20).await;
    let early = read(&stage, &a, &key).await;
    stage.network.end_move(part);
    stage.good(&a).await;
    stage.good(&b).await;
    (early.min(read_both(&stage, &a, &b, &key).await), needed)
}

/// The other one's part stays as it was, in memory and in Redis.
async fn of_two(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let (key, _) = a_part(&stage, &a);
    let is_there = |key: &Key| stage.network.owner(a.tag_of("acme", key)) == 1;
    let other = (0..100).map(|id| key!("a", id)).find(is_there).expect("both servers have a part");
    read_both(&stage, &a, &b, &key).await;
    read_both(&stage, &a, &b, &other).await;
    let lagging = stage.snapshot();
    let needed = stage.change(&a, key.clone()).await;
    let loads = stage.loads();
    stage.network.fail_over(lagging);
    stage.network.set_down(true);
    stage.until(|| !a.inside().good && !b.inside().good).await;
    stage.good(&a).await;
    stage.good(&b).await;
    let seen = read_both(&stage, &a, &b, &key).await;
    read_both(&stage, &a, &b, &other).await;
    (if stage.loads() == loads + 1 { seen } else { 0 }, needed)
}

/// Sentinels call this server the primary from now on.
fn call_primary(network: &Network, server: usize, sentinels: std::ops::Range<usize>) {
    for sentinel in &network.sentinels()[sentinels] {
        network.call_primary(*sentinel, server);
    }
}

async fn lagging(stage: Arc<Stage>, gone: bool) -> Seen {
    let (a, b) = stage.two().await;
    stage.read_both(&a, &b).await;
    let lagging = stage.snapshot();
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(LEASE + 2).await;
    let there = stage.network.fail_over(lagging);
    if gone {
        stage.network.set_down(true);
    }
    call_primary(&stage.network, there, 0..3);
    let early = stage.read_both(&a, &b).await;
    stage.until(|| !a.inside().good && !b.inside().good).await;
    stage.good(&a).await;
    stage.good(&b).await;
    let third = stage.node(2).await;
    (early.min(stage.read_both(&b, &third).await), needed)
}

/// It still speaks with the one of before, which answers what only reads.
async fn stamp_of_another_primary(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.promote(stage.snapshot());
    let needed = stage.commit();
    let stamp = stage.invalidate(&a, tag("one")).await.expect("it finds the new one");
    (stage.reading_at_least(&b, Some(stamp)).await.expect("it runs to its end").0, needed)
}

/// The old one takes no writes, and is connected to still.
async fn unknown(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read_both(&a, &b).await;
    let there = stage.network.fail_over(stage.snapshot());
    let needed = stage.change_in_vain(&a, the_key()).await;
    let own = stage.read(&a).await;
    call_primary(&stage.network, there, 0..3);
    stage.good(&a).await;
    stage.good(&b).await;
    stage.pass(LEASE + 2).await;
    (own.min(stage.read_both(&a, &b).await), needed)
}

/// It sends nobody back to the old one.
async fn known_late(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read_both(&a, &b).await;
    let there = stage.network.fail_over(stage.snapshot());
    call_primary(&stage.network, there, 0..2);
    stage.until(|| !a.inside().good && !b.inside().good).await;
    stage.good(&a).await;
    stage.good(&b).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    call_primary(&stage.network, there, 2..3);
    stage.pass(50).await;
    (if a.inside().good && b.inside().good { stage.read_both(&a, &b).await } else { 0 }, needed)
}

/// Who had applied it goes on to the server that has never heard of it.
async fn acknowledged(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let lagging = stage.snapshot();
    let needed = stage.commit();
    let told = stage.invalidating(&a, tag("one"), true).await.expect("it runs to its end");
    told.expect("all are there");
    let there = stage.network.fail_over(lagging);
    stage.network.set_down(true);
    call_primary(&stage.network, there, 0..3);
    let early = stage.read(&b).await;
    stage.good(&b).await;
    (early.min(stage.read_both(&b, &a).await), needed)
}

async fn fill(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.loading(&a).await;
    let lagging = stage.snapshot();
    let needed = stage.change(&b, tag("one")).await;
    let there = stage.network.fail_over(lagging);
    call_primary(&stage.network, there, 0..3);
    stage.until(|| !b.inside().good).await;
    stage.good(&b).await;
    stage.good(&a).await;
    stage.let_go(reading).await;
    (stage.read_both(&a, &b).await, needed)
}
