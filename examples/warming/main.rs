//! How do I start warm, and stay so? `warm` before the first request, `refresh` before the TTL ends, `eager_refresh` for
//! what is read all the time.
//!
//! `cargo run -p examples --bin warming`; with `REDIS_URL=redis://localhost` a second start finds everything there.
#![allow(clippy::print_stdout, reason = "it tells what it has seen")]

use larder::{Cache, Policy, key, warm};
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

static LOADS: AtomicU32 = AtomicU32::new(0);

async fn dashboard(tenant: String) -> Result<String, std::io::Error> {
    LOADS.fetch_add(1, Relaxed);
    match &*tenant {
        "initech" => Err(std::io::Error::other("its tables are being moved")),
        _ => Ok(format!("the dashboard of {tenant}")),
    }
}

static DASHBOARD: LazyLock<Policy> = LazyLock::new(|| {
    Policy::ttl(Duration::from_secs(60))
        .eager_refresh(1.0) // whoever reads shortly before the end has it loaded behind, once for all nodes
        .stale_while_revalidate(Duration::from_secs(60))
});

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut builder = Cache::builder("example");
    if let Ok(redis) = std::env::var("REDIS_URL") {
        builder = builder.redis(&*redis);
    }
    let cache = builder.build().await?;
    cache.ready().await;
    let tenants = ["acme", "globex", "initech", "umbrella"];

    // Before the listener opens. Two at a time: the database has other work. A job that fails stops no other.
    let jobs = tenants.map(|name| {
        let tenant = cache.tenant(name);
        move || async move {
            tenant.get_or_load(key!("dashboard"), &*DASHBOARD, move || dashboard(name.to_owned())).await
        }
    });
    let warmed = warm(jobs, 2, |ended| println!("{ended} of 4")).await;
    let error = warmed.first_error.map(|error| error.to_string()).unwrap_or_default();
    println!("warmed {}, failed {}: {error}", warmed.done, warmed.failed);
    println!("loads {}", LOADS.swap(0, Relaxed));

    let acme = cache.tenant("acme");
    let found = acme.fetch(key!("dashboard"), &*DASHBOARD, || dashboard("acme".to_owned())).await?;
    println!("the first reader: {} from {}", found.status.outcome, found.status.tier.as_str());

    // On a timer: loaded again only where less than 10 s are left. The old value is served all the time.
    let ten = Duration::from_secs(10);
    acme.refresh(key!("dashboard"), &*DASHBOARD, ten, || dashboard("acme".to_owned())).await?;
    println!("refreshed with 10 s to go: loads {}", LOADS.swap(0, Relaxed));
    let hour = Duration::from_secs(3600);
    acme.refresh(key!("dashboard"), &*DASHBOARD, hour, || dashboard("acme".to_owned())).await?;
    println!("refreshed whatever is left: loads {}", LOADS.swap(0, Relaxed));
    cache.shutdown().await;
    Ok(())
}
