//! This node's side of the shared tier: the link as long as there is one, and what is known of the server.

use crate::announcer::Announcer;
use crate::breaker::Breaker;
use crate::clock::{Clock, Moment};
use crate::coherence::{Mirror, Stamped};
use crate::journal::{Journal, Ticket};
use crate::scope::{Change, Covered, ScopeHash};
use crate::simulation::{Mutant, is};
use crate::stamp::Stamp;
use crate::stats::Stats;
use crate::store::{Connector, Link, StateReply, StoreError, StoreErrorKind};
use crate::sync::Mutex;
use arc_swap::ArcSwapOption;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{Notify, watch};

/// What an administrator should know about the shared tier.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum RedisState {
    /// None is configured.
    Disabled,
    /// In use.
    Connected {
        /// As the server names itself: `redis 7.0.15`.
        server: String,
        /// The address, without password.
        address: String,
        /// Whether the connection is encrypted.
        tls: bool,
        /// What should be changed on the server.
        advice: Vec<String>,
    },
    /// Not in reach now; it is tried again and again.
    Unavailable {
        /// Why.
        reason: String,
    },
    /// The server lacks something that is needed.
    Unsupported {
        /// What it lacks.
        missing: String,
    },
}

/// A node that shares a cache.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct NodeInfo {
    /// Its name in the protocol: random, never used again.
    pub name: String,
    /// Whether it is this process.
    pub this: bool,
    /// How long ago Redis last said that it is registered; of this one, how long ago Redis answered.
    pub seen: Duration,
}

struct Live(Arc<dyn Link>);

impl RedisState {
    /// Before the first attempt to connect has ended.
    pub(crate) fn not_yet() -> Self {
        Self::Unavailable { reason: "not connected yet".to_owned() }
    }
}

/// Invalidations under way, by the number of links that had been made when they began.
#[derive(Default)]
struct Underway {
    links: u64,
    begun: HashMap<u64, usize>,
}

/// Why a link ends over which a server showed that it is not what it was.
pub(crate) const FORGETFUL: &str = "it has lost what it had told of";

/// This node's side of the shared tier.
pub(crate) struct Remote {
    pub(crate) connector: Arc<dyn Connector>,
    /// This process's name in the protocol: random, never used again.
    pub(crate) node: String,
    link: ArcSwapOption<Live>,
    breaker: Breaker,
    /// Server time in µs minus our clock in µs.
    offset: AtomicI64,
    /// When Redis last answered, in nanoseconds of our clock.
    last_contact: AtomicU64,
    /// Told when the link is lost, so that the supervisor makes another.
    pub(crate) lost: Notify,
    pub(crate) state: watch::Sender<RedisState>,
    /// Its lock is also what makes beginning and ending trust one step: no invalidation is deferred, and no link lost,
    /// between the last look at the journal and the trust that follows from it.
    journal: Mutex<Journal>,
    underway: Mutex<Underway>,
    /// The other nodes, and when (server time, µs) they were last seen registered.
    nodes: Mutex<HashMap<String, u64>>,
    /// Who waits for acknowledgements, by number.
    acks: Mutex<HashMap<u64, UnboundedSender<String>>>,
    ack: AtomicU64,
    wakes: Mutex<HashMap<ScopeHash, Vec<Arc<Notify>>>>,
    clock: Arc<dyn Clock>,
    mirror: Arc<Mirror>,
    stats: Arc<Stats>,
    pub(crate) announcer: Arc<Announcer>,
}

impl Remote {
    pub(crate) fn new(
        connector: Arc<dyn Connector>,
        node: String,
        clock: Arc<dyn Clock>,
        mirror: Arc<Mirror>,
        stats: Arc<Stats>,
        announcer: Arc<Announcer>,
    ) -> Self {
        Self {
            connector,
            node,
            link: ArcSwapOption::empty(),
            breaker: Breaker::default(),
            offset: AtomicI64::new(0),
            last_contact: AtomicU64::new(clock.now().as_nanos()),
            lost: Notify::new(),
            state: watch::channel(RedisState::not_yet()).0,
            journal: Mutex::default(),
            underway: Mutex::default(),
            nodes: Mutex::default(),
            acks: Mutex::default(),
            ack: AtomicU64::new(1),
            wakes: Mutex::default(),
            clock,
            mirror,
            stats,
            announcer,
        }
    }

    /// The link, if there is one.
    pub(crate) fn link(&self) -> Option<Arc<dyn Link>> {
        self.link.load().as_ref().map(|live| Arc::clone(&live.0))
    }

