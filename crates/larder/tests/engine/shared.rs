//! Two nodes on one Redis.

use crate::support::{Gate, Row, node, node_with, policy};
use larder::{Cache, Outcome, RedisState, Tier, key, prefix, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::convert::Infallible;
use std::time::Duration;
use tokio::task::JoinSet;

const SOON: Duration = Duration::from_secs(10);

async fn read(cache: &Cache, row: &Row) -> larder::Fetched<u64> {
    let row = row.clone();
    cache.tenant("acme").fetch(key!("k", 1), policy().tag("t"), move || row.load()).await.unwrap()
}

async fn two() -> (RedisServer, Cache, Cache) {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    (redis, one, other)
}

#[tokio::test]
async fn what_one_node_loaded_the_other_reads_from_redis() {
    let ((redis, one, other), row) = (two().await, Row::default());
    assert_eq!(read(&one, &row).await.status.tier, Tier::Origin);
    let found = read(&other, &row).await.status;
    assert_eq!((found.outcome, found.tier), (Outcome::Hit, Tier::Redis));
    assert!(found.ttl > Duration::from_secs(55));
    assert_eq!(read(&other, &row).await.status.tier, Tier::Memory);
    assert_eq!(row.loads(), 1);
    assert!(matches!(one.redis_state(), RedisState::Connected { .. }));
    let keys = redis.command(&["KEYS", "*:e:*"]);
    assert_eq!(keys.items()[0].text(), "ld1:test:{0}:e:4:acme:k:1");
}

#[tokio::test]
async fn an_invalidation_reaches_the_other_node_by_every_selector() {
    let ((_redis, one, other), row) = (two().await, Row::default());
    for round in 0..4_u64 {
        for cache in [&one, &other] {
            read(cache, &row).await;
            assert_eq!(read(cache, &row).await.status.tier, Tier::Memory);
        }
        row.write();
        let acme = one.tenant("acme");
        match round {
            0 => acme.invalidate(tag("t")).await.unwrap(),
            1 => acme.invalidate(key!("k", 1)).await.unwrap(),
            2 => acme.invalidate(prefix!("k")).await.unwrap(),
            _ => one.invalidate(larder::first_segment("k")).await.unwrap(),
        };
        assert_eq!(*read(&one, &row).await.value, round + 1, "here at once");
        assert_eventually!(*read(&other, &row).await.value == round + 1, SOON, "there in a moment");
    }
    assert_eq!(row.loads(), 5, "one load a version, whoever asked first");
}

#[tokio::test]
async fn a_load_overtaken_by_the_other_nodes_invalidation_stays_in_no_tier() {
    // 1, 2, 3
    for by_key in [true, false] {
        let ((_redis, one, other), row, gate) = (two().await, Row::default(), Gate::new());
        let (acme, load) = (one.tenant("acme"), gate.load(&row));
        let early =
            tokio::spawn(
                async move { acme.get_or_load(key!("k", 1), policy().tag("t"), move || load).await },
            );
        gate.reached().await;
        row.write();
        let acme = other.tenant("acme");
        if by_key {
            acme.invalidate(key!("k", 1)).await.unwrap();
        } else {
            acme.invalidate(tag("t")).await.unwrap();
        }
        gate.open();
        early.await.unwrap().unwrap();
        assert_eq!(*read(&other, &row).await.value, 1);
        assert_eventually!(*read(&one, &row).await.value == 1, SOON, "the early load is forgotten");
    }
}

#[tokio::test]
async fn a_cold_key_is_loaded_once_by_all_nodes_together() {
    let redis = RedisServer::start();
    let nodes = [node(&redis).await, node(&redis).await, node(&redis).await];
    let (row, gate) = (Row::default(), Gate::new());
    let mut callers = JoinSet::new();
    for cache in &nodes {
        for _ in 0..50 {
            let (acme, gate, row) = (cache.tenant("acme"), gate.clone(), row.clone());
            callers.spawn(async move {
                *acme.get_or_load(key!("k"), policy(), move || gate.load(&row)).await.unwrap()
            });
        }
    }
    gate.reached().await;
    gate.open();
    assert!(callers.join_all().await.iter().all(|value| *value == 0));
    assert_eq!(row.loads(), 1);
}

#[tokio::test]
async fn a_failed_load_gives_its_lease_back_at_once() {
    // 17
    let ((_redis, one, other), row) = (two().await, Row::default());
    let acme = one.tenant("acme");
    let failing = acme.get_or_load::<u64, _, _, _>(key!("k", 1), policy(), || async { Err("no") });
    assert!(failing.await.is_err());
    let short = policy().load_timeout(Duration::from_secs(3));
    let load = {
        let row = row.clone();
        move || row.load()
    };
    other.tenant("acme").get_or_load(key!("k", 1), short, load).await.unwrap();
    assert_eq!(row.loads(), 1);
}

#[tokio::test]
async fn tags_that_only_the_loader_knew_count_on_every_node() {
    let ((_redis, one, other), row) = (two().await, Row::default());
    let fetch = |cache: &Cache| {
        let (acme, row) = (cache.tenant("acme"), row.clone());
        async move {
            let load = move |context: larder::LoadContext| async move {
                context.tag("late");
                Ok::<_, Infallible>(Some(row.read()))
            };
            let (value, status) = acme.fetch_with(key!("k"), policy(), load).await.unwrap();
            (*value.unwrap(), status.tier)
        }
    };
    assert_eq!(fetch(&one).await, (0, Tier::Origin));
    assert_eq!(fetch(&other).await, (0, Tier::Redis));
    row.write();
    other.tenant("acme").invalidate(tag("late")).await.unwrap();
    assert_eq!(fetch(&other).await.0, 1);
    assert_eventually!(fetch(&one).await.0 == 1, SOON, "the late tag reaches the first node's memory");
}

#[tokio::test]
async fn bytes_that_are_none_of_ours_are_a_counted_miss_and_replaced() {
    // 25
    let ((redis, one, other), row) = (two().await, Row::default());
    read(&one, &row).await;
    let raw = "ld1:test:{0}:e:4:acme:k:1";
    let good = redis.command(&["GETRANGE", raw, "0", "20"]).text();
    let damages: [&[&str]; 6] = [
        &["SET", raw, "garbage"],
        &["SET", raw, ""],
        &["SET", raw, &good],
        &["SETRANGE", raw, "1", "\u{7f}"],
        &["LPUSH", raw, "a list"],
        &["SETRANGE", raw, "42", "\u{9}"],
    ];
    for (index, damage) in damages.into_iter().enumerate() {
        if damage[0] == "LPUSH" {
            redis.command(&["DEL", raw]);
        }
        if damage[0] == "SETRANGE" {
            read(&other, &row).await;
        }
        redis.command(damage);
        let fresh = node(&redis).await;
        let found = read(&fresh, &row).await;
        assert_eq!(found.status.outcome, Outcome::Miss, "{index}");
        let fresh = node(&redis).await;
        assert_eq!(read(&fresh, &row).await.status.tier, Tier::Redis, "{index}");
        fresh.shutdown().await;
    }
    one.shutdown().await;
}

#[tokio::test]
async fn bytes_of_another_type_are_a_miss() {
    let (_redis, one, other) = two().await;
    one.tenant("acme").set(key!("k"), "text".to_owned(), policy()).await.unwrap();
    let acme = other.tenant("acme");
    let number = acme.get_or_load(key!("k"), policy(), || async { Ok::<u64, Infallible>(5) });
    assert_eq!(*number.await.unwrap(), 5);
    assert_eq!(other.stats().corrupt, 1);
}

#[tokio::test]
async fn long_and_odd_keys_are_exact() {
    let (_redis, one, other) = two().await;
    let odd = ["a:b", "*", "?", "[a", "{b}", " ", "\0", "🦀", &"x".repeat(500), &"x".repeat(501)];
    let tenants: Vec<&str> = odd.into_iter().filter(|name| name.len() <= 128).collect();
    for (index, name) in tenants.iter().enumerate() {
        one.tenant(name).set(key!(name), index, policy()).await.unwrap();
    }
    for (index, name) in tenants.iter().enumerate() {
        for (at, key) in odd.iter().enumerate() {
            let found = other.tenant(name).get::<usize>(key!(key)).await.unwrap().map(|found| *found.value);
            assert_eq!(found, (at == index).then_some(index));
        }
    }
    for (index, key) in odd.iter().enumerate() {
        one.tenant("acme").set(key!(key), index, policy()).await.unwrap();
    }
    for (index, key) in odd.iter().enumerate() {
        assert_eq!(*other.tenant("acme").get::<usize>(key!(key)).await.unwrap().unwrap().value, index);
    }
}

#[tokio::test]
async fn a_full_server_is_not_filled_and_memory_serves_on() {
    let redis = RedisServer::builder().maxmemory(3 << 20, "noeviction").start();
    let (cache, row) = (node(&redis).await, Row::default());
    let acme = cache.tenant("acme");
    for i in 0..200 {
        let noise: String = (0..40_000_u64)
            .map(|j| char::from(b'a' + u8::try_from((j * j + i * 7919 + j) % 26).unwrap()))
            .collect();
        acme.get_or_load(key!("big", i), policy(), move || async move { Ok::<_, Infallible>(noise) })
            .await
            .unwrap();
    }
    let load = || {
        let row = row.clone();
        move || row.load()
    };
    acme.get_or_load(key!("k"), policy(), load()).await.unwrap();
    assert_eq!(acme.fetch(key!("k"), policy(), load()).await.unwrap().status.tier, Tier::Memory);
    row.write();
    acme.invalidate(key!("k")).await.expect("an invalidation gets through to a full server");
    assert_eq!(*acme.get_or_load(key!("k"), policy(), load()).await.unwrap(), 1);
    assert!(!cache.stats().breaker_open);
}

#[tokio::test]
async fn a_hit_in_memory_asks_redis_nothing_and_a_hit_in_redis_asks_once() {
    let ((redis, one, other), row) = (two().await, Row::default());
    read(&one, &row).await;
    redis.reset_calls();
    for _ in 0..100 {
        read(&one, &row).await;
    }
    assert_eq!((redis.calls_of("get"), redis.calls_of("zmscore")), (0, 0));
    read(&other, &row).await;
    assert_eq!((redis.calls_of("get"), redis.calls_of("zscore")), (1, 1));
}

#[tokio::test]
async fn an_invalidation_costs_the_same_whatever_it_covers() {
    let redis = RedisServer::start();
    let cache = node_with(&redis, |builder| builder.max_value_size(1000)).await;
    let acme = cache.tenant("acme");
    let mut costs = Vec::new();
    for entries in [10, 2000] {
        for chunk in 0..entries / 10 {
            let values = (0..10).map(|i| (key!("k", chunk * 10 + i), 1_u8)).collect();
            acme.set_many(values, policy().tag("t")).await.unwrap();
        }
        redis.reset_calls();
        acme.invalidate([tag("t"), prefix!("k"), larder::all()]).await.unwrap();
        let calls = redis.calls();
        assert!(!calls.keys().any(|command| command == "scan" || command == "keys"));
        costs.push(["del", "zadd", "spublish"].map(|command| calls.get(command).copied().unwrap_or(0)));
    }
    assert_eq!(costs[0][0], costs[1][0]);
    assert_eq!(costs[0][2], costs[1][2]);
}

#[tokio::test]
async fn a_clean_shutdown_leaves_no_node_and_no_lease_behind() {
    let ((redis, one, other), row) = (two().await, Row::default());
    read(&one, &row).await;
    one.shutdown().await;
    other.shutdown().await;
    let members = redis.command(&["ZRANGEBYSCORE", "ld1:test:{0}:i", "-inf", "+inf"]);
    assert!(!members.items().iter().any(|member| member.text().starts_with("!n")));
    assert!(redis.command(&["KEYS", "*:l:*"]).items().is_empty());
}

#[tokio::test]
async fn two_namespaces_on_one_server_do_not_see_each_other() {
    let (redis, row) = (RedisServer::start(), Row::default());
    let here = node(&redis).await;
    let there = Cache::builder("other").redis(redis.url().as_str()).build().await.unwrap();
    crate::support::ready(&there).await;
    read(&here, &row).await;
    assert_eq!(read(&there, &row).await.status.tier, Tier::Origin);
    here.invalidate(larder::all()).await.unwrap();
    assert_eq!(read(&there, &row).await.status.tier, Tier::Memory);
}

#[tokio::test]
async fn an_operator_sees_an_entry_of_redis_without_filling_memory_and_no_invalidated_one() {
    let ((_redis, one, other), row) = (two().await, Row::default());
    read(&one, &row).await;
    assert_eq!(one.entry_anywhere("k:acme:1").await.unwrap().tier, Tier::Memory);
    let seen = other.entry_anywhere("k:acme:1").await.unwrap();
    assert_eq!(seen.last, None, "its memory knows nothing of it");
    assert_eq!((seen.tier, seen.tenant.as_str()), (Tier::Redis, "acme"));
    assert!(other.entry("k:acme:1").is_none());
    assert_eq!(other.stats().total.hits() + other.stats().total.misses, 0);
    read(&other, &row).await;
    assert_eq!(other.entry("k:acme:1").unwrap().last, Some(larder::Outcome::Hit), "out of Redis");
    one.tenant("acme").invalidate(tag("t")).await.unwrap();
    assert!(other.entry_anywhere("k:acme:1").await.is_none());
}
