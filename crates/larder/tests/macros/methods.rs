//! Methods: every kind of `self` that a load can own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

use larder::{Cache, Error, Tenant, cached};

use crate::cache;

#[derive(Clone)]
struct Repository {
    cache: Cache,
    runs: Arc<AtomicU64>,
    name: String,
}

impl Repository {
    const KIND: &'static str = "repository";

    async fn new() -> Self {
        Self { cache: cache().await, runs: Arc::default(), name: "main".to_owned() }
    }

    fn run(&self) -> u64 {
        self.runs.fetch_add(1, SeqCst) + 1
    }

    #[cached(cache = self.cache, tenant = tenant, prefix = "described", ttl = "5m")]
    async fn describe(&self, tenant: &str, id: u64) -> Result<String, Error> {
        let own = self;
        Ok(format!("{} {} {} {tenant} {id} {}", Self::KIND, self.name, own.name, self.run()))
    }

    #[cached(tenant = tenant, key("shared", self.name), ttl = "5m")]
    async fn by_arc(self: &Arc<Self>, tenant: &Tenant) -> Result<u64, Error> {
        let own: &Arc<Self> = self;
        Ok(own.run())
    }

    #[cached(cache = self.cache, key("consumed"), ttl = "5m")]
    async fn by_value(mut self) -> Result<String, Error> {
        self.name.push('!');
        Ok(self.name)
    }

    #[cached(cache = cache, key("associated"), ttl = "5m")]
    async fn associated(cache: &Cache) -> Result<String, Error> {
        Ok(Self::KIND.to_owned())
    }
}

/// A trait says what callers see; the implementation says how it is loaded.
trait Names {
    async fn name(&self) -> Result<Arc<String>, Error>;
}

impl Names for Repository {
    #[cached(cache = self.cache, key("trait"), ttl = "5m")]
    async fn name(&self) -> Result<String, Error> {
        Ok(format!("{} {}", self.name, self.run()))
    }
}

#[tokio::test]
async fn a_borrowed_self_is_copied_into_the_load() {
    let repository = Repository::new().await;
    for _ in 0..2 {
        assert_eq!(*repository.describe("acme", 1).await.unwrap(), "repository main main acme 1 1");
    }
    assert_eq!(*repository.describe("globex", 1).await.unwrap(), "repository main main globex 1 2");
}

#[tokio::test]
async fn a_shared_self_is_shared_with_the_load() {
    let repository = Arc::new(Repository::new().await);
    let acme = repository.cache.tenant("acme");
    assert_eq!(*repository.by_arc(&acme).await.unwrap(), 1);
    assert_eq!(*repository.by_arc(&acme).await.unwrap(), 1);
}

#[tokio::test]
async fn a_self_by_value_moves_into_the_load() {
    let repository = Repository::new().await;
    assert_eq!(*repository.clone().by_value().await.unwrap(), "main!");
    assert_eq!(*repository.by_value().await.unwrap(), "main!");
}

#[tokio::test]
async fn associated_functions_and_trait_implementations_are_cached() {
    let repository = Repository::new().await;
    assert_eq!(*Repository::associated(&repository.cache).await.unwrap(), "repository");
    assert_eq!(*repository.name().await.unwrap(), "main 1");
    assert_eq!(*repository.name().await.unwrap(), "main 1");
}
