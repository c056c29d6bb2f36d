//! A server in memory that does what the scripts do, atomically, under a clock that tests move.

mod link;

use super::chance::Chance;
use super::gate::{Gate, Rule, Rules};
use crate::clock::{Clock, ManualClock};
use crate::envelope;
use crate::scope::ScopeHash;
use crate::store::{
    AckTo, BarrierReply, BarrierRequest, Connector, EntryName, FillReply, FillRequest, HeartbeatReply,
    Holders, InvalidateReply, InvalidateRequest, LeaseReply, LeaseRequest, Link, Push, ReadReply, Recovered,
    StateReply, StoreError, StoreErrorKind, StoreFuture, Tags,
};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::watch;

/// Which call a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
    Connect,
    Read,
    Lease,
    Fill,
    Release,
    Invalidate,
    Heartbeat,
    Barrier,
    Acknowledge,
}

/// What a rule does to a call.
#[derive(Clone, Debug)]
pub(crate) enum Fault {
    /// It is not run.
    Fail(StoreErrorKind),
    /// It is run, its reply is lost.
    LoseReply(StoreErrorKind),
    /// It takes this long until it is run.
    Slow(Duration),
    /// Its reply takes this long.
    SlowReply(Duration),
    /// It waits at the gate, and is then not run.
    HoldThenFail(Gate, StoreErrorKind),
    /// It waits at the gate before it is run.
    HoldBefore(Gate),
}

/// What a server had stored at some time.
pub(crate) struct Snapshot {
    coherence: Option<Coherence>,
    entries: HashMap<Name, Bytes>,
}

/// The coherence state: lost as a whole or not at all.
#[derive(Clone, Default)]
struct Coherence {
    epoch: u64,
    head: u64,
    floor: u64,
    blessed: HashSet<u64>,
    /// When each node's registration ends.
    nodes: HashMap<String, u64>,
    last_heartbeat: Option<u64>,
    born: u64,
    outage: Option<u64>,
    /// Which outage each node has said to have delivered everything of.
    drained: HashMap<String, u64>,
    stamps: HashMap<ScopeHash, u64>,
}

struct LeaseRecord {
    token: String,
    node: String,
    epoch: u64,
    expires: u64,
    /// Head at the grant.
    ver: u64,
    /// The load failed: until it expires nobody is granted it.
    failed: bool,
    waiting: HashSet<String>,
}

struct Subscriber {
    node: String,
    alive: Arc<AtomicBool>,
    pushes: UnboundedSender<Push>,
}

type Name = (String, String);

#[derive(Default)]
struct State {
    label: u64,
    epochs: u64,
    up: bool,
    full: bool,
    coherence: Option<Coherence>,
    entries: HashMap<Name, Bytes>,
    leases: HashMap<Name, LeaseRecord>,
    subscribers: Vec<Subscriber>,
}

/// The server; cheap to clone.
#[derive(Clone)]
pub(crate) struct Server {
    state: Arc<Mutex<State>>,
    rules: Arc<Rules>,
    /// Where faults and delays come from by chance; none by itself.
    pub(crate) chance: Chance,
    calls: Arc<watch::Sender<Vec<Call>>>,
    pub(crate) clock: Arc<ManualClock>,
}

fn name(entry: EntryName<'_>) -> Name {
    (entry.tenant.to_owned(), entry.key.to_owned())
}

fn gone() -> StoreError {
    StoreError::new(StoreErrorKind::Disconnected, "gone")
}

impl Server {
    pub(crate) fn new() -> Self {
        let state = State { label: 1, up: true, ..State::default() };
        Self {
            state: Arc::new(Mutex::new(state)),
            rules: Arc::default(),
            chance: Chance::default(),
            calls: Arc::new(watch::channel(Vec::new()).0),
            clock: Arc::new(ManualClock::default()),
        }
    }

    /// Server time in µs: far from the nodes' clocks.
    fn now(&self) -> u64 {
        1_000_000_000_000 + self.clock.now().as_nanos() / 1000
    }

    /// The next `times` calls of this kind meet this fault.
    pub(crate) fn on(&self, call: Call, times: usize, fault: Fault) {
        self.rules.add(Rule { call, times, fault });
    }

    /// The next call of this kind waits before it is run.
    pub(crate) fn hold(&self, call: Call) -> Gate {
        let gate = Gate::default();
        self.on(call, 1, Fault::HoldBefore(gate.clone()));
        gate
    }

    /// No rule holds any more.
    pub(crate) fn calm(&self) {
        self.rules.clear();
    }

