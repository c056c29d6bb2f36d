//! Invalidations by patterns of keys.

use super::stage::{LEASE, Seen, Stage};
use super::{FEW_PATTERNS, Schedule, play};
use larder::{Selector, glob};
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("a pattern concerns what it matches", play!(matched)),
    Schedule::new("a pattern spares what it does not match", play!(spared)),
    Schedule::new("a pattern during a load", play!(during_a_load)),
    Schedule::new("patterns that a node has not seen", play!(came_later)),
    Schedule::new("a pattern whose message is still on its way", play!(on_its_way)),
    Schedule::new("an own pattern is ahead of another's", play!(ahead)),
    Schedule::new("a pattern that was not delivered", play!(deferred)),
    Schedule::small("a pattern that is forgotten for want of room", play!(forgotten)),
    Schedule::within(FEW_PATTERNS, "patterns that are forgotten for want of room", play!(all_forgotten)),
    Schedule::small("more patterns at once than are remembered", play!(many)),
];

async fn matched(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.change(&a, glob("a:*")).await;
    stage.pass(50).await;
    (stage.read(&b).await, needed)
}

/// Neither in memory nor in Redis.
async fn spared(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&a).await;
    let loads = stage.loads();
    stage.tell(&a, glob("a:2*")).await;
    stage.pass(50).await;
    let _ = (stage.read(&a).await, stage.read(&b).await);
    (u64::from(stage.loads() == loads), 1)
}

async fn during_a_load(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.loading(&b).await;
    let needed = stage.change(&a, glob("*:1")).await;
    stage.let_go(reading).await;
    stage.pass(50).await;
    (stage.read(&b).await, needed)
}

async fn came_later(stage: Arc<Stage>) -> Seen {
    let (a, _) = stage.two().await;
    stage.warm(&a).await;
    let needed = stage.change(&a, glob("a:*")).await;
    let third = stage.node(2).await;
    stage.tell(&a, glob("other*")).await;
    stage.pass(50).await;
    (stage.read(&third).await, needed)
}

async fn on_its_way(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.tell(&a, glob("other*")).await;
    stage.pass(50).await;
    stage.network.miss_a_push(1);
    let needed = stage.change(&a, glob("a:*")).await;
    (stage.read(&b).await, needed)
}

/// The reply to its own is here, the messages of both are not.
async fn ahead(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.miss_pushes(1, 2);
    let needed = stage.change(&a, glob("a:*")).await;
    stage.tell(&b, glob("other*")).await;
    let early = stage.read(&b).await;
    stage.pass(2 * LEASE).await;
    (early.min(stage.read(&b).await), needed)
}

async fn deferred(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&a).await;
    stage.warm(&b).await;
    stage.cut(&b).await;
    let needed = stage.commit();
    assert!(stage.invalidate(&b, glob("a:*")).await.is_err(), "it is cut off");
    let own = stage.read(&b).await;
    stage.back(&b).await;
    stage.pass(50).await;
    (own.min(stage.read(&a).await).min(stage.read(&b).await), needed)
}

async fn forgotten(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.change(&a, glob("a:*")).await;
    // One is remembered.
    stage.tell(&a, glob("other*")).await;
    stage.pass(50).await;
    (stage.read(&b).await, needed)
}

async fn all_forgotten(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.change(&a, glob("a:*")).await;
    // Two are remembered, of all tenants.
    for tenant in ["beta", "gamma"] {
        let tenant = a.cache.tenant(tenant);
        let told = a.host.run(async move { tenant.invalidate(glob("other*")).await });
        told.await.expect("Redis is there");
    }
    stage.tell(&a, glob("other*")).await;
    stage.pass(50).await;
    (stage.read(&b).await, needed)
}

async fn many(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let patterns: Vec<Selector> = ["a:*", "other*", "b*", "c*"].map(glob).into();
    let needed = stage.change(&a, patterns).await;
    stage.pass(50).await;
    (stage.read(&b).await, needed)
}