    /// The link, if what is read over it can be trusted now.
    pub(crate) fn good_link(&self) -> Option<Arc<dyn Link>> {
        if self.mirror.is_good() { self.link() } else { None }
    }

    /// A link has been made: what must be written goes over it, nothing is read until trust begins.
    pub(crate) fn adopt(&self, link: &Arc<dyn Link>) {
        let _no_link_is_lost = self.journal.lock();
        self.breaker.answered();
        self.link.store(Some(Arc::new(Live(Arc::clone(link)))));
        self.underway.lock().links += 1;
    }

    /// Recovery over `link` is complete: trust begins. `None`: the link was lost, or something deferred, meanwhile.
    pub(crate) fn begin_trust(&self, link: &Arc<dyn Link>, state: StateReply) -> Option<u64> {
        let journal = self.journal.lock();
        let delivered = journal.is_empty() || is(Mutant::JournalLost);
        (delivered && self.is_current(link)).then(|| self.mirror.begin_trust(state))
    }

    /// The link is no good: distrust, and have another made.
    pub(crate) fn lose(&self, reason: &str) {
        let _no_trust_begins = self.journal.lock();
        self.lose_now(reason);
    }

    /// As [`Remote::lose`], for what was learnt over `link`: if another has taken its place, that is not concerned.
    pub(crate) fn lose_link(&self, link: &Arc<dyn Link>, reason: &str) {
        let _no_trust_begins = self.journal.lock();
        if self.is_current(link) {
            self.lose_now(reason);
        }
    }

    /// As [`Remote::lose_link`], where the server has another history than it had: what was read there of late may be of the
    /// past, and is served no more.
    pub(crate) fn lose_history(&self, link: &Arc<dyn Link>, reason: &str) {
        let _no_trust_begins = self.journal.lock();
        if self.is_current(link) {
            self.lose_now(reason);
        }
        // Somebody else may have lost the link just now, for what followed from this.
        if !self.mirror.is_trusted() {
            self.mirror.end_lease();
        }
    }

    fn lose_now(&self, reason: &str) {
        self.link.store(None);
        if self.mirror.end_trust() {
            if let Some(words) = self.announcer.lost(self.mirror.bucket) {
                tracing::warn!(target: "larder::redis", reason, "{words}");
            }
            self.state.send_replace(RedisState::Unavailable { reason: reason.to_owned() });
        }
        self.lost.notify_one();
    }

    pub(crate) fn is_current(&self, link: &Arc<dyn Link>) -> bool {
        self.link.load().as_ref().is_some_and(|live| Arc::ptr_eq(&live.0, link))
    }

    /// The reply to an own invalidation over `link`. `false`: it belongs to a history that this node has left, and is
    /// no answer for the one that it follows.
    pub(crate) fn settle(&self, link: &Arc<dyn Link>, what: Change<'_>, at: Stamped) -> bool {
        let _no_trust_begins = self.journal.lock();
        if self.is_current(link) { self.mirror.settle_ahead(what, at) } else { self.mirror.settle(what, at) }
    }

    /// Learns from the outcome of a call over `link`.
    pub(crate) fn note<T>(&self, link: &Arc<dyn Link>, outcome: &Result<T, StoreError>) {
        let Err(error) = outcome else {
            self.breaker.answered();
            self.contacted(self.clock.now());
            return;
        };
        self.stats.redis_errors.fetch_add(1, Ordering::Relaxed);
        match error.kind {
            StoreErrorKind::Timeout => {
                self.stats.redis_timeouts.fetch_add(1, Ordering::Relaxed);
                if self.breaker.timed_out() {
                    self.lose_link(link, "it does not answer in time");
                }
            }
            // It was no primary for a moment, or is none any more; what else it may not write for can't be told from that.
            StoreErrorKind::Changed | StoreErrorKind::NotWritable => {
                self.lose_history(link, &error.to_string());
            }
            kind if kind.link_survives() => self.breaker.answered(),
            _ => self.lose_link(link, &error.to_string()),
        }
    }

    pub(crate) fn contacted(&self, at: Moment) {
        self.last_contact.fetch_max(at.as_nanos(), Ordering::Relaxed);
    }

    /// How long Redis has been silent.
    pub(crate) fn silence(&self) -> Duration {
        self.clock.now().since(Moment::from_nanos(self.last_contact.load(Ordering::Relaxed)))
    }

