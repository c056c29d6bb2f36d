//! A primary that is replaced while requests run.

use crate::history::{self, Setting};
use crate::support::{Row, ready};
use larder::{Cache, RedisState, tag};
use larder_testkit::{Member, RedisSentinel, RedisServer, assert_eventually};
use std::sync::Arc;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(60);

fn setting(url: String) -> Setting {
    Setting { url, lease: Duration::from_secs(1), tenant: |_| "acme".to_owned() }
}

async fn node(url: &str) -> Cache {
    history::node(&setting(url.to_owned())).await
}

async fn read(cache: &Cache, row: &Row, key: usize) -> u64 {
    history::read(cache, "acme", row, key).await
}

/// Another server, another history: a new epoch.
async fn under(url: String, fault: impl FnOnce() + Send + 'static) {
    let bumps = history::under(setting(url), fault, |bumps| bumps > 0).await;
    assert!(bumps > 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_on_demand_makes_nothing_stale_and_fails_no_request() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        let _ = fault.failover();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_dies_makes_nothing_stale_and_fails_no_request() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        fault.servers()[0].kill();
        let _ = fault.await_failover(0);
        fault.servers()[0].restart();
        fault.await_settled();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_stood_still_and_was_replaced_makes_nothing_stale() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        fault.servers()[0].pause();
        let _ = fault.await_failover(0);
        // It goes on as a primary with its old connections, until a Sentinel tells it.
        fault.servers()[0].resume();
        fault.await_settled();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_primary_that_is_demoted_and_promoted_behind_open_connections_makes_nothing_stale() {
    let all = Arc::new(RedisSentinel::start());
    let fault = Arc::clone(&all);
    under(all.url(), move || {
        let servers = fault.servers();
        // By hand: Sentinel would disconnect the clients.
        fault.sentinels().iter().for_each(RedisServer::pause);
        servers[1].promote();
        servers[0].demote(&servers[1]);
        servers[0].promote();
        servers[1].demote(&servers[0]);
        fault.sentinels().iter().for_each(RedisServer::resume);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[cfg(target_os = "linux")]
async fn nodes_that_are_cut_off_with_the_old_primary_stop_relying_on_it() {
    let server = RedisServer::builder().arg("min-replicas-to-write", "1").arg("min-replicas-max-lag", "1");
    let all = Arc::new(RedisSentinel::builder().server(server).start());
    let (cut_off, well) = (node(&all.url_by("", &[0])).await, node(&all.url_by("", &[1, 2])).await);
    let row = Row::default();
    for cache in [&cut_off, &well] {
        assert_eq!(read(cache, &row, 0).await, 0);
    }
    let fault = Arc::clone(&all);
    tokio::task::spawn_blocking(move || {
        fault.isolate(&[Member::Server(0), Member::Sentinel(0)]);
        let _ = fault.await_failover(0);
    })
    .await
    .unwrap();
    ready(&well).await;
    assert_eventually!(
        matches!(cut_off.redis_state(), RedisState::Unavailable { .. }),
        SOON,
        "the old primary refuses without its replicas, and the node notices"
    );
    // The larger side works; the smaller one, once its last lease has run out, goes to its origin for each read.
    assert_eq!(row.write(), 1);
    well.tenant("acme").invalidate(tag("t")).await.unwrap();
    assert_eq!(read(&well, &row, 0).await, 1);
    assert_eventually!(read(&cut_off, &row, 0).await == 1, SOON, "the lease runs out");
    for version in 2..=20 {
        assert_eq!(row.write(), version);
        well.tenant("acme").invalidate(tag("t")).await.unwrap();
        for (who, cache) in [("well", &well), ("cut off", &cut_off)] {
            let read = read(cache, &row, 0).await;
            assert_eq!(read, version, "{who}: {:?}", cache.redis_state());
        }
    }
    let healing = Arc::clone(&all);
    tokio::task::spawn_blocking(move || {
        healing.heal();
        healing.await_settled();
    })
    .await
    .unwrap();
    ready(&cut_off).await;
    row.write();
    well.tenant("acme").invalidate(tag("t")).acked().await.unwrap();
    for cache in [&well, &cut_off] {
        assert_eq!(read(cache, &row, 0).await, 21);
    }
}
