//! Values on their way from and to Redis.

use super::stage::{LEASE, Seen, Stage, the_key};
use super::{Schedule, play};
use crate::network::{of_an_entry, reads_stamps, recovers};
use larder::simulation::Place;
use larder::{glob, prefix, tag};
use std::sync::Arc;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("s01 a fill that a key's invalidation overtook", play!(overtaken, None)),
    Schedule::new("s02 a fill that a late tag's invalidation overtook", play!(overtaken, Some("late"))),
    Schedule::new("s03 a value has the version of its lease", play!(version_of_the_lease)),
    Schedule::new("s04 an invalidation between value and stamps of a read", play!(within_a_read)),
    Schedule::plain("s04 the same where no tags are asked for but the call's own", play!(within_a_read)),
    Schedule::new("another entry between value and stamps of a read", play!(replaced_within_a_read)),
    Schedule::new("a tag that the call does not name", play!(unnamed, false)),
    Schedule::plain("a tag that the call does not name, and does not ask for", play!(unnamed, false)),
    Schedule::new("a tag that the call does not name, on a node that was there", play!(unnamed, true)),
    Schedule::plain("the same, and that the call does not ask for", play!(unnamed, true)),
    Schedule::small("a tag that the call does not name, and that is forgotten", play!(unnamed_forgotten)),
    Schedule::new("s05 a push overtakes the reply of a read", play!(push_overtakes_reply)),
    Schedule::plain("s05 a push overtakes the reply of a read, plainly", play!(push_overtakes_reply)),
    Schedule::new("s06 a push is missed while a reply is under way", play!(missed_push)),
    Schedule::plain("s06 a push is missed while a reply is under way, plainly", play!(missed_push)),
    Schedule::new("s07 nobody joins a flight from before an own invalidation", play!(no_join)),
    Schedule::plain("s07 nobody joins a flight from before an own invalidation, plainly", play!(no_join)),
    Schedule::new("s07 nobody waits for a load from before an own invalidation", play!(no_wait)),
    Schedule::new("s07 a joined flight brings what a late tag has invalidated", play!(late_join)),
    Schedule::new("nobody joins under a lease that was renewed after he looked", play!(join_across_a_lapse)),
    Schedule::new("s10 an old snapshot comes back", play!(old_snapshot)),
    Schedule::new("s10 and what it held is in nobody's epoch", play!(old_entry)),
    Schedule::new("a primary that was a replica in between has lost its history", play!(ping_pong)),
    Schedule::new("who knows better than such a primary does not believe it", play!(lost_history)),
    Schedule::new("nor where others have gone on there", play!(lost_history_that_goes_on)),
    Schedule::new("nor what a pattern had ended there", play!(lost_pattern)),
    Schedule::new("nor whom it tells of something after that", play!(lost_history_that_is_told)),
    Schedule::new("what was read of it is served no more when that shows", play!(read_of_the_past)),
    Schedule::new("a newcomer finds no entry that was invalidated by its key", play!(newcomer)),
    Schedule::new("an epoch of old comes back under the server that was in it", play!(epoch_of_old)),
    Schedule::new("s11 the coherence state alone is lost", play!(state_lost)),
    Schedule::new("s15 a lease that ran out fills nothing", play!(late_fill)),
    Schedule::new("s18 the state is lost and the clock goes back", play!(clock_back)),
    Schedule::new("the clock goes back and stamps do not", play!(stamps_rise, -60_000_000)),
    Schedule::new("the clock stands still and stamps do not", play!(same_microsecond)),
    Schedule::small("what the state has forgotten stays invalid", play!(floor)),
    Schedule::small("what the state has forgotten is not filled", play!(floor_at_fill)),
    Schedule::new("an entry of a tag that was invalidated is not offered", play!(retry)),
    Schedule::new("a fill of another epoch", play!(fill_across_epochs)),
];

