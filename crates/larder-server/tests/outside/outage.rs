//! Redis killed, paused, restarted empty while requests run: no request fails or stalls, and what comes back is not stale.

use crate::client::{Body, Client};
use crate::routes;
use crate::server::Server;
use crate::stack::{Kind, Stack};
use larder_testkit::{RedisServer, assert_eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

/// The Redis budget of a request is 200 ms; the rest is for a machine that runs other tests too.
const SLOWEST: Duration = Duration::from_secs(2);
const RETURN: Duration = Duration::from_secs(20);

pub(crate) async fn redis_cache(client: &Client) -> String {
    client.get("/health").await.expect(200).json()["redis_cache"].as_str().unwrap().to_owned()
}

/// Readers and one writer, until they are told to stop.
pub(crate) struct Traffic {
    meter: Arc<Meter>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

#[derive(Default)]
struct Meter {
    stop: AtomicBool,
    requests: AtomicUsize,
}

impl Traffic {
    pub(crate) fn start(acme: &Client, campaign: &str) -> Self {
        let meter = Arc::new(Meter::default());
        let reads = ["/api/v1/campaigns", "/api/v1/dashboard/stats", "/api/v1/posts", "/api/charts/trend"];
        let mut tasks: Vec<_> =
            reads.map(|path| tokio::spawn(read(acme.clone(), path.to_owned(), Arc::clone(&meter)))).into();
        let path = format!("/api/v1/campaigns/{campaign}");
        tasks.push(tokio::spawn(write(acme.clone(), path, Arc::clone(&meter))));
        Self { meter, tasks }
    }

    /// Waits for so many more requests.
    pub(crate) async fn goes_on(&self, more: usize) {
        let count = || self.meter.requests.load(Ordering::SeqCst);
        let target = count() + more;
        let done = || count() >= target || self.tasks.iter().any(tokio::task::JoinHandle::is_finished);
        assert_eventually!(done(), RETURN, "{more} more requests, of {}", count());
    }

    /// None of the requests failed.
    pub(crate) async fn stop(self) {
        self.meter.stop.store(true, Ordering::SeqCst);
        for task in self.tasks {
            task.await.unwrap();
        }
    }
}

impl Meter {
    fn count(&self) -> bool {
        self.requests.fetch_add(1, Ordering::SeqCst);
        !self.stop.load(Ordering::SeqCst)
    }
}

async fn read(client: Client, path: String, meter: Arc<Meter>) {
    while meter.count() {
        timed(client.get(&path)).await.expect(200);
    }
}

/// Writes, and reads its own write each time.
async fn write(client: Client, path: String, meter: Arc<Meter>) {
    let mut round = 0;
    while meter.count() {
        let name = format!("round {round}");
        client.put(&path, routes::a_campaign(&name)).await.expect(200);
        assert_eq!(timed(client.get(&path)).await.expect(200).json()["name"], name);
        round += 1;
    }
}

async fn timed<T>(request: impl Future<Output = T>) -> T {
    let started = Instant::now();
    let answer = request.await;
    assert!(started.elapsed() < SLOWEST, "a request took {:?}", started.elapsed());
    answer
}

async fn survives(outage: impl AsyncFnOnce(&RedisServer, &Client, &Traffic)) {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let redis = stack.redis.as_ref().unwrap();
    let acme = stack.acme().await;
    let campaign = acme.get("/api/v1/campaigns").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let traffic = Traffic::start(&acme, &campaign);
    traffic.goes_on(200).await;
    outage(redis, &acme, &traffic).await;
    assert_eventually!(
        redis_cache(&acme).await == "connected",
        RETURN,
        "redis is used again: {}",
        stack.server.log()
    );
    assert_eq!(acme.get("/health/cache").await.expect(200).json()["status"], "healthy");
    traffic.goes_on(200).await;
    traffic.stop().await;
    // It is used, not only spoken to.
    acme.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
    acme.get("/api/v1/jobs").await.expect(200);
    let keys = || redis.command(&["KEYS", "*jobs:page:1:limit:20"]);
    assert_eventually!(!keys().items().is_empty(), RETURN, "values are stored in redis again");
}

async fn degraded(client: &Client) {
    assert_eventually!(redis_cache(client).await == "unavailable", RETURN, "the server sees the outage");
    let health = client.get("/health/cache").await.expect(200).json();
    assert_eq!((health["status"].as_str(), health["backend"].as_str()), (Some("degraded"), Some("memory")));
}

#[tokio::test]
async fn a_killed_redis_fails_no_request_and_is_used_again_when_it_is_back() {
    survives(async |redis, client, traffic| {
        redis.kill();
        degraded(client).await;
        traffic.goes_on(500).await;
        redis.restart();
    })
    .await;
}

#[tokio::test]
async fn a_paused_redis_stalls_no_request() {
    survives(async |redis, client, traffic| {
        redis.pause();
        degraded(client).await;
        traffic.goes_on(500).await;
        redis.resume();
    })
    .await;
}

#[tokio::test]
async fn a_redis_that_is_restarted_empty_or_from_an_old_backup_serves_nothing_stale() {
    survives(async |redis, client, traffic| {
        let old = redis.snapshot();
        let path = "/api/v1/jobs";
        client.get(path).await.expect(200);
        redis.restart_empty();
        assert_eventually!(redis_cache(client).await == "connected", RETURN, "redis is used again");
        traffic.goes_on(200).await;
        redis.restore_snapshot(&old);
    })
    .await;
}

#[tokio::test]
async fn values_from_before_a_restore_are_not_served() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let redis = stack.redis.as_ref().unwrap();
    let acme = stack.acme().await;
    let campaign = acme.get("/api/v1/campaigns").await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let path = format!("/api/v1/campaigns/{campaign}");
    acme.put(&path, routes::a_campaign("old")).await.expect(200);
    acme.get(&path).await.expect(200);
    let backup = redis.snapshot();
    acme.put(&path, routes::a_campaign("new")).await.expect(200);
    // In Redis the invalidation never happened.
    redis.restore_snapshot(&backup);
    let second = stack.second().await;
    for client in [&acme, &acme.at(second.url())] {
        assert_eq!(client.get(&path).await.expect(200).json()["name"], "new");
    }
    assert_eventually!(redis_cache(&acme).await == "connected", RETURN, "redis is used again");
    let third = stack.second().await;
    for client in [&acme, &acme.at(second.url()), &acme.at(third.url())] {
        assert_eq!(client.get(&path).await.expect(200).json()["name"], "new");
    }
}

#[tokio::test]
async fn a_redis_that_comes_late_is_used_when_it_comes() {
    let redis = RedisServer::start();
    redis.kill();
    let server = Server::start(&[("REDIS_URL", &redis.url())]).await;
    let client = Client::new(server.url());
    assert_eq!(redis_cache(&client).await, "unavailable");
    assert!(server.log().contains("Redis unavailable, using memory cache"), "{}", server.log());
    for expected in ["MISS", "HIT"] {
        assert_eq!(client.get("/api/charts/trend").await.expect(200).cache(), expected);
    }
    redis.restart();
    assert_eventually!(redis_cache(&client).await == "connected", RETURN, "redis is used");
}

/// Puts something else under a key, given what was there.
type Break<'a> = &'a dyn Fn(&[u8]);

#[tokio::test]
async fn foreign_and_broken_bytes_under_a_key_are_a_counted_miss() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let (redis, acme) = (stack.redis.as_ref().unwrap(), stack.acme().await);
    let path = "/api/v1/jobs/stats";
    let good = acme.get(path).await.expect(200);
    let keys = redis.command(&["KEYS", "*:e:4:acme:jobs_stats"]);
    let key = keys.items().first().unwrap_or_else(|| panic!("no entry in redis")).text();
    let set = |bytes: &[u8]| drop(redis.command(&[b"SET", key.as_bytes(), bytes, b"EX", b"600"]));
    let break_it: [Break<'_>; 7] = [
        &|_| set(b"garbage"),
        &|_| set(b""),
        &|stored| set(&stored[..stored.len() / 2]),
        &|stored| set(&stored[..stored.len() - 1]),
        // A version of the format that is not known here.
        &|stored| set(&[&[stored[0].wrapping_add(1)], &stored[1..]].concat()),
        &|_| drop(redis.command(&["RPUSH", &key, "a", "list"])),
        &|_| drop(redis.command(&["HSET", &key, "field", "value"])),
    ];
    for (round, broken) in break_it.iter().enumerate() {
        let stored = redis.command(&["GET", &key]);
        let larder_testkit::Reply::Bulk(stored) = stored else {
            panic!("nothing stored before round {round}")
        };
        redis.command(&["DEL", &key]);
        broken(&stored);
        // A node that has nothing in memory reads what is there.
        let node = stack.second().await;
        let reader = acme.at(node.url());
        let answer = reader.get(path).await.expect(200);
        assert_eq!((answer.cache(), answer.text()), ("MISS", good.text()), "round {round}");
        assert_eq!(corrupt(&reader).await, 1, "round {round}");
    }
}

/// How often Redis held bytes that could not be used.
async fn corrupt(client: &Client) -> usize {
    let metrics = client.get("/metrics").await.expect(200).text();
    let count =
        metrics.lines().find_map(|line| line.strip_prefix("larder_cache_corrupt_total ")?.parse().ok());
    count.unwrap_or_else(|| panic!("not measured: {metrics}"))
}