    /// The server said that its time is `now_us`, in answer to what was sent at `sent`.
    pub(crate) fn set_server_time(&self, now_us: u64, sent: Moment) {
        let server = i64::try_from(now_us).unwrap_or(i64::MAX);
        self.offset.store(server.saturating_sub(micros(sent)), Ordering::Relaxed);
    }

    /// The moment of a stamp, which is server time in µs, as far as it is not after `latest`.
    pub(crate) fn moment_of(&self, stamp: u64, latest: Moment) -> Moment {
        let ago = Duration::from_micros(self.server_us(latest).saturating_sub(stamp));
        let ago = u64::try_from(ago.as_nanos()).unwrap_or(u64::MAX);
        Moment::from_nanos(latest.as_nanos().saturating_sub(ago))
    }

    /// Server time in µs at `moment`, never too early: what remains of a TTL is never overestimated.
    pub(crate) fn server_us(&self, moment: Moment) -> u64 {
        let server = micros(moment).saturating_add(self.offset.load(Ordering::Relaxed));
        u64::try_from(server).unwrap_or(0)
    }

    /// Remembers an invalidation that did not reach Redis, and ends trust. Its scopes stay blocked until it is delivered.
    pub(crate) fn defer(&self, covered: Covered, tenant: Option<&str>) -> Ticket {
        let mut journal = self.journal.lock();
        let ticket = journal.push(covered, tenant, &self.mirror);
        self.lose_now("an invalidation could not be delivered");
        ticket
    }

    /// The oldest invalidations that Redis has not been told; none if it has been told of all.
    pub(crate) fn oldest_deferred(&self) -> Vec<(u64, Arc<Covered>)> {
        self.journal.lock().oldest()
    }

    /// Folds the journal sooner than usual.
    #[cfg(test)]
    pub(crate) fn bound_journal(&self, scopes: usize) {
        self.journal.lock().short = Some(scopes);
    }

    /// This node delivers nothing any more.
    pub(crate) fn give_up(&self) {
        self.journal.lock().give_up();
    }

    /// Redis has been told of a deferred invalidation, over `link`. `false`: it happened in a history that this node has
    /// left, and must be told again.
    pub(crate) fn delivered(&self, link: &Arc<dyn Link>, id: u64, at: Stamped) -> bool {
        let mut journal = self.journal.lock();
        // If it is not there any more it was folded into a wider one, which comes later.
        let Some(deferred) = journal.pop(id) else { return true };
        let all = deferred.covered.all();
        let settled = self.is_current(link) && self.mirror.settle_ahead(deferred.covered.change(&all), at);
        self.stats.recent.stamped(self.mirror.bucket, at);
        if settled {
            deferred.tell(&Stamp::new(self.mirror.bucket, at));
        } else {
            journal.put_back(deferred);
        }
        settled
    }

    pub(crate) fn undelivered_count(&self) -> usize {
        self.journal.lock().len()
    }

    /// An invalidation begins.
    pub(crate) fn invalidating(self: &Arc<Self>) -> Invalidating {
        let mut underway = self.underway.lock();
        let link = underway.links;
        *underway.begun.entry(link).or_default() += 1;
        Invalidating { remote: Arc::clone(self), link }
    }

    /// Whether some invalidation that began before the present link was made is neither delivered nor deferred.
    pub(crate) fn has_unfinished(&self) -> bool {
        let underway = self.underway.lock();
        underway.begun.keys().any(|link| *link < underway.links)
    }

    /// The roll call of a heartbeat at `now_us`. Who was not in one for longer than `forget` is forgotten.
    pub(crate) fn roll_called(&self, nodes: Vec<String>, now_us: u64, forget: Duration) {
        let oldest = now_us.saturating_sub(u64::try_from(forget.as_micros()).unwrap_or(u64::MAX));
        let mut known = self.nodes.lock();
        known.extend(nodes.into_iter().map(|node| (node, now_us)));
        known.retain(|_, seen| *seen >= oldest);
    }

    /// Nodes seen at or after this server time.
    pub(crate) fn nodes_since(&self, us: u64) -> Vec<String> {
        let known = self.nodes.lock();
        known.iter().filter(|(_, seen)| **seen >= us).map(|(node, _)| node.clone()).collect()
    }

