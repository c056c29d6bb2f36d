//! Time-outs of lookups: what is served where a load takes too long, and that it finishes behind.

use crate::support::{Gate, MINUTE, Row, alone, alone_by_hand, policy};
use larder::{Cache, ErrorKind, ManualClock, Outcome, Policy, key};
use larder_testkit::assert_eventually;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(10);
const SHORT: Duration = Duration::from_millis(20);

fn patient() -> Policy {
    policy().stale_if_error(60 * MINUTE).soft_timeout(SHORT)
}

/// A cache with a value of a minute ago, and a row that has changed since.
async fn stale(policy: &Policy) -> (Cache, Arc<ManualClock>, Row) {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let first = row.clone();
    cache.tenant("acme").fetch(key!("k"), policy, move || first.load()).await.unwrap();
    row.write();
    clock.advance(MINUTE);
    (cache, clock, row)
}

#[tokio::test]
async fn after_the_soft_time_out_all_who_wait_get_the_stale_value_and_the_load_finishes_behind() {
    let (cache, _clock, row) = stale(&patient()).await;
    let (acme, gate) = (cache.tenant("acme"), Gate::new());
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let (acme, load) = (acme.clone(), gate.load(&row));
        callers.spawn(async move { acme.fetch(key!("k"), patient(), move || load).await.unwrap() });
    }
    for served in callers.join_all().await {
        assert_eq!((served.status.outcome, *served.value), (Outcome::Stale, 0));
    }
    // Nor does anybody wait again for the same load.
    let forever = patient().soft_timeout(60 * MINUTE).hard_timeout(60 * MINUTE).load_timeout(60 * MINUTE);
    let again = acme.fetch(key!("k"), forever, std::future::pending::<Result<u64, String>>).await.unwrap();
    assert_eq!(again.status.outcome, Outcome::Stale);
    gate.open();
    assert_eventually!(
        cache.entry("k:acme").is_some_and(|entry| !entry.ttl.is_zero()),
        SOON,
        "what the load brought is kept"
    );
    let fresh = acme.get::<u64>(key!("k")).await.unwrap().unwrap();
    assert_eq!((*fresh.value, row.loads(), cache.stats().flights), (1, 2, 0));
}

#[tokio::test]
async fn the_soft_time_out_is_none_where_there_is_no_value_to_serve() {
    let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
    let (acme, load) = (cache.tenant("acme"), gate.load(&row));
    let limits = patient().hard_timeout(4 * SHORT);
    let refused = acme.get_or_load(key!("k"), limits, move || load).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::LoadTimeout);
    assert!(refused.to_string().contains("80ms"), "{refused}");
    gate.open();
    assert_eventually!(cache.entry("k:acme").is_some(), SOON, "the load goes on all the same");
    assert_eq!(row.loads(), 1);
}

#[tokio::test]
async fn a_value_that_is_invalidated_during_the_load_is_not_served_after_the_soft_time_out() {
    // 1, 9
    let (cache, _clock, row) = stale(&patient()).await;
    let (acme, gate) = (cache.tenant("acme"), Gate::new());
    let (caller, load) = (acme.clone(), gate.load(&row));
    let limits = patient().hard_timeout(4 * SHORT);
    let waiting = tokio::spawn(async move { caller.fetch(key!("k"), limits, move || load).await });
    gate.reached().await;
    acme.invalidate(larder::all()).await.unwrap();
    assert_eq!(waiting.await.unwrap().unwrap_err().kind(), ErrorKind::LoadTimeout);
    gate.open();
    assert_eventually!(cache.stats().flights == 0, SOON, "the load ends");
    assert!(acme.get::<u64>(key!("k")).await.unwrap().is_none(), "it began before the invalidation");
}

#[tokio::test]
async fn a_load_that_finishes_behind_does_not_take_the_place_of_a_newer_value() {
    // 30
    let (cache, _clock, row) = stale(&patient()).await;
    let (acme, gate) = (cache.tenant("acme"), Gate::new());
    let load = gate.load(&row);
    acme.fetch(key!("k"), patient(), move || load).await.unwrap();
    acme.set(key!("k"), 7_u64, patient()).await.unwrap();
    gate.open();
    assert_eventually!(cache.stats().flights == 0, SOON, "the load ends");
    assert_eq!(*acme.get::<u64>(key!("k")).await.unwrap().unwrap().value, 7);
}

#[tokio::test]
async fn contradicting_time_outs_are_refused_at_the_call_with_both_values() {
    let cache = Cache::builder("test").load_timeout(Duration::from_secs(3)).build().await.unwrap();
    let acme = cache.tenant("acme");
    let load = || async { Err::<u64, _>("the loader ran") };
    let policy = policy().stale_if_error(MINUTE).soft_timeout(5 * SHORT).hard_timeout(2 * SHORT);
    let refused = acme.get_or_load(key!("k"), &policy, load).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidPolicy);
    assert_eq!(refused.to_string(), "soft_timeout is 100ms, longer than hard_timeout, which is 40ms");
    let refused = acme.set(key!("k"), 1_u64, policy.hard_timeout(MINUTE)).await.unwrap_err();
    assert_eq!(refused.to_string(), "hard_timeout is 60s, longer than load_timeout, which is 3s");
    assert_eq!(cache.stats().entries, 0);
    // Not only where memory lacks the value: who writes such a policy learns it at once.
    acme.get_or_load(key!("k"), crate::support::policy(), || async { Ok::<_, Infallible>(1_u64) })
        .await
        .unwrap();
    let contradicts = crate::support::policy().hard_timeout(MINUTE);
    assert_eq!(
        acme.get_or_load(key!("k"), contradicts, load).await.unwrap_err().kind(),
        ErrorKind::InvalidPolicy
    );
}
