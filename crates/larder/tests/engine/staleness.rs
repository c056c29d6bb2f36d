//! Expiry, and what may be served after it. Time is moved by hand.

use crate::support::{Row, alone_by_hand, policy};
use larder::{Outcome, Tenant, key};
use larder_testkit::assert_eventually;
use std::io;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn failing(tenant: &Tenant, policy: &larder::Policy) -> Result<larder::Fetched<u64>, larder::Error> {
    tenant.fetch(key!("k"), policy, || async { Err::<u64, _>(io::Error::other("down")) }).await
}

#[tokio::test]
async fn a_value_lives_for_its_ttl_and_not_longer() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let acme = cache.tenant("acme");
    let read = || {
        let row = row.clone();
        acme.fetch(key!("k"), policy(), move || row.load())
    };
    read().await.unwrap();
    clock.advance(59 * SECOND);
    let hit = read().await.unwrap().status;
    assert_eq!((hit.outcome, hit.age, hit.ttl), (Outcome::Hit, 59 * SECOND, SECOND));
    clock.advance(SECOND);
    assert_eq!(read().await.unwrap().status.outcome, Outcome::Miss);
}

#[tokio::test]
async fn jitter_shortens_by_a_tenth_at_most() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let acme = cache.tenant("acme");
    for i in 0..200 {
        let row = row.clone();
        acme.fetch(key!("k", i), policy().jitter(0.1), move || row.load()).await.unwrap();
    }
    let lives: Vec<Duration> = (0..200).map(|i| cache.entry(&format!("k:acme:{i}")).unwrap().ttl).collect();
    assert!(lives.iter().all(|ttl| (54 * SECOND..=60 * SECOND).contains(ttl)));
    assert!(lives.iter().max() > lives.iter().min());
    clock.advance(60 * SECOND);
    assert!(cache.entry("k:acme:1").is_none());
}

#[tokio::test]
async fn a_failed_load_brings_the_stale_value_as_long_as_the_policy_allows() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let (acme, policy) = (cache.tenant("acme"), policy().stale_if_error(600 * SECOND));
    acme.fetch(key!("k"), &policy, {
        let row = row.clone();
        move || row.load()
    })
    .await
    .unwrap();
    clock.advance(61 * SECOND);
    let stale = failing(&acme, &policy).await.unwrap();
    assert_eq!((stale.status.outcome, stale.status.ttl), (Outcome::Stale, Duration::ZERO));
    // Not tried again at once; tried again a second later.
    assert_eq!(failing(&acme, &policy).await.unwrap().status.outcome, Outcome::Stale);
    assert_eq!(cache.stats().total.load_errors, 1);
    clock.advance(SECOND);
    failing(&acme, &policy).await.unwrap();
    assert_eq!(cache.stats().total.load_errors, 2);
    clock.advance(600 * SECOND);
    assert!(failing(&acme, &policy).await.is_err());
}

#[tokio::test]
async fn an_invalidated_value_is_not_served_however_the_load_fails() {
    // 9
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let (acme, policy) =
        (cache.tenant("acme"), policy().stale_if_error(600 * SECOND).stale_while_revalidate(600 * SECOND));
    for expired in [false, true] {
        acme.fetch(key!("k"), &policy, {
            let row = row.clone();
            move || row.load()
        })
        .await
        .unwrap();
        if expired {
            clock.advance(61 * SECOND);
        }
        acme.invalidate(larder::all()).await.unwrap();
        assert!(failing(&acme, &policy).await.is_err());
    }
}

#[tokio::test]
async fn an_invalidation_during_the_failing_load_takes_the_stale_value_away() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let (acme, policy) = (cache.tenant("acme"), policy().stale_if_error(600 * SECOND));
    acme.fetch(key!("k"), &policy, {
        let row = row.clone();
        move || row.load()
    })
    .await
    .unwrap();
    clock.advance(61 * SECOND);
    let inner = acme.clone();
    let result = acme.fetch::<u64, _, _, _>(key!("k"), &policy, move || async move {
        inner.invalidate(key!("k")).await.unwrap();
        Err(io::Error::other("down"))
    });
    assert!(result.await.is_err());
}

#[tokio::test]
async fn a_stale_value_is_served_while_one_load_runs_behind() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let (acme, policy) = (cache.tenant("acme"), policy().stale_while_revalidate(600 * SECOND));
    let read = || {
        let row = row.clone();
        acme.fetch(key!("k"), &policy, move || row.load())
    };
    read().await.unwrap();
    row.write();
    clock.advance(61 * SECOND);
    let stale = read().await.unwrap();
    assert_eq!((stale.status.outcome, *stale.value), (Outcome::Stale, 0));
    assert_eventually!(
        cache.entry("k:acme").is_some_and(|entry| entry.ttl > 50 * SECOND),
        Duration::from_secs(10),
        "loaded behind"
    );
    let fresh = read().await.unwrap();
    assert_eq!((fresh.status.outcome, *fresh.value, row.loads()), (Outcome::Hit, 1, 2));
}

#[tokio::test]
async fn a_load_that_failed_behind_is_not_tried_again_at_once() {
    // 14
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let (acme, policy) = (cache.tenant("acme"), policy().stale_while_revalidate(600 * SECOND));
    acme.fetch(key!("k"), &policy, move || row.load()).await.unwrap();
    clock.advance(61 * SECOND);
    for tries in 1..=3 {
        for _ in 0..20 {
            assert_eq!(failing(&acme, &policy).await.unwrap().status.outcome, Outcome::Stale);
            assert_eventually!(cache.stats().flights == 0, Duration::from_secs(10), "the load behind ends");
        }
        assert_eq!(cache.stats().total.load_errors, tries, "once a second");
        clock.advance(SECOND);
    }
}

#[tokio::test]
async fn an_entry_tells_how_its_last_lookup_ended() {
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let acme = cache.tenant("acme");
    let policy = policy().stale_while_revalidate(600 * SECOND).stale_if_error(3600 * SECOND);
    let read = || {
        let row = row.clone();
        acme.fetch(key!("k"), &policy, move || row.load())
    };
    let told = || cache.entry("k:acme").unwrap().last;
    acme.set(key!("k"), 0_u64, &policy).await.unwrap();
    assert_eq!(told(), None, "nobody has looked it up");
    read().await.unwrap();
    assert_eq!(told(), Some(Outcome::Hit));
    acme.invalidate(key!("k")).await.unwrap();
    read().await.unwrap();
    assert_eq!(told(), Some(Outcome::Miss), "the lookup that brought it");
    acme.get::<u64>(key!("k")).await.unwrap().unwrap();
    assert_eq!(told(), Some(Outcome::Hit));
    clock.advance(61 * SECOND);
    read().await.unwrap();
    assert_eventually!(
        cache.entry("k:acme").is_some_and(|entry| entry.ttl > 50 * SECOND),
        Duration::from_secs(10),
        "loaded behind"
    );
    assert_eq!(told(), Some(Outcome::Stale), "nobody has looked it up since");
    read().await.unwrap();
    assert_eq!(told(), Some(Outcome::Hit));
    clock.advance(1000 * SECOND);
    assert!(acme.get::<u64>(key!("k")).await.unwrap().is_none());
    assert_eq!(told(), Some(Outcome::Miss), "what is kept for a failing source is no answer to this");
    failing(&acme, &policy).await.unwrap();
    assert_eq!(told(), Some(Outcome::Stale));
}
