//! Loaders: how a value is made when no tier has it.

use crate::error::BoxError;
use crate::key::Key;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// What a loader brought for one key.
pub(crate) struct Loaded<T> {
    pub(crate) value: Option<T>,
    pub(crate) says: Says,
}

/// What a loader says of its own value, over the policy.
#[derive(Clone, Debug, Default)]
pub(crate) struct Says {
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) do_not_store: bool,
}

/// Given to a loader that wants a say in how its value is cached. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LoadContext(Arc<Mutex<Says>>);

impl LoadContext {
    /// One more tag on what is being loaded, known only now.
    pub fn tag(&self, tag: impl AsRef<str>) {
        self.0.lock().tags.push(Arc::from(tag.as_ref()));
    }

    /// Another TTL than the policy's.
    pub fn ttl(&self, ttl: Duration) {
        self.0.lock().ttl = Some(ttl);
    }

    /// Serve the value to those who wait, and keep it nowhere.
    pub fn do_not_store(&self) {
        self.0.lock().do_not_store = true;
    }

    pub(crate) fn said(&self) -> Says {
        self.0.lock().clone()
    }
}

/// The values of the keys asked for, in the same order.
pub(crate) type LoadFuture<T> = BoxFuture<'static, Result<Vec<Loaded<T>>, BoxError>>;

/// Makes values.
pub(crate) trait Loader<T>: Send {
    /// Called at most once a key.
    fn load(&mut self, keys: &[Key]) -> LoadFuture<T>;

    /// Whether what another node is loading will do as well, and is worth waiting for.
    fn waits_for_others(&self) -> bool {
        true
    }
}

/// A loader of one key.
pub(crate) struct Single<F>(Option<F>);

impl<F> Single<F> {
    pub(crate) fn new(load: F) -> Self {
        Self(Some(load))
    }
}

impl<T, F, Fut, E> Loader<T> for Single<F>
where
    T: Send + 'static,
    F: FnOnce(LoadContext) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Option<T>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn load(&mut self, _keys: &[Key]) -> LoadFuture<T> {
        let load = self.0.take().expect("a key is loaded at most once a flight");
        Box::pin(async move {
            let context = LoadContext::default();
            let value = load(context.clone()).await.map_err(Into::into)?;
            Ok(vec![Loaded { value, says: context.said() }])
        })
    }
}

/// A loader of many keys: it returns what it found, in any order.
pub(crate) struct Many<F>(pub(crate) F);

impl<T, F, Fut, E> Loader<T> for Many<F>
where
    T: Send + 'static,
    F: Fn(Vec<Key>) -> Fut + Send + 'static,
    Fut: Future<Output = Result<Vec<(Key, T)>, E>> + Send + 'static,
    E: Into<BoxError>,
{
    fn load(&mut self, keys: &[Key]) -> LoadFuture<T> {
        let keys = keys.to_vec();
        let found = (self.0)(keys.clone());
        Box::pin(async move {
            let mut found = found.await.map_err(Into::into)?;
            let mut take = |key: &Key| {
                let at = found.iter().position(|(there, _)| there == key)?;
                Some(found.swap_remove(at).1)
            };
            Ok(keys.iter().map(|key| Loaded { value: take(key), says: Says::default() }).collect())
        })
    }
}
