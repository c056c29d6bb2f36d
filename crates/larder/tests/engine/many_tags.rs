//! More distinct tags than the coherence state remembers, in Redis and on each node: it stays within its bounds, and what the
//! forgotten ones had invalidated stays dead. (`cargo bench -p benches --bench tags` does this with a million, and weighs.)

use crate::support::{MINUTE, Row, node_with, policy};
use larder::{Cache, Key, key, tag};
use larder_testkit::RedisServer;
use std::convert::Infallible;

/// Below what a tenant may bring in a minute from one node.
const TAGS_OF_A_TENANT: usize = 9_000;
const TENANTS: usize = 24;
/// One message.
const BATCH: usize = 1_000;

fn tenant(number: usize) -> String {
    format!("tenant-{number}")
}

async fn read(cache: &Cache, number: usize, row: &Row) -> u64 {
    let row = row.clone();
    let load = move || async move { Ok::<_, Infallible>(row.read()) };
    *cache.tenant(tenant(number)).get_or_load(row_key(), policy().tag("tag-7"), load).await.unwrap()
}

/// What a node remembers between two heartbeats, each of which brings it back to half of that; and one message.
const REMEMBERED: u64 = 2 * 65_536 + BATCH as u64;

/// A node that makes no heartbeat while it is told of the tags.
async fn unhurried_node(redis: &RedisServer) -> Cache {
    node_with(redis, |builder| builder.coherence_lease(MINUTE)).await
}

fn remembered(cache: &Cache) -> u64 {
    cache.stats().scopes_remembered
}

fn row_key() -> Key {
    key!("row")
}

#[tokio::test]
async fn more_tags_than_anybody_remembers_leave_nothing_stale_and_nothing_unbounded() {
    let redis = RedisServer::start();
    let (one, other) = (unhurried_node(&redis).await, unhurried_node(&redis).await);
    let rows: Vec<Row> = (0..TENANTS).map(|_| Row::default()).collect();
    for (number, row) in rows.iter().enumerate() {
        for cache in [&one, &other] {
            assert_eq!(read(cache, number, row).await, 0);
        }
    }
    let mut most = 0;
    for (number, row) in rows.iter().enumerate() {
        assert_eq!(row.write(), 1);
        for batch in (0..TAGS_OF_A_TENANT).step_by(BATCH) {
            let tags = (batch..batch + BATCH).map(|tag_number| tag(format!("tag-{tag_number}")));
            one.tenant(tenant(number)).invalidate(tags.collect::<Vec<_>>()).await.unwrap();
            most = most.max(remembered(&other));
        }
        assert_eq!(one.tenant(tenant(number)).stats().widened, 0, "each tag is a scope of its own");
    }
    assert!(most <= REMEMBERED, "{most}");
    // The first tenants' tags are forgotten by now: there were 216,000.
    let members = redis.command(&["ZCARD", "ld1:test:{0}:i"]).int().unwrap();
    assert!((150_000..201_000).contains(&members), "{members}");
    // Somebody who has never heard of any of it reads what lies in Redis.
    let fresh = unhurried_node(&redis).await;
    for cache in [&fresh, &one, &other] {
        for (number, row) in rows.iter().enumerate() {
            assert_eq!(read(cache, number, row).await, 1, "of tenant {number}");
        }
        assert!(remembered(cache) <= REMEMBERED, "{}", remembered(cache));
        assert_eq!(cache.stats().epoch_bumps, 0);
    }
    // Each was loaded once before and once after, whoever asked.
    assert!(rows.iter().all(|row| row.loads() == 2));
}
