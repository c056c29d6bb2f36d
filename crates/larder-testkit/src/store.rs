//! A shared tier whose every call can fail, stall or answer late.
//!
//! It stands before a real one ([`RedisConnector`](https://docs.rs/larder/latest/larder/store/redis/struct.RedisConnector.html))
//! and does what the network does to a call, call by call, without a network: nothing depends on how fast a machine is.
//! Time is moved by [`ManualClock`](larder::ManualClock). For faults of the bytes on the way there is
//! [`TcpProxy`](crate::TcpProxy).

mod link;
mod log;

use larder::store::log::LogLink;
use larder::store::{Connector, Link, Recovered, StoreError, StoreErrorKind, StoreFuture};
use link::FaultyLink;
use log::FaultyLog;
use std::collections::BTreeMap;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A call of [`Connector`], [`Link`] or, with `Log` before its name, [`LogLink`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each is the method of that name")]
pub enum Call {
    Connect,
    Read,
    Lease,
    Fill,
    Release,
    Invalidate,
    Heartbeat,
    Barrier,
    Acknowledge,
    Leave,
    Ping,
    Info,
    Scan,
    LogConnect,
    LogAppend,
    LogRead,
    LogSignal,
    LogPresence,
    LogClaim,
    LogSync,
}

impl Call {
    /// Every one.
    pub const ALL: [Self; 20] = [
        Self::Connect,
        Self::Read,
        Self::Lease,
        Self::Fill,
        Self::Release,
        Self::Invalidate,
        Self::Heartbeat,
        Self::Barrier,
        Self::Acknowledge,
        Self::Leave,
        Self::Ping,
        Self::Info,
        Self::Scan,
        Self::LogConnect,
        Self::LogAppend,
        Self::LogRead,
        Self::LogSignal,
        Self::LogPresence,
        Self::LogClaim,
        Self::LogSync,
    ];
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CallFault {
    /// It is not executed and fails at once. After a kind that a link does not survive, the caller makes a new link.
    Fail(StoreErrorKind),
    /// It is executed when the fault ends, if its time is not over by then. If it is: time-out, and never executed.
    Stall,
    /// It is executed at once, and answered when the fault ends. If its time is over by then: time-out, though executed.
    /// The lost reply.
    Late,
}

#[derive(Clone, Debug, Default)]
struct State {
    faults: BTreeMap<Call, CallFault>,
    /// How often each was called, and how many calls are being held right now.
    calls: BTreeMap<Call, (u64, usize)>,
}

/// Faults are set here; all links, also those that were made before, follow.
#[derive(Debug)]
struct Rules(watch::Sender<State>);

/// A [`Connector`] that passes everything on to another one, except what faults are set for.
///
/// ```no_run
/// # async fn example(real: std::sync::Arc<dyn larder::store::Connector>) -> Result<(), Box<dyn std::error::Error>> {
/// use larder_testkit::store::{Call, CallFault, FaultyStore};
///
/// let store = FaultyStore::before(real);
/// let cache = larder::Cache::builder("test").connector(store.clone(), std::time::Duration::from_millis(200)).build().await?;
/// store.set(Call::Fill, CallFault::Late);     // what is loaded is stored, and nobody learns it
/// store.heal();
/// # Ok(()) }
/// ```
pub struct FaultyStore {
    inner: Arc<dyn Connector>,
    rules: Arc<Rules>,
}

impl FaultyStore {
    /// Stands before `inner`, at first without a fault.
    #[must_use]
    pub fn before(inner: Arc<dyn Connector>) -> Arc<Self> {
        Arc::new(Self { inner, rules: Arc::new(Rules(watch::Sender::new(State::default()))) })
    }

    /// From now on this happens to that call, until it is set anew or [healed](Self::heal). Calls that are being held by
    /// another fault are let go.
    pub fn set(&self, call: Call, fault: CallFault) {
        self.rules.0.send_modify(|state| {
            state.faults.insert(call, fault);
        });
    }

    /// [`set`](Self::set) for every call.
    pub fn set_all(&self, fault: CallFault) {
        self.rules.0.send_modify(|state| state.faults = Call::ALL.map(|call| (call, fault)).into());
    }

    /// Ends the fault of one call.
    pub fn heal_call(&self, call: Call) {
        self.rules.0.send_modify(|state| {
            state.faults.remove(&call);
        });
    }

    /// Ends all faults. Calls that are held go on.
    pub fn heal(&self) {
        self.rules.0.send_modify(|state| state.faults.clear());
    }

    /// How often this was called, whatever became of it.
    #[must_use]
    pub fn calls(&self, call: Call) -> u64 {
        self.rules.0.borrow().calls.get(&call).map_or(0, |(calls, _)| *calls)
    }

    /// How many of these calls are being held by [`CallFault::Stall`] or [`CallFault::Late`] right now.
    #[must_use]
    pub fn held(&self, call: Call) -> usize {
        self.rules.0.borrow().calls.get(&call).map_or(0, |(_, held)| *held)
    }

    /// Waits until at least one of these calls is being held.
    ///
    /// # Cancel safety
    /// Holds no state: safe.
    pub async fn until_held(&self, call: Call) {
        let held = |state: &State| state.calls.get(&call).is_some_and(|(_, held)| *held > 0);
        let mut state = self.rules.0.subscribe();
        state.wait_for(held).await.expect("the rules live as long as this store");
    }
}

impl Connector for FaultyStore {
    fn connect<'a>(
        &'a self,
        node: &'a str,
        bucket: u16,
        force_epoch: bool,
    ) -> StoreFuture<'a, (Arc<dyn Link>, Recovered)> {
        let made = async move {
            let (link, recovered) = self.inner.connect(node, bucket, force_epoch).await?;
            let link: Arc<dyn Link> = Arc::new(FaultyLink { inner: link, rules: Arc::clone(&self.rules) });
            Ok((link, recovered))
        };
        Box::pin(self.rules.pass(Call::Connect, made))
    }

    fn buckets(&self) -> u16 {
        self.inner.buckets()
    }

    fn keeps_logs(&self) -> bool {
        self.inner.keeps_logs()
    }

    fn connect_log<'a>(&'a self, node: &'a str, bucket: u16) -> StoreFuture<'a, Arc<dyn LogLink>> {
        let made = async move {
            let inner = self.inner.connect_log(node, bucket).await?;
            let link: Arc<dyn LogLink> = Arc::new(FaultyLog { inner, rules: Arc::clone(&self.rules) });
            Ok(link)
        };
        Box::pin(self.rules.pass(Call::LogConnect, made))
    }

    fn default_lease(&self) -> Duration {
        self.inner.default_lease()
    }

    fn address(&self) -> String {
        self.inner.address()
    }

    fn hint(&self, error: &StoreError) -> Option<&'static str> {
        self.inner.hint(error)
    }
}

