//! What a node runs on: it pauses, crashes, and lets threads stop anywhere.

use super::clock::HostClock;
use super::stage::{self, Act, Stopped};
use crate::chance::Chance;
use crate::network::Network;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use larder::simulation::{Erased, Limit, Mutant, Place, Simulator, Socket, within};
use parking_lot::Mutex;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;
use tokio::time::{Instant, Sleep};

/// Bounds that are met soon.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Scopes that a node remembers.
    pub mirror_scopes: usize,
    /// Hits after which a read asks for no tags that its call does not name.
    pub plain_after: usize,
    /// Entries of one read that are asked for their tags.
    pub tags_of_entries: usize,
    /// Members of the coherence state in Redis.
    pub state: usize,
    /// Scopes in invalidations that wait for Redis.
    pub undelivered: usize,
    /// Patterns of one tenant that a node remembers.
    pub tenant_rules: usize,
    /// Patterns of all tenants.
    pub rules: usize,
    /// Buckets of a Cluster.
    pub buckets: usize,
    /// Events of one tenant that wait for their place in its log.
    pub waiting_events: usize,
    /// Events that a log keeps.
    pub event_history: usize,
}

impl Limits {
    /// The usual ones.
    pub const USUAL: Self = Self {
        mirror_scopes: 100_000,
        plain_after: 64,
        tags_of_entries: 32,
        state: 200_000,
        undelivered: 10_000,
        tenant_rules: 64,
        rules: 4096,
        buckets: 4,
        waiting_events: 10_000,
        event_history: 1000,
    };
}

#[derive(Default)]
struct Gate {
    paused: bool,
    dead: bool,
    waiting: Vec<Waker>,
    /// Where the next poll that gets there stops until it is told to go on.
    stop_at: Option<Place>,
    stands: bool,
}

/// What a node runs on.
pub struct Host {
    /// Which one.
    pub id: usize,
    chance: Chance,
    network: Network,
    mutant: Option<Mutant>,
    limits: Limits,
    clock: HostClock,
    gate: Mutex<Gate>,
}

impl Host {
    /// A host on this network.
    pub fn new(
        id: usize,
        chance: Chance,
        network: Network,
        mutant: Option<Mutant>,
        limits: Limits,
    ) -> Arc<Self> {
        // P3: clocks differ by less than a thousandth.
        let drift = i32::try_from(chance.below(800)).expect("it is small") - 400;
        let clock = HostClock::new(Instant::now(), drift);
        let gate = Mutex::default();
        Arc::new(Self { id, chance, network, mutant, limits, clock, gate })
    }

    pub(super) fn clock(&self) -> HostClock {
        self.clock
    }

    pub(super) fn simulator(self: &Arc<Self>) -> Arc<dyn Simulator> {
        Arc::new(Simulated(Arc::clone(self)))
    }

