//! What does a hit in memory allocate? It must be nothing; the process ends with an error otherwise.

use larder::{Cache, Policy, key};
use std::alloc::{GlobalAlloc, Layout, System};
use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

struct Counting;

static ALLOCATIONS: AtomicU64 = AtomicU64::new(0);

// SAFETY: every call is handed on to the system's allocator unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.fetch_add(1, Ordering::Relaxed);
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

const HITS: u64 = 100_000;

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let allocated = runtime.block_on(async {
        let cache = Cache::builder("bench").build().await.expect("valid settings");
        let acme = cache.tenant("acme");
        let policy = Policy::ttl(Duration::from_secs(3600)).tag("campaigns");
        acme.set(key!("campaigns", "page", 1, "limit", 20), vec![0_u8; 100], &policy)
            .await
            .expect("settable");
        let before = ALLOCATIONS.load(Ordering::Relaxed);
        for _ in 0..HITS {
            let load = || async { Ok::<Vec<u8>, Infallible>(vec![]) };
            acme.get_or_load(key!("campaigns", "page", 1, "limit", 20), &policy, load).await.expect("cached");
        }
        ALLOCATIONS.load(Ordering::Relaxed) - before
    });
    println!("{allocated} allocations in {HITS} hits");
    if allocated > 0 {
        std::process::exit(1);
    }
}
