//! Redis gone, silent, back empty, back with old data: requests go on, and what comes back is never stale.

use crate::support::{Row, node, node_with, policy, ready};
use larder::{Cache, ErrorKind, Fetched, RedisState, Tier, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

async fn read(cache: &Cache, row: &Row) -> Fetched<u64> {
    let row = row.clone();
    cache.tenant("acme").fetch(key!("k", 1), policy().tag("t"), move || row.load()).await.unwrap()
}

async fn untrusted(cache: &Cache) {
    assert_eventually!(
        matches!(cache.redis_state(), RedisState::Unavailable { .. }),
        SOON,
        "the outage is noticed"
    );
}

#[tokio::test]
async fn without_redis_at_start_memory_serves_and_redis_is_used_when_it_comes() {
    let redis = RedisServer::start();
    redis.kill();
    let (cache, row) =
        (Cache::builder("test").redis(redis.url().as_str()).build().await.unwrap(), Row::default());
    assert!(matches!(cache.redis_state(), RedisState::Unavailable { .. }));
    assert_eq!(read(&cache, &row).await.status.tier, Tier::Origin);
    assert_eq!(read(&cache, &row).await.status.tier, Tier::Memory);
    redis.restart_empty();
    ready(&cache).await;
    read(&cache, &row).await;
    assert!(!redis.command(&["KEYS", "*:e:*"]).items().is_empty());
}

#[tokio::test]
async fn a_killed_redis_fails_no_read_and_comes_back_without_a_restart() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&one, &row).await;
    read(&other, &row).await;
    redis.kill();
    untrusted(&one).await;
    for _ in 0..20 {
        read(&one, &row).await;
        read(&other, &row).await;
    }
    row.write();
    let error = one.tenant("acme").invalidate(tag("t")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deferred);
    assert_eq!(*read(&one, &row).await.value, 1, "in force here at once");
    redis.restart_empty();
    ready(&one).await;
    ready(&other).await;
    assert_eq!(*read(&one, &row).await.value, 1);
    assert_eq!(*read(&other, &row).await.value, 1, "nothing of before the outage comes back");
    assert_eq!(one.stats().undelivered, 0);
}

#[tokio::test]
async fn a_write_during_a_pause_is_seen_by_the_first_read_of_the_other_node_after_it() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&one, &row).await;
    assert_eq!(read(&other, &row).await.status.tier, Tier::Redis);
    redis.pause();
    row.write();
    let error = one.tenant("acme").invalidate(tag("t")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Deferred);
    assert_eq!(*read(&one, &row).await.value, 1);
    redis.resume();
    // Its data is intact, so only distrust keeps the old value from being served. From here on the other node gives
    // the old value at most as long as its own outage entries live; once it relies on Redis again, never.
    ready(&other).await;
    assert_eq!(*read(&other, &row).await.value, 1);
    ready(&one).await;
    assert_eq!(*read(&one, &row).await.value, 1);
}

#[tokio::test]
async fn a_deferred_invalidation_whose_node_died_is_made_good_by_the_next_to_come() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&one, &row).await;
    read(&other, &row).await;
    redis.pause();
    row.write();
    let deferred = one.tenant("acme").invalidate(tag("t")).await;
    assert_eq!(deferred.unwrap_err().kind(), ErrorKind::Deferred);
    // The node is gone before Redis is back: nobody replays anything for it.
    one.shutdown().await;
    drop(one);
    redis.resume();
    ready(&other).await;
    assert_eq!(*read(&other, &row).await.value, 1);
}

#[tokio::test]
async fn an_old_snapshot_that_comes_back_is_not_believed() {
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    read(&one, &row).await;
    let snapshot = redis.snapshot();
    row.write();
    one.tenant("acme").invalidate(tag("t")).await.unwrap();
    let bumps = one.stats().epoch_bumps + other.stats().epoch_bumps;
    redis.restore_snapshot(&snapshot);
    assert_eventually!(
        one.stats().epoch_bumps + other.stats().epoch_bumps > bumps,
        SOON,
        "a new epoch begins"
    );
    ready(&one).await;
    ready(&other).await;
    assert_eq!(*read(&other, &row).await.value, 1);
    assert_eq!(*read(&one, &row).await.value, 1);
}

