use super::cache;
use larder::{Cache, Policy, all, first_segment, glob, key, prefix, tag};
use larder_testkit::RedisServer;
use std::convert::Infallible;
use std::time::Duration;

async fn fill(cache: &Cache) {
    for name in ["acme", "globex"] {
        let policy = Policy::ttl(Duration::from_secs(60)).tag("leads");
        let load = || async { Ok::<_, Infallible>(1) };
        cache
            .tenant(name)
            .get_or_load(key!("leads", "page", 1, "sort", "name"), &policy, load)
            .await
            .unwrap();
    }
}

async fn is_there(cache: &Cache, tenant: &str) -> bool {
    let key = key!("leads", "page", 1, "sort", "name");
    cache.tenant(tenant).contains::<i32>(key).await.unwrap()
}

#[tokio::test]
async fn everything_that_can_be_named_is_dropped_in_one_step() {
    let cache = cache().await;
    let acme = cache.tenant("acme");
    let mut dropped = Vec::new();
    macro_rules! each {
        ($($call:expr;)+) => { $(
            fill(&cache).await;
            $call.await.unwrap();
            dropped.push((is_there(&cache, "acme").await, is_there(&cache, "globex").await));
        )+ };
    }
    each! {
        acme.invalidate(key!("leads", "page", 1, "sort", "name")); // one value
        acme.invalidate(tag("leads")); // everything that carries the tag
        acme.invalidate(prefix!("leads", "page", 1)); // everything below, whatever follows
        acme.invalidate(glob("leads:page:*:sort:name")); // what no tag or prefix names
        acme.invalidate([tag("leads"), prefix!("campaigns")]); // several, as one
        acme.invalidate(all()); // all of the tenant
        cache.invalidate(first_segment("leads")); // of every tenant
        cache.invalidate(all()); // everything
    }
    assert_eq!(dropped, [[(false, true); 6].as_slice(), &[(false, false); 2]].concat());
}

#[tokio::test]
async fn other_nodes_follow_or_are_waited_for_or_the_reader_brings_its_stamp() {
    let redis = RedisServer::start();
    let node = async || {
        let cache = Cache::builder("pages").redis(&*redis.url()).build().await.unwrap();
        cache.ready().await;
        cache
    };
    let (here, there) = (node().await, node().await);
    let (acme, there) = (here.tenant("acme"), there.tenant("acme"));
    let policy = Policy::ttl(Duration::from_secs(60)).tag("leads");
    let load = || async { Ok::<_, Infallible>("old") };
    there
        .get_or_load(key!("leads"), &policy, move || async move { load().await.map(str::to_owned) })
        .await
        .unwrap();

    acme.invalidate(tag("leads")).acked().await.unwrap(); // returns when no node serves the old value
    assert!(!there.contains::<String>(key!("leads")).await.unwrap());

    let stamp = acme.invalidate(tag("leads")).await.unwrap(); // returns when this node does not
    let cookie = stamp.to_string(); // travels with whoever made the change
    let stamp = cookie.parse().unwrap();
    let seen = there.at_least(stamp).get::<String>(key!("leads")).await.unwrap(); // on any node
    assert!(seen.is_none());
}

#[tokio::test]
async fn what_is_expired_is_stale_and_not_gone() {
    let acme = cache().await.tenant("acme");
    let policy = Policy::ttl(Duration::from_secs(60)).stale_if_error(Duration::from_secs(3600)).tag("rates");
    acme.get_or_load(key!("rates"), &policy, || async { Ok::<_, Infallible>(1.08) }).await.unwrap();
    acme.expire(tag("rates")).await.unwrap(); // load again; if that fails, the old one will do
    let failing = || async { Err::<f64, _>(std::io::Error::other("the bank is closed")) };
    assert_eq!(*acme.get_or_load(key!("rates"), &policy, failing).await.unwrap(), 1.08);

    acme.invalidate(tag("rates")).await.unwrap(); // gone, whatever fails
    let failing = || async { Err::<f64, _>(std::io::Error::other("the bank is closed")) };
    assert!(acme.get_or_load(key!("rates"), &policy, failing).await.is_err());
}
