//! The simulator that has entered this thread, if one has.

use super::{Limit, Mutant, Place};
use crate::cache::Cache;
use crate::key::Key;
use crate::scope::EntryScopes;
use crate::tenant::Tenant;
use futures_util::future::BoxFuture;
use std::any::Any;
use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection to a simulated server.
pub trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// What a task comes to, whatever its type.
pub type Erased = Box<dyn Any + Send>;

/// Decides for one node what otherwise the operating system decides.
pub trait Simulator: Send + Sync + 'static {
    /// The next random number.
    fn random(&self) -> u64;
    /// Runs a task of the node's: as it is, or later, or never to its end.
    fn task(&self, task: BoxFuture<'static, Erased>) -> BoxFuture<'static, Erased>;
    /// A connection to the server at this address.
    fn dial(&self, host: &str, port: u16) -> BoxFuture<'static, io::Result<Box<dyn Socket>>>;
    /// Another thread may run now.
    fn pause(&self, place: Place);
    /// Whether a rule is switched off.
    fn is(&self, mutant: Mutant) -> bool;
    /// Another bound than the usual one.
    fn limit(&self, limit: Limit) -> Option<usize>;
}

thread_local! {
    static CURRENT: RefCell<Option<Arc<dyn Simulator>>> = const { RefCell::new(None) };
}

/// Runs something under a simulator: it, and the tasks that it begins, are a node's.
pub fn within<R>(simulator: &Arc<dyn Simulator>, run: impl FnOnce() -> R) -> R {
    struct Before(Option<Arc<dyn Simulator>>);
    impl Drop for Before {
        fn drop(&mut self) {
            CURRENT.set(self.0.take());
        }
    }
    let _before = Before(CURRENT.replace(Some(Arc::clone(simulator))));
    run()
}

/// The simulator of this thread.
pub(crate) fn current() -> Option<Arc<dyn Simulator>> {
    CURRENT.with_borrow(Clone::clone)
}

fn ask<R>(ask: impl FnOnce(&dyn Simulator) -> R) -> Option<R> {
    CURRENT.with_borrow(|current| current.as_deref().map(ask))
}

pub(crate) fn random() -> Option<u64> {
    ask(|simulator| simulator.random())
}

pub(crate) fn pause(place: Place) {
    // Not while the thread's own cell is borrowed: somebody else may run on it.
    if let Some(simulator) = current() {
        simulator.pause(place);
    }
}

/// The rule that is switched off in all of this process.
static OFF: OnceLock<Mutant> = OnceLock::new();

/// Switches a rule off in all of this process, on threads without a simulator. Once: later calls change nothing.
pub fn switch_off(mutant: Mutant) {
    let _ = OFF.set(mutant);
}

pub(crate) fn is(mutant: Mutant) -> bool {
    ask(|simulator| simulator.is(mutant)).unwrap_or_else(|| OFF.get() == Some(&mutant))
}

pub(crate) fn limit(limit: Limit, usual: usize) -> usize {
    ask(|simulator| simulator.limit(limit)).flatten().unwrap_or(usual)
}

/// A task of the node that begins it.
pub(crate) fn task<F>(future: F) -> Task<F>
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    match current() {
        None => Task::Usual(Box::pin(future)),
        Some(simulator) => {
            Task::Simulated(simulator.task(Box::pin(async move { Box::new(future.await) as Erased })))
        }
    }
}

/// See [`task`].
pub(crate) enum Task<F: Future> {
    Usual(Pin<Box<F>>),
    Simulated(BoxFuture<'static, Erased>),
}

impl<F: Future<Output: Send + 'static>> Future for Task<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        match &mut *self {
            Self::Usual(future) => future.as_mut().poll(cx),
            Self::Simulated(future) => {
                future.as_mut().poll(cx).map(|output| *output.downcast().expect("it was erased above"))
            }
        }
    }
}

/// What is under way within a node: after everything has come to rest, nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inside {
    /// Whether it follows the stream and its lease holds, in all buckets.
    pub good: bool,
    /// Its name in the protocol.
    pub node: String,
    /// Loads and reads under way.
    pub flights: usize,
    /// Tasks of callers' making.
    pub tasks: usize,
    /// Scopes of own invalidations without an answer.
    pub blocked: usize,
    /// Invalidations that Redis has not been told.
    pub undelivered: usize,
    /// Keys whose load elsewhere is waited for.
    pub waiting: usize,
}

/// Looks into a node: of several buckets the sum, and good if all are.
pub fn inside(cache: &Cache) -> Inside {
    let all = cache.buckets.all();
    // Tasks are all buckets' together.
    let tasks = cache.engine().tasks.len();
    let mut inside =
        Inside { good: true, node: String::new(), flights: 0, tasks, blocked: 0, undelivered: 0, waiting: 0 };
    for engine in all.iter() {
        inside.good &= engine.mirror.is_good();
        inside.flights += engine.flights.len();
        inside.blocked += engine.mirror.blocked();
        if let Some(remote) = &engine.remote {
            inside.node.clone_from(&remote.node);
            inside.undelivered += remote.undelivered_count();
            inside.waiting += remote.waiting();
        }
    }
    inside
}

/// Whether the bucket of a key follows the stream and its lease holds.
pub fn is_good(tenant: &Tenant, key: &Key) -> bool {
    tenant.home.of(key).mirror.is_good()
}

/// The bucket of a tenant's key, and the hash tag under which Redis has it.
#[cfg(feature = "redis")]
pub fn bucket_of(cache: &Cache, tenant: &str, key: &Key) -> (u16, &'static str) {
    let bucket = cache.buckets.home(tenant).of(key).mirror.bucket;
    let tag = if cache.buckets.all().len() == 1 { "0" } else { super::CLUSTER_TAGS[usize::from(bucket)] };
    (bucket, tag)
}

/// An entry as it lies in Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lying {
    /// The epoch it belongs to.
    pub epoch: u64,
    /// The stamp up to which it reflects every invalidation.
    pub ver: u64,
    /// Every scope whose later stamp makes it invalid.
    pub scopes: Vec<[u8; 16]>,
    /// Every scope whose later stamp makes it stale.
    pub soft: Vec<[u8; 16]>,
    /// The value's bytes, if it is no absence.
    pub payload: Option<bytes::Bytes>,
}

/// Reads what lies in Redis under a key of a tenant's (`""` for shared entries).
pub fn open(bytes: bytes::Bytes, tenant: &str, key: &Key) -> Option<Lying> {
    let opened = crate::envelope::open(&bytes, key.as_str())?;
    let base = EntryScopes::of(tenant, key);
    let all = base.shared().iter().chain(&opened.header.tags);
    let scopes = all.map(|scope| *scope.as_bytes()).collect();
    let soft = base.all().iter().chain(&opened.header.tags).map(|scope| *scope.soft().as_bytes()).collect();
    let (epoch, ver) = (opened.header.epoch, opened.header.ver);
    Some(Lying { epoch, ver, scopes, soft, payload: opened.payload })
}
