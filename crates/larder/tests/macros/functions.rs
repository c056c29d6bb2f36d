//! Functions: what is shared, what is not, and what arguments look like inside.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use larder::{Cache, ErrorKind, Policy, Tenant, cached, tag};
use tokio::sync::Notify;

use crate::cache;

/// The error of these functions: their own, or the cache's.
#[derive(Clone, Debug, PartialEq)]
enum DbError {
    NoRows,
    Cache(ErrorKind),
}

impl fmt::Display for DbError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}

impl std::error::Error for DbError {}

impl From<larder::Error> for DbError {
    fn from(error: larder::Error) -> Self {
        match error.load_error::<DbError>() {
            Some(own) => own.clone(),
            None => DbError::Cache(error.kind()),
        }
    }
}

/// How often a function's body ran.
#[derive(Clone, Default)]
struct Runs(Arc<AtomicU64>);

impl Runs {
    fn count(&self) -> u64 {
        self.0.fetch_add(1, SeqCst) + 1
    }

    fn so_far(&self) -> u64 {
        self.0.load(SeqCst)
    }
}

#[cached(tenant = tenant, key("users", id), ttl = "5m", tag = "users", tag = format!("user:{id}"))]
async fn user(tenant: &Tenant, runs: &Runs, id: u64) -> Result<String, DbError> {
    Ok(format!("user {id}, run {}", runs.count()))
}

#[tokio::test]
async fn the_second_call_is_served_from_the_cache() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    let first: Arc<String> = user(&acme, &runs, 1).await.unwrap();
    let second = user(&acme, &runs, 1).await.unwrap();
    assert!(Arc::ptr_eq(&first, &second));
    assert_eq!(*first, "user 1, run 1");
    assert_eq!(*user(&acme, &runs, 2).await.unwrap(), "user 2, run 2");
}

#[tokio::test]
async fn tenants_do_not_see_each_other() {
    let (cache, runs) = (cache().await, Runs::default());
    assert_eq!(*user(&cache.tenant("acme"), &runs, 1).await.unwrap(), "user 1, run 1");
    assert_eq!(*user(&cache.tenant("globex"), &runs, 1).await.unwrap(), "user 1, run 2");
    assert_eq!(*user(&cache.tenant("acme"), &runs, 1).await.unwrap(), "user 1, run 1");
}

#[tokio::test]
async fn fixed_and_computed_tags_invalidate() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    user(&acme, &runs, 1).await.unwrap();
    user(&acme, &runs, 2).await.unwrap();
    acme.invalidate(tag("user:1")).await.unwrap();
    assert_eq!(*user(&acme, &runs, 1).await.unwrap(), "user 1, run 3");
    assert_eq!(*user(&acme, &runs, 2).await.unwrap(), "user 2, run 2");
    acme.invalidate(tag("users")).await.unwrap();
    assert_eq!(*user(&acme, &runs, 1).await.unwrap(), "user 1, run 4");
    assert_eq!(*user(&acme, &runs, 2).await.unwrap(), "user 2, run 5");
}

/// An application's own idea of a tenant.
struct Customer {
    name: String,
}

impl AsRef<str> for Customer {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

#[cached(cache = cache, tenant = customer, prefix = "orders", skip(runs), ttl = "5m")]
async fn orders(cache: &Cache, runs: Runs, customer: &Customer, page: u32) -> Result<u64, DbError> {
    Ok(u64::from(page) * 100 + runs.count())
}

#[tokio::test]
async fn a_tenant_may_be_a_name_and_the_prefix_takes_what_is_left() {
    let (cache, runs) = (cache().await, Runs::default());
    let acme = Customer { name: "acme".to_owned() };
    assert_eq!(*orders(&cache, runs.clone(), &acme, 1).await.unwrap(), 101);
    assert_eq!(*orders(&cache, runs.clone(), &acme, 2).await.unwrap(), 202);
    assert_eq!(*orders(&cache, runs.clone(), &acme, 1).await.unwrap(), 101);
    cache.tenant("acme").invalidate(larder::key!("orders", 1)).await.unwrap();
    assert_eq!(*orders(&cache, runs, &acme, 1).await.unwrap(), 103);
}

static CACHE: tokio::sync::OnceCell<Cache> = tokio::sync::OnceCell::const_new();

fn the_cache() -> &'static Cache {
    CACHE.get().expect("made by the test")
}

