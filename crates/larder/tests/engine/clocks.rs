//! Nodes whose clocks have nothing in common.

use crate::support::{Row, node_with, policy};
use larder::{Cache, Clock, Moment, SystemClock, Tier, key, tag};
use larder_testkit::RedisServer;
use std::sync::Arc;
use std::time::Duration;

/// So much ahead of the machine's clock.
struct Ahead(Duration);

impl Clock for Ahead {
    fn now(&self) -> Moment {
        SystemClock.now().plus(self.0)
    }
}

async fn ahead(redis: &RedisServer, by: Duration) -> Cache {
    node_with(redis, |builder| builder.clock(Arc::new(Ahead(by)))).await
}

#[tokio::test]
async fn of_nodes_whose_clocks_differ_by_a_quarter_of_an_hour_each_sees_what_the_other_did() {
    // 7, 8
    let (redis, row) = (RedisServer::start(), Row::default());
    let nodes = [ahead(&redis, Duration::ZERO).await, ahead(&redis, Duration::from_secs(900)).await];
    let read = |cache: &Cache| {
        let (acme, row) = (cache.tenant("acme"), row.clone());
        let load = move || row.load();
        async move { acme.fetch(key!("k"), policy().tag("t"), load).await.unwrap() }
    };
    for (one, other) in [(&nodes[0], &nodes[1]), (&nodes[1], &nodes[0])] {
        let loaded = read(one).await;
        let found = read(other).await;
        assert_eq!((found.value, found.status.tier), (loaded.value, Tier::Redis));
        let left = found.status.ttl;
        assert!(left > Duration::from_secs(30) && left <= Duration::from_secs(60), "{left:?}");
        // As fast as can be, so within the same tick of many a clock: set, invalidated, set.
        for _ in 0..20 {
            row.write();
            one.tenant("acme").set(key!("k"), row.version(), policy().tag("t")).await.unwrap();
            row.write();
            other.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
            assert_eq!(*read(one).await.value, row.version());
            assert_eq!(*read(other).await.value, row.version());
            let stamp = other.tenant("acme").set(key!("k"), row.version(), policy().tag("t")).await.unwrap();
            let found = one.tenant("acme").at_least(stamp).get::<u64>(key!("k")).await.unwrap();
            assert!(found.is_none_or(|found| *found.value == row.version()));
        }
        other.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
    }
}
