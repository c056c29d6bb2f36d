//! What a loader is told, and what it may say of its value.

use crate::support::{MINUTE, Row, alone, alone_by_hand, node, policy};
use larder::{Cache, ErrorKind, LoadContext, Outcome, Policy, Status, Tier, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

type Read = (Option<Arc<u64>>, Status);

/// A loader that finds its row unchanged by comparing versions, as one with an ETag would.
async fn revalidate(cache: &Cache, policy: Policy, row: &Row) -> Result<Read, larder::Error> {
    let row = row.clone();
    let load = move |context: LoadContext| async move {
        let version = row.read();
        match context.previous().and_then(larder::Previous::value::<u64>) {
            Some(value) if *value == version => context.not_modified(),
            _ => Ok::<_, Infallible>(Some(version)),
        }
    };
    cache.tenant("acme").fetch_with(key!("k"), policy, load).await
}

#[tokio::test]
async fn a_value_that_was_not_modified_lives_on_with_its_tags() {
    // 11
    let ((cache, clock), row) = (alone_by_hand().await, Row::default());
    let policy = policy().stale_if_error(60 * MINUTE).tag("t");
    let first = revalidate(&cache, policy.clone(), &row).await.unwrap().0.unwrap();
    clock.advance(61 * SECOND);
    let (second, status) = revalidate(&cache, policy.clone(), &row).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second.unwrap()), "the very same value");
    assert_eq!((status.outcome, status.ttl, row.loads()), (Outcome::Miss, MINUTE, 2));
    assert_eq!(revalidate(&cache, policy.clone(), &row).await.unwrap().1.outcome, Outcome::Hit);
    cache.tenant("acme").invalidate(tag("t")).await.unwrap();
    row.write();
    assert_eq!(*revalidate(&cache, policy, &row).await.unwrap().0.unwrap(), 1);
}

#[tokio::test]
async fn a_value_that_was_not_modified_lives_on_in_redis_too() {
    // 20
    let (redis, row) = (RedisServer::start(), Row::default());
    let (one, other) = (node(&redis).await, node(&redis).await);
    let short = Policy::ttl(SECOND / 5).jitter(0.0).stale_if_error(60 * MINUTE);
    revalidate(&one, short.clone(), &row).await.unwrap();
    let published = || {
        let stats = redis.command(&["INFO", "commandstats"]).text().to_owned();
        stats
            .lines()
            .find(|line| line.starts_with("cmdstat_spublish:calls="))
            .map(|line| line.split(['=', ',']).nth(1).expect("a number").to_owned())
    };
    let before = published();
    // The node that renews it has read it from Redis, and never loaded it itself.
    assert_eventually!(
        matches!(revalidate(&other, short.clone(), &row).await.unwrap().1.outcome, Outcome::Miss),
        10 * SECOND,
        "it expires"
    );
    assert_eq!(row.loads(), 2);
    let seen = revalidate(&one, policy(), &row).await.unwrap();
    assert_eq!(*seen.0.unwrap(), 0);
    assert_eq!(published(), before, "nobody was told anything");
}

#[tokio::test]
async fn nothing_modified_without_a_value_is_a_failed_load() {
    let acme = alone().await.tenant("acme");
    let load = |context: LoadContext| async move { context.not_modified::<u64, Infallible>() };
    let failed = acme.fetch_with(key!("k"), policy(), load).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Load);
    assert!(failed.to_string().contains("no value to keep"), "{failed}");
}

