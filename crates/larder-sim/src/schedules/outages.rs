//! Outages, and invalidations that Redis could not be told of.

use super::stage::{LEASE, Seen, Stage, the_key};
use super::{Schedule, play};
use crate::network::{invalidates, of_an_entry};
use larder::{ErrorKind, tag};
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("s12 who deferred in an outage dies in it", play!(died, false)),
    Schedule::new("s12 and has been forgotten by Redis", play!(died, true)),
    Schedule::new("s12 and all who knew it die with it", play!(all_died)),
    Schedule::new("s12 and was registered before the last epoch", play!(registered_before)),
    Schedule::new("a new epoch is told at once", play!(told)),
    Schedule::new("s13 who deferred in an outage is slow to come back", play!(slow)),
    Schedule::new("an outage is settled once all are back", play!(settled)),
    Schedule::new("what was deferred is delivered", play!(delivered)),
    Schedule::new("an invalidation outlasts a short outage", play!(short)),
    Schedule::new("an epoch begins behind a barrier while a fill is under way", play!(fill_at_the_barrier)),
    Schedule::new("the clock goes back while an outage is settled", play!(clock_in_an_outage, -5000)),
    Schedule::new("the clock leaps while an outage is settled", play!(clock_in_an_outage, 5000)),
    Schedule::new("an outage in an outage", play!(twice)),
    Schedule::new("who is about to defer has not delivered", play!(unfinished)),
    Schedule::new("who defers once all others have delivered dies", play!(defers_last)),
];

async fn died(stage: Arc<Stage>, forgotten: bool) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    let needed = stage.commit();
    let told = stage.invalidate(&a, tag("one")).await;
    assert_eq!(told.expect_err("Redis is away").kind(), ErrorKind::Deferred);
    a.host.crash();
    if forgotten {
        // What is registered is lost with the state, and what others know is not.
        stage.set_state(&format!("!n{}", a.inside().node), -1.0);
    }
    stage.network.set_down(false);
    stage.pass(10).await;
    stage.good(&b).await;
    (stage.read(&b).await, needed)
}

/// Only Redis knows who was there: a node that has just come must ask it.
async fn all_died(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    let needed = stage.change_in_vain(&a, tag("one")).await;
    a.host.crash();
    b.host.crash();
    stage.network.set_down(false);
    let third = stage.node(2).await;
    (stage.read(&third).await, needed)
}

/// A new epoch began shortly before the outage, and not all have registered in it.
async fn registered_before(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.cut(0, true, true);
    stage.network.restart(stage.snapshot());
    stage.until(|| b.cache.stats().epoch_bumps > 0).await;
    stage.good(&b).await;
    stage.read(&b).await;
    stage.network.set_down(true);
    stage.network.join(0);
    let needed = stage.change_in_vain(&a, tag("one")).await;
    a.host.crash();
    b.host.crash();
    stage.pass(LEASE).await;
    // Of those who were there only the one that has nothing to deliver says so.
    stage.set_state(&format!("!n{}", b.inside().node), -1.0);
    stage.network.set_down(false);
    let third = stage.node(2).await;
    (stage.read(&third).await, needed)
}

async fn told(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    // It hears, and cannot ask.
    stage.network.cut(0, true, false);
    let before = a.cache.stats().epoch_bumps;
    stage.evict("}:i");
    stage.until(|| b.cache.stats().epoch_bumps > before).await;
    stage.pass(20).await;
    (u64::from(a.cache.stats().epoch_bumps > before), 1)
}

async fn slow(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    let needed = stage.change_in_vain(&a, tag("one")).await;
    stage.network.cut(0, true, true);
    stage.network.set_down(false);
    stage.pass(LEASE / 2).await;
    let early = stage.read(&b).await;
    stage.back(&a).await;
    stage.good(&b).await;
    (early.min(stage.read(&b).await), needed)
}

