use larder::store::redis::RedisConfig;
use larder::{Cache, Policy, RedisState, Tier, Tiers, key};
use larder_testkit::RedisServer;
use std::convert::Infallible;
use std::time::Duration;

#[tokio::test]
async fn memory_is_in_front_of_redis() {
    let server = RedisServer::start();
    let url = server.url();
    let mut redis = RedisConfig::new(url);
    redis.read_timeout = Duration::from_millis(200); // the Redis budget of one request, retry included
    let cache = Cache::builder("shop").memory(256 << 20).redis(redis.clone()).build().await.unwrap();
    cache.ready().await; // waits for Redis and the lease: bound it with a time-out, since Redis may never come
    assert!(matches!(cache.redis_state(), RedisState::Connected { .. }));

    let acme = cache.tenant("acme");
    let both = Policy::ttl(Duration::from_secs(60)); // both tiers, unless told otherwise
    let here = both.clone().tiers(Tiers::Memory); // cheap to load, or only of this node
    let there = both.clone().tiers(Tiers::Redis); // large, or read by few
    for (name, policy) in [("both", &both), ("here", &here), ("there", &there)] {
        acme.get_or_load(key!(name), policy, || async { Ok::<_, Infallible>(1) }).await.unwrap();
    }

    let other = Cache::builder("shop").redis(redis).build().await.unwrap();
    other.ready().await;
    let mut tiers = Vec::new();
    let acme = other.tenant("acme");
    for (name, policy) in [("both", &both), ("here", &here), ("there", &there)] {
        let found = acme.fetch(key!(name), policy, || async { Ok::<_, Infallible>(2) }).await.unwrap();
        tiers.push(found.status.tier);
    }
    assert_eq!(tiers, [Tier::Redis, Tier::Origin, Tier::Redis]);
}
