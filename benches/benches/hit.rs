//! What does a hit in memory cost? Rivals: moka's `try_get_with` (the nearest thing to `get_or_load`), and a bare
//! `quick_cache` lookup (the store under ours, with no TTL, no scopes and no coherence: the floor).
#![allow(missing_docs, reason = "criterion's macros make undocumented functions")]

use criterion::{Criterion, criterion_group, criterion_main};
use larder::{Cache, Policy, key};
use std::convert::Infallible;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const KEYS: u64 = 10_000;

fn hits(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let mut group = c.benchmark_group("hit");

    let cache = runtime.block_on(Cache::builder("bench").build()).expect("valid settings");
    let acme = cache.tenant("acme");
    let policy = Policy::ttl(Duration::from_secs(3600)).tag("campaigns").tag("people");
    runtime.block_on(async {
        for id in 0..KEYS {
            acme.set(key!("campaigns", id), vec![0_u8; 100], &policy).await.expect("settable");
        }
    });
    let mut id = 0;
    group.bench_function("larder get_or_load, 2 tags", |b| {
        b.to_async(&runtime).iter(|| {
            id = (id + 7919) % KEYS;
            let key = key!("campaigns", id);
            let (acme, policy) = (&acme, &policy);
            async move {
                let value =
                    acme.get_or_load(key, policy, || async { Ok::<Vec<u8>, Infallible>(vec![]) }).await;
                black_box(value.expect("cached"));
            }
        });
    });

    let moka: moka::future::Cache<(String, u64), Arc<Vec<u8>>> =
        moka::future::Cache::builder().max_capacity(KEYS * 2).time_to_live(Duration::from_secs(3600)).build();
    runtime.block_on(async {
        for id in 0..KEYS {
            moka.insert(("acme:campaigns".to_owned(), id), Arc::new(vec![0; 100])).await;
        }
    });
    group.bench_function("moka try_get_with", |b| {
        b.to_async(&runtime).iter(|| {
            id = (id + 7919) % KEYS;
            let (moka, key) = (&moka, ("acme:campaigns".to_owned(), id));
            async move {
                let value = moka.try_get_with(key, async { Ok::<_, Infallible>(Arc::new(vec![])) }).await;
                black_box(value.expect("cached"));
            }
        });
    });

    let bare = quick_cache::sync::Cache::<String, Arc<Vec<u8>>>::new(20_000);
    let names: Vec<String> = (0..KEYS).map(|id| format!("acme:campaigns:{id}")).collect();
    for name in &names {
        bare.insert(name.clone(), Arc::new(vec![0; 100]));
    }
    group.bench_function("bare quick_cache get", |b| {
        b.iter(|| {
            id = (id + 7919) % KEYS;
            let name = &names[usize::try_from(id).expect("small")];
            black_box(bare.get(name).expect("cached"));
        });
    });
    group.finish();
}

criterion_group!(benches, hits);
criterion_main!(benches);