    /// This node, and those of the last roll calls.
    pub(crate) fn nodes_seen(&self) -> Vec<NodeInfo> {
        let now = self.server_us(self.clock.now());
        let own = NodeInfo { name: self.node.clone(), this: true, seen: self.silence() };
        let known = self.nodes.lock();
        let others = known.iter().filter(|(name, _)| **name != self.node).map(|(name, seen)| {
            let seen = Duration::from_micros(now.saturating_sub(*seen));
            NodeInfo { name: name.clone(), this: false, seen }
        });
        std::iter::once(own).chain(others).collect()
    }

    /// Registers for acknowledgements; to be called before they are asked for.
    pub(crate) fn expect_acks(self: &Arc<Self>) -> Acks {
        let id = self.ack.fetch_add(1, Ordering::Relaxed);
        let (sender, nodes) = unbounded_channel();
        self.acks.lock().insert(id, sender);
        Acks { remote: Arc::clone(self), id, nodes }
    }

    /// A node has applied an invalidation of ours.
    pub(crate) fn acknowledged(&self, id: u64, node: String) {
        if let Some(waiting) = self.acks.lock().get(&id) {
            let _ = waiting.send(node);
        }
    }

    /// A load for which this node may wait has ended.
    pub(crate) fn wake(&self, key: ScopeHash) {
        if let Some(waiting) = self.wakes.lock().get(&key) {
            waiting.iter().for_each(|one| one.notify_one());
        }
    }

    /// How many keys somebody waits for.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn waiting(&self) -> usize {
        self.wakes.lock().len()
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        let (journal, underway) = (self.journal.lock(), self.underway.lock());
        (journal, underway, self.nodes.lock(), self.acks.lock(), self.wakes.lock())
    }

    /// How many invalidations are under way, and how many wait for acknowledgements.
    #[cfg(test)]
    pub(crate) fn unfinished(&self) -> (usize, usize) {
        (self.underway.lock().begun.values().sum(), self.acks.lock().len())
    }

    /// Registers for the wake-up of a key; to be called before the lease is asked for, since the wake-up may come
    /// before the answer.
    pub(crate) fn listen(self: &Arc<Self>, key: ScopeHash) -> WakeUp {
        let notify = Arc::new(Notify::new());
        self.wakes.lock().entry(key).or_default().push(Arc::clone(&notify));
        WakeUp { remote: Arc::clone(self), key, notify }
    }
}

/// An invalidation that is neither delivered nor deferred.
pub(crate) struct Invalidating {
    remote: Arc<Remote>,
    link: u64,
}

impl Drop for Invalidating {
    fn drop(&mut self) {
        let mut underway = self.remote.underway.lock();
        if let Some(count) = underway.begun.get_mut(&self.link) {
            *count -= 1;
            if *count == 0 {
                underway.begun.remove(&self.link);
            }
        }
    }
}

/// Acknowledgements of one invalidation, taken off the register when dropped.
pub(crate) struct Acks {
    remote: Arc<Remote>,
    pub(crate) id: u64,
    nodes: UnboundedReceiver<String>,
}

impl Acks {
    /// The next node that has applied it.
    pub(crate) async fn next(&mut self) -> Option<String> {
        self.nodes.recv().await
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.remote.acks.lock().remove(&self.id);
    }
}

/// A registration for wake-ups, taken back when dropped.
pub(crate) struct WakeUp {
    remote: Arc<Remote>,
    key: ScopeHash,
    notify: Arc<Notify>,
}

impl WakeUp {
    /// Ends when the key's load has ended, also if that was between registration and this call.
    pub(crate) async fn woken(&self) {
        self.notify.notified().await;
    }
}

impl Drop for WakeUp {
    fn drop(&mut self) {
        let mut wakes = self.remote.wakes.lock();
        if let Some(waiting) = wakes.get_mut(&self.key) {
            waiting.retain(|one| !Arc::ptr_eq(one, &self.notify));
            if waiting.is_empty() {
                wakes.remove(&self.key);
            }
        }
    }
}

fn micros(moment: Moment) -> i64 {
    i64::try_from(moment.as_nanos() / 1000).unwrap_or(i64::MAX)
}

/// Sixteen hexadecimal digits that nobody else has.
pub(crate) fn random_name() -> String {
    format!("{:016x}", random_u64())
}

/// From the system's random source.
pub(crate) fn random_u64() -> u64 {
    crate::simulation::random().unwrap_or_else(|| getrandom::u64().expect("the system has a random source"))
}

/// From 0 to 1, for jitter.
pub(crate) fn random_part() -> f64 {
    f64::from(u32::try_from(random_u64() >> 32).expect("32 bits")) / f64::from(u32::MAX)
}
