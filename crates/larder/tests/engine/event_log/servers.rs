//! The event logs where servers are replaced and buckets move.

use super::{Follower, SOON, publish, publish_of};
use crate::support::ready;
use larder::{Cache, Gap, Position};
use larder_testkit::{RedisCluster, RedisSentinel, assert_eventually};

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