#[cached(cache = cache, tenant = tenant, key("members", id), ttl = "5m", tag = format!("member:{id}"))]
async fn member(cache: &Cache, tenant: &Tenant, runs: &Runs, id: u64) -> Result<u64, DbError> {
    Ok(id * 10 + runs.count())
}

#[cached(cache = the_cache(), tenant = tenant, key("badges", id), ttl = "5m", tags("badges", format!("badge:{id}")))]
async fn badge(tenant: &Tenant, runs: &Runs, id: u64) -> Result<u64, DbError> {
    Ok(id * 10 + runs.count())
}

#[tokio::test]
async fn a_tenant_is_looked_up_in_the_cache_that_is_named() {
    let (mine, other, runs) = (cache().await, cache().await, Runs::default());
    let acme = other.tenant("acme");
    assert_eq!(*member(&mine, &acme, &runs, 7).await.unwrap(), 71);
    assert_eq!(*member(&mine, &acme, &runs, 7).await.unwrap(), 71);
    assert_eq!(other.stats().entries, 0);
    mine.tenant("acme").invalidate(tag("member:7")).await.unwrap();
    assert_eq!(*member(&mine, &acme, &runs, 7).await.unwrap(), 72);
    let nobody = member(&mine, &mine.shared(), &runs, 7).await.unwrap_err();
    assert_eq!(nobody, DbError::Cache(ErrorKind::InvalidTenant));
}

#[tokio::test]
async fn a_list_of_tags_is_as_good_as_one_after_the_other() {
    CACHE.get_or_init(cache).await;
    let (acme, runs) = (the_cache().tenant("acme"), Runs::default());
    assert_eq!(*badge(&acme, &runs, 1).await.unwrap(), 11);
    for (invalidated, expected) in [("badge:9", 11), ("badges", 12), ("badge:1", 13)] {
        acme.invalidate(tag(invalidated)).await.unwrap();
        assert_eq!(*badge(&acme, &runs, 1).await.unwrap(), expected, "{invalidated}");
    }
}

#[cached(cache = cache, prefix = "pages", skip(runs), ttl = "5m")]
async fn page_title(cache: &Cache, runs: &Runs, number: u32) -> Result<String, DbError> {
    Ok(format!("page {number}, run {}", runs.count()))
}

#[cached(cache = cache, prefix = "pages", skip(runs), ttl = "5m")]
async fn page_length(cache: &Cache, runs: &Runs, number: u32) -> Result<Vec<u64>, DbError> {
    Ok(vec![u64::from(number), runs.count()])
}

#[tokio::test]
async fn functions_of_one_prefix_and_different_types_each_get_their_own_type() {
    let (cache, titles, lengths) = (cache().await, Runs::default(), Runs::default());
    for _ in 0..3 {
        assert!(page_title(&cache, &titles, 7).await.unwrap().starts_with("page 7, run "));
        assert_eq!(page_length(&cache, &lengths, 7).await.unwrap()[0], 7);
    }
    let (title, length) = tokio::join!(page_title(&cache, &titles, 8), page_length(&cache, &lengths, 8));
    assert!(title.unwrap().starts_with("page 8") && length.unwrap()[0] == 8);
}