async fn overtaken(stage: Arc<Stage>, late: Option<&'static str>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.loading(&a).await;
    let needed = stage.commit();
    let told = match late {
        None => stage.invalidate(&b, the_key()).await,
        Some(late) => stage.invalidate(&b, tag(late)).await,
    };
    told.expect("Redis is there");
    stage.let_go(reading).await;
    stage.pass(5).await;
    (stage.read_both(&a, &b).await, needed)
}

async fn version_of_the_lease(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.loading(&a).await;
    let needed = stage.change(&b, tag("one")).await;
    // The push is here before the fill.
    stage.pass(50).await;
    stage.let_go(reading).await;
    (stage.read(&b).await, needed)
}

async fn within_a_read(stage: Arc<Stage>) -> Seen {
    stage.without_late_tags();
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let reading = stage.asking(&b, reads_stamps).await;
    let needed = stage.change(&a, the_key()).await;
    stage.pass(50).await;
    stage.let_go(reading).await;
    stage.pass(5).await;
    (stage.read(&b).await, needed)
}

/// What the stamps are read with are the new entry's tags. The old one's are not among them.
async fn replaced_within_a_read(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    // It has the value, and does not hear what happens to it.
    let reading = stage.asking(&b, reads_stamps).await;
    stage.network.miss_a_push(1);
    let needed = stage.change(&a, tag("late")).await;
    stage.without_late_tags();
    stage.read(&a).await;
    stage.network.release();
    let (read, _) = reading.await.expect("it runs to its end");
    stage.pass(5).await;
    // The first began before the change, and yet must not have taken the old value for valid after it.
    (read.min(stage.read(&b).await), needed)
}

async fn unnamed(stage: Arc<Stage>, was_there: bool) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.change(&a, tag("late")).await;
    let reader = if was_there { b } else { stage.node(2).await };
    let named = stage.read(&reader).await;
    // And of a value that was put there again by somebody else.
    (named.min(stage.fresh(&a).await), needed)
}

async fn unnamed_forgotten(stage: Arc<Stage>) -> Seen {
    let (a, _) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.change(&a, tag("late")).await;
    for other in 0..100 {
        stage.tell(&a, tag(format!("other {other}"))).await;
    }
    let third = stage.node(2).await;
    (stage.read(&third).await, needed)
}

async fn push_overtakes_reply(stage: Arc<Stage>) -> Seen {
    stage.without_late_tags();
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let reading = stage.answered(&b, reads_stamps).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    stage.let_go(reading).await;
    stage.pass(5).await;
    (stage.read(&b).await, needed)
}

async fn missed_push(stage: Arc<Stage>) -> Seen {
    stage.without_late_tags();
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let reading = stage.answered(&b, reads_stamps).await;
    let needed = stage.change_unheard(&a, 1, tag("one")).await;
    // What is pushed next shows that something is missing.
    stage.tell(&a, prefix!("other")).await;
    stage.pass(20).await;
    stage.let_go(reading).await;
    stage.pass(5).await;
    (stage.read(&b).await, needed)
}

async fn no_join(stage: Arc<Stage>) -> Seen {
    stage.without_late_tags();
    let (a, b) = stage.two().await;
    stage.read(&b).await;
    let reading = stage.answered(&a, reads_stamps).await;
    let needed = stage.change(&a, the_key()).await;
    let second = stage.reading(&a);
    stage.pass(20).await;
    stage.let_go(reading).await;
    (second.await.expect("it runs to its end").0, needed)
}

async fn no_wait(stage: Arc<Stage>) -> Seen {
    let (a, _) = stage.two().await;
    let old = stage.loading(&a).await;
    stage.tell(&a, the_key()).await;
    let new = stage.reading(&a);
    stage.pass(100).await;
    let loads = stage.loads();
    stage.let_loaders_go();
    let _ = (old.await, new.await);
    (loads, 2)
}

async fn late_join(stage: Arc<Stage>) -> Seen {
    let (a, _) = stage.two().await;
    let old = stage.loading(&a).await;
    let needed = stage.change(&a, tag("late")).await;
    let new = stage.reading(&a);
    stage.pass(20).await;
    stage.let_go(old).await;
    (new.await.expect("it runs to its end").0, needed)
}

