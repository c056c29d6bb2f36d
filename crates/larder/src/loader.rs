//! Loaders: how a value is made when no tier has it.

use crate::coherence::Made;
use crate::error::BoxError;
use crate::key::Key;
use crate::l1::Stored;
use crate::scope::{EntryScopes, ScopeHash};
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use std::any::Any;
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
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) keep_stale: Option<Duration>,
    pub(crate) do_not_store: bool,
    pub(crate) not_modified: bool,
}

/// The value that is being loaded again: stale, or about to be. One that was invalidated is never shown.
#[derive(Clone)]
pub struct Previous {
    pub(crate) tenant: Arc<str>,
    pub(crate) value: Stored,
    pub(crate) scopes: EntryScopes,
    pub(crate) age: Duration,
    pub(crate) tags: Vec<Arc<str>>,
}

impl Previous {
    /// The value. `None`: it was absent at the origin.
    pub fn value<T: Any + Send + Sync>(&self) -> Option<Arc<T>> {
        Arc::clone(self.value.as_ref()?).downcast().ok()
    }

    /// Time since it was loaded, or found not to be modified.
    pub fn age(&self) -> Duration {
        self.age
    }

    /// Its tags, as far as they are known by name: of a value found in Redis only those of the policy are.
    pub fn tags(&self) -> &[Arc<str>] {
        &self.tags
    }

    /// Whether it carries this tag, wherever it was found.
    pub fn has_tag(&self, tag: &str) -> bool {
        self.scopes.all().contains(&ScopeHash::of_tag(&self.tenant, tag))
    }
}

impl std::fmt::Debug for Previous {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Previous").field("age", &self.age).field("tags", &self.tags).finish_non_exhaustive()
    }
}

/// Given to a loader that wants a say in how its value is cached. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct LoadContext {
    says: Arc<Mutex<Says>>,
    previous: Option<Arc<Previous>>,
}

impl LoadContext {
    /// What this load replaces, if there is anything that was not invalidated: to ask the origin for changes only.
    pub fn previous(&self) -> Option<&Previous> {
        self.previous.as_deref()
    }

    /// One more tag on what is being loaded, known only now. Tags of the value that this load replaces are not kept.
    pub fn tag(&self, tag: impl AsRef<str>) {
        self.says.lock().tags.push(Arc::from(tag.as_ref()));
    }

    /// Another TTL than the policy's.
    pub fn ttl(&self, ttl: Duration) {
        self.says.lock().ttl = Some(ttl);
    }

    /// Another time than the policy's for which an absence is remembered, if this load finds none.
    pub fn negative_ttl(&self, ttl: Duration) {
        self.says.lock().negative_ttl = Some(ttl);
    }

    /// Another time than the policy's for which the value is kept after its TTL. Whether it is then served, the policy of
    /// each lookup decides.
    pub fn keep_stale(&self, window: Duration) {
        self.says.lock().keep_stale = Some(window);
    }

    /// Serve the value to those who wait, and keep it nowhere.
    pub fn do_not_store(&self) {
        self.says.lock().do_not_store = true;
    }

    /// To be returned by a loader that has found the [previous](LoadContext::previous) value to be what the origin has
    /// now: that value begins a new life, with the same tags unless others were given. Without a previous value the load
    /// fails.
    ///
    /// # Errors
    /// None; it has the type that a loader returns.
    pub fn not_modified<T, E>(&self) -> Result<Option<T>, E> {
        self.says.lock().not_modified = true;
        Ok(None)
    }

    pub(crate) fn said(&self) -> Says {
        self.says.lock().clone()
    }
}

/// A key whose value is to be loaded.
pub(crate) struct Wanted {
    pub(crate) key: Key,
    pub(crate) previous: Option<Arc<Previous>>,
}

/// The values of the keys asked for, in the same order.
pub(crate) type LoadFuture<T> = BoxFuture<'static, Result<Vec<Loaded<T>>, BoxError>>;

/// Makes values.
pub(crate) trait Loader<T>: Send {
    /// Called at most once a key.
    fn load(&mut self, wanted: &[Wanted]) -> LoadFuture<T>;

    /// Whether what another node is loading will do as well, and is worth waiting for.
    fn waits_for_others(&self) -> bool {
        true
    }

    /// Set where nothing is loaded, because the caller brings the values.
    fn made_at(&self) -> Option<Made> {
        None
    }
}

/// Brings nothing: for jobs that only look.
pub(crate) struct Nothing;

impl<T: Send + 'static> Loader<T> for Nothing {
    fn load(&mut self, wanted: &[Wanted]) -> LoadFuture<T> {
        let nothing = |_| Loaded { value: None, says: Says::default() };
        let loaded = wanted.iter().map(nothing).collect();
        Box::pin(std::future::ready(Ok(loaded)))
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
    fn load(&mut self, wanted: &[Wanted]) -> LoadFuture<T> {
        let previous = wanted.first().and_then(|wanted| wanted.previous.clone());
        let load = self.0.take().expect("a key is loaded at most once a flight");
        Box::pin(async move {
            let context = LoadContext { says: Arc::default(), previous };
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
    fn load(&mut self, wanted: &[Wanted]) -> LoadFuture<T> {
        let keys: Vec<Key> = wanted.iter().map(|wanted| wanted.key.clone()).collect();
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