#[tokio::test]
async fn the_loader_sees_what_it_replaces_unless_that_was_invalidated() {
    // 11
    let (cache, clock) = alone_by_hand().await;
    let acme = cache.tenant("acme");
    let policy = || policy().stale_if_error(60 * MINUTE).tag("declared");
    let seen = |tag: &'static str| {
        let acme = acme.clone();
        async move {
            let (told, hear) = tokio::sync::oneshot::channel();
            let load = move |context: LoadContext| async move {
                context.tag(tag);
                let previous = context.previous().map(|previous| {
                    let tags: Vec<String> = previous.tags().iter().map(ToString::to_string).collect();
                    (previous.value::<u64>().unwrap(), previous.age(), tags, previous.has_tag(tag))
                });
                told.send(previous).unwrap();
                Ok::<_, Infallible>(Some(5_u64))
            };
            acme.fetch_with(key!("k"), policy(), load).await.unwrap();
            hear.await.unwrap()
        }
    };
    assert_eq!(seen("a").await, None);
    clock.advance(61 * SECOND);
    let tags = |of: &[&str]| of.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(seen("b").await, Some((Arc::new(5), 61 * SECOND, tags(&["declared", "a"]), false)));
    clock.advance(62 * SECOND);
    assert_eq!(seen("b").await, Some((Arc::new(5), 62 * SECOND, tags(&["declared", "b"]), true)));
    acme.invalidate(tag("a")).await.unwrap();
    assert_eq!(acme.get::<u64>(key!("k")).await.unwrap().unwrap().status.outcome, Outcome::Hit);
    acme.invalidate(tag("b")).await.unwrap();
    assert_eq!(seen("c").await, None, "an invalidated value is never shown");
}

#[tokio::test]
async fn a_loader_sees_what_redis_holds_and_its_tags_by_asking_for_them() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let short = Policy::ttl(SECOND / 5).jitter(0.0).stale_if_error(60 * MINUTE);
    let load = |context: LoadContext| async move {
        context.tag("of the loader");
        let seen = context.previous().map(|it| (*it.value::<u64>().unwrap(), it.has_tag("of the loader")));
        Ok::<_, Infallible>(Some(if seen == Some((1, true)) { 2_u64 } else { 1 }))
    };
    one.tenant("acme").fetch_with(key!("k"), &short, load).await.unwrap();
    let acme = other.tenant("acme");
    assert_eventually!(
        *acme.fetch_with(key!("k"), &short, load).await.unwrap().0.unwrap() == 2,
        10 * SECOND,
        "when it has expired, the loader sees it"
    );
}

#[tokio::test]
async fn the_loader_may_say_how_long_each_of_its_answers_is_kept() {
    // 31
    let (cache, clock) = alone_by_hand().await;
    let acme = cache.tenant("acme");
    let fetch = |key: &'static str, found: Option<u64>| {
        let acme = acme.clone();
        async move {
            let load = move |context: LoadContext| async move {
                context.ttl(10 * SECOND);
                context.negative_ttl(20 * SECOND);
                context.keep_stale(5 * SECOND);
                Ok::<_, Infallible>(found)
            };
            let lenient = policy().stale_while_revalidate(60 * MINUTE);
            acme.fetch_with(key!(key), lenient, load).await.unwrap().1
        }
    };
    assert_eq!(fetch("there", Some(1)).await.ttl, 10 * SECOND);
    assert_eq!(fetch("absent", None).await.ttl, 20 * SECOND);
    clock.advance(14 * SECOND);
    assert_eq!(fetch("absent", None).await.outcome, Outcome::Hit);
    assert_eq!(fetch("there", Some(1)).await.outcome, Outcome::Stale);
    assert_eventually!(fetch("there", Some(1)).await.ttl == 10 * SECOND, 10 * SECOND, "renewed behind");
    clock.advance(15 * SECOND);
    assert_eq!(fetch("there", Some(1)).await.outcome, Outcome::Miss, "not kept longer than was said");
    assert_eq!(fetch("absent", None).await.tier, Tier::Origin);
}

#[tokio::test]
async fn a_life_beyond_the_limit_is_served_and_not_kept() {
    let cache = alone().await;
    let load = |context: LoadContext| async move {
        context.ttl(larder::limits::MAX_KEEP);
        context.keep_stale(SECOND);
        Ok::<_, Infallible>(Some(1_u64))
    };
    let (value, _) = cache.tenant("acme").fetch_with(key!("k"), policy(), load).await.unwrap();
    assert_eq!((*value.unwrap(), cache.stats().entries), (1, 0));
}
