//! The code of the pages in `docs/`, a module a page. What a page shows stands in a test here, word for word, and is run.

mod auditor;
mod bulk;
mod http;
mod invalidation;
mod loading;
mod notifications;
mod outages;
mod outbox;
mod reading;
mod tenants;
mod tiers;
mod warming;

use larder::{Cache, Tenant};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(30);

async fn cache() -> Cache {
    Cache::builder("pages").build().await.unwrap()
}

async fn acme() -> Tenant {
    cache().await.tenant("acme")
}

/// Stands for a database that counts what it is asked.
#[derive(Clone, Default)]
struct Origin(Arc<AtomicUsize>);

impl Origin {
    async fn rows(&self, what: impl std::fmt::Display) -> Result<Vec<String>, std::io::Error> {
        self.0.fetch_add(1, SeqCst);
        Ok(vec![format!("row of {what}")])
    }

    /// How often it was asked since this was called last.
    fn asked(&self) -> usize {
        self.0.swap(0, SeqCst)
    }
}
