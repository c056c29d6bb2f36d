//! What Prometheus reads.

use std::net::IpAddr;
use std::time::Duration;

use axum::body::Body;
use larder::{Cache, ErrorKind, LOAD_BUCKETS, RedisConfig, key, tag};
use larder_http::ClientAddr;
use larder_testkit::RedisServer;

use crate::support::{Server, read, request, ten_thousand_tenants};

async fn scrape_from(server: &Server, client: [u8; 4], host: &str, token: &str) -> u16 {
    let request =
        request("GET", token, "/metrics").header("host", host).extension(ClientAddr(IpAddr::from(client)));
    server.send(request.body(Body::empty()).unwrap()).await.status
}

#[tokio::test]
async fn this_machine_and_the_bearer_of_the_token_may_scrape() {
    let server = Server::start().await;
    let (here, there) = ([127, 0, 0, 1], [198, 51, 100, 7]);
    assert_eq!(scrape_from(&server, here, "localhost:8000", "").await, 200);
    assert_eq!(scrape_from(&server, here, "evil.example", "").await, 401, "a page with a name of its own");
    assert_eq!(scrape_from(&server, there, "localhost:8000", "").await, 401);
    assert_eq!(scrape_from(&server, there, "shop.example", "scrape-me").await, 200);
    for wrong in ["scrape-mE", "scrape", "scrape-me-too", "admin@larder"] {
        assert_eq!(scrape_from(&server, there, "shop.example", wrong).await, 401, "{wrong}");
    }
    assert_eq!(server.get("", "/metrics").await.status, 401, "an unknown address is none of this machine");
}

/// The samples by name and labels. Every line is a comment or a sample whose metric has been described.
fn samples(text: &str) -> std::collections::BTreeMap<String, f64> {
    let (mut described, mut samples) = (Vec::new(), std::collections::BTreeMap::new());
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            described.push(rest.split(' ').next().unwrap().to_owned());
        } else if !line.starts_with('#') {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let base = name.split('{').next().unwrap();
            assert!(described.iter().any(|known| base.starts_with(known.as_str())), "{line}");
            let value = if value == "+Inf" { f64::INFINITY } else { value.parse().unwrap() };
            assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
        }
    }
    samples
}

