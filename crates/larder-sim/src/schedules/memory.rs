//! Hits in memory, and what keeps them right.

use super::stage::{KEEP, LEASE, Seen, Stage, the_key};
use super::{Schedule, play};
use crate::network::of_the_state;
use larder::simulation::Place;
use larder::{prefix, tag};
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("s08 pushes unread for longer than a lease", play!(unread)),
    Schedule::new("s08 a lease counts from when its heartbeat was sent", play!(slow_heartbeat)),
    Schedule::new("s09 nothing is missed where nothing is missing", play!(nothing_missed)),
    Schedule::new("s09 a heartbeat shows that a push is missing", play!(missing_push)),
    Schedule::new("s19 an own invalidation holds before its push is here", play!(before_its_push)),
    Schedule::small("s20 an entry that is not read until the map forgets", play!(forgotten)),
    Schedule::new("s23 the lease is looked at before the counter", play!(counter_first)),
    Schedule::new("s24 a push after the look at the map", play!(stopped_hit, Place::MapChecked)),
    Schedule::small("s25 the map forgets while a hit is under way", play!(forgotten_meanwhile)),
    Schedule::small("s26 a push while the sweep goes on", play!(swept)),
    Schedule::new("s34 an own invalidation that was not delivered", play!(blocked)),
    Schedule::new("s34 an own invalidation that is under way", play!(blocked_meanwhile)),
    Schedule::new("s35 a push while an entry is admitted", play!(admitted)),
    Schedule::new("a new epoch ends every entry", play!(other_epoch)),
    Schedule::new("a caller's stamp is waited for", play!(at_least)),
];

async fn unread(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    stage.network.cut(1, false, true);
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(LEASE + 2).await;
    (stage.read(&b).await, needed)
}

async fn slow_heartbeat(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    stage.network.hold(1, of_the_state, true);
    stage.network.reached().await;
    stage.network.cut(1, false, true);
    stage.network.release();
    stage.pass(5).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(LEASE * 4 / 10).await;
    // The reply, not the push behind it.
    stage.network.let_through(1);
    stage.pass(LEASE * 6 / 10 + 5).await;
    (stage.read(&b).await, needed)
}

async fn missing_push(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.change_unheard(&a, 1, tag("one")).await;
    stage.pass(LEASE + 2).await;
    (stage.read(&b).await, needed)
}

async fn nothing_missed(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    for other in 0..10 {
        stage.tell(&a, tag(format!("other {other}"))).await;
    }
    stage.pass(LEASE).await;
    (u64::from(b.cache.stats().missed_pushes == 0), 1)
}

async fn before_its_push(stage: Arc<Stage>) -> Seen {
    let (a, _) = stage.two().await;
    stage.warm(&a).await;
    let needed = stage.change_unheard(&a, 0, tag("one")).await;
    (stage.read(&a).await, needed)
}

/// Lets the map forget everything that it can.
async fn forget(stage: &Arc<Stage>, by: &crate::node::Node) {
    for other in 0..20 {
        stage.invalidate(by, tag(format!("other {other}"))).await.expect("Redis is there");
    }
    // Pruning comes with heartbeats too.
    stage.pass(LEASE).await;
}

async fn forgotten(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    forget(&stage, &a).await;
    (stage.read(&b).await, needed)
}

async fn counter_first(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    // Its lease runs out, with a push unread.
    stage.network.cut(1, false, true);
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(LEASE + 2).await;
    let reading = stage.stopped_at(&b, Place::HitBegins).await;
    // It gets a link and a lease.
    stage.back(&b).await;
    b.host.go_on();
    (reading.await.expect("it runs to its end").0, needed)
}

async fn stopped_hit(stage: Arc<Stage>, place: Place) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    stage.tell(&a, prefix!("other")).await;
    stage.pass(50).await;
    let reading = stage.stopped_at(&b, place).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    b.host.go_on();
    let _ = reading.await;
    (stage.read(&b).await, needed)
}

async fn forgotten_meanwhile(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    let reading = stage.stopped_at(&b, Place::CounterSeen).await;
    forget(&stage, &a).await;
    b.host.go_on();
    (reading.await.expect("it runs to its end").0, needed)
}

async fn swept(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    // Its map is full, and it sweeps after an invalidation of its own: in a thread of that caller's.
    for other in 0..3 {
        stage.tell(&a, tag(format!("other {other}"))).await;
    }
    b.host.stop_at(Place::Swept);
    let sweeping = stage.invalidating(&b, tag("another"), false);
    stage.until(|| b.host.stands()).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(20).await;
    b.host.go_on();
    let _ = sweeping.await;
    stage.good(&b).await;
    (stage.read(&b).await, needed)
}

async fn blocked(stage: Arc<Stage>) -> Seen {
    let (_, b) = stage.two().await;
    stage.warm(&b).await;
    // Heartbeats go through, and what is written does not.
    stage.network.with_server(|server| server.lacks_replicas = true);
    let needed = stage.change_in_vain(&b, tag("one")).await;
    (stage.read(&b).await, needed)
}

async fn blocked_meanwhile(stage: Arc<Stage>) -> Seen {
    let (_, b) = stage.two().await;
    stage.warm(&b).await;
    stage.network.cut(1, true, false);
    let invalidating = stage.invalidating(&b, tag("one"), false);
    stage.pass(5).await;
    let loads = stage.loads();
    let reading = stage.reading(&b);
    stage.pass(KEEP).await;
    let _ = (invalidating.await, reading.await);
    // Nothing that is being invalidated is served: that read had to load.
    (stage.loads() - loads, 1)
}

async fn admitted(stage: Arc<Stage>) -> Seen {
    stage.without_late_tags();
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let reading = stage.stopped_at(&b, Place::Admitted).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    b.host.go_on();
    let _ = reading.await;
    (stage.read(&b).await, needed)
}

async fn other_epoch(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.with_server(|server| server.time.offset_us += 600_000_000);
    stage.tell(&a, prefix!("other")).await;
    stage.pass(3 * LEASE).await;
    stage.good(&b).await;
    stage.warm(&b).await;
    // The state is lost, and the new epoch's stamps begin below those of the old one.
    stage.network.with_server(|server| server.time.offset_us -= 600_000_000);
    stage.network.cut(1, true, true);
    stage.evict("}:i");
    stage.pass(LEASE / 2).await;
    stage.good(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(2 * LEASE).await;
    stage.back(&b).await;
    (stage.read(&b).await, needed)
}

async fn at_least(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    stage.network.cut(1, false, true);
    let needed = stage.commit();
    let stamp = stage.invalidate(&a, the_key()).await.expect("Redis is there");
    (stage.reading_at_least(&b, Some(stamp)).await.expect("it runs to its end").0, needed)
}
