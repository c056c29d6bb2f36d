//! Reading what one has written, on whichever node.

use crate::support::{Row, alone, node, node_with, policy, ready};
use larder::{Cache, Stamp, Tier, key, tag};
use larder_testkit::{Fault, RedisServer, TcpProxy};
use std::time::Duration;

async fn read(cache: &Cache, row: &Row, stamp: Option<&Stamp>) -> (u64, Tier) {
    let (acme, row) = (cache.tenant("acme"), row.clone());
    let acme = stamp.map_or(acme.clone(), |stamp| acme.at_least(stamp.clone()));
    let found = acme.fetch(key!("k", 1), policy().tag("t"), move || row.load()).await.unwrap();
    (*found.value, found.status.tier)
}

#[tokio::test]
async fn the_author_of_a_write_reads_it_on_a_node_that_has_not_heard_of_it() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    // It does not run out during the test.
    let lease = Duration::from_secs(60);
    let (writer, row) = (node_with(&redis, |builder| builder.coherence_lease(lease)).await, Row::default());
    let other = node_with(&redis, |builder| builder.coherence_lease(lease).redis(url.as_str())).await;
    ready(&other).await;
    read(&other, &row, None).await;
    assert_eq!(read(&other, &row, None).await, (0, Tier::Memory));
    proxy.set(Fault::Stall).await;
    row.write();
    let stamp = writer.tenant("acme").invalidate(tag("t")).await.unwrap();
    assert_eq!(read(&other, &row, None).await, (0, Tier::Memory), "its lease still holds");
    assert_eq!(read(&other, &row, Some(&stamp)).await, (1, Tier::Origin));
    let got = other.tenant("acme").at_least(stamp.clone()).get::<u64>(key!("k", 1)).await.unwrap();
    assert!(got.is_none_or(|got| *got.value == 1));
    proxy.heal().await;
    ready(&other).await;
    assert_eq!(read(&other, &row, Some(&stamp)).await.0, 1);
}

#[tokio::test]
async fn a_message_on_its_way_is_waited_for() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let url = format!("redis://{}/0", proxy.address());
    let (writer, row) = (node(&redis).await, Row::default());
    let other = node_with(&redis, |builder| builder.redis(url.as_str())).await;
    ready(&other).await;
    read(&other, &row, None).await;
    proxy.set(Fault::Delay(Duration::from_millis(20))).await;
    for version in 1..10 {
        row.write();
        let stamp = writer.tenant("acme").invalidate(key!("k", 1)).await.unwrap();
        let stamp: Stamp = stamp.to_string().parse().unwrap();
        assert_eq!(read(&other, &row, Some(&stamp)).await.0, version);
        assert_eq!(read(&other, &row, Some(&stamp)).await, (version, Tier::Memory));
    }
}

#[tokio::test]
async fn a_stamp_of_this_node_costs_nothing() {
    let (cache, row) = (alone().await, Row::default());
    read(&cache, &row, None).await;
    row.write();
    let stamp = cache.tenant("acme").invalidate(tag("t")).await.unwrap();
    assert_eq!(read(&cache, &row, Some(&stamp)).await, (1, Tier::Origin));
    assert_eq!(read(&cache, &row, Some(&stamp)).await, (1, Tier::Memory));
}
