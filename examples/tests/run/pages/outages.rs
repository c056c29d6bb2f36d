use super::LONG;
use larder::{Cache, ErrorKind, Policy, Tenant, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::convert::Infallible;
use std::time::Duration;

/// After the commit of a change.
async fn changed(acme: &Tenant) -> Result<(), larder::Error> {
    match acme.invalidate(tag("leads")).await {
        Ok(_) => Ok(()),
        // In force here, and delivered when Redis is back: no reason to fail a write that is committed.
        Err(error) if error.kind() == ErrorKind::Deferred => Ok(()),
        Err(error) => Err(error),
    }
}

#[tokio::test]
async fn requests_go_on_and_nothing_that_was_invalidated_comes_back() {
    let redis = RedisServer::start();
    let cache = Cache::builder("shop")
        .redis(&*redis.url())
        .outage_memory_ttl(Duration::from_secs(5)) // how long what is loaded without Redis is kept; 0 is strict
        .build()
        .await
        .unwrap();
    cache.ready().await;
    let acme = cache.tenant("acme");
    let policy = Policy::ttl(Duration::from_secs(60)).tag("leads");
    let old = || async { Ok::<_, Infallible>("old".to_owned()) };
    acme.get_or_load(key!("leads"), &policy, old).await.unwrap();

    redis.kill();
    assert_eventually!(!cache.stats().trusted, LONG, "it is noticed");
    acme.get_or_load(key!("leads"), &policy, old).await.unwrap(); // never an error for want of Redis
    changed(&acme).await.unwrap();
    assert_eq!(cache.stats().undelivered, 1);

    redis.restart_empty();
    cache.ready().await;
    assert_eq!(cache.stats().undelivered, 0);
    assert!(!acme.contains::<String>(key!("leads")).await.unwrap());
}