    /// Until so many calls of this kind were made, from the beginning.
    pub(crate) async fn called(&self, call: Call, times: usize) {
        let enough = |calls: &Vec<Call>| calls.iter().filter(|one| **one == call).count() >= times;
        self.calls.subscribe().wait_for(enough).await.unwrap();
    }

    /// So many calls of this kind were made.
    pub(crate) fn calls(&self, call: Call) -> usize {
        self.calls.borrow().iter().filter(|one| **one == call).count()
    }

    /// Puts bytes under a key that are none of ours.
    pub(crate) fn corrupt(&self, tenant: &str, key: &str) {
        self.state.lock().entries.insert((tenant.to_owned(), key.to_owned()), Bytes::from_static(b"L?"));
    }

    /// Whether anything is stored under the key.
    pub(crate) fn is_stored(&self, tenant: &str, key: &str) -> bool {
        self.state.lock().entries.contains_key(&(tenant.to_owned(), key.to_owned()))
    }

    /// All links of the node end.
    pub(crate) fn cut(&self, node: &str) {
        self.state.lock().subscribers.retain(|one| {
            let keep = one.node != node;
            if !keep {
                one.alive.store(false, Ordering::SeqCst);
                let _ = one.pushes.send(Push::Lost);
            }
            keep
        });
    }

    /// Memory is full: nothing is stored, invalidations get through.
    pub(crate) fn fill_up(&self) {
        self.state.lock().full = true;
    }

    /// Whether the key's lease is held.
    pub(crate) fn is_leased(&self, tenant: &str, key: &str) -> bool {
        let now = self.now();
        let state = self.state.lock();
        state
            .leases
            .get(&(tenant.to_owned(), key.to_owned()))
            .is_some_and(|lease| !lease.failed && lease.expires > now)
    }

    /// How many leases of the present epoch the node holds.
    pub(crate) fn leases_of(&self, node: &str) -> usize {
        let (now, epoch) = (self.now(), self.epoch());
        let state = self.state.lock();
        let held = |one: &&LeaseRecord| one.node == node && one.epoch == epoch && one.expires > now;
        state.leases.values().filter(held).count()
    }

    pub(crate) fn head(&self) -> u64 {
        self.state.lock().coherence.as_ref().map_or(0, |coherence| coherence.head)
    }

    pub(crate) fn epoch(&self) -> u64 {
        self.state.lock().coherence.as_ref().map_or(0, |coherence| coherence.epoch)
    }

    /// Another node begins a new epoch, as after an outage.
    pub(crate) fn bump(&self) -> u64 {
        let now = self.now();
        self.state.lock().recover(true, now).epoch
    }

    /// Another node invalidates.
    pub(crate) fn invalidate(&self, scopes: &[ScopeHash]) {
        let now = self.now();
        let what = InvalidateRequest { scopes, keys: &[], globs: &[], ack: None };
        let _ = self.state.lock().invalidate(&what, "another", now);
    }

    /// An operator puts an old state back, under the same process.
    pub(crate) fn go_back_to(&self, epoch: u64) {
        self.state.lock().coherence.as_mut().unwrap().epoch = epoch;
    }

    /// As if other nodes had been heard all the time.
    pub(crate) fn bump_heartbeats(&self) {
        let now = self.now();
        self.state.lock().coherence.as_mut().unwrap().last_heartbeat = Some(now);
    }

    /// How long the node is still registered.
    pub(crate) fn registered(&self, node: &str) -> Duration {
        let now = self.now();
        let state = self.state.lock();
        let ends = state.coherence.as_ref().and_then(|coherence| coherence.nodes.get(node).copied());
        Duration::from_micros(ends.unwrap_or(0).saturating_sub(now))
    }

    /// How many nodes are registered.
    pub(crate) fn nodes(&self) -> usize {
        self.state.lock().coherence.as_ref().map_or(0, |coherence| coherence.nodes.len())
    }

    /// How many links there are.
    pub(crate) fn links(&self) -> usize {
        self.state.lock().subscribers.len()
    }

    /// Until no node is registered and none has a link.
    pub(crate) async fn left_by_all(&self) {
        let left = || self.nodes() == 0 && self.links() == 0;
        larder_testkit::assert_eventually!(left(), Duration::from_secs(30), "all nodes leave");
    }

    /// The server goes away, with all links, or comes back with its data.
    pub(crate) fn set_up(&self, up: bool) {
        let mut state = self.state.lock();
        state.up = up;
        if !up {
            for one in state.subscribers.drain(..) {
                one.alive.store(false, Ordering::SeqCst);
                let _ = one.pushes.send(Push::Lost);
            }
        }
    }

