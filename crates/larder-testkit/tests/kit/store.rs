use larder::store::Connector as _;
use larder::store::redis::{RedisConfig, RedisConnector};
use larder::store::{InvalidateRequest, Link, StoreErrorKind, Tags};
use larder::{Cache, Clock as _, ManualClock, Policy, ScopeHash, Tier, key};
use larder_testkit::store::{Call, CallFault};
use larder_testkit::{FaultyStore, RedisServer, assert_eventually};
use std::sync::Arc;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(20);
/// For calls that are to run out of their time.
const SHORT: Duration = Duration::from_millis(50);

fn before(redis: &RedisServer) -> Arc<FaultyStore> {
    let mut config = RedisConfig::new(redis.url());
    (config.connect_timeout, config.command_timeout) = (LONG, LONG);
    FaultyStore::before(Arc::new(RedisConnector::new(config, "ns").unwrap()))
}

async fn link(store: &FaultyStore) -> Arc<dyn Link> {
    store.connect("node", 0, false).await.unwrap().0
}

fn scope() -> ScopeHash {
    ScopeHash::from_bytes(b"s00000000000test").unwrap()
}

async fn invalidate(link: &dyn Link, within: Duration) -> Result<(), StoreErrorKind> {
    let what = InvalidateRequest { scopes: &[scope()], keys: &[], globs: &[], ack: None };
    link.invalidate(what, within).await.map(drop).map_err(|error| error.kind)
}

async fn invalidated(link: &dyn Link) -> bool {
    link.read(&[], &[scope()], Tags::Named, LONG).await.unwrap().stamps[0].is_some()
}

#[tokio::test]
async fn a_call_that_fails_is_not_executed_and_the_others_go_on() {
    let redis = RedisServer::start();
    let store = before(&redis);
    let link = link(&store).await;
    store.set(Call::Invalidate, CallFault::Fail(StoreErrorKind::OutOfMemory));
    assert_eq!(invalidate(&*link, LONG).await, Err(StoreErrorKind::OutOfMemory));
    assert!(!invalidated(&*link).await);
    store.heal_call(Call::Invalidate);
    assert_eq!(invalidate(&*link, LONG).await, Ok(()));
    assert!(invalidated(&*link).await);
    assert_eq!((store.calls(Call::Invalidate), store.calls(Call::Read)), (2, 2));
}

#[tokio::test]
async fn a_call_that_stalls_is_executed_after_the_fault_or_never() {
    let redis = RedisServer::start();
    let store = before(&redis);
    let link = link(&store).await;
    store.set(Call::Invalidate, CallFault::Stall);
    assert_eq!(invalidate(&*link, SHORT).await, Err(StoreErrorKind::Timeout));
    assert_eq!(store.held(Call::Invalidate), 0);
    assert!(!invalidated(&*link).await);
    let held = invalidate(&*link, LONG);
    let heal = async {
        store.until_held(Call::Invalidate).await;
        assert!(!invalidated(&*link).await, "not before the fault ends");
        store.heal();
    };
    assert_eq!(tokio::join!(held, heal).0, Ok(()));
    assert!(invalidated(&*link).await);
}

#[tokio::test]
async fn a_call_that_is_answered_late_has_been_executed() {
    let redis = RedisServer::start();
    let store = before(&redis);
    let link = link(&store).await;
    store.set(Call::Invalidate, CallFault::Late);
    let held = invalidate(&*link, LONG);
    let heal = async {
        store.until_held(Call::Invalidate).await;
        assert!(invalidated(&*link).await, "while its caller waits");
        store.heal();
    };
    assert_eq!(tokio::join!(held, heal).0, Ok(()));
}

#[tokio::test]
async fn every_call_can_be_refused_and_no_read_of_a_cache_fails() {
    let redis = RedisServer::start();
    let store = before(&redis);
    let builder = Cache::builder("test").connector(store.clone(), Duration::from_millis(200));
    let cache = builder.build().await.unwrap();
    tokio::time::timeout(LONG, cache.ready()).await.unwrap();
    let tenant = cache.tenant("acme");
    let read = async |n: u64| {
        let load = move || async move { Ok::<_, String>(n) };
        let fetched = tenant.fetch(key!("k", n), Policy::ttl(LONG), load).await.unwrap();
        assert_eq!(*fetched.value, n);
        fetched.status.tier
    };
    for (n, call) in Call::ALL.into_iter().enumerate() {
        let n = u64::try_from(n).unwrap();
        store.set(call, CallFault::Fail(StoreErrorKind::Timeout));
        assert_eq!(read(n).await, Tier::Origin);
        // Its value is compared in any case; whether it was kept depends on the call.
        read(n).await;
        store.heal();
    }
    store.set_all(CallFault::Fail(StoreErrorKind::Disconnected));
    assert_eq!(read(100).await, Tier::Origin);
    store.heal();
    tokio::time::timeout(LONG, cache.ready()).await.unwrap();
}

#[tokio::test]
async fn time_is_moved_by_hand() {
    let clock = Arc::new(ManualClock::default());
    let cache = Cache::builder("test").clock(clock.clone()).build().await.unwrap();
    let policy = Policy::ttl(Duration::from_secs(60)).jitter(0.0);
    let tenant = cache.tenant("acme");
    let tier = async || {
        let fetched = tenant.fetch(key!("k", 1), &policy, async || Ok::<_, String>(1)).await;
        fetched.unwrap().status.tier
    };
    assert_eq!((tier().await, tier().await), (Tier::Origin, Tier::Memory));
    let before = clock.now();
    clock.advance(Duration::from_secs(61));
    assert_eq!(clock.now().since(before), Duration::from_secs(61));
    assert_eq!(tier().await, Tier::Origin);
}

/// What a connector says of itself.
struct Told(Arc<dyn larder::store::Connector>);

impl larder::store::Connector for Told {
    fn connect<'a>(
        &'a self,
        node: &'a str,
        bucket: u16,
        force_epoch: bool,
    ) -> larder::store::StoreFuture<'a, (Arc<dyn Link>, larder::store::Recovered)> {
        self.0.connect(node, bucket, force_epoch)
    }

    fn buckets(&self) -> u16 {
        4
    }

    fn default_lease(&self) -> Duration {
        LONG
    }

    fn address(&self) -> String {
        "elsewhere".to_owned()
    }
}

#[tokio::test]
async fn what_a_store_says_of_itself_is_what_stands_behind_it_says() {
    let redis = RedisServer::start();
    let real = before(&redis);
    assert!(real.keeps_logs());
    let told = FaultyStore::before(Arc::new(Told(real)));
    assert_eq!((told.buckets(), told.default_lease(), told.keeps_logs()), (4, LONG, false));
    assert_eq!(told.address(), "elsewhere");
}

#[tokio::test]
async fn calls_of_the_event_logs_fail_and_are_made_again() {
    let redis = RedisServer::start();
    let store = before(&redis);
    let cache = Cache::builder("ns").connector(store.clone(), LONG).build().await.unwrap();
    let acme = cache.tenant("acme");
    store.set(Call::LogAppend, CallFault::Fail(StoreErrorKind::OutOfMemory));
    let mut published = acme.publish(larder::Event::new("changed"));
    let logged = published.logged();
    published.await.unwrap();
    assert_eventually!(store.calls(Call::LogAppend) > 1, LONG, "it is tried again");
    store.heal();
    assert_eq!(logged.await.unwrap().offset(), 1);
}
