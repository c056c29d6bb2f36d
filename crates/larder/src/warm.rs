//! Warming: values are loaded before anybody asks, a few at a time.

use crate::error::{BoxError, Error};
use crate::key::Key;
use crate::l1::FullKey;
use crate::loader::Single;
use crate::policy::Policy;
use crate::tenant::Tenant;
use crate::value::Value;
use futures_util::{StreamExt, stream};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

impl Tenant {
    /// Loads `key` again while its value is still there, unless more than `below` of its fresh time is left: for values
    /// that must never be cold. Where several nodes ask at once, one loads; the value is in place for readers all the
    /// time.
    ///
    /// # Errors
    /// As [`Tenant::get_or_load`]. The value in place is not touched by a failing load.
    pub async fn refresh<T, F, Fut, E>(
        &self,
        key: Key,
        policy: impl AsRef<Policy>,
        below: Duration,
        load: F,
    ) -> Result<(), Error>
    where
        T: Value,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.check_key(&key)?;
        let full = FullKey { tenant: Arc::clone(&self.name), key };
        let loader = Single::new(move |_| async move { load().await.map(Some) });
        self.home.of(&full.key).reload::<T>(full, policy.as_ref(), below, Box::new(loader)).await
    }
}

/// How a warming went.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct Warmed {
    /// Jobs that went well.
    pub done: usize,
    /// Jobs that failed, with the first error.
    pub failed: usize,
    /// The first error.
    pub first_error: Option<Error>,
}

/// Runs lookups, at most `concurrency` (at least one) at a time, and tells `progress` how many have ended.
///
/// A job is any lookup: `|| tenant.get_or_load(key, policy, loader)`. What is cached already costs a hit. A failing job
/// does not stop the others.
///
/// # Cancel safety
/// Dropping the future begins no further job; loads that have begun go on.
pub async fn warm<F, Fut, T>(
    jobs: impl IntoIterator<Item = F>,
    concurrency: usize,
    mut progress: impl FnMut(usize),
) -> Warmed
where
    F: FnOnce() -> Fut,
    Fut: Future<Output = Result<T, Error>>,
{
    let mut warmed = Warmed::default();
    let mut ended = stream::iter(jobs).map(|job| job()).buffer_unordered(concurrency.max(1));
    while let Some(result) = ended.next().await {
        match result {
            Ok(_) => warmed.done += 1,
            Err(error) => {
                warmed.failed += 1;
                warmed.first_error.get_or_insert(error);
            }
        }
        progress(warmed.done + warmed.failed);
    }
    warmed
}