#[tokio::test]
async fn everything_is_counted_and_no_tenant_is_named() {
    let server = Server::start().await;
    let acme = server.cache.tenant("acme-secret");
    for _ in 0..3 {
        read(&acme, key!("campaigns", 1)).await;
    }
    read(&acme, key!("campaign", 2)).await;
    read(&acme, key!("made-up-by-a-client", 2)).await;
    acme.invalidate(tag("t")).await.unwrap();
    for path in ["/things/1", "/things/2", "/nowhere", "/health/live", "/hit"] {
        server.get("", path).await;
    }
    server.post("", "/things/1").await;
    server.send(request("BREW", "", "/nowhere").body(Body::empty()).unwrap()).await;
    let text = server.scrape().await;
    assert!(!text.contains("acme") && !text.contains("made-up"), "{text}");
    let samples = samples(&text);
    for (sample, value) in [
        ("larder_cache_hits_total{endpoint=\"campaigns\",tier=\"memory\"}", 2.0),
        ("larder_cache_hits_total{endpoint=\"campaigns\",tier=\"redis\"}", 0.0),
        ("larder_cache_misses_total{endpoint=\"campaigns\"}", 2.0),
        ("larder_cache_misses_total{endpoint=\"other\"}", 1.0),
        ("larder_cache_coalesced_total{endpoint=\"leads\"}", 0.0),
        ("larder_cache_stale_served_total{endpoint=\"stats\"}", 0.0),
        ("larder_cache_loads_total{endpoint=\"campaigns\"}", 2.0),
        ("larder_cache_load_duration_seconds_bucket{le=\"+Inf\"}", 3.0),
        ("larder_cache_load_duration_seconds_count", 3.0),
        ("larder_cache_invalidations_total", 1.0),
        ("larder_http_requests_total{route=\"/things/{id}\",method=\"GET\",status=\"2xx\"}", 2.0),
        ("larder_http_requests_total{route=\"/things/{id}\",method=\"POST\",status=\"4xx\"}", 1.0),
        ("larder_http_requests_total{route=\"/health/live\",method=\"GET\",status=\"2xx\"}", 1.0),
        ("larder_http_requests_total{route=\"other\",method=\"GET\",status=\"4xx\"}", 1.0),
        ("larder_http_requests_total{route=\"other\",method=\"other\",status=\"4xx\"}", 1.0),
        ("larder_http_request_duration_seconds_count{route=\"/things/{id}\",status=\"2xx\"}", 2.0),
        (
            "larder_http_request_duration_seconds_bucket{route=\"/things/{id}\",status=\"4xx\",le=\"+Inf\"}",
            1.0,
        ),
        ("larder_http_request_duration_seconds_count{route=\"other\",status=\"4xx\"}", 2.0),
        ("larder_http_cached_duration_seconds_count{cache=\"hit\"}", 1.0),
        ("larder_http_cached_duration_seconds_bucket{cache=\"miss\",le=\"+Inf\"}", 0.0),
        ("larder_tenant_loads", 0.0),
        ("larder_tenant_new_scopes", 1.0),
        ("larder_tenant_invalidations_widened_total", 0.0),
        ("larder_tenant_quota_highest_ratio{quota=\"loads\"}", 0.0),
        ("larder_tenant_quota_highest_ratio{quota=\"scopes\"}", 0.0001),
        ("larder_cache_saved_seconds_total{endpoint=\"leads\"}", 0.0),
        ("larder_connections{kind=\"http\"}", 7.0),
        ("larder_database_connections{state=\"busy\"}", 2.0),
        ("larder_database_connections{state=\"idle\"}", 3.0),
        ("larder_database_connections_max", 60.0),
        ("larder_database_waiting", 4.0),
        ("larder_database_timeouts_total", 2.0),
        ("larder_database_statements_total", 17.0),
        ("larder_outbox_relays", 1.0),
        ("larder_outbox_lag_seconds", 1.5),
        ("larder_outbox_waiting", 3.0),
        ("larder_outbox_dead", 1.0),
        ("larder_outbox_stalled_tenants", 2.0),
        ("larder_outbox_relayed_total", 40.0),
        ("larder_outbox_direct_total", 50.0),
        ("larder_outbox_failures_total", 4.0),
        ("larder_redis_connected", 0.0),
        ("larder_redis_breaker_open", 0.0),
        ("larder_coherence_trusted", 1.0),
        ("larder_coherence_lag_seconds", 0.0),
        ("larder_coherence_epochs_total", 0.0),
        ("larder_coherence_undelivered", 0.0),
        ("larder_coherence_lease_left_seconds", f64::INFINITY),
        ("larder_test_closes_total{code=\"4000\"}", 3.0),
        ("larder_test_closes_total{code=\"4003\"}", 0.0),
        ("larder_events_appended_total", 0.0),
        ("larder_events_waiting", 0.0),
        ("larder_events_resets_total", 0.0),
        ("larder_build_info{version=\"1.2.3\"}", 1.0),
        // The runtime of this very test has one worker, its own thread.
        ("larder_runtime_workers", 1.0),
    ] {
        assert_eq!(samples.get(sample), Some(&value), "{sample} in\n{text}");
    }
    let bucket = |le: &str| samples[&format!("larder_cache_load_duration_seconds_bucket{{le=\"{le}\"}}")];
    let buckets: Vec<f64> = LOAD_BUCKETS.iter().map(|le| bucket(&le.to_string())).collect();
    assert!(buckets.is_sorted(), "{buckets:?}");
    let held = samples["larder_tenant_quota_highest_ratio{quota=\"memory\"}"];
    assert!(held > 0.0 && held < 1.0, "{held}");
    // Two hits of an endpoint of which two loads were made.
    let counts = server.cache.stats().tenants["acme-secret"].clone();
    let (mut load_time, mut loads) = (Duration::ZERO, 0);
    for endpoint in ["campaigns", "campaign"] {
        load_time += counts[endpoint].load_time;
        loads += counts[endpoint].loads;
    }
    let saved = samples["larder_cache_saved_seconds_total{endpoint=\"campaigns\"}"];
    assert_eq!((loads, saved), (2, load_time.as_secs_f64() / 2.0 * 2.0));
}

#[tokio::test]
async fn coherence_is_told_as_it_is_while_redis_goes_and_comes_back() {
    let redis = RedisServer::start();
    let cache = Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
    cache.ready().await;
    let server = Server::over(cache);
    let now = async || samples(&server.scrape().await);
    let well = now().await;
    assert_eq!((well["larder_coherence_trusted"], well["larder_redis_breaker_open"]), (1.0, 0.0));
    assert!(well["larder_coherence_lag_seconds"].is_finite(), "{well:?}");
    assert!(well["larder_redis_memory_used_bytes"] > 1e5 && well["larder_redis_clients"] >= 2.0, "{well:?}");
    assert!(well["larder_redis_round_trip_seconds"] > 0.0, "{well:?}");
    assert_eq!((well["larder_redis_memory_max_bytes"], well["larder_redis_evicted_keys_total"]), (0.0, 0.0));
    redis.kill();
    let failed = server.cache.tenant("acme").invalidate(tag("t")).await.unwrap_err();
    assert_eq!(failed.kind(), ErrorKind::Deferred);
    let gone = now().await;
    assert_eq!((gone["larder_coherence_trusted"], gone["larder_redis_breaker_open"]), (0.0, 1.0));
    assert_eq!(gone["larder_coherence_undelivered"], 1.0);
    assert!(!gone.contains_key("larder_redis_round_trip_seconds"), "{gone:?}");
    assert_eq!(gone["larder_cache_invalidations_deferred_total"], 1.0);
    // An invalidation is tried for longer than a lease, which is one second.
    assert!(gone["larder_coherence_lag_seconds"] > 1.0, "{gone:?}");
    assert_eq!(gone["larder_coherence_lease_left_seconds"], 0.0);
    redis.restart_empty();
    server.cache.ready().await;
    let back = now().await;
    assert_eq!((back["larder_coherence_trusted"], back["larder_coherence_undelivered"]), (1.0, 0.0));
    assert!(back["larder_coherence_epochs_total"] > well["larder_coherence_epochs_total"], "{back:?}");
    assert!(back["larder_coherence_lag_seconds"] < gone["larder_coherence_lag_seconds"], "{back:?}");
}

