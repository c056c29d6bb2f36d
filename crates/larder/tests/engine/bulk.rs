//! Many keys at once.

use crate::support::{Row, alone, node, node_with, policy};
use larder::{Cache, ErrorKind, Key, Outcome, RedisConfig, key};
use larder_testkit::RedisServer;
use parking_lot::Mutex;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

async fn both() -> (Vec<Cache>, RedisServer) {
    let redis = RedisServer::start();
    (vec![alone().await, node(&redis).await], redis)
}

#[tokio::test]
async fn one_loader_call_brings_all_that_miss() {
    let (caches, _redis) = both().await;
    for cache in caches {
        let acme = cache.tenant("acme");
        acme.set(key!("users", 2), "two".to_owned(), policy()).await.unwrap();
        let asked: Arc<Mutex<Vec<Vec<Key>>>> = Arc::default();
        let log = asked.clone();
        let keys: Vec<Key> = (1..=4).map(|id| key!("users", id)).collect();
        let load = move |keys: Vec<Key>| {
            log.lock().push(keys.clone());
            // In another order, and one that is not there.
            let found = keys.into_iter().rev().filter(|key| *key != key!("users", 4));
            let found: Vec<_> = found.map(|key| (key.clone(), format!("{key:?}"))).collect();
            async move { Ok::<_, Infallible>(found) }
        };
        let found = acme.get_or_load_many(keys.clone(), policy(), load).await.unwrap();
        let values: Vec<_> =
            found.iter().map(|found| found.as_ref().map(|found| found.value.as_str())).collect();
        assert_eq!(values, [Some("users:1"), Some("two"), Some("users:3"), None]);
        assert_eq!(*asked.lock(), [vec![key!("users", 1), key!("users", 3), key!("users", 4)]]);
        let again = acme.get_many::<String>(&keys[..3]).await.unwrap();
        assert!(
            again
                .iter()
                .all(|found| found.as_ref().is_some_and(|found| found.status.outcome == Outcome::Hit))
        );
    }
}

#[tokio::test]
async fn the_same_key_twice_is_loaded_once() {
    let (caches, _redis) = both().await;
    for cache in caches {
        let row = Row::default();
        let counted = row.clone();
        let load = move |keys: Vec<Key>| {
            let found: Vec<_> = keys.into_iter().map(|key| (key, counted.read())).collect();
            async move { Ok::<_, Infallible>(found) }
        };
        let keys = vec![key!("a"), key!("a"), key!("b")];
        let found = cache.tenant("acme").get_or_load_many(keys, policy(), load).await.unwrap();
        assert!(found.iter().all(Option::is_some));
        assert_eq!(row.loads(), 2);
    }
}

#[tokio::test]
async fn what_was_set_is_read_and_what_was_deleted_is_not() {
    // 32
    let (caches, _redis) = both().await;
    for cache in caches {
        let acme = cache.tenant("acme");
        let values = (0..10).map(|i| (key!("k", i), i)).collect();
        acme.set_many::<i32>(values, policy()).await.unwrap();
        acme.set(key!("k", 3), 33, policy()).await.unwrap();
        acme.delete(key!("k", 4)).await.unwrap();
        let keys: Vec<Key> = (0..10).map(|i| key!("k", i)).collect();
        let found = acme.get_many::<i32>(&keys).await.unwrap();
        let values: Vec<_> = found.iter().map(|found| found.as_ref().map(|found| *found.value)).collect();
        let mut expected: Vec<_> = (0..10).map(Some).collect();
        (expected[3], expected[4]) = (Some(33), None);
        assert_eq!(values, expected);
    }
}

#[tokio::test]
async fn of_values_set_under_one_key_the_last_counts() {
    let (caches, _redis) = both().await;
    for cache in caches {
        let acme = cache.tenant("acme");
        let values = vec![(key!("a"), 1), (key!("b"), 2), (key!("a"), 3)];
        acme.set_many::<i32>(values, policy()).await.unwrap();
        let found = acme.get_many::<i32>(&[key!("a"), key!("b")]).await.unwrap();
        let values: Vec<_> = found.into_iter().map(|found| *found.unwrap().value).collect();
        assert_eq!(values, [3, 2]);
    }
}

#[tokio::test]
async fn more_keys_than_one_pipeline_takes_are_refused() {
    let cache = alone().await;
    let keys: Vec<Key> = (0..1001).map(|i| key!("k", i)).collect();
    let error = cache.tenant("acme").get_many::<u64>(&keys).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    assert!(cache.tenant("acme").get_many::<u64>(&keys[..1000]).await.is_ok());
}

#[tokio::test]
async fn a_hundred_keys_of_redis_take_one_read() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let values = (0..100).map(|i| (key!("k", i), i)).collect();
    one.tenant("acme").set_many::<i32>(values, policy()).await.unwrap();
    redis.reset_calls();
    let keys: Vec<Key> = (0..100).map(|i| key!("k", i)).collect();
    let found = other.tenant("acme").get_many::<i32>(&keys).await.unwrap();
    assert!(
        found
            .iter()
            .all(|found| found.as_ref().is_some_and(|found| found.status.tier == larder::Tier::Redis))
    );
    assert_eq!((redis.calls_of("mget"), redis.calls_of("get")), (1, 0));
}

#[tokio::test]
async fn the_stamp_of_a_set_reads_its_values_on_another_node() {
    let redis = RedisServer::start();
    let mut config = RedisConfig::new(redis.url());
    // However slow the machine: a value that Redis did not take in time is not kept.
    config.read_timeout = Duration::from_secs(10);
    let one = node_with(&redis, |builder| builder.redis(config)).await;
    let other = node(&redis).await;
    let values = |version: i32| (0..600).map(|i| (key!("k", i), version)).collect();
    for version in 1..4 {
        let stamp = one.tenant("acme").set_many::<i32>(values(version), policy()).await.unwrap();
        assert_eq!(stamp.parts().count(), 1, "of one bucket, in however many steps");
        let reader = other.tenant("acme").at_least(stamp);
        for key in [key!("k", 0), key!("k", 599)] {
            assert_eq!(*reader.get::<i32>(key).await.unwrap().unwrap().value, version);
        }
    }
}