    /// Runs something of the node's, in a task of its own; what it comes to. Pending for ever once the node has crashed.
    pub fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl Future<Output = T> + Send + 'static,
    ) -> BoxFuture<'static, T> {
        let task = Task::new(self, Box::pin(async move { Box::new(work.await) as Erased }));
        let running = self.network.executor().spawn(Box::pin(task));
        Box::pin(async move { *running.await.downcast().expect("it was erased above") })
    }

    /// Nothing of the node runs, while its clock does.
    pub fn pause(&self) {
        self.gate.lock().paused = true;
    }

    /// Goes on after [`Host::pause`].
    pub fn resume(&self) {
        let waiting = {
            let mut gate = self.gate.lock();
            gate.paused = false;
            std::mem::take(&mut gate.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Whether it is paused.
    pub fn is_paused(&self) -> bool {
        self.gate.lock().paused
    }

    /// The next task that gets to this place stops there until [`Host::go_on`].
    pub fn stop_at(&self, place: Place) {
        self.gate.lock().stop_at = Some(place);
    }

    /// Whether a task stands where it was told to stop.
    pub fn stands(&self) -> bool {
        self.gate.lock().stands
    }

    /// Whoever stands goes on.
    pub fn go_on(&self) {
        let waiting = {
            let mut gate = self.gate.lock();
            (gate.stands, gate.stop_at) = (false, None);
            std::mem::take(&mut gate.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Nothing of it ever runs again, and its connections break.
    pub fn crash(&self) {
        self.gate.lock().dead = true;
        self.resume();
        self.network.disconnect(Some(self.id));
    }

    /// Whether it has crashed.
    pub fn is_dead(&self) -> bool {
        self.gate.lock().dead
    }
}

struct Simulated(Arc<Host>);

impl Simulator for Simulated {
    fn random(&self) -> u64 {
        self.0.chance.number()
    }

    fn task(&self, task: BoxFuture<'static, Erased>) -> BoxFuture<'static, Erased> {
        Box::pin(self.0.network.executor().spawn(Box::pin(Task::new(&self.0, task))))
    }

    fn dial(&self, server: &str, _port: u16) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        let (host, server) = (Arc::clone(&self.0), server.to_owned());
        async move { Ok(Box::new(host.network.dial(host.id, &server).await?) as Box<dyn Socket>) }.boxed()
    }

    fn pause(&self, place: Place) {
        // There locks are held.
        if place == Place::Changing || !stage::is_here() {
            return;
        }
        let stops = {
            let mut gate = self.0.gate.lock();
            let told = gate.stop_at.take_if(|at| *at == place).is_some();
            gate.stands |= told;
            told || gate.stop_at.is_none() && !gate.stands && self.0.chance.below(2) == 0
        };
        if stops {
            stage::stop();
        }
    }

    fn is(&self, mutant: Mutant) -> bool {
        self.0.mutant == Some(mutant)
    }

    fn limit(&self, limit: Limit) -> Option<usize> {
        Some(match limit {
            Limit::MirrorScopes => self.0.limits.mirror_scopes,
            Limit::PlainAfter => self.0.limits.plain_after,
            Limit::TagsOfEntries => self.0.limits.tags_of_entries,
            Limit::State => self.0.limits.state,
            Limit::Undelivered => self.0.limits.undelivered,
            Limit::TenantRules => self.0.limits.tenant_rules,
            Limit::Rules => self.0.limits.rules,
            Limit::Buckets => self.0.limits.buckets,
            Limit::WaitingEvents => self.0.limits.waiting_events,
            Limit::EventHistory => self.0.limits.event_history,
        })
    }
}

/// Within one poll no more stops than this take time.
const LONG_STOPS: u32 = 4;

/// A task of a node's.
struct Task {
    host: Arc<Host>,
    task: Option<BoxFuture<'static, Erased>>,
    stopped: Option<(Stopped, Pin<Box<Sleep>>)>,
    /// How often the poll under way has been stopped.
    stops: u32,
}

impl Task {
    fn new(host: &Arc<Host>, task: BoxFuture<'static, Erased>) -> Self {
        Self { host: Arc::clone(host), task: Some(task), stopped: None, stops: 0 }
    }

    fn late_ms(&self) -> u64 {
        // A lookup of many keys may be stopped at each: all in all for no longer than one of a few.
        let longest: &[u64] = if self.stops > LONG_STOPS { &[0] } else { &[0, 0, 1, 2, 5, 30, 300, 1100] };
        self.host.chance.pick(longest)
    }

    fn act(&mut self, act: Act, cx: &mut Context<'_>) -> Poll<Erased> {
        match act {
            Act::Polled(Ok(output)) => Poll::Ready(output),
            Act::Polled(Err(task)) => {
                (self.task, self.stops) = (Some(task), 0);
                Poll::Pending
            }
            Act::Stopped(stopped) => {
                self.stops += 1;
                let told = self.host.gate.lock().stands;
                let ms = if told { 0 } else { self.late_ms() };
                let mut sleep = Box::pin(tokio::time::sleep(Duration::from_millis(ms)));
                if sleep.as_mut().poll(cx).is_ready() {
                    cx.waker().wake_by_ref();
                }
                self.stopped = Some((stopped, sleep));
                Poll::Pending
            }
        }
    }
}

impl Future for Task {
    type Output = Erased;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Erased> {
        {
            let mut gate = self.host.gate.lock();
            if gate.paused || gate.dead {
                if !gate.dead {
                    gate.waiting.push(cx.waker().clone());
                }
                return Poll::Pending;
            }
        }
        if let Some((stopped, mut sleep)) = self.stopped.take() {
            {
                let host = Arc::clone(&self.host);
                let mut gate = host.gate.lock();
                if gate.stands {
                    gate.waiting.push(cx.waker().clone());
                    self.stopped = Some((stopped, sleep));
                    return Poll::Pending;
                }
            }
            if sleep.as_mut().poll(cx).is_pending() {
                self.stopped = Some((stopped, sleep));
                return Poll::Pending;
            }
            let polled = self.act(stopped.go_on(), cx);
            if self.task.is_some() {
                // What has woken it while it stood was not heard.
                cx.waker().wake_by_ref();
            }
            return polled;
        }
        let simulator = self.host.simulator();
        let mut task = self.task.take().expect("it is polled until it ends");
        let wanted = self.host.gate.lock().stop_at.is_some();
        let preempted = self.host.network.weather().preempted;
        if wanted || self.host.chance.in_10_000(preempted) {
            let act = stage::poll(task, simulator, cx.waker().clone());
            return self.act(act, cx);
        }
        let polled = within(&simulator, || task.as_mut().poll(cx));
        self.task = Some(task);
        polled
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        // What it drops may begin tasks: they are the node's too.
        let task = self.task.take();
        within(&self.host.simulator(), || drop(task));
    }
}
