//! How do I cache what a function returns, without touching its callers? `#[cached]`: keys from the arguments, tags,
//! absence, methods, the function's own errors.
//!
//! `cargo run -p examples --bin cached-attribute`
#![allow(clippy::print_stdout, reason = "it tells what it has seen")]

use larder::{Cache, Policy, Tenant, cached, key, tag};
use std::fmt;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

/// The application's own error. All who waited for a load share it, so it is cloned out of the cache's.
#[derive(Clone, Debug)]
enum DbError {
    Broken,
    Cache(larder::Error),
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Broken => f.write_str("the database is broken"),
            Self::Cache(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for DbError {}

impl From<larder::Error> for DbError {
    fn from(error: larder::Error) -> Self {
        error.load_error::<Self>().cloned().unwrap_or(Self::Cache(error))
    }
}

static LOADS: AtomicU32 = AtomicU32::new(0);

/// The key and the tag are made of the arguments.
#[cached(tenant = tenant, key("user_name", id), ttl = "5m", tag = format!("user:{id}"))]
async fn user_name(tenant: &Tenant, id: u64) -> Result<String, DbError> {
    LOADS.fetch_add(1, Relaxed);
    tokio::time::sleep(Duration::from_millis(20)).await; // it is slow
    match id {
        13 => Err(DbError::Broken),
        _ => Ok(format!("user {id}")),
    }
}

/// `Option`: that nobody is found is remembered for ten seconds.
#[cached(tenant = tenant, prefix = "search", ttl = "30s", negative_ttl = "10s")]
async fn search(tenant: &Tenant, text: &str) -> Result<Option<String>, DbError> {
    LOADS.fetch_add(1, Relaxed);
    Ok((text == "ada").then(|| "Ada".to_owned()))
}

/// A policy of its own, where the options of the attribute do not reach.
static REPORT: LazyLock<Policy> = LazyLock::new(|| {
    Policy::ttl(Duration::from_secs(60)).stale_if_error(Duration::from_secs(600)).eager_refresh(1.0)
});

struct Reports {
    cache: Cache,
}

impl Reports {
    /// A method, by its receiver: it must be cheap to clone, so it is an `Arc`.
    #[cached(cache = self.cache, tenant = tenant, key("report", month), policy = &REPORT, tag = "reports")]
    async fn of_month(self: &Arc<Self>, tenant: &str, month: u32) -> Result<u64, DbError> {
        LOADS.fetch_add(1, Relaxed);
        Ok(u64::from(month) * 1000)
    }
}

fn loads() -> u32 {
    LOADS.swap(0, Relaxed)
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let cache = Cache::builder("example").build().await?;
    let acme = cache.tenant("acme");

    for _ in 0..100 {
        user_name(&acme, 17).await?;
    }
    println!("user 17, asked 100 times: loads {}", loads());

    acme.invalidate(tag("user:17")).await?;
    user_name(&acme, 17).await?;
    println!("after the invalidation of its tag: loads {}", loads());

    let together = futures_util::future::join_all((0..100).map(|_| user_name(&acme, 18))).await;
    println!("user 18, {} at once: loads {}", together.len(), loads());

    let error = user_name(&acme, 13).await.map(|name| name.len());
    println!("user 13: {:?}", error.map_err(|error| error.to_string()));
    loads();

    for _ in 0..100 {
        search(&acme, "nobody").await?;
    }
    println!("a search that finds nobody, 100 times: loads {}", loads());

    let reports = Arc::new(Reports { cache: cache.clone() });
    for month in [10, 11, 10, 11] {
        reports.of_month("acme", month).await?;
    }
    println!("two months, twice each: loads {}", loads());
    println!("in the cache under report:11: {}", acme.contains::<u64>(key!("report", 11)).await?);
    Ok(())
}
