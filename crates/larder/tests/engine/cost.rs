//! What an invalidation costs Redis: the same, whatever it covers. Counted by the server itself.

use crate::support::{node, policy};
use larder::{Cache, Selection, all, glob, key, prefix, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::convert::Infallible;
use std::time::Duration;

/// Puts entries in, until Redis holds them all.
async fn fill(redis: &RedisServer, cache: &Cache, entries: u32) {
    let acme = cache.tenant("acme");
    for batch in (0..entries).step_by(50) {
        let values: Vec<_> = (batch..batch + 50).map(|id| (key!("page", id), id)).collect();
        acme.set_many(values, policy().tag("t")).await.unwrap();
    }
    assert_eventually!(stored(redis) >= i64::from(entries), Duration::from_secs(60), "all are there");
}

fn stored(redis: &RedisServer) -> i64 {
    redis.command(&["DBSIZE"]).int().unwrap()
}

/// What the server was asked for an invalidation: how many messages it sent, and how often it went through its keys.
async fn asked(redis: &RedisServer, cache: &Cache, what: Selection) -> (u64, u64) {
    redis.reset_calls();
    cache.tenant("acme").invalidate(what).await.unwrap();
    (redis.calls_of("spublish"), redis.calls_of("scan") + redis.calls_of("keys"))
}

#[tokio::test]
async fn an_invalidation_is_one_script_and_one_message_however_much_it_covers() {
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    let kinds: [fn() -> Selection; 4] =
        [|| tag("t").into(), || prefix!("page").into(), || glob("page:*7").into(), || all().into()];
    for entries in [50, 2000] {
        for kind in kinds {
            fill(&redis, &cache, entries).await;
            let before = stored(&redis);
            assert_eq!(asked(&redis, &cache, kind()).await, (1, 0), "{entries}");
            assert_eq!(stored(&redis), before, "nothing is deleted one by one");
        }
    }
}

#[tokio::test]
async fn loads_and_fills_send_no_message_and_what_tells_of_them_is_asked_for() {
    // 20
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    redis.reset_calls();
    for cache in [&one, &other] {
        for id in 0..20 {
            let load = || async { Ok::<_, Infallible>(1u8) };
            cache.tenant("acme").get_or_load(key!("page", id), policy(), load).await.unwrap();
        }
    }
    assert_eq!(
        one.stats().total.loads + other.stats().total.loads,
        20,
        "the second node reads them from Redis"
    );
    assert_eq!(redis.calls_of("spublish") + redis.calls_of("publish"), 0);
    other.tenant("acme").invalidate(key!("page", 1)).await.unwrap();
    assert_eq!(redis.calls_of("spublish"), 1);
}

#[tokio::test]
async fn a_read_of_what_is_in_redis_is_one_round_trip_and_of_what_is_in_memory_none() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let load = || async { Ok::<_, Infallible>(1u8) };
    one.tenant("acme").get_or_load(key!("k"), policy().tag("t"), load).await.unwrap();
    redis.reset_calls();
    other.tenant("acme").get_or_load(key!("k"), policy().tag("t"), load).await.unwrap();
    let asked = |name| redis.calls_of(name);
    assert_eq!((asked("get"), asked("zscore"), asked("zmscore") > 0), (1, 1, true));
    for _ in 0..100 {
        other.tenant("acme").get_or_load(key!("k"), policy().tag("t"), load).await.unwrap();
    }
    assert_eq!((asked("get"), asked("zscore")), (1, 1));
}
