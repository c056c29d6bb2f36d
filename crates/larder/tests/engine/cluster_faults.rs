//! A Redis Cluster in which something fails or moves while requests run.

use crate::history::{KEYS, Setting, node, read, under};
use crate::support::{Row, ready};
use larder::{Cache, ErrorKind, RedisState, all, first_segment, key};
use larder_testkit::{Fault, RedisCluster, RedisServer, assert_eventually};
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Handle;

const SOON: Duration = Duration::from_secs(60);
/// Of sixteen buckets over three primaries.
const ON_THE_FIRST_PRIMARY: u64 = 5;

fn setting(cluster: &RedisCluster) -> Setting {
    Setting { url: cluster.url(), lease: Duration::from_secs(2), tenant: |key| format!("tenant-{key}") }
}

#[tokio::test]
async fn the_rows_of_these_tests_are_on_all_primaries() {
    let cluster = RedisCluster::start();
    let (setting, row) = (setting(&cluster), Row::default());
    let cache = node(&setting).await;
    for key in 0..KEYS {
        read(&cache, &(setting.tenant)(key), &row, key).await;
    }
    for primary in &cluster.nodes()[..3] {
        assert!(!primary.command(&["KEYS", "*:e:*"]).items().is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_on_demand_makes_nothing_stale_and_only_what_moved_begins_a_new_epoch() {
    let cluster = Arc::new(RedisCluster::start());
    let fault = Arc::clone(&cluster);
    let seen =
        under(setting(&cluster), move || fault.failover(3), |bumps| bumps >= ON_THE_FIRST_PRIMARY).await;
    assert_eq!(seen, ON_THE_FIRST_PRIMARY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_makes_nothing_stale_and_only_what_moved_begins_a_new_epoch() {
    let cluster = Arc::new(RedisCluster::start());
    let fault = Arc::clone(&cluster);
    let died = move || {
        fault.nodes()[0].kill();
        assert_eq!(fault.await_takeover(0), 3);
        fault.nodes()[0].restart();
        fault.await_complete();
    };
    let seen = under(setting(&cluster), died, |bumps| bumps >= ON_THE_FIRST_PRIMARY).await;
    assert_eq!(seen, ON_THE_FIRST_PRIMARY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_stood_still_and_was_replaced_makes_nothing_stale() {
    let cluster = Arc::new(RedisCluster::start());
    let fault = Arc::clone(&cluster);
    let stood_still = move || {
        fault.nodes()[0].pause();
        assert_eq!(fault.await_takeover(0), 3);
        // It goes on as a primary with its old connections, until another node tells it.
        fault.nodes()[0].resume();
        fault.await_complete();
    };
    let seen = under(setting(&cluster), stood_still, |bumps| bumps >= ON_THE_FIRST_PRIMARY).await;
    assert_eq!(seen, ON_THE_FIRST_PRIMARY);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_stood_still_and_kept_its_place_leaves_redis_warm() {
    let cluster = Arc::new(RedisCluster::builder().node_timeout(Duration::from_secs(60)).start());
    let (setting, fault) = (setting(&cluster), Arc::clone(&cluster));
    let bystander = node(&setting).await;
    let tries = bystander.clone();
    let stood_still = move || {
        fault.nodes()[0].pause();
        // Longer than any lease: until an invalidation has been tried for as long as one is.
        let tried = Handle::current().block_on(tries.invalidate(first_segment("nobody")).into_future());
        assert_eq!(tried.unwrap_err().kind(), ErrorKind::Deferred);
        fault.nodes()[0].resume();
    };
    let seen = under(setting, stood_still, |_| true).await;
    // Who had gone would have been struck off, which is another epoch.
    drop(bystander);
    assert_eq!(seen, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_moved_begins_a_new_epoch_of_its_bucket_alone() {
    let cluster = Arc::new(RedisCluster::start());
    let (fault, slot) = (Arc::clone(&cluster), slot_of_the_first_row(&cluster).await);
    let from = cluster.primary_of(slot);
    let seen =
        under(setting(&cluster), move || fault.move_slot(slot, (from + 1) % 3), |bumps| bumps >= 1).await;
    assert_eq!(seen, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slot_that_is_half_moved_is_done_without_and_the_others_are_not_concerned() {
    let cluster = RedisCluster::start();
    let (setting, slot) = (setting(&cluster), slot_of_the_first_row(&cluster).await);
    let (one, other, rows) =
        (node(&setting).await, node(&setting).await, [(); KEYS].map(|()| Row::default()));
    let from = cluster.begin_move(slot, (cluster.primary_of(slot) + 1) % 3);
    // What is not there would have to be asked for at the new primary.
    assert_eventually!(
        read(&one, &(setting.tenant)(0), &rows[0], 0).await == 0
            && reason(&one).contains("not served here: ASK"),
        SOON,
        "the move is noticed: {:?}",
        one.redis_state()
    );
    for version in 1..=3 {
        rows[0].write();
        let told = one.tenant((setting.tenant)(0)).invalidate(key!("k", 0)).await;
        assert!(told.is_ok() || told.unwrap_err().kind() == ErrorKind::Deferred);
        assert_eq!(read(&one, &(setting.tenant)(0), &rows[0], 0).await, version);
    }
    // Rows of other buckets come from Redis, also those that share its connections.
    let mut from_redis = 0;
    for (key, row) in rows.iter().enumerate().skip(1) {
        let tenant = (setting.tenant)(key);
        read(&one, &tenant, row, key).await;
        read(&other, &tenant, row, key).await;
        from_redis += u64::from(row.loads() == 1);
    }
    assert!(from_redis > 4, "{from_redis} of the others come from Redis");
    cluster.move_keys(slot, from, (from + 1) % 3);
    cluster.end_move(slot, (from + 1) % 3);
    for cache in [&one, &other] {
        ready(cache).await;
        assert_eventually!(cache.stats().epoch_bumps == 1, SOON, "{}", cache.stats().epoch_bumps);
        assert_eq!(read(cache, &(setting.tenant)(0), &rows[0], 0).await, 3);
    }
}

#[tokio::test]
async fn what_one_primary_was_not_told_is_deferred_and_the_others_have_it() {
    let cluster = RedisCluster::builder().node_timeout(Duration::from_secs(60)).start();
    let setting = setting(&cluster);
    let (one, other, rows) =
        (node(&setting).await, node(&setting).await, [(); KEYS].map(|()| Row::default()));
    for (key, row) in rows.iter().enumerate() {
        read(&other, &(setting.tenant)(key), row, key).await;
        row.write();
    }
    cluster.nodes()[0].pause();
    let error = one.invalidate(all()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deferred);
    let ticket = error.ticket().expect("it is deferred").clone();
    assert_eq!(ticket.stamp(), None);
    for (key, row) in rows.iter().enumerate() {
        assert_eq!(read(&one, &(setting.tenant)(key), row, key).await, 1, "in force here at once");
    }
    assert_eq!(one.stats().undelivered, ON_THE_FIRST_PRIMARY);
    cluster.nodes()[0].resume();
    let stamp = ticket.delivered().await.unwrap();
    for (key, row) in rows.iter().enumerate() {
        let (tenant, load) = ((setting.tenant)(key), row.load());
        let at_least = other.tenant(&tenant).at_least(stamp.clone());
        let read =
            at_least.get_or_load(key!("k", key), crate::support::policy(), move || load).await.unwrap();
        assert_eq!(*read, 1);
    }
    ready(&one).await;
    assert_eq!((one.stats().undelivered, one.stats().epoch_bumps), (0, 0));
}

#[tokio::test]
async fn an_announced_address_that_is_not_reached_is_said() {
    let cluster = RedisCluster::start();
    // The nodes themselves are reached; what they announce is not.
    let seeds: Vec<String> =
        cluster.nodes().iter().map(|node| format!("127.0.0.1:{}", node.port())).collect();
    for node in 0..6 {
        cluster.proxy(node).set(Fault::Refuse).await;
    }
    let url = format!("redis+cluster://{}", seeds.join(","));
    let cache = Cache::builder("test").redis(url.as_str()).build().await.unwrap();
    let reason = reason(&cache);
    assert!(reason.contains("as the Cluster announces it: that address must be reached"), "{reason}");
    for node in 0..6 {
        cluster.proxy(node).heal().await;
    }
    ready(&cache).await;
}

#[tokio::test]
async fn one_living_node_of_those_named_is_enough_and_a_server_of_another_kind_is_said() {
    let (cluster, single) = (RedisCluster::start(), RedisServer::start());
    let url = format!("redis+cluster://127.0.0.1:1,127.0.0.1:{}", cluster.port(4));
    let cache = Cache::builder("test").redis(url.as_str()).build().await.unwrap();
    ready(&cache).await;
    for (url, words) in [
        (format!("redis+cluster://127.0.0.1:{}", single.port()), "not part of a Cluster: write redis://"),
        (format!("redis://127.0.0.1:{}", cluster.port(0)), "is part of a Cluster: write redis+cluster://"),
    ] {
        let cache = Cache::builder("test").redis(url.as_str()).build().await.unwrap();
        let RedisState::Unsupported { missing } = cache.redis_state() else {
            panic!("{:?}", cache.redis_state())
        };
        assert!(missing.contains(words), "{missing}");
    }
}

fn reason(cache: &Cache) -> String {
    match cache.redis_state() {
        RedisState::Unavailable { reason } => reason,
        _ => String::new(),
    }
}

/// The raw key of a tenant's entry, if it is in Redis.
fn raw(cluster: &RedisCluster, tenant: &str) -> Option<String> {
    let of = |node: &RedisServer| node.command(&["KEYS", &format!("*:e:*:{tenant}:*")]);
    let found = cluster.nodes()[..3].iter().map(of).find(|keys| !keys.items().is_empty())?;
    Some(found.items()[0].text())
}

async fn slot_of_the_first_row(cluster: &RedisCluster) -> u16 {
    let setting = setting(cluster);
    let cache = node(&setting).await;
    read(&cache, &(setting.tenant)(0), &Row::default(), 0).await;
    let raw = raw(cluster, &(setting.tenant)(0)).expect("it is in Redis");
    cache.tenant((setting.tenant)(0)).invalidate(all()).await.unwrap();
    cache.shutdown().await;
    cluster.slot_of(&raw)
}
