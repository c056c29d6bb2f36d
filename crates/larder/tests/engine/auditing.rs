//! The auditor finds writes that forget to invalidate, and nothing else.

use crate::support::{Row, node_with, policy};
use larder::{Cache, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

async fn read(cache: &Cache, row: &Row) -> u64 {
    let row = row.clone();
    let acme = cache.tenant("acme");
    *acme.get_or_load(key!("k"), policy().tag("t"), move || row.load()).await.unwrap()
}

#[tokio::test]
async fn a_write_that_does_not_invalidate_is_found() {
    let (cache, row) = (Cache::builder("test").audit(1.0).build().await.unwrap(), Row::default());
    read(&cache, &row).await;
    row.write();
    assert_eq!(read(&cache, &row).await, 0, "nobody has said so");
    assert_eventually!(cache.stats().audits_stale > 0, SOON, "the audit is done");
    let stats = cache.stats();
    assert_eq!((stats.audits, stats.audits_stale), (1, 1));
    assert!(stats.audits_oldest >= Duration::from_secs(1));
    assert_eq!(read(&cache, &row).await, 0, "it changes nothing itself");
}

#[tokio::test]
async fn a_write_that_invalidates_is_none_however_late_its_message_comes() {
    let redis = RedisServer::start();
    let (reader, row) = (node_with(&redis, |builder| builder.audit(1.0)).await, Row::default());
    let writer = node_with(&redis, |builder| builder).await;
    for round in 0..3 {
        read(&reader, &row).await;
        assert_eq!(read(&reader, &row).await, round);
        row.write();
        writer.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
    }
    // One of what is right now, so that the others must have ended before.
    read(&reader, &row).await;
    read(&reader, &row).await;
    assert_eventually!(reader.stats().audits > 0, SOON, "the audit is done");
    assert_eq!(reader.stats().audits_stale, 0);
}

async fn hits(cache: &Cache, count: u64) {
    let row = Row::default();
    for _ in 0..=count {
        read(cache, &row).await;
    }
}

#[tokio::test]
async fn only_the_share_that_was_asked_for_is_audited_and_none_by_default() {
    let none = Cache::builder("test").build().await.unwrap();
    let half = Cache::builder("test").audit(0.5).build().await.unwrap();
    hits(&none, 100).await;
    hits(&half, 5).await;
    assert_eventually!(half.stats().audits == 2, SOON, "of five");
    half.shutdown().await;
    assert_eq!((half.stats().audits, none.stats().audits), (2, 0));
    for wrong in [-0.1, 1.1, f64::NAN] {
        let error = Cache::builder("test").audit(wrong).build().await.unwrap_err();
        assert!(error.to_string().contains("audit is"), "{error}");
    }
}