    pub(crate) fn is_up(&self) -> bool {
        self.state.lock().up
    }

    /// The coherence state is evicted.
    pub(crate) fn evict_state(&self) {
        self.state.lock().coherence = None;
    }

    /// Everything as it is now.
    pub(crate) fn snapshot(&self) -> Snapshot {
        let state = self.state.lock();
        Snapshot { coherence: state.coherence.clone(), entries: state.entries.clone() }
    }

    /// Another process comes up with this old data.
    pub(crate) fn restore(&self, snapshot: &Snapshot) {
        self.set_up(false);
        let mut state = self.state.lock();
        state.up = true;
        state.label += 1;
        state.coherence.clone_from(&snapshot.coherence);
        state.entries.clone_from(&snapshot.entries);
        state.leases.clear();
    }

    /// Marks an outage that nobody has settled.
    pub(crate) fn mark_outage(&self) {
        let mut state = self.state.lock();
        let coherence = state.coherence.as_mut().unwrap();
        coherence.outage = coherence.last_heartbeat;
    }

    /// Another outage, on top of one that is not settled.
    pub(crate) fn another_outage(&self) {
        let mut state = self.state.lock();
        let coherence = state.coherence.as_mut().unwrap();
        coherence.outage = coherence.outage.map(|outage| outage - 1);
    }

    async fn run<R>(
        &self,
        call: Call,
        alive: &AtomicBool,
        within: Duration,
        run: impl FnOnce(&mut State, u64) -> R,
    ) -> Result<R, StoreError> {
        self.calls.send_modify(|calls| calls.push(call));
        self.chance.delay().await;
        let fault = self.rules.take(call).or_else(|| self.chance.fault());
        match &fault {
            Some(Fault::Fail(kind)) => {
                if *kind == StoreErrorKind::Timeout {
                    self.clock.advance(within);
                }
                return Err(StoreError::new(*kind, "a fault"));
            }
            Some(Fault::HoldThenFail(gate, kind)) => {
                gate.pass().await;
                return Err(StoreError::new(*kind, "a fault"));
            }
            Some(Fault::HoldBefore(gate)) => gate.pass().await,
            Some(Fault::Slow(time)) => self.clock.advance(*time),
            _ => {}
        }
        if !alive.load(Ordering::SeqCst) || !self.state.lock().up {
            return Err(gone());
        }
        let now = self.now();
        let reply = run(&mut self.state.lock(), now);
        self.chance.delay().await;
        match fault {
            Some(Fault::SlowReply(time)) => {
                self.clock.advance(time);
                Ok(reply)
            }
            Some(Fault::LoseReply(kind)) => {
                if kind == StoreErrorKind::Timeout {
                    self.clock.advance(within);
                }
                Err(StoreError::new(kind, "a fault"))
            }
            _ => Ok(reply),
        }
    }
}

impl State {
    fn publish(&self, push: &Push) {
        self.subscribers.iter().for_each(|one| drop(one.pushes.send(push.clone())));
    }

    fn wake(&self, waiting: &HashSet<String>, key: ScopeHash) {
        for one in self.subscribers.iter().filter(|one| waiting.contains(&one.node)) {
            let _ = one.pushes.send(Push::Wake(key));
        }
    }

    /// The state, if it is there and blesses this server.
    fn blessed(&mut self) -> Option<&mut Coherence> {
        let label = self.label;
        self.coherence.as_mut().filter(|coherence| coherence.blessed.contains(&label))
    }

    fn recover(&mut self, force: bool, now: u64) -> Recovered {
        if !force && let Some(coherence) = self.blessed() {
            return Recovered { epoch: coherence.epoch, bumped: false };
        }
        self.epochs += 1;
        let old = self.coherence.take().unwrap_or_default();
        let epoch = self.epochs * 1000;
        let head = now.max(old.head + 1);
        let new = Coherence {
            epoch,
            head,
            floor: head,
            blessed: HashSet::from([self.label]),
            nodes: old.nodes,
            last_heartbeat: Some(now),
            born: now,
            ..Coherence::default()
        };
        self.coherence = Some(new);
        self.publish(&Push::Epoch { epoch, head });
        Recovered { epoch, bumped: true }
    }