/// All who were there come back: Redis is trusted again, with what it holds.
async fn settled(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    stage.pass(3 * LEASE).await;
    stage.network.set_down(false);
    stage.good(&a).await;
    stage.good(&b).await;
    let loads = stage.loads();
    let fresh = stage.node(2).await;
    stage.read(&fresh).await;
    (u64::from(stage.loads() == loads), 1)
}

async fn delivered(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.cut(&a).await;
    let needed = stage.change_in_vain(&a, tag("one")).await;
    stage.back(&a).await;
    stage.pass(2 * LEASE).await;
    (stage.read(&b).await.min(stage.read(&a).await), needed)
}

async fn short(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    let needed = stage.commit();
    let mut invalidating = stage.invalidating(&a, tag("one"), false);
    stage.pass(LEASE / 4).await;
    // It has not given up yet, or everybody would rely on Redis without it.
    let early = stage.ends(&mut invalidating, 1).await;
    stage.network.set_down(false);
    a.host.crash();
    stage.pass(10).await;
    stage.good(&b).await;
    (if early { stage.read(&b).await } else { needed }, needed)
}

/// One of three never comes back, so that the others begin an epoch; a load from before is stored then.
async fn fill_at_the_barrier(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let third = stage.node(2).await;
    stage.pass(LEASE).await;
    let reading = stage.loading(&a).await;
    stage.network.set_down(true);
    let needed = stage.change_in_vain(&third, tag("one")).await;
    third.host.crash();
    stage.network.set_down(false);
    stage.network.hold(0, of_an_entry, false);
    stage.pass(LEASE).await;
    stage.let_loaders_go();
    stage.good(&b).await;
    stage.let_go(reading).await;
    stage.good(&a).await;
    (stage.read_both(&a, &b).await, needed)
}

/// The silence is measured by a clock that steps in it.
async fn clock_in_an_outage(stage: Arc<Stage>, step_ms: i64) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    let needed = stage.change_in_vain(&a, tag("one")).await;
    stage.network.cut(0, true, true);
    stage.network.set_down(false);
    stage.good(&b).await;
    let early = stage.read(&b).await;
    stage.network.with_server(|server| server.time.offset_us += step_ms * 1000);
    stage.back(&a).await;
    stage.pass(2 * LEASE).await;
    (early.min(stage.read(&b).await), needed)
}

/// The second comes while the first is being settled, and who had delivered everything then defers once more and dies.
async fn twice(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let third = stage.node(2).await;
    stage.pass(LEASE).await;
    stage.read(&a).await;
    stage.network.cut(2, true, true);
    stage.network.set_down(true);
    stage.pass(2 * LEASE).await;
    stage.network.set_down(false);
    // Both wait for the third.
    stage.pass(LEASE / 2).await;
    stage.network.set_down(true);
    stage.pass(LEASE).await;
    let needed = stage.change_in_vain(&a, tag("one")).await;
    a.host.crash();
    stage.network.join(2);
    stage.network.set_down(false);
    stage.good(&b).await;
    stage.good(&third).await;
    (stage.read(&b).await.min(stage.read(&third).await), needed)
}

async fn unfinished(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    stage.pass(LEASE + LEASE / 10).await;
    let needed = stage.commit();
    let invalidating = stage.invalidating(&a, the_key(), false);
    stage.pass(5).await;
    stage.network.set_down(false);
    let _ = invalidating.await;
    stage.good(&a).await;
    stage.good(&b).await;
    stage.pass(LEASE + 2).await;
    (stage.read(&b).await, needed)
}

/// It has begun before Redis came back, and is held up on its way until it is deferred.
async fn defers_last(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.set_down(true);
    stage.pass(LEASE + LEASE / 10).await;
    stage.network.hold(0, invalidates, false);
    let needed = stage.commit();
    let invalidating = stage.invalidating(&a, tag("one"), false);
    stage.pass(5).await;
    stage.network.set_down(false);
    let deferred = invalidating.await.is_ok_and(|told| told.is_err());
    a.host.crash();
    stage.good(&b).await;
    stage.pass(LEASE + 2).await;
    (if deferred { stage.read(&b).await } else { needed }, needed)
}