#[tokio::test]
async fn a_redis_that_was_never_reached_has_an_endless_lag() {
    let redis = RedisServer::start();
    redis.kill();
    let cache = Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
    let samples = samples(&Server::over(cache).scrape().await);
    assert_eq!(samples["larder_coherence_lag_seconds"], f64::INFINITY);
    assert_eq!(samples["larder_redis_breaker_open"], 1.0);
}

#[tokio::test]
async fn it_is_the_text_format_of_prometheus() {
    let server = Server::start().await;
    let reply = server.get("scrape-me", "/metrics").await;
    assert_eq!(reply.status, 200);
    assert_eq!(reply.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert!(reply.text.ends_with('\n'));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn the_runtime_and_the_process_are_told_of() {
    let server = Server::start().await;
    let (go, wait) = tokio::sync::oneshot::channel::<()>();
    let idle = tokio::spawn(wait);
    let before = samples(&server.scrape().await);
    assert_eq!(before["larder_runtime_workers"], 3.0);
    assert!(before["larder_runtime_tasks"] >= 1.0, "{before:?}");
    let busy = |samples: &std::collections::BTreeMap<String, f64>, worker| {
        samples[&format!("larder_runtime_worker_busy_seconds_total{{worker=\"{worker}\"}}")]
    };
    assert!((0..3).all(|worker| busy(&before, worker).is_finite()));
    let spin = async {
        let began = std::time::Instant::now();
        while began.elapsed() < Duration::from_millis(50) {
            std::hint::spin_loop();
        }
    };
    tokio::spawn(spin).await.unwrap();
    // A worker adds up when it is out of work again, which the last one may not be yet.
    let sum = |samples: &_| (0..3).map(|worker| busy(samples, worker)).sum::<f64>();
    let grows = async || sum(&samples(&server.scrape().await)) >= sum(&before) + 0.05;
    larder_testkit::assert_eventually!(grows().await, Duration::from_secs(30), "somebody was busy");
    if cfg!(target_os = "linux") {
        let now = samples(&server.scrape().await);
        assert!(now["process_cpu_seconds_total"] > before["process_cpu_seconds_total"], "{now:?}");
        assert!(now["process_resident_memory_bytes"] > 1e6 && now["process_threads"] >= 4.0, "{now:?}");
        assert!(
            now["process_open_fds"] >= 3.0 && now["process_open_fds"] < now["process_max_fds"],
            "{now:?}"
        );
        assert!(now["process_start_time_seconds"] > 1.7e9, "{now:?}");
    }
    go.send(()).unwrap();
    idle.await.unwrap().unwrap();
}

#[tokio::test]
async fn ten_thousand_tenants_make_a_scrape_no_longer_than_one_and_every_lookup_is_in_it() {
    let cache = Cache::builder("test").memory(1 << 30).build().await.unwrap();
    let server = Server::over(cache);
    read(&server.cache.tenant("first"), key!("campaigns", 0)).await;
    // A scrape counts itself in the next one.
    server.scrape().await;
    let one = server.scrape().await;
    ten_thousand_tenants(&server.cache).await;
    let stats = server.cache.stats();
    assert_eq!(stats.entries, 100_001);
    let text = server.scrape().await;
    assert!(text.len() < 2_000_000, "{} bytes", text.len());
    // The numbers have more digits, and there is one name more: what belongs to no endpoint.
    assert_eq!(
        text.lines().count(),
        one.lines().count() + 9,
        "a line for each metric by endpoint, and two tiers"
    );
    assert!(!text.contains("tenant-of"), "no tenant is named");
    let samples = samples(&text);
    let sum = |metric: &str| -> f64 {
        samples.iter().filter(|(name, _)| name.starts_with(metric)).map(|(_, value)| value).sum()
    };
    assert_eq!(sum("larder_cache_misses_total"), 100_001.0, "beyond what is counted apart, too");
    assert_eq!(sum("larder_cache_hits_total"), 10_000.0);
    assert_eq!(samples["larder_cache_loads_total{endpoint=\"other\"}"], 20_000.0);
    assert_eq!(samples["larder_cache_hits_total{endpoint=\"leads\",tier=\"memory\"}"], 10_000.0);
}