    fn barrier(&mut self, what: &BarrierRequest<'_>, node: &str, now: u64) -> BarrierReply {
        let Some(coherence) = self.blessed() else { return BarrierReply::Recover };
        if coherence.outage != Some(what.outage) {
            return BarrierReply::Done;
        }
        coherence.drained.insert(node.to_owned(), what.outage);
        let registered = coherence.nodes.iter().filter(|(_, ends)| **ends >= what.outage);
        let needed: HashSet<&String> = registered.map(|(node, _)| node).chain(what.nodes).collect();
        let drained = |node: &&&String| coherence.drained.get(**node) == Some(&what.outage);
        let missing: Vec<String> =
            needed.iter().filter(|node| !drained(node)).map(|node| (*node).clone()).collect();
        if missing.is_empty() {
            coherence.outage = None;
            coherence.drained.clear();
            return BarrierReply::Done;
        }
        if !what.evict {
            return BarrierReply::Wait(missing);
        }
        for node in missing {
            coherence.nodes.remove(&node);
        }
        self.recover(true, now);
        BarrierReply::Bumped
    }

    fn acknowledge(&self, to: &AckTo, node: &str) {
        for one in self.subscribers.iter().filter(|one| one.node == to.node) {
            let _ = one.pushes.send(Push::Acknowledged { ack: to.ack, node: node.to_owned() });
        }
    }

    fn invalidate(&mut self, what: &InvalidateRequest<'_>, origin: &str, now: u64) -> InvalidateReply {
        let Some(coherence) = self.blessed() else { return InvalidateReply::Recover };
        let (epoch, prev) = (coherence.epoch, coherence.head);
        let stamp = now.max(prev + 1);
        coherence.head = stamp;
        coherence.stamps.extend(what.scopes.iter().map(|scope| (*scope, stamp)));
        for (entry, key) in what.keys {
            self.entries.remove(&name(*entry));
            if let Some(lease) = self.leases.remove(&name(*entry)) {
                self.wake(&lease.waiting, *key);
            }
        }
        let scopes = what.scopes.iter().copied().chain(what.keys.iter().map(|(_, key)| *key)).collect();
        let ack = what.ack.map(|ack| AckTo { node: origin.to_owned(), ack });
        let globs = what.globs.to_vec();
        self.publish(&Push::Invalidated { epoch, prev, stamp, scopes, globs, ack });
        let mut holders = Holders::default();
        if let Some(coherence) = self.coherence.as_ref().filter(|_| what.ack.is_some()) {
            let left = |ends: u64| Duration::from_micros(ends - now);
            let others = coherence.nodes.iter().filter(|(node, ends)| *node != origin && **ends >= now);
            holders.nodes = others.map(|(node, ends)| (node.clone(), left(*ends))).collect();
            holders.epoch_age = Duration::from_micros(now.saturating_sub(coherence.born));
        }
        InvalidateReply::Done { epoch, stamp, holders }
    }

    fn heartbeat(&mut self, node: &str, lease: u64, roll_call: bool, now: u64) -> HeartbeatReply {
        let Some(coherence) = self.blessed() else { return HeartbeatReply::Recover };
        if let Some(last) = coherence.last_heartbeat.filter(|last| now > last + lease) {
            coherence.outage = Some(coherence.outage.map_or(last, |unsettled| unsettled - 1));
        }
        coherence.last_heartbeat = Some(now);
        let ends = coherence.nodes.entry(node.to_owned()).or_default();
        *ends = (*ends).max(now + lease);
        let state = StateReply { epoch: coherence.epoch, head: coherence.head, floor: coherence.floor };
        let hold = coherence.nodes.iter().filter(|(_, ends)| roll_call && **ends >= now);
        let nodes = hold.map(|(node, _)| node.clone()).collect();
        HeartbeatReply::Alive { state, outage: coherence.outage, now_us: now, nodes }
    }

