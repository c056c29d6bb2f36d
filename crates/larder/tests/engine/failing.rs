//! Loaders that fail, panic, hang.

use crate::support::{Row, alone, policy};
use larder::{Error, ErrorKind, key};
use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

#[tokio::test]
async fn every_waiter_gets_the_one_error_of_the_one_load() {
    // 14
    let cache = alone().await;
    let (attempts, start) = (Arc::new(AtomicU64::new(0)), Arc::new(Barrier::new(100)));
    let gate = Arc::new(tokio::sync::Semaphore::new(0));
    let mut callers = JoinSet::new();
    for _ in 0..100 {
        let (acme, attempts, start, gate) =
            (cache.tenant("a"), attempts.clone(), start.clone(), gate.clone());
        callers.spawn(async move {
            start.wait().await;
            acme.get_or_load::<u64, _, _, _>(key!("k"), policy(), move || async move {
                attempts.fetch_add(1, Ordering::SeqCst);
                let _permit = gate.acquire().await;
                Err(io::Error::other("the database is gone"))
            })
            .await
        });
    }
    while attempts.load(Ordering::SeqCst) == 0 {
        tokio::task::yield_now().await;
    }
    // All have asked: a hundred and first lookup of another key has gone through behind them.
    for _ in 0..200 {
        tokio::task::yield_now().await;
    }
    gate.add_permits(1000);
    for result in callers.join_all().await {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Load);
        assert_eq!(error.load_error::<io::Error>().unwrap().to_string(), "the database is gone");
    }
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn a_panic_is_an_error_for_all_and_the_next_call_loads_again() {
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("a");
    for at_once in [true, false] {
        let load = move || {
            assert!(!at_once, "before the first await");
            async move { if true { panic!("after it") } else { Ok::<u64, Infallible>(1) } }
        };
        let error: Error = acme.get_or_load(key!("k"), policy(), load).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::LoadPanicked);
    }
    acme.get_or_load(key!("k"), policy(), move || row.load()).await.unwrap();
    assert_eq!(cache.stats().flights, 0);
}

#[tokio::test]
async fn a_loader_that_never_returns_ends_at_its_hard_time_out_for_all() {
    let cache = alone().await;
    let mut callers = JoinSet::new();
    for _ in 0..10 {
        let acme = cache.tenant("a");
        callers.spawn(async move {
            let limit = policy().load_timeout(Duration::from_millis(50));
            acme.get_or_load(key!("k"), limit, std::future::pending::<Result<u64, Infallible>>).await
        });
    }
    for result in callers.join_all().await {
        assert_eq!(result.unwrap_err().kind(), ErrorKind::LoadTimeout);
    }
    assert_eq!((cache.stats().flights, cache.stats().total.load_errors), (0, 1));
}

#[tokio::test]
async fn a_failed_load_stores_nothing_and_is_counted() {
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("a");
    let failing = acme.get_or_load::<u64, _, _, _>(key!("k"), policy(), || async { Err("no".to_owned()) });
    assert_eq!(failing.await.unwrap_err().kind(), ErrorKind::Load);
    acme.get_or_load(key!("k"), policy(), {
        let row = row.clone();
        move || row.load()
    })
    .await
    .unwrap();
    let stats = cache.stats();
    assert_eq!((stats.total.loads, stats.total.load_errors, row.loads()), (2, 1, 1));
}