#[cached(tenant = tenant, key("joined", mark, names.join("+")), ttl = "5m")]
async fn joined<T>(
    tenant: &Tenant,
    names: &[String],
    mut mark: String,
    last: &T,
    runs: Runs,
) -> Result<String, DbError>
where
    T: ToString + Clone + Send + Sync + 'static,
{
    mark.push('!');
    let [first, ..]: &[String] = names else { return Err(DbError::NoRows) };
    let last: &T = last;
    Ok(format!("{first}{mark}{}{}", last.to_string(), runs.count()))
}

#[tokio::test]
async fn the_body_sees_the_types_that_are_written() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    let names = ["a".to_owned(), "b".to_owned()];
    let text = joined(&acme, &names, "x".to_owned(), &3.5, runs.clone()).await.unwrap();
    assert_eq!(*text, "ax!3.51");
    assert_eq!(joined(&acme, &[], "x".to_owned(), &1, runs).await, Err(DbError::NoRows));
}

#[derive(Default)]
struct Copies(Arc<AtomicU64>);

impl Clone for Copies {
    fn clone(&self) -> Self {
        self.0.fetch_add(1, SeqCst);
        Self(Arc::clone(&self.0))
    }
}

#[cached(tenant = tenant, key("copied"), ttl = "5m")]
async fn copied(tenant: &Tenant, used: &Copies, _unused: &Copies) -> Result<u64, DbError> {
    Ok(used.0.load(SeqCst))
}

#[tokio::test]
async fn borrowed_arguments_are_copied_for_a_load_and_not_for_a_hit() {
    let acme = cache().await.tenant("acme");
    let (used, unused) = (Copies::default(), Copies::default());
    for _ in 0..5 {
        copied(&acme, &used, &unused).await.unwrap();
    }
    assert_eq!((used.0.load(SeqCst), unused.0.load(SeqCst)), (1, 0));
}

#[cached(tenant = tenant, key("slow"), ttl = "5m")]
async fn fails_when_told(tenant: &Tenant, begun: Arc<Notify>, go: Arc<Notify>) -> Result<u8, DbError> {
    begun.notify_one();
    go.notified().await;
    Err(DbError::NoRows)
}

#[tokio::test]
async fn every_caller_gets_the_error_of_the_one_load() {
    let (cache, begun, go) = (cache().await, Arc::new(Notify::new()), Arc::new(Notify::new()));
    let acme = cache.tenant("acme");
    let calls: Vec<_> = (0..10)
        .map(|_| {
            let (acme, begun, go) = (acme.clone(), Arc::clone(&begun), Arc::clone(&go));
            tokio::spawn(async move { fails_when_told(&acme, begun, go).await })
        })
        .collect();
    begun.notified().await;
    // Each of the others has looked before the load may end: a task that was spawned first runs first here.
    tokio::task::yield_now().await;
    go.notify_one();
    for call in calls {
        assert_eq!(call.await.unwrap(), Err(DbError::NoRows));
    }
    assert_eq!(cache.stats().total.loads, 1);
}

#[tokio::test]
async fn errors_of_the_cache_itself_arrive_too() {
    let nobody = cache().await.tenant("");
    assert_eq!(user(&nobody, &Runs::default(), 1).await, Err(DbError::Cache(ErrorKind::InvalidTenant)));
}

#[tokio::test]
async fn a_failure_is_not_cached() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    #[cached(tenant = tenant, key("flaky"), ttl = "5m")]
    async fn flaky(tenant: &Tenant, runs: &Runs) -> Result<u64, DbError> {
        let run = runs.count();
        Err(DbError::NoRows).or_else(|error| if run < 2 { Err(error) } else { Ok(run) })
    }
    assert_eq!(flaky(&acme, &runs).await, Err(DbError::NoRows));
    assert_eq!(*flaky(&acme, &runs).await.unwrap(), 2);
}

#[cached(tenant = tenant, prefix = "found", skip(runs), ttl = "5m", negative_ttl = "1m")]
async fn found(tenant: &Tenant, runs: &Runs, id: u64) -> Result<Option<u64>, DbError> {
    let run = runs.count();
    Ok(id.is_multiple_of(2).then_some(run))
}

