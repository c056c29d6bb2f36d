//! The event logs where servers are replaced and buckets move.

use super::{Follower, SOON, publish, publish_of};
use crate::support::{Row, policy, ready};
use larder::{Cache, Gap, Position, Replay, key, tag};
use larder_testkit::{RedisCluster, RedisSentinel, RedisServer, assert_eventually};

async fn node(url: &str) -> Cache {
    let cache = Cache::builder("test").redis(url).build().await.unwrap();
    ready(&cache).await;
    cache
}

/// Until what is published is seen again; what was logged meanwhile may be lost with its history.
async fn goes_on(one: &Cache, tenant: &str, follower: &mut Follower) -> Position {
    let last = publish_of(one, tenant, 0..3).await.remove(2);
    follower.until(&last).await;
    last
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_sentinels_replace_begins_a_new_history_and_loses_nothing_in_silence() {
    let all = RedisSentinel::start();
    let (one, other) = (node(&all.url()).await, node(&all.url()).await);
    let (mut here, mut there) = (Follower::of(&one).await, Follower::of(&other).await);
    let before = publish(&one, 0..10).await;
    for follower in [&mut here, &mut there] {
        follower.until(&before[9]).await;
        assert_eq!(follower.seen, (0..10).collect::<Vec<_>>());
    }
    all.servers()[0].kill();
    let _ = all.await_failover(0);
    all.servers()[0].restart();
    all.await_settled();
    for follower in [&mut here, &mut there] {
        let last = goes_on(&one, "acme", follower).await;
        assert_ne!(last.epoch(), before[9].epoch());
        assert!(follower.resets.iter().all(|gap| *gap == Gap::Epoch) && !follower.resets.is_empty());
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_a_cluster_only_what_moved_begins_a_new_history() {
    let cluster = RedisCluster::start();
    let (one, other) = (node(&cluster.url()).await, node(&cluster.url()).await);
    let tenants: Vec<String> = (0..16).map(|number| format!("tenant-{number}")).collect();
    let mut followers = Vec::new();
    for tenant in &tenants {
        let mut follower = Follower::of_tenant(&other, tenant).await;
        goes_on(&one, tenant, &mut follower).await;
        assert_eq!(follower.seen, [0, 1, 2]);
        followers.push(follower);
    }
    cluster.nodes()[0].kill();
    assert_eq!(cluster.await_takeover(0), 3);
    cluster.nodes()[0].restart();
    cluster.await_complete();
    assert_eventually!(cluster.nodes()[3].is_up(), SOON, "another serves its slots");
    let mut moved = 0;
    for (tenant, follower) in tenants.iter().zip(&mut followers) {
        goes_on(&one, tenant, follower).await;
        let kept = follower.resets.is_empty();
        moved += u32::from(!kept);
        if kept {
            assert_eq!(follower.seen, [0, 1, 2, 0, 1, 2], "{tenant}");
        }
    }
    assert!((1..16).contains(&moved), "{moved} of 16");
}

#[tokio::test]
async fn events_wait_for_room_in_a_redis_whose_memory_is_full() {
    let redis = RedisServer::builder().maxmemory(1 << 30, "noeviction").start();
    let (one, other) = (node(&redis.url()).await, node(&redis.url()).await);
    let mut follower = Follower::of(&other).await;
    publish(&one, 0..3).await;
    redis.limit_memory(1, "noeviction");
    let mut publication = one.tenant("acme").publish(super::numbered(3));
    let logged = publication.logged();
    publication.await.unwrap();
    assert_eventually!(
        redis.calls_of("evalsha") > 0 && one.stats().events.appended == 3,
        SOON,
        "it is tried"
    );
    redis.limit_memory(1 << 30, "noeviction");
    let place = tokio::time::timeout(SOON, logged).await.unwrap().unwrap();
    follower.until(&place).await;
    assert_eq!((follower.seen, follower.resets.len()), (vec![0, 1, 2, 3], 0));
}

#[tokio::test]
async fn where_the_access_list_refuses_the_logs_the_cache_works_and_events_wait() {
    let acl = "user app on >pw ~ld1:* &ld1:* +@all -xadd";
    let redis = RedisServer::builder().acl(acl).start();
    let cache = node(&redis.url_of("app", "pw")).await;
    let watch = cache.event_log().watch("acme").await.unwrap();
    assert!(watch.head().is_unknown());
    let (acme, row) = (cache.tenant("acme"), Row::default());
    let read = || {
        let row = row.clone();
        acme.get_or_load(key!("k"), policy().tag("t"), move || row.load())
    };
    assert_eq!(*read().await.unwrap(), 0);
    row.write();
    acme.publish(super::numbered(1).invalidates([tag("t")])).await.unwrap();
    assert_eq!(*read().await.unwrap(), 1);
    assert_eq!(cache.stats().events.waiting, 1);
}

#[tokio::test]
async fn the_access_list_of_the_documentation_is_enough_for_the_logs() {
    let acl = "user app on >pw ~ld1:test:* &ld1:test:* +@read +@write +@pubsub +evalsha +script|load +hello -@dangerous +info +time \
               +ping +select +scan";
    let redis = RedisServer::builder().acl(acl).start();
    let (one, other) = (node(&redis.url_of("app", "pw")).await, node(&redis.url_of("app", "pw")).await);
    let mut follower = Follower::of(&other).await;
    let places = publish(&one, 0..3).await;
    follower.until(&places[2]).await;
    assert_eq!((&follower.seen[..], follower.resets.len()), (&[0, 1, 2][..], 0));
    let log = other.event_log();
    let late = log.after("acme", &places[0], 10, 1 << 20).await.unwrap();
    assert!(matches!(late, Replay::Events { events, .. } if events.len() == 2));
    assert!(
        log.claim("acme", "once", SOON).await.unwrap()
            && !one.event_log().claim("acme", "once", SOON).await.unwrap()
    );
    one.event_log().join("acme", "room", "c", "7", bytes::Bytes::new()).await.unwrap();
    assert_eq!(log.members("acme", "room", 9).await.unwrap().total, 1);
}
