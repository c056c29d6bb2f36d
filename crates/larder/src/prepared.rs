//! Loaders that are made only where one may be needed, so that a hit copies nothing.

use crate::error::{BoxError, Error};
use crate::key::Key;
use crate::loader::Single;
use crate::policy::Policy;
use crate::status::{Fetched, Status};
use crate::tenant::{Tenant, found};
use crate::value::Value;
use std::future::Future;
use std::sync::Arc;

impl Tenant {
    /// [`Tenant::fetch`] with a loader that is made on demand. `prepare` may borrow: it runs in the caller, at most once,
    /// and only if memory has no fresh value. The loader that it returns owns what it uses, and runs only if Redis has
    /// none either. This is what `#[cached]` calls.
    ///
    /// # Errors
    /// As [`Tenant::get_or_load`].
    pub async fn fetch_prepared<T, P, F, Fut, E>(
        &self,
        key: Key,
        policy: impl AsRef<Policy>,
        prepare: P,
    ) -> Result<Fetched<T>, Error>
    where
        T: Value,
        P: FnOnce() -> F + Send,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        let prepare = || {
            let load = prepare();
            move || async move { load().await.map(Some) }
        };
        found(self.fetch_opt_prepared(key, policy, prepare).await?)
    }

    /// [`Tenant::fetch_opt`] with a loader that is made on demand, as by [`Tenant::fetch_prepared`].
    ///
    /// # Errors
    /// As [`Tenant::get_or_load`].
    pub async fn fetch_opt_prepared<T, P, F, Fut, E>(
        &self,
        key: Key,
        policy: impl AsRef<Policy>,
        prepare: P,
    ) -> Result<(Option<Arc<T>>, Status), Error>
    where
        T: Value,
        P: FnOnce() -> F + Send,
        F: FnOnce() -> Fut + Send + 'static,
        Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
        E: Into<BoxError> + 'static,
    {
        self.check_key(&key)?;
        let owned = || {
            let load = prepare();
            Single::new(move |_| load())
        };
        let policy = self.under(policy.as_ref());
        self.home.of(&key).get_or_load(&self.name, key, &policy, || Box::new(owned())).await
    }
}
