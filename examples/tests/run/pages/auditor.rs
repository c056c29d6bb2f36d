use super::LONG;
use larder::{Cache, Policy, key};
use larder_testkit::assert_eventually;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::SeqCst};
use std::time::Duration;

#[tokio::test]
async fn a_change_that_nobody_announced_is_found() {
    let cache = Cache::builder("shop").audit(1.0).build().await.unwrap(); // 0.00001: one hit in 100,000
    let (acme, row) = (cache.tenant("acme"), Arc::new(AtomicU32::new(1)));
    let policy = Policy::ttl(Duration::from_secs(3600));
    let read = async || {
        let row = Arc::clone(&row);
        let load = move || async move { Ok::<_, std::io::Error>(row.load(SeqCst)) };
        acme.get_or_load(key!("row"), &policy, load).await.unwrap()
    };
    read().await;
    row.store(2, SeqCst); // psql, a job, another service: nobody invalidates
    // `/metrics`: larder_audits_stale_total; in the log: a warning with the key.
    assert_eventually!(*read().await == 1 && cache.stats().audits_stale > 0, LONG, "it is found");
}