impl Rules {
    /// [`pass`](Self::pass) for a call that has a deadline.
    async fn pass_within<T>(
        &self,
        call: Call,
        within: Duration,
        execute: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let passed = tokio::time::timeout(within, self.pass(call, execute)).await;
        passed.unwrap_or_else(|_| Err(StoreError::new(StoreErrorKind::Timeout, "the call is held by a test")))
    }

    async fn pass<T>(
        &self,
        call: Call,
        execute: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, StoreError> {
        let mut fault = None;
        self.0.send_modify(|state| {
            state.calls.entry(call).or_default().0 += 1;
            fault = state.faults.get(&call).copied();
        });
        match fault {
            None => execute.await,
            Some(CallFault::Fail(kind)) => Err(StoreError::new(kind, "the call fails by a test")),
            Some(fault @ CallFault::Stall) => {
                self.over(call, fault).await;
                execute.await
            }
            Some(fault @ CallFault::Late) => {
                let answer = execute.await;
                self.over(call, fault).await;
                answer
            }
        }
    }

    /// Until this fault has ended.
    async fn over(&self, call: Call, fault: CallFault) {
        let _held = Held::new(self, call);
        let mut state = self.0.subscribe();
        let over = |state: &State| state.faults.get(&call) != Some(&fault);
        state.wait_for(over).await.expect("the rules outlive their borrower");
    }
}

/// A call that is being held, until it goes on or its caller gives it up.
struct Held<'a>(&'a Rules, Call);

impl<'a> Held<'a> {
    fn new(rules: &'a Rules, call: Call) -> Self {
        rules.0.send_modify(|state| state.calls.entry(call).or_default().1 += 1);
        Self(rules, call)
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.0.send_modify(|state| state.calls.entry(self.1).or_default().1 -= 1);
    }
}
