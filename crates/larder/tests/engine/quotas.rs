//! What one tenant may take of what all share.

use crate::support::{Gate, Row, alone, node, policy};
use larder::{Cache, ErrorKind, key, tag};
use larder_testkit::RedisServer;
use std::time::Duration;

const KIB: u64 = 1024;

async fn fill(cache: &Cache, tenant: &str, entries: u64) {
    for number in 0..entries {
        let load = || async { Ok::<_, std::convert::Infallible>("x".repeat(4096)) };
        cache.tenant(tenant).get_or_load(key!("page", number), policy(), load).await.unwrap();
    }
}

#[tokio::test]
async fn a_tenant_that_fills_its_share_makes_way_for_itself_and_for_nobody_else() {
    let builder = Cache::builder("test").memory(64 * 1024 * KIB).max_value_size(1 << 18);
    let cache = builder.tenant_memory(1024 * KIB).build().await.unwrap();
    fill(&cache, "small", 20).await;
    let before = cache.tenant("small").stats();
    fill(&cache, "big", 2000).await;
    let big = cache.tenant("big").stats();
    assert!(big.memory_bytes <= 1024 * KIB && big.memory_bytes > 900 * KIB, "{big:?}");
    assert_eq!(big.evictions + big.entries, 2000);
    assert_eq!(cache.tenant("small").stats(), before, "nobody else's business");
    let youngest = cache.tenant("big").get::<String>(key!("page", 1999)).await.unwrap();
    let oldest = cache.tenant("big").get::<String>(key!("page", 0)).await.unwrap();
    assert!(youngest.is_some() && oldest.is_none());
    // The same few over and over push nothing out.
    for _ in 0..300 {
        cache.tenant("small").invalidate(key!("page", 1)).await.unwrap();
        fill(&cache, "small", 20).await;
    }
    assert_eq!(cache.tenant("small").stats().evictions, 0);
    assert_eq!(cache.tenant("small").stats().entries, 20);
}

#[tokio::test]
async fn a_tenant_whose_loads_all_hang_leaves_places_for_the_others() {
    let cache = Cache::builder("test").tenant_loads(3).build().await.unwrap();
    let (gate, row) = (Gate::new(), Row::default());
    let mut hanging = Vec::new();
    for number in 0..10 {
        let (cache, gate, row) = (cache.clone(), gate.clone(), row.clone());
        hanging.push(tokio::spawn(async move {
            let load = move || gate.load(&row);
            cache.tenant("slow").get_or_load(key!("k", number), policy(), load).await.map(|value| *value)
        }));
    }
    for _ in 0..3 {
        gate.reached().await;
    }
    fill(&cache, "quick", 20).await;
    assert_eq!(row.loads(), 3, "the rest waits for its own");
    for _ in 0..10 {
        gate.open();
    }
    for hanging in hanging {
        hanging.await.unwrap().unwrap();
    }
    assert_eq!(row.loads(), 10);
}

#[tokio::test]
async fn a_tenant_that_waits_too_long_for_its_own_places_gets_a_time_out() {
    let builder = Cache::builder("test").tenant_loads(1).load_timeout(Duration::from_millis(50));
    let (cache, gate, row) = (builder.build().await.unwrap(), Gate::new(), Row::default());
    let acme = cache.tenant("acme");
    let (held, hangs) = (gate.clone(), row.clone());
    let (first, second) = tokio::join!(
        acme.get_or_load(key!("a"), policy(), move || held.load(&hangs)),
        acme.get_or_load(key!("b"), policy(), move || gate.load(&row)),
    );
    for ended in [first, second] {
        assert_eq!(ended.unwrap_err().kind(), ErrorKind::LoadTimeout);
    }
}

#[tokio::test]
async fn a_tenant_that_makes_up_ever_new_tags_is_invalidated_as_a_whole() {
    let redis = RedisServer::start();
    for cache in [alone().await, node(&redis).await] {
        let (acme, other) = (cache.tenant("acme"), cache.tenant("other"));
        for tenant in [&acme, &other] {
            tenant.get_or_load(key!("k"), policy(), || async { Ok::<_, std::io::Error>(1) }).await.unwrap();
        }
        let tags = |from: usize, count: usize| -> Vec<_> {
            (from..from + count).map(|number| tag(format!("t{number}"))).collect()
        };
        for batch in 0..10 {
            acme.invalidate(tags(batch * 1000, 1000)).await.unwrap();
        }
        assert!(acme.contains::<i32>(key!("k")).await.unwrap());
        assert_eq!(acme.stats().widened, 0);
        acme.invalidate(tags(5, 10)).await.unwrap();
        assert_eq!(acme.stats().widened, 0, "these are known");
        acme.invalidate(tag("one too many")).await.unwrap();
        assert_eq!(acme.stats().widened, 1);
        assert!(!acme.contains::<i32>(key!("k")).await.unwrap());
        assert!(other.contains::<i32>(key!("k")).await.unwrap());
        other.invalidate(tag("its own")).await.unwrap();
        assert_eq!(other.stats().widened, 0);
    }
    assert!(redis.command(&["ZCARD", "ld1:test:{0}:i"]).int().unwrap() < 10_100);
}

#[tokio::test]
async fn a_tenant_that_expires_ever_new_keys_is_expired_as_a_whole() {
    let redis = RedisServer::start();
    for cache in [alone().await, node(&redis).await] {
        let acme = cache.tenant("acme");
        let policy = policy().stale_if_error(Duration::from_secs(60));
        let load = || async { Ok::<_, std::io::Error>(1) };
        acme.get_or_load(key!("mine"), &policy, load).await.unwrap();
        let keys = |from: usize, count: usize| -> Vec<_> {
            (from..from + count).map(|number| larder::Selector::from(key!("k", number))).collect()
        };
        for batch in 0..10 {
            acme.expire(keys(batch * 1000, 1000)).await.unwrap();
        }
        assert_eq!(acme.stats().widened, 0);
        assert!(acme.ttl(key!("mine")).await.unwrap().is_some());
        acme.expire(keys(20_000, 1)).await.unwrap();
        assert_eq!(acme.stats().widened, 1);
        assert!(acme.ttl(key!("mine")).await.unwrap().is_none(), "stale, as all of its own");
        // A key that is invalidated leaves nothing behind that others share.
        acme.invalidate(keys(30_000, 1000)).await.unwrap();
        assert_eq!(acme.stats().widened, 1);
    }
    assert!(redis.command(&["ZCARD", "ld1:test:{0}:i"]).int().unwrap() < 10_100);
}

#[tokio::test]
async fn quotas_that_contradict_are_refused_with_both_values() {
    for (builder, words) in [
        (Cache::builder("t").memory(2 << 20).tenant_memory(3 << 20), ["3145728", "2097152"]),
        (Cache::builder("t").max_value_size(1 << 20).tenant_memory(1 << 19), ["524288", "1048576"]),
        (Cache::builder("t").tenant_loads(0), ["tenant_loads is 0", "1 to 1000"]),
        (Cache::builder("t").tenant_loads(1001), ["1001", "1 to 1000"]),
    ] {
        let error = builder.build().await.unwrap_err().to_string();
        assert!(words.iter().all(|word| error.contains(word)), "{error}");
    }
}
