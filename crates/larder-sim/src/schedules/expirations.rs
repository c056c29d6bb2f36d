//! Values that are stale, and lives that are lengthened.

use super::stage::{LEASE, Seen, Stage, the_key};
use super::{Schedule, play};
use larder::simulation::Place;
use larder::{Policy, Tiers, all, glob, tag};
use std::sync::Arc;
use std::time::Duration;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("what was expired is not fresh in memory", play!(in_memory)),
    Schedule::new("what was expired is not fresh in Redis", play!(in_redis)),
    Schedule::new("what was expired by a tag that the call does not name", play!(by_an_unnamed_tag)),
    Schedule::plain("the same, plainly", play!(by_an_unnamed_tag)),
    Schedule::new("what runs out while it is read is not fresh", play!(run_out)),
    Schedule::new("what was expired is loaded again", play!(loaded_again)),
    Schedule::new("what is expired during its load is not fresh", play!(during_a_load)),
    Schedule::new("of two readers neither finds it fresh", play!(two_readers)),
    Schedule::new("an own expiration that is under way, and is not delivered", play!(blocked)),
    Schedule::new("what was invalidated stays so when it is expired", play!(hard_then_soft)),
    Schedule::new("a touch brings nothing back", play!(touched_after)),
    Schedule::new("a touch makes nothing fresh", play!(touched_expired)),
    Schedule::new("an expiration while a life is lengthened in memory", play!(touched_meanwhile)),
    Schedule::new("a pattern, an expiration and a touch at once", play!(at_once)),
];

async fn in_memory(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.outdate(&a, tag("one")).await;
    stage.pass(50).await;
    let first = stage.fresh(&b).await;
    (first.min(stage.fresh(&b).await), needed)
}

async fn in_redis(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.outdate(&a, the_key()).await;
    (stage.fresh(&b).await, needed)
}

async fn by_an_unnamed_tag(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.outdate(&a, tag("late")).await;
    let third = stage.node(2).await;
    (stage.fresh(&b).await.min(stage.fresh(&third).await), needed)
}

/// It was fresh when it was judged, and not any more when it is handed out.
async fn run_out(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let acme = a.cache.tenant("acme");
    let policy = Policy::ttl(Duration::from_secs(2)).stale_if_error(Duration::from_secs(60));
    let setting = a.host.run(async move { acme.set(the_key(), 1_u64, policy).await });
    setting.await.expect("Redis is there");
    b.host.stop_at(Place::Admitted);
    let (later, node) = (Arc::clone(&stage), b.clone());
    let reading = tokio::spawn(async move { later.fresh(&node).await });
    stage.until(|| b.host.stands()).await;
    stage.pass(3000).await;
    b.host.go_on();
    (reading.await.expect("it runs to its end"), 1)
}

/// The lease must not send a reader back to what is expired: he would go in circles.
async fn loaded_again(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.read(&a).await;
    let needed = stage.outdate(&a, tag("one")).await;
    stage.pass(50).await;
    stage.read(&b).await;
    // What it loaded is in Redis for all.
    let third = stage.node(2).await;
    let (version, tier) = stage.reading(&third).await.expect("it runs to its end");
    (if tier == larder::Tier::Redis { version } else { 0 }, needed)
}

async fn during_a_load(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let reading = stage.loading(&b).await;
    // The push comes before the answer to the fill, which names the head after it.
    let needed = stage.outdate(&a, tag("one")).await;
    stage.pass(50).await;
    stage.let_go(reading).await;
    (stage.fresh(&b).await, needed)
}

/// The one has raised the entry's stamp past the expiration, and stands.
async fn two_readers(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.outdate(&a, tag("one")).await;
    stage.pass(50).await;
    let reading = stage.stopped_at(&b, Place::MapChecked).await;
    let second = stage.fresh(&b).await;
    b.host.go_on();
    let _ = reading.await;
    (second, needed)
}

async fn blocked(stage: Arc<Stage>) -> Seen {
    let (_, b) = stage.two().await;
    stage.warm(&b).await;
    stage.network.cut(1, true, false);
    let needed = stage.commit();
    let expiring = stage.expiring(&b, tag("one"));
    stage.pass(5).await;
    // Its lease holds.
    let meanwhile = stage.fresh(&b).await;
    let told = expiring.await.expect("it runs to its end");
    assert!(told.is_err(), "nobody took it");
    (meanwhile.min(stage.fresh(&b).await), needed)
}

async fn hard_then_soft(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.change(&a, tag("one")).await;
    stage.tell(&a, tag("other")).await;
    stage.expiring(&a, all()).await.expect("it runs to its end").expect("Redis is there");
    stage.pass(50).await;
    (stage.read(&b).await, needed)
}

async fn touched_after(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&a).await;
    // The bytes stay in Redis.
    let needed = stage.change(&a, tag("one")).await;
    stage.touching(&b, Tiers::Both).await.expect("it runs to its end");
    (stage.read(&b).await.min(stage.read(&a).await), needed)
}

async fn touched_expired(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    let needed = stage.outdate(&a, tag("one")).await;
    stage.pass(50).await;
    // It is known to be expired, and then touched.
    stage.fresh(&b).await;
    stage.touching(&b, Tiers::Memory).await.expect("it runs to its end");
    let in_memory = stage.fresh(&b).await;
    stage.touching(&b, Tiers::Redis).await.expect("it runs to its end");
    let third = stage.node(2).await;
    (in_memory.min(stage.fresh(&third).await), needed)
}

/// The value was judged, and another lookup finds it expired before its entry is made anew.
async fn touched_meanwhile(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    b.host.stop_at(Place::Touching);
    let touching = stage.touching(&b, Tiers::Memory);
    stage.until(|| b.host.stands()).await;
    let needed = stage.outdate(&a, tag("one")).await;
    stage.pass(50).await;
    let early = stage.fresh(&b).await;
    b.host.go_on();
    touching.await.expect("it runs to its end");
    (early.min(stage.fresh(&b).await), needed)
}

async fn at_once(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&a).await;
    stage.warm(&b).await;
    stage.network.cut(1, false, true);
    let gone = stage.change(&a, glob("a:*")).await;
    let stale = stage.outdate(&a, tag("one")).await;
    stage.touching(&a, Tiers::Both).await.expect("it runs to its end");
    let (fresh, any) = (stage.fresh(&a).await, stage.read(&a).await);
    stage.network.join(1);
    stage.pass(LEASE).await;
    let other = stage.fresh(&b).await;
    (u64::from(fresh >= stale && any >= gone && other >= stale), 1)
}