#[tokio::test]
async fn a_lost_coherence_state_means_distrust_not_zero() {
    for command in [&["DEL", "ld1:test:{0}:i"][..], &["FLUSHALL"][..]] {
        let redis = RedisServer::start();
        let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
        read(&one, &row).await;
        row.write();
        one.tenant("acme").invalidate(tag("t")).await.unwrap();
        let bumps = other.stats().epoch_bumps;
        redis.command(command);
        assert_eventually!(other.stats().epoch_bumps > bumps, SOON, "a new epoch begins");
        ready(&one).await;
        ready(&other).await;
        assert_eq!(*read(&other, &row).await.value, 1);
    }
}

#[tokio::test]
async fn a_cut_subscription_is_noticed_and_nothing_missed_is_served() {
    // 19
    let redis = RedisServer::start();
    let (one, other, row) = (node(&redis).await, node(&redis).await, Row::default());
    for round in 1..=3_u64 {
        read(&other, &row).await;
        redis.command(&["CLIENT", "KILL", "TYPE", "pubsub"]);
        row.write();
        let invalidated = one.tenant("acme").invalidate(tag("t")).await;
        assert!(invalidated.is_ok() || invalidated.unwrap_err().kind() == ErrorKind::Deferred);
        ready(&other).await;
        assert_eventually!(*read(&other, &row).await.value == round, SOON, "the missed message is made good");
        ready(&one).await;
    }
}

#[tokio::test]
async fn in_a_strict_outage_nothing_is_kept() {
    let redis = RedisServer::start();
    let (cache, row) =
        (node_with(&redis, |builder| builder.outage_memory_ttl(Duration::ZERO)).await, Row::default());
    redis.kill();
    untrusted(&cache).await;
    for _ in 0..3 {
        assert_eq!(read(&cache, &row).await.status.tier, Tier::Origin);
    }
    assert_eq!(row.loads(), 3);
}

#[tokio::test]
async fn a_single_node_keeps_the_full_ttl_through_an_outage() {
    let redis = RedisServer::start();
    let set = |builder: larder::CacheBuilder| builder.single_node(true).outage_memory_ttl(Duration::ZERO);
    let (cache, row) = (node_with(&redis, set).await, Row::default());
    redis.kill();
    untrusted(&cache).await;
    read(&cache, &row).await;
    let hit = read(&cache, &row).await.status;
    assert_eq!(hit.tier, Tier::Memory);
    assert!(hit.ttl > Duration::from_secs(50));
}

#[tokio::test]
async fn callers_share_a_load_also_without_redis() {
    let redis = RedisServer::start();
    let (cache, row, gate) = (node(&redis).await, Row::default(), crate::support::Gate::new());
    redis.kill();
    untrusted(&cache).await;
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let (acme, gate, row) = (cache.tenant("acme"), gate.clone(), row.clone());
        callers.spawn(async move {
            *acme.get_or_load(key!("k"), policy(), move || gate.load(&row)).await.unwrap()
        });
    }
    gate.reached().await;
    gate.open();
    callers.join_all().await;
    assert_eq!(row.loads(), 1);
}

#[tokio::test]
async fn a_wrong_password_is_said_and_memory_serves() {
    let redis = RedisServer::builder().password("right").start();
    let url = redis.url_at(&format!("127.0.0.1:{}", redis.port()), "default", "wrong");
    let (cache, row) = (Cache::builder("test").redis(url.as_str()).build().await.unwrap(), Row::default());
    let RedisState::Unavailable { reason } = cache.redis_state() else { panic!("{:?}", cache.redis_state()) };
    assert!(reason.contains("access denied"), "{reason}");
    assert!(!reason.contains("wrong"), "no password: {reason}");
    read(&cache, &row).await;
    assert_eq!(read(&cache, &row).await.status.tier, Tier::Memory);
}
