//! A hit in memory allocates nothing: alone, and beside a Redis whose stream tells of changes. What the benchmark of the same
//! name says of a release build, CI holds here.

use larder::{Cache, Policy, Tier, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::convert::Infallible;
use std::time::Duration;

thread_local! {
    /// Allocations of this thread. Others run beside it: the stream has one of its own.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

struct Counting;

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has no counter any more, and nothing to count.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        // SAFETY: the caller keeps the contract of `GlobalAlloc::alloc`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: `pointer` came from `alloc` above, with this layout.
        unsafe { System.dealloc(pointer, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn policy() -> Policy {
    let hour = Duration::from_secs(3600);
    Policy::ttl(hour)
        .tags(["campaigns", "page 1", "drafts"])
        .stale_if_error(hour)
        .stale_while_revalidate(hour)
}

/// Allocations in so many hits.
async fn allocated(cache: &Cache, policy: &Policy, hits: u64) -> u64 {
    let acme = cache.tenant("acme");
    let before = ALLOCATIONS.get();
    for _ in 0..hits {
        let load = || async { Ok::<Vec<u8>, Infallible>(vec![]) };
        let found = acme.fetch(key!("campaigns", "page", 1, "limit", 20), policy, load).await.unwrap();
        assert!(found.status.tier == Tier::Memory && found.value.len() == 100);
    }
    ALLOCATIONS.get() - before
}

async fn with_a_value(cache: Cache, policy: &Policy) -> Cache {
    let load = || async { Ok::<Vec<u8>, Infallible>(vec![0; 100]) };
    let key = key!("campaigns", "page", 1, "limit", 20);
    cache.tenant("acme").get_or_load(key, policy, load).await.unwrap();
    // Whatever is made at a first use is made.
    allocated(&cache, policy, 10).await;
    cache
}

#[tokio::test]
async fn a_hit_in_memory_allocates_nothing() {
    let policy = policy();
    let cache = with_a_value(Cache::builder("test").build().await.unwrap(), &policy).await;
    assert_eq!(allocated(&cache, &policy, 1000).await, 0);
    cache.tenant("acme").invalidate(tag("another")).await.unwrap();
    assert_eq!(allocated(&cache, &policy, 1000).await, 0, "the first one after a change asks the map");
    assert!(ALLOCATIONS.get() > 0, "it counts");
}

#[tokio::test]
async fn beside_redis_a_hit_in_memory_allocates_nothing_either() {
    let (redis, policy) = (RedisServer::start(), policy());
    let node = || Cache::builder("test").redis(redis.url().as_str()).coherence_lease(Duration::from_secs(60));
    let (one, other) = (node().build().await.unwrap(), node().build().await.unwrap());
    one.ready().await;
    other.ready().await;
    let cache = with_a_value(one, &policy).await;
    let told = cache.stats().told;
    other.tenant("acme").invalidate([tag("another"), tag("third")]).await.unwrap();
    assert_eventually!(cache.stats().told > told, Duration::from_secs(30), "the message comes");
    assert_eq!(allocated(&cache, &policy, 1000).await, 0);
    for cache in [cache, other] {
        cache.shutdown().await;
    }
}
