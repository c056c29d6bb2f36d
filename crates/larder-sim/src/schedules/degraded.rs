//! Values that were loaded without Redis.

use super::stage::{KEEP, LEASE, Seen, Stage, the_key};
use super::{Schedule, play};
use crate::network::of_the_state;
use larder::tag;
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("s21 trust returns: no longer than a lease", play!(back_in_time)),
    Schedule::new("s22 it never becomes a trusted entry", play!(promoted)),
    Schedule::new("s22 it belongs to one outage", play!(second_outage)),
    Schedule::new("s28 it is kept from the start of its load", play!(slow_load)),
    Schedule::new("s29 the own invalidation takes it", play!(own)),
    Schedule::new("s30 the own invalidation during its load", play!(own_meanwhile)),
    Schedule::new("s31 with trust the untrusted period ends", play!(trusted_without_lease)),
    Schedule::new("s31 with a renewed lease the untrusted period ends", play!(lapsed)),
    Schedule::new("s33 a flight from before an invalidation", play!(old_flight)),
    Schedule::new("s33 a flight from before trust", play!(flight_across_trust)),
];

async fn back_in_time(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.cut(&b).await;
    stage.warm(&b).await;
    let needed = stage.change(&a, the_key()).await;
    stage.back(&b).await;
    (stage.read(&b).await, needed)
}

async fn promoted(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.cut(&b).await;
    stage.warm(&b).await;
    let needed = stage.change(&a, the_key()).await;
    stage.back(&b).await;
    stage.pass(KEEP + LEASE).await;
    (stage.read(&b).await, needed)
}

async fn second_outage(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.cut(&b).await;
    stage.warm(&b).await;
    stage.back(&b).await;
    // Trusted for a moment only: it learns of this invalidation, and remembers nothing of it for what it had loaded.
    let needed = stage.change_unheard(&a, 1, the_key()).await;
    stage.network.disconnect(Some(1));
    stage.network.cut(1, true, true);
    stage.until(|| !b.inside().good).await;
    (stage.read(&b).await, needed)
}

async fn slow_load(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.cut(&b).await;
    let reading = stage.loading(&b).await;
    let needed = stage.change(&a, the_key()).await;
    stage.pass(KEEP - 100).await;
    stage.let_go(reading).await;
    stage.pass(KEEP - 100).await;
    (stage.read(&b).await, needed)
}

async fn own(stage: Arc<Stage>) -> Seen {
    let (_, b) = stage.two().await;
    stage.cut(&b).await;
    stage.warm(&b).await;
    let needed = stage.change_in_vain(&b, tag("one")).await;
    (stage.read(&b).await, needed)
}

async fn own_meanwhile(stage: Arc<Stage>) -> Seen {
    let (_, b) = stage.two().await;
    stage.cut(&b).await;
    let reading = stage.loading(&b).await;
    let needed = stage.change_in_vain(&b, tag("one")).await;
    stage.let_go(reading).await;
    (stage.read(&b).await, needed)
}

/// Trust has begun, the heartbeat that begins the lease is under way.
async fn trusted_without_lease(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.cut(&b).await;
    stage.warm(&b).await;
    stage.network.disconnect(Some(1));
    stage.until(|| !b.cache.stats().trusted).await;
    // Recovery asks the state once and registers twice; then comes the heartbeat that begins the lease.
    stage.network.hold_later(1, of_the_state, false, 3);
    stage.network.join(1);
    stage.network.reached().await;
    assert!(b.cache.stats().trusted && !b.inside().good, "the lease begins later");
    // What it does not hear of from here on it would learn with that heartbeat.
    let needed = stage.change_unheard(&a, 1, the_key()).await;
    (stage.read(&b).await, needed)
}

/// The link stays, and only the lease runs out.
async fn lapsed(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    // Two heartbeats without an answer are no reason to give the link up.
    stage.network.cut(1, true, false);
    stage.until(|| !b.inside().good).await;
    let trusted = b.cache.stats().trusted;
    stage.warm(&b).await;
    stage.network.join(1);
    stage.until(|| b.inside().good).await;
    let needed = stage.change_unheard(&a, 1, the_key()).await;
    stage.network.cut(1, true, true);
    stage.until(|| !b.inside().good).await;
    // Served without a lease, it would be as old as its load; the invalidation is older than a lease by now.
    let seen = stage.read(&b).await;
    (if trusted { seen } else { needed.max(seen) }, needed)
}

async fn old_flight(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.cut(&b).await;
    let reading = stage.loading(&b).await;
    let needed = stage.change(&a, the_key()).await;
    stage.pass(KEEP + 1).await;
    let second = stage.reading(&b);
    stage.pass(20).await;
    stage.let_go(reading).await;
    (second.await.expect("it runs to its end").0, needed)
}

async fn flight_across_trust(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    // It begins in good state, and outlasts what puts everything in doubt.
    let reading = stage.loading(&b).await;
    stage.network.cut(1, true, true);
    stage.until(|| !b.inside().good).await;
    let needed = stage.change(&a, the_key()).await;
    stage.back(&b).await;
    let second = stage.reading(&b);
    stage.pass(20).await;
    stage.let_go(reading).await;
    (second.await.expect("it runs to its end").0, needed)
}
