//! Waiting until no other node serves what was invalidated, and for what was deferred.

use crate::support::{Row, node, node_with, policy, ready};
use larder::{Cache, CacheBuilder, ErrorKind, Tier, key, tag};
use larder_testkit::{Fault, RedisServer, TcpProxy};
use std::time::Duration;

async fn read(cache: &Cache, row: &Row) -> (u64, Tier) {
    let row = row.clone();
    let found =
        cache.tenant("acme").fetch(key!("k", 1), policy().tag("t"), move || row.load()).await.unwrap();
    (*found.value, found.status.tier)
}

/// A node whose bytes from Redis pass through a proxy. Without a lease it keeps nothing: what it may then serve of its own
/// is another promise.
async fn behind(redis: &RedisServer, proxy: &TcpProxy) -> Cache {
    let url = format!("redis://{}/0", proxy.address());
    let strict = |builder: CacheBuilder| builder.redis(url.as_str()).outage_memory_ttl(Duration::ZERO);
    let cache = node_with(redis, strict).await;
    ready(&cache).await;
    cache
}

#[tokio::test]
async fn once_acknowledged_no_other_node_serves_the_old_value() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let (writer, other, row) = (node(&redis).await, behind(&redis, &proxy).await, Row::default());
    read(&other, &row).await;
    for version in 1..=5 {
        assert_eq!(read(&other, &row).await.1, Tier::Memory);
        // The push is under way for longer than the invalidation itself takes.
        proxy.set(Fault::Delay(Duration::from_millis(100))).await;
        row.write();
        writer.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
        assert_eq!(read(&other, &row).await.0, version);
        proxy.heal().await;
        read(&other, &row).await;
    }
}

#[tokio::test]
async fn a_node_that_does_not_acknowledge_is_waited_for_until_its_lease_has_run_out() {
    // s14
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let (writer, other, row) = (node(&redis).await, behind(&redis, &proxy).await, Row::default());
    read(&other, &row).await;
    proxy.set(Fault::Stall).await;
    row.write();
    writer.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
    assert_eq!(read(&other, &row).await, (1, Tier::Origin), "it relies neither on its memory nor on Redis");
}

#[tokio::test]
async fn a_node_alone_has_nobody_to_wait_for() {
    let cache = crate::support::alone().await;
    cache.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    cache.tenant("acme").invalidate([tag("t"), key!("k", 1).into()]).acked().await.unwrap();
}

#[tokio::test]
async fn a_deferred_invalidation_has_a_ticket_that_is_honoured_when_redis_is_back() {
    let redis = RedisServer::start();
    let (writer, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&other, &row).await;
    redis.pause();
    row.write();
    let error = writer.tenant("acme").invalidate(tag("t")).acked().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deferred);
    let ticket = error.ticket().expect("it is deferred").clone();
    assert_eq!(ticket.stamp(), None);
    redis.resume();
    let stamp = ticket.delivered().await.unwrap();
    assert_eq!(ticket.stamp().as_ref(), Some(&stamp));
    ready(&other).await;
    assert_eq!(read(&other, &row).await.0, 1);
}

#[tokio::test]
async fn an_outage_with_the_data_intact_leaves_redis_warm() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&one, &row).await;
    let epochs = one.stats().epoch_bumps;
    redis.pause();
    let error = one.tenant("acme").invalidate(tag("unrelated")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deferred);
    redis.resume();
    error.ticket().expect("it is deferred").delivered().await.unwrap();
    ready(&one).await;
    ready(&other).await;
    assert_eq!(read(&other, &row).await, (0, Tier::Redis));
    assert_eq!(row.loads(), 1);
    assert_eq!(one.stats().epoch_bumps, epochs);
}

#[tokio::test]
async fn a_ticket_of_a_cache_that_was_shut_down_says_so() {
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    redis.pause();
    let error = cache.tenant("acme").invalidate(tag("t")).await.unwrap_err();
    let ticket = error.ticket().expect("it is deferred").clone();
    cache.shutdown().await;
    drop((cache, error));
    assert_eq!(ticket.delivered().await.unwrap_err().kind(), ErrorKind::Closed);
    redis.resume();
}
