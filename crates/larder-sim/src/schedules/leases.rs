//! Who loads, who waits, and who acknowledges. What is counted here is loads and time, not versions.

use super::stage::{LEASE, Seen, Stage, the_key};
use super::{Schedule, play};
use crate::network::of_an_entry;
use larder::{Key, key, tag};
use std::sync::Arc;
use tokio::time::Instant;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new("I5 one of all nodes loads", play!(once)),
    Schedule::new("I5 one of all nodes loads each of many", play!(once_of_many)),
    Schedule::new("I6 who waits is woken by the fill", play!(woken, false)),
    Schedule::new("I6 who waits is woken by the invalidation", play!(woken, true)),
    Schedule::new("I7 a dead loader is waited for no longer than a lease", play!(dead)),
    Schedule::new("I12 a request that came too late leaves no lease", play!(too_late)),
    Schedule::new("I12 a fill takes its lease with it", play!(left_behind, false)),
    Schedule::new("I12 an invalidation takes leases with it", play!(left_behind, true)),
    Schedule::new("I12 a load that failed lets another try", play!(failed)),
    Schedule::new("a lease is given back by its holder only", play!(not_ours)),
    Schedule::new("s14 acked waits for a paused holder", play!(acked, Holder::Paused)),
    Schedule::new("s17 acked waits for a holder that reconnects", play!(acked, Holder::Reconnects)),
    Schedule::new("acked waits where an epoch is young", play!(acked, Holder::Forgotten)),
    Schedule::new("acked waits for holders of the last epoch", play!(acked, Holder::OfTheLastEpoch)),
];

async fn once(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.hold_loaders();
    let readings = [stage.reading(&a), stage.reading(&b), stage.reading(&a), stage.reading(&b)];
    stage.until(|| stage.loads() > 0).await;
    stage.pass(100).await;
    stage.let_loaders_go();
    for reading in readings {
        let _ = reading.await;
    }
    (u64::from(stage.loads() == 1), 1)
}

async fn woken(stage: Arc<Stage>, invalidated: bool) -> Seen {
    let (a, b) = stage.two().await;
    let loading = stage.loading(&a).await;
    let waiting = stage.reading(&b);
    stage.pass(50).await;
    let began = Instant::now();
    if invalidated {
        stage.tell(&a, the_key()).await;
        // It is granted the lease at once.
        stage.until(|| stage.loads() == 2).await;
        let waited = began.elapsed().as_millis();
        stage.let_loaders_go();
        let _ = (loading.await, waiting.await);
        return (u64::from(waited < 20), 1);
    }
    stage.let_loaders_go();
    let _ = (loading.await, waiting.await);
    (u64::from(began.elapsed().as_millis() < 20), 1)
}

async fn dead(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let loading = stage.loading(&a).await;
    let waiting = stage.reading(&b);
    stage.pass(50).await;
    a.host.crash();
    loading.abort();
    let began = Instant::now();
    stage.until(|| stage.loads() == 2).await;
    let waited = began.elapsed().as_millis();
    stage.let_go(waiting).await;
    (u64::from(waited <= u128::from(LEASE + 200)), 1)
}

async fn too_late(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    // The request for a lease is run when its caller has long loaded without.
    let reading = stage.asking(&a, of_an_entry).await;
    let _ = reading.await;
    stage.pass(300).await;
    a.host.crash();
    stage.network.release();
    stage.pass(20).await;
    let began = Instant::now();
    stage.read(&b).await;
    (u64::from(began.elapsed().as_millis() < 100), 1)
}

async fn left_behind(stage: Arc<Stage>, invalidated: bool) -> Seen {
    let (a, b) = stage.two().await;
    if invalidated {
        let loading = stage.loading(&a).await;
        stage.tell(&b, the_key()).await;
        loading.abort();
    } else {
        stage.read(&a).await;
        stage.tell(&a, tag("one")).await;
        stage.pass(20).await;
    }
    let (began, loads) = (Instant::now(), stage.loads());
    let reading = stage.reading(&b);
    stage.until(|| stage.loads() > loads).await;
    let waited = began.elapsed().as_millis();
    stage.let_go(reading).await;
    (u64::from(waited < 100), 1)
}

/// Who waits loads as soon as the load that he waits for has failed.
async fn failed(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    stage.hold_loaders();
    stage.fail_a_load();
    let loading = stage.reading(&a);
    stage.until(|| stage.loads() == 1).await;
    let waiting = stage.reading(&b);
    stage.pass(50).await;
    let began = Instant::now();
    stage.let_go(loading).await;
    let (version, _) = waiting.await.expect("it runs to its end");
    (u64::from(version == 1 && began.elapsed().as_millis() < 50), 1)
}

/// Somebody whose request for a lease was not answered gives back what he may hold, and no more.
async fn not_ours(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let loading = stage.loading(&a).await;
    let degraded = stage.answered(&b, of_an_entry).await;
    stage.until(|| stage.loads() == 2).await;
    stage.network.release();
    stage.pass(300).await;
    let third = stage.node(2).await;
    let waiting = stage.reading(&third);
    stage.pass(100).await;
    let loads = stage.loads();
    stage.let_loaders_go();
    let _ = (loading.await, degraded.await, waiting.await);
    (u64::from(loads == 2), 1)
}

enum Holder {
    Paused,
    Reconnects,
    Forgotten,
    OfTheLastEpoch,
}

async fn acked(stage: Arc<Stage>, holder: Holder) -> Seen {
    let (a, b) = stage.two().await;
    stage.warm(&b).await;
    // It hears nothing, and its lease holds.
    match holder {
        Holder::Paused => stage.network.cut(1, false, true),
        Holder::Reconnects => {
            stage.network.disconnect(Some(1));
            stage.until(|| b.cache.stats().trusted).await;
            stage.network.cut(1, false, true);
            if !b.inside().good {
                return (1, 1);
            }
        }
        Holder::Forgotten | Holder::OfTheLastEpoch => {
            stage.network.cut(1, false, true);
            stage.evict("}:i");
            if matches!(holder, Holder::Forgotten) {
                stage.until(|| !a.inside().good).await;
            }
            stage.good(&a).await;
        }
    }
    let needed = stage.commit();
    let invalidating = stage.invalidating(&a, tag("one"), true);
    let _ = invalidating.await;
    (stage.read(&b).await, needed)
}

/// More keys than a lookup goes through rounds, and every one that is loaded begins a round.
async fn once_of_many(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let keys: Vec<Key> = (0..45).map(|id| key!("m", id)).collect();
    stage.space_loads(20);
    let acme = a.cache.tenant("acme");
    let loading: Vec<_> = keys.iter().map(|key| stage.reading_of(&a, acme.clone(), key.clone())).collect();
    stage.until(|| stage.loads() == 45).await;
    let read = stage.read_many(&b, keys).await;
    for load in loading {
        let _ = load.await;
    }
    (u64::from(read == 45 && stage.loads() == 45), 1)
}
