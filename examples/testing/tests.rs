//! How do I test what I build on larder? Against the real thing: `larder-testkit` starts a Redis of the test's own, breaks
//! it, and counts loads where they arrive. Time is moved by hand, and nothing sleeps.
//!
//! `cargo nextest run -p examples testing`

use larder::{Cache, ErrorKind, ManualClock, Policy, Tenant, key, tag};
use larder_testkit::{Answer, Gate, RedisServer, StubHttp, assert_eventually};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

/// What is tested: prices from another service, by HTTP/1.1 over a plain socket, to need no client.
async fn price(tenant: &Tenant, service: &str) -> Result<Arc<String>, larder::Error> {
    let policy = Policy::ttl(Duration::from_secs(60)).stale_if_error(Duration::from_secs(600)).tag("prices");
    let address = service.trim_start_matches("http://").to_owned();
    let load = move || async move {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let mut stream = tokio::net::TcpStream::connect(&address).await?;
        let request = format!("GET /price HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        match answer.starts_with("HTTP/1.1 200") {
            true => Ok(answer.rsplit("\r\n\r\n").next().unwrap_or_default().to_owned()),
            false => Err(std::io::Error::other("the service is out of order")),
        }
    };
    tenant.get_or_load(key!("price"), &policy, load).await
}

/// Loads are counted at the stub, not in the test's own closure; a gate makes them overlap for certain.
#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_callers_make_one_request() {
    let (service, gate) = (StubHttp::start().await, Gate::new());
    service.otherwise(Answer::raw("text/plain", "42").behind(&gate));
    let acme = Cache::builder("test").build().await.unwrap().tenant("acme");
    let calls: Vec<_> = (0..100)
        .map(|_| {
            let (acme, url) = (acme.clone(), service.url());
            tokio::spawn(async move { price(&acme, &url).await })
        })
        .collect();
    service.called("/price", 1).await;
    gate.open();
    for call in calls {
        assert_eq!(*call.await.unwrap().unwrap(), "42");
    }
    assert_eq!(service.calls("/price"), 1);
}

/// An hour passes in no time.
#[tokio::test]
async fn an_old_price_is_better_than_none_but_not_for_ever() {
    let (service, clock) = (StubHttp::start().await, Arc::new(ManualClock::default()));
    service.on("/price", [Answer::raw("text/plain", "42"), Answer::status(500), Answer::status(500)]);
    let cache = Cache::builder("test").clock(Arc::<ManualClock>::clone(&clock)).build().await.unwrap();
    let acme = cache.tenant("acme");
    assert_eq!(*price(&acme, &service.url()).await.unwrap(), "42");
    clock.advance(Duration::from_secs(61));
    assert_eq!(*price(&acme, &service.url()).await.unwrap(), "42", "stale, since the load failed");
    clock.advance(Duration::from_secs(600));
    assert_eq!(price(&acme, &service.url()).await.unwrap_err().kind(), ErrorKind::Load);
}

/// Two caches are two nodes. The Redis is this test's alone, so it may be killed.
#[tokio::test]
async fn an_invalidation_during_an_outage_is_not_lost() {
    let (service, redis) = (StubHttp::start().await, RedisServer::start());
    service.on("/price", [Answer::raw("text/plain", "42"), Answer::raw("text/plain", "43")]);
    let node = async || {
        let cache = Cache::builder("test").redis(&*redis.url()).build().await.unwrap();
        cache.ready().await;
        cache
    };
    let (one, two) = (node().await, node().await);
    assert_eq!(*price(&two.tenant("acme"), &service.url()).await.unwrap(), "42");

    redis.pause();
    let deferred = one.tenant("acme").invalidate(tag("prices")).await.unwrap_err();
    assert_eq!(deferred.kind(), ErrorKind::Deferred);
    redis.resume();
    deferred.ticket().unwrap().delivered().await.unwrap();
    assert_eventually!(two.stats().trusted, LONG, "the other node follows again");
    assert_eq!(*price(&two.tenant("acme"), &service.url()).await.unwrap(), "43");
}