/// The message of the invalidation names a tag that nobody but the loader knows: so the flight stays on the board.
async fn join_across_a_lapse(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let old = stage.loading(&b).await;
    // What is sent to it is late, by more than a lease.
    stage.network.cut(1, false, true);
    let needed = stage.change(&a, tag("late")).await;
    stage.until(|| !b.inside().good).await;
    stage.pass(10).await;
    let new = stage.stopped_at(&b, Place::Boarding).await;
    stage.network.join(1);
    stage.good(&b).await;
    stage.pass(20).await;
    b.host.go_on();
    stage.pass(20).await;
    stage.let_go(old).await;
    (new.await.expect("it runs to its end").0, needed)
}

async fn old_snapshot(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let old = stage.snapshot();
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(2 * LEASE).await;
    stage.network.restart(old);
    stage.pass(20).await;
    stage.good(&a).await;
    stage.good(&b).await;
    (stage.read(&b).await, needed)
}

/// The process and its connections are the same, and what it held is what its replica had been sent.
async fn ping_pong(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let old = stage.snapshot();
    let needed = stage.change(&a, tag("one")).await;
    stage.network.ping_pong(old);
    stage.pass(LEASE).await;
    stage.good(&a).await;
    stage.good(&b).await;
    let third = stage.node(2).await;
    (stage.read_both(&b, &third).await, needed)
}

/// Before any heartbeat: a node reads what it has invalidated itself.
async fn lost_history(stage: Arc<Stage>) -> Seen {
    lost(stage, false).await
}

/// The head has passed what was lost.
async fn lost_history_that_goes_on(stage: Arc<Stage>) -> Seen {
    lost(stage, true).await
}

async fn lost(stage: Arc<Stage>, goes_on: bool) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let old = stage.snapshot();
    let needed = stage.change(&a, tag("one")).await;
    stage.network.ping_pong(old);
    if goes_on {
        stage.tell(&b, tag("another")).await;
    }
    (stage.read(&a).await, needed)
}

/// What others go on with does not reach it.
async fn lost_pattern(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let old = stage.snapshot();
    let needed = stage.change(&a, glob("a:*")).await;
    stage.network.ping_pong(old);
    stage.network.miss_a_push(0);
    stage.tell(&b, tag("another")).await;
    (stage.read(&a).await, needed)
}

/// What was invalidated it had missed, and knew that it had missed something: what is in memory must not come out of doubt.
async fn lost_history_that_is_told(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let old = stage.snapshot();
    let needed = stage.change_unheard(&a, 1, tag("one")).await;
    stage.tell(&a, tag("another")).await;
    stage.network.ping_pong(old);
    stage.tell(&a, tag("another")).await;
    (stage.read(&b).await, needed)
}

/// It came after the change, and could not know. Its own heartbeat shows it; until it uses Redis again, memory would do.
async fn read_of_the_past(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let old = stage.snapshot();
    let needed = stage.change(&a, tag("one")).await;
    let third = stage.node(2).await;
    stage.cut(&a).await;
    stage.network.ping_pong(old);
    stage.network.miss_a_push(1);
    stage.network.miss_a_push(2);
    stage.tell(&b, tag("another")).await;
    stage.network.cut(1, true, true);
    stage.read(&third).await;
    stage.network.hold(2, recovers, false);
    stage.network.reached().await;
    (stage.read(&third).await, needed)
}

/// It knows nothing of before: what Redis holds is all that it has.
async fn newcomer(stage: Arc<Stage>) -> Seen {
    let (a, _) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.change(&a, the_key()).await;
    let third = stage.node(2).await;
    (stage.read(&third).await, needed)
}