    fn lease(&mut self, ask: &LeaseRequest<'_>, node: &str, now: u64) -> LeaseReply {
        let found = self.entries.get(&name(ask.entry)).cloned();
        if self.full {
            return LeaseReply::Full;
        }
        let Some(coherence) = self.blessed() else { return LeaseReply::Recover };
        if let Some(opened) = found.and_then(|bytes| crate::envelope::open(&bytes, ask.entry.key)) {
            let header = opened.header;
            let hard = ask.scopes.iter().chain(&header.tags).copied();
            let mut scopes: Vec<_> = hard.clone().chain(hard.map(ScopeHash::soft)).collect();
            scopes.push(ask.key_scope.soft());
            let stamped = |scope| coherence.stamps.get(scope).is_some_and(|stamp| *stamp > header.ver);
            let dead =
                header.epoch != coherence.epoch || header.ver < coherence.floor || scopes.iter().any(stamped);
            let below = ask.refresh_below.unwrap_or_default().as_micros();
            if !dead && u128::from(now) + below < u128::from(header.soft_at) * 1000 {
                return LeaseReply::Retry;
            }
        }
        if ask.deadline_us.is_some_and(|deadline| now > deadline) {
            return LeaseReply::Late;
        }
        let (epoch, head) = (coherence.epoch, coherence.head);
        let stamp = |scope: &ScopeHash| coherence.stamps.get(scope).copied();
        let of = |scope: &ScopeHash| stamp(scope).max(stamp(&scope.soft()));
        let last_stamp = ask.scopes.iter().filter_map(of).max().unwrap_or(0).max(coherence.floor);
        let granted = LeaseReply::Granted { epoch, head: coherence.head };
        let alive: HashMap<_, _> = coherence
            .nodes
            .iter()
            .filter(|(_, ends)| **ends > now)
            .map(|(node, ends)| (node.clone(), *ends))
            .collect();
        let held = self.leases.entry(name(ask.entry)).or_insert_with(|| LeaseRecord {
            token: String::new(),
            node: String::new(),
            epoch: 0,
            expires: 0,
            ver: 0,
            failed: false,
            waiting: HashSet::new(),
        });
        if held.failed && held.expires > now && held.epoch == epoch && held.ver >= last_stamp {
            return LeaseReply::Failed(Duration::from_micros(held.expires - now));
        }
        if let Some(ends) = alive.get(&held.node).filter(|_| held.expires > now && held.epoch == epoch) {
            held.waiting.insert(node.to_owned());
            return LeaseReply::Wait(Duration::from_micros(held.expires.min(*ends) - now));
        }
        (held.token, held.node, held.epoch) = (ask.token.to_owned(), node.to_owned(), epoch);
        (held.ver, held.failed) = (head, false);
        held.expires = now + u64::try_from(ask.lease.as_micros()).expect("short");
        granted
    }

    fn fill(&mut self, fill: &FillRequest<'_>) -> Result<FillReply, StoreError> {
        if self.full {
            return Err(StoreError::new(StoreErrorKind::OutOfMemory, "full"));
        }
        let Some(coherence) = self.blessed() else { return Ok(FillReply::Recover) };
        let (epoch, head, floor) = (coherence.epoch, coherence.head, coherence.floor);
        let stamped = |scope| coherence.stamps.get(scope).is_some_and(|stamp| *stamp > fill.ver);
        let valid = epoch == fill.epoch && fill.ver >= floor && !fill.scopes.iter().any(stamped);
        let soft = fill
            .scopes
            .iter()
            .chain([&fill.key_scope])
            .filter_map(|scope| coherence.stamps.get(&scope.soft()));
        let expired = soft.copied().filter(|stamp| *stamp > fill.ver).max();
        let entry = name(fill.entry);
        if self.leases.get(&entry).is_none_or(|lease| lease.token != fill.token) {
            return Ok(FillReply::Lost);
        }
        let lease = self.leases.remove(&entry).expect("it is there");
        if valid {
            self.entries.insert(entry, fill.envelope.clone());
        }
        self.wake(&lease.waiting, fill.key_scope);
        Ok(if valid { FillReply::Stored { head, expired } } else { FillReply::Invalidated })
    }

    fn read(&mut self, entries: &[EntryName<'_>], scopes: &[ScopeHash], tags: Tags) -> ReadReply {
        let values: Vec<_> = entries.iter().map(|entry| self.entries.get(&name(*entry)).cloned()).collect();
        let head_before = self.coherence.as_ref().map(|coherence| coherence.head);
        let Some(coherence) = self.blessed() else {
            let stamps = vec![None; scopes.len()];
            return ReadReply { head_before, values, state: None, stamps, tags: Vec::new() };
        };
        let state = StateReply { epoch: coherence.epoch, head: coherence.head, floor: coherence.floor };
        let stamp = |scope: &ScopeHash| coherence.stamps.get(scope).copied();
        let stamps = scopes.iter().map(stamp).collect();
        let carried =
            entries.iter().zip(&values).filter(|_| tags == Tags::Carried).flat_map(|(entry, value)| {
                let opened = value.as_ref().and_then(|bytes| envelope::open(bytes, entry.key));
                opened.map_or_else(Vec::new, |opened| opened.header.tags)
            });
        let others = carried.filter(|tag| !scopes.contains(tag)).flat_map(|tag| [tag, tag.soft()]);
        let tags = others.map(|tag| (tag, stamp(&tag))).collect();
        ReadReply { head_before, values, state: Some(state), stamps, tags }
    }
}