#[cached(tenant = tenant, prefix = "forgotten", skip(runs), ttl = "5m")]
async fn forgotten(tenant: &Tenant, runs: &Runs) -> Result<Option<u64>, DbError> {
    runs.count();
    Ok(None)
}

#[tokio::test]
async fn absence_is_remembered_if_asked_for() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    for _ in 0..3 {
        assert_eq!(found(&acme, &runs, 1).await.unwrap(), None);
        assert_eq!(found(&acme, &runs, 2).await.unwrap().as_deref(), Some(&2));
    }
    assert_eq!(runs.so_far(), 2);
    for _ in 0..3 {
        assert_eq!(forgotten(&acme, &runs).await.unwrap(), None);
    }
    assert_eq!(runs.so_far(), 5);
}

static HOURLY: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(3600)).tag("hourly"));

#[cached(tenant = tenant, key("report", day), policy = HOURLY, tag = format!("day:{day}"))]
async fn report(tenant: &Tenant, runs: &Runs, day: u8) -> Result<u64, DbError> {
    Ok(runs.count())
}

#[cached(tenant = tenant, key("chosen"), ttl = ttl, stale_if_error = "1h")]
async fn chosen_ttl(tenant: &Tenant, runs: &Runs, ttl: Duration) -> Result<u64, DbError> {
    Ok(runs.count())
}

#[tokio::test]
async fn a_policy_of_ones_own_takes_further_tags() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    assert_eq!(*report(&acme, &runs, 1).await.unwrap(), 1);
    assert_eq!(*report(&acme, &runs, 1).await.unwrap(), 1);
    acme.invalidate(tag("day:1")).await.unwrap();
    assert_eq!(*report(&acme, &runs, 1).await.unwrap(), 2);
    acme.invalidate(tag("hourly")).await.unwrap();
    assert_eq!(*report(&acme, &runs, 1).await.unwrap(), 3);
}

#[tokio::test]
async fn a_ttl_may_be_computed_and_a_wrong_one_is_refused() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    let refused = chosen_ttl(&acme, &runs, Duration::ZERO).await;
    assert_eq!(refused, Err(DbError::Cache(ErrorKind::InvalidPolicy)));
    assert_eq!(*chosen_ttl(&acme, &runs, Duration::from_secs(9)).await.unwrap(), 1);
}

#[cached(tenant = if second { b } else { a }, key("kilo", bytes as u64 / 1024, second || bytes < 0), ttl = "5m")]
async fn kilobytes(a: &Tenant, b: &Tenant, second: bool, bytes: i64) -> Result<i64, DbError> {
    Ok(bytes / 1024)
}

#[tokio::test]
async fn options_may_be_any_expression() {
    let (acme, globex) = (cache().await.tenant("acme"), cache().await.tenant("globex"));
    assert_eq!(*kilobytes(&acme, &globex, true, 2048).await.unwrap(), 2);
    assert!(globex.contains::<i64>(larder::key!("kilo", 2, true)).await.unwrap());
    assert!(!acme.contains::<i64>(larder::key!("kilo", 2, true)).await.unwrap());
}

/// The longest duration that the attribute takes is the longest that the engine takes.
#[tokio::test]
async fn thirty_days_are_taken() {
    #[cached(tenant = tenant, key("longest"), ttl = "30d")]
    async fn longest(tenant: &Tenant) -> Result<u8, DbError> {
        Ok(1)
    }
    assert_eq!(*longest(&cache().await.tenant("acme")).await.unwrap(), 1);
}

#[tokio::test]
async fn the_future_can_be_sent_to_another_thread() {
    let (acme, runs) = (cache().await.tenant("acme"), Runs::default());
    let task = tokio::spawn(async move { user(&acme, &runs, 1).await });
    assert_eq!(*task.await.unwrap().unwrap(), "user 1, run 1");
}
