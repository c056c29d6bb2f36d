//! What calls cost: commands, counted by the server itself, and round trips, counted on the way to it.

use crate::support::{MINUTE, node, node_with, policy, unhurried};
use larder::{Cache, CacheBuilder, Selection, all, glob, key, prefix, tag};
use larder_testkit::{RedisServer, TcpProxy, assert_eventually};
use std::convert::Infallible;
use std::future::Future;
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

/// A read of what is in Redis by a node that has not got it, and in how many round trips.
async fn trips<F: Future>(proxy: &TcpProxy, mut read: impl FnMut(u64) -> F) -> usize {
    let mut least = usize::MAX;
    // A heartbeat may come in between; it does not each time.
    for id in 0..3 {
        let before = proxy.turns();
        read(id).await;
        least = least.min(proxy.turns() - before);
    }
    least
}

#[tokio::test]
async fn a_hit_in_redis_is_one_round_trip_whatever_tags_it_has() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let rare = |builder: CacheBuilder| builder.coherence_lease(MINUTE);
    let one = node_with(&redis, rare).await;
    let url = format!("redis://{}", proxy.address());
    let other = node_with(&redis, |builder| rare(builder.redis(unhurried(&url)))).await;
    let (one, acme) = (one.tenant("acme"), other.tenant("acme"));
    let load = || async { Ok::<_, Infallible>(1_u8) };
    for id in 0..3_u64 {
        one.get_or_load(key!("plain", id), policy(), load).await.unwrap();
        for name in ["named", "unnamed"] {
            one.get_or_load(key!(name, id), policy().tags(["t", "u"]), load).await.unwrap();
        }
        for (name, policy) in [("many", policy()), ("tagged", policy().tag("t"))] {
            let values = (0..30).map(|place| (key!(name, id, place), 1_u8)).collect();
            one.set_many(values, policy).await.unwrap();
        }
    }
    let hit = |found: larder::Fetched<u8>| assert_eq!(found.status.tier, larder::Tier::Redis);
    let (acme, hit) = (&acme, &hit);
    let named = trips(&proxy, |id| async move {
        let never = std::future::pending::<Result<u8, Infallible>>;
        hit(acme.fetch(key!("named", id), policy().tags(["t", "u"]), never).await.unwrap());
    });
    assert_eq!(named.await, 1);
    assert_eq!(
        trips(&proxy, |id| async move { hit(acme.get(key!("plain", id)).await.unwrap().unwrap()) }).await,
        1
    );
    for name in ["many", "tagged"] {
        let many = trips(&proxy, |id| async move {
            let keys: Vec<_> = (0..30).map(|place| key!(name, id, place)).collect();
            acme.get_many(&keys).await.unwrap().into_iter().for_each(|found| hit(found.unwrap()));
        });
        assert_eq!(many.await, 1, "{name}");
    }
    let unnamed =
        trips(&proxy, |id| async move { hit(acme.get(key!("unnamed", id)).await.unwrap().unwrap()) });
    assert_eq!(unnamed.await, 1);
    // And the others: a load is a look, a lease and a fill; an invalidation is one, and so is what it takes to see it.
    let load = trips(&proxy, |id| async move {
        acme.get_or_load(key!("new", id), policy().tag("t"), load).await.unwrap();
    });
    assert_eq!(load.await, 3);
    assert_eq!(trips(&proxy, |_| async move { acme.invalidate(tag("t")).await.unwrap() }).await, 1);
    let in_memory =
        trips(&proxy, |id| async move { acme.get::<u8>(key!("plain", id)).await.unwrap().unwrap() });
    assert_eq!(in_memory.await, 0);
}

/// Redis runs no script for calls that have met no other tags for a while. The first that meets some pays for all.
#[tokio::test]
async fn a_tag_where_there_was_none_for_long_costs_one_read_a_second_round_trip() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (one, other) = (one.tenant("acme"), other.tenant("acme"));
    let values = |from: u64, to: u64| (from..to).map(|id| (key!("row", id), 1_u8)).collect::<Vec<_>>();
    one.set_many(values(0, 70), policy()).await.unwrap();
    one.set_many(values(70, 73), policy().tag("t")).await.unwrap();
    redis.reset_calls();
    let read = async |id: u64| {
        let found = other.get::<u8>(key!("row", id)).await.unwrap().unwrap();
        assert_eq!(found.status.tier, larder::Tier::Redis);
    };
    let reads = || (redis.calls_of("get"), redis.calls_of("getrange"));
    for id in 0..64 {
        read(id).await;
    }
    assert_eq!(reads(), (64, 64), "they may have any");
    for id in 64..70 {
        read(id).await;
    }
    assert_eq!(reads(), (70, 64), "it seems that they have none");
    read(70).await;
    assert_eq!(reads(), (72, 65));
    read(71).await;
    assert_eq!(reads(), (73, 66));
    other.invalidate(tag("t")).await.unwrap();
    assert!(other.get::<u8>(key!("row", 70)).await.unwrap().is_none(), "as ever");
    assert!(other.get::<u8>(key!("row", 72)).await.unwrap().is_none());
}

/// However the tagged lie among the others, they are read in one round trip, each time.
#[tokio::test]
async fn a_few_tags_among_many_entries_are_asked_for_each_time() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (one, other) = (one.tenant("acme"), other.tenant("acme"));
    for round in 0..10_u64 {
        one.set_many(vec![(key!("row", round, 0), 1_u8)], policy().tag("t")).await.unwrap();
        let rest = (1..30_u64).map(|place| (key!("row", round, place), 1_u8)).collect();
        one.set_many(rest, policy()).await.unwrap();
    }
    redis.reset_calls();
    for round in 0..10_u64 {
        let keys: Vec<_> = (0..30_u64).map(|place| key!("row", round, place)).collect();
        assert!(other.get_many::<u8>(&keys).await.unwrap().iter().all(Option::is_some));
    }
    assert_eq!((redis.calls_of("mget"), redis.calls_of("getrange")), (10, 300));
    // More at once would keep Redis from others: those with tags are read again, with their stamps.
    let third = node(&redis).await;
    redis.reset_calls();
    let keys: Vec<_> = (0..300_u64).map(|place| key!("row", place / 30, place % 30)).collect();
    assert!(third.tenant("acme").get_many::<u8>(&keys).await.unwrap().iter().all(Option::is_some));
    assert_eq!((redis.calls_of("mget"), redis.calls_of("getrange")), (2, 10));
}