/// The server blesses it, and every node has left it: somebody must begin a new one.
async fn epoch_of_old(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let old = stage.snapshot();
    stage.evict("}:i");
    stage.pass(LEASE).await;
    stage.good(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.network.with_server(|server| server.data = old);
    stage.pass(2 * LEASE).await;
    let come_back = a.inside().good && b.inside().good;
    (if come_back { stage.read_both(&a, &b).await } else { 0 }, needed)
}

/// The new epoch's floor is what it is worth only where numbers repeat: so the snapshot's clock was ahead.
async fn old_entry(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.with_server(|server| server.time.offset_us += 60_000_000);
    stage.tell(&a, tag("other")).await;
    stage.good(&a).await;
    stage.read(&a).await;
    let old = stage.snapshot();
    let needed = stage.change(&a, the_key()).await;
    stage.network.with_server(|server| server.time.offset_us -= 60_000_000);
    stage.network.restart(old);
    stage.pass(20).await;
    stage.good(&b).await;
    (stage.read(&b).await, needed)
}

async fn state_lost(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.evict("}:i");
    stage.pass(2 * LEASE).await;
    stage.good(&b).await;
    (stage.read(&b).await, needed)
}

async fn late_fill(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.asking(&a, of_an_entry).await;
    stage.network.release();
    stage.hold_loaders();
    stage.until(|| stage.loads() == 1).await;
    stage.evict(":l:4:acme:a:1");
    let needed = stage.change(&b, the_key()).await;
    stage.let_loaders_go();
    stage.read(&b).await;
    let _ = reading.await;
    stage.pass(2 * LEASE).await;
    let third = stage.node(2).await;
    (stage.read(&third).await, needed)
}

async fn clock_back(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.network.with_server(|server| server.time.offset_us += 600_000_000);
    stage.tell(&a, tag("other")).await;
    stage.pass(3 * LEASE).await;
    stage.good(&a).await;
    stage.read(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.network.with_server(|server| server.time.offset_us -= 600_000_000);
    stage.evict("}:i");
    stage.pass(2 * LEASE).await;
    stage.good(&b).await;
    (stage.read(&b).await, needed)
}

async fn stamps_rise(stage: Arc<Stage>, step_us: i64) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    stage.network.with_server(|server| server.time.offset_us += step_us);
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(2 * LEASE).await;
    (stage.read(&b).await, needed)
}

async fn same_microsecond(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    // The head is ahead of the clock, so the next stamp is not the time.
    stage.network.with_server(|server| server.time.offset_us += 60_000_000);
    stage.tell(&a, prefix!("other")).await;
    stage.network.with_server(|server| server.time.offset_us -= 60_000_000);
    stage.pass(3 * LEASE).await;
    stage.good(&a).await;
    stage.good(&b).await;
    stage.read(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(2 * LEASE).await;
    (stage.read(&b).await, needed)
}

async fn floor(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    for other in 0..100 {
        stage.tell(&a, tag(format!("other {other}"))).await;
    }
    stage.pass(2 * LEASE).await;
    (stage.read(&b).await, needed)
}

async fn floor_at_fill(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.loading(&a).await;
    let needed = stage.change(&b, tag("one")).await;
    for other in 0..100 {
        stage.tell(&b, tag(format!("other {other}"))).await;
    }
    stage.pass(50).await;
    stage.let_go(reading).await;
    (stage.read(&a).await, needed)
}

/// The lease must not send a reader back to what is not valid: he would go in circles.
async fn retry(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.pass(50).await;
    stage.read(&b).await;
    // What it loaded is in Redis for all.
    let third = stage.node(2).await;
    let (version, tier) = stage.reading(&third).await.expect("it runs to its end");
    (if tier == larder::Tier::Redis { version } else { 0 }, needed)
}

async fn fill_across_epochs(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.loading(&a).await;
    let needed = stage.change(&b, tag("one")).await;
    // The state is lost, the lease is not; the clock goes back, so that stamps repeat.
    stage.network.with_server(|server| server.time.offset_us -= 60_000_000);
    stage.evict("}:i");
    stage.good(&b).await;
    stage.until(|| !b.inside().good).await;
    stage.good(&b).await;
    stage.good(&a).await;
    stage.let_go(reading).await;
    (stage.read_both(&a, &b).await, needed)
}
