//! Where schedules are played: two nodes, one row, and a network that does what it is told.

use crate::chance::Chance;
use crate::executor::Executor;
use crate::network::{Network, Topology, Weather};
use crate::node::{Host, Limits, Node, Settings};
use crate::redis::{Command, Data, State, Value};
use crate::simulation::Options;
use crate::trace::Trace;
use futures_util::future::BoxFuture;
use larder::simulation::{CLUSTER_TAGS, Place};
use larder::{
    Error, ErrorKind, Key, LoadContext, Outcome, Policy, Selection, Stamp, Tenant, Tier, Tiers, key,
};
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What a schedule comes to: what it saw, and the least that it may see.
pub(super) type Seen = (u64, u64);

/// A read that is under way: what it brings, and from where.
pub(super) type Reading = JoinHandle<(u64, Tier)>;

/// A schedule, written down.
pub(super) type Play = fn(Arc<Stage>) -> BoxFuture<'static, Seen>;

/// How long each coherence lease is.
pub(super) const LEASE: u64 = 1000;

/// How long what was loaded without Redis is kept.
pub(super) const KEEP: u64 = 2000;

/// Two nodes, one row.
pub(super) struct Stage {
    pub(super) network: Network,
    topology: Topology,
    options: Options,
    chance: Chance,
    limits: Limits,
    row: AtomicU64,
    /// How many loads have begun.
    loads: AtomicU64,
    /// Whether the loader brings a tag of its own.
    late: AtomicBool,
    /// Whether the next load fails.
    fails: AtomicBool,
    /// By how much each load takes longer than the one that began before it, in ms.
    spaces: AtomicU64,
    /// Closed: loaders have looked at the row and wait.
    gate: watch::Sender<bool>,
}

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(600)).tag("one").load_timeout(Duration::from_secs(3))
}

pub(super) fn the_key() -> Key {
    key!("a", 1)
}

impl Stage {
    /// Plays a schedule. Whether it saw what it had to see, and came to its end.
    pub(super) fn play(options: &Options, limits: Limits, topology: Topology, play: Play) -> bool {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
        let runtime = runtime.expect("a runtime without drivers needs nothing");
        // What a schedule takes for granted, and a mutant breaks, ends it as well.
        let played = std::panic::catch_unwind(AssertUnwindSafe(|| {
            runtime.block_on(Self::run(options, limits, topology, play))
        }));
        played.unwrap_or(false)
    }

    async fn run(options: &Options, limits: Limits, topology: Topology, play: Play) -> bool {
        let chance = Chance::new(1);
        let executor = Executor::new(chance.clone());
        tokio::spawn(executor.clone().run());
        let trace = Trace::new(false);
        let network = Network::new(topology, executor, chance.clone(), trace, options.edit.clone());
        let mut limits = limits;
        if let Topology::Cluster(servers) = topology {
            limits.buckets = servers;
            network.divide(CLUSTER_TAGS.iter().copied().zip(0..servers));
        }
        network.set_weather(Weather::still());
        let (late, fails) = (AtomicBool::new(true), AtomicBool::new(false));
        let (row, loads, spaces) = (AtomicU64::new(1), AtomicU64::new(0), AtomicU64::new(0));
        let stage = Arc::new(Self {
            network,
            topology,
            options: options.clone(),
            chance,
            limits,
            row,
            loads,
            late,
            fails,
            spaces,
            gate: watch::channel(true).0,
        });
        let played = tokio::time::timeout(Duration::from_secs(120), play(stage)).await;
        played.is_ok_and(|(seen, needed)| seen >= needed)
    }

    /// Loaders bring no tags of their own: everything is known before.
    pub(super) fn without_late_tags(&self) {
        self.late.store(false, Ordering::SeqCst);
    }

    /// The next load fails.
    pub(super) fn fail_a_load(&self) {
        self.fails.store(true, Ordering::SeqCst);
    }

    /// Lets time pass.
    pub(super) async fn pass(&self, ms: u64) {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    /// Waits until something is so; gives up after a while.
    pub(super) async fn until(&self, so: impl Fn() -> bool) {
        for _ in 0..20_000 {
            if so() {
                return;
            }
            self.pass(1).await;
        }
    }

    /// A node that follows the stream.
    pub(super) async fn node(&self, id: usize) -> Node {
        let host = Host::new(id, self.chance.clone(), self.network.clone(), self.options.mutant, self.limits);
        let ms = Duration::from_millis;
        let (data_connections, topology) = (2, self.topology);
        let settings = Settings { lease: ms(LEASE), outage_memory_ttl: ms(KEEP), data_connections, topology };
        let node = Node::start(host, settings).await;
        self.good(&node).await;
        node
    }

    /// Two nodes, which have been there for a while.
    pub(super) async fn two(&self) -> (Node, Node) {
        let nodes = (self.node(0).await, self.node(1).await);
        self.pass(3 * LEASE).await;
        nodes
    }

    /// Waits until a node follows the stream.
    pub(super) async fn good(&self, node: &Node) {
        self.until(|| node.inside().good).await;
    }

    /// The row changes and is invalidated; its new version, when that has come back.
    pub(super) async fn change(&self, node: &Node, what: impl Into<Selection>) -> u64 {
        let needed = self.commit();
        self.tell(node, what).await;
        needed
    }

    /// The same of a change of whose message a node is not told.
    pub(super) async fn change_unheard(&self, node: &Node, deaf: usize, what: impl Into<Selection>) -> u64 {
        let needed = self.commit();
        self.network.miss_a_push(deaf);
        self.tell(node, what).await;
        needed
    }

    /// The row changes, and Redis can't be told; its new version, when that has come back.
    pub(super) async fn change_in_vain(&self, node: &Node, what: impl Into<Selection>) -> u64 {
        let needed = self.commit();
        let told = self.invalidate(node, what).await;
        assert_eq!(told.expect_err("nobody can be told").kind(), ErrorKind::Deferred);
        needed
    }

    /// The row changes and is expired; its new version, when that has come back.
    pub(super) async fn outdate(&self, node: &Node, what: impl Into<Selection>) -> u64 {
        let needed = self.commit();
        self.expiring(node, what).await.expect("it runs to its end").expect("Redis is there");
        needed
    }

    /// An expiration under way.
    pub(super) fn expiring(
        &self,
        node: &Node,
        what: impl Into<Selection>,
    ) -> JoinHandle<Result<Stamp, Error>> {
        let (acme, what) = (node.cache.tenant("acme"), what.into());
        tokio::spawn(node.host.run(async move { acme.expire(what).await }))
    }

    /// What is served as fresh without a load; the highest there is if nothing is.
    pub(super) async fn fresh(&self, node: &Node) -> u64 {
        let acme = node.cache.tenant("acme");
        let found = node.host.run(async move { acme.get::<u64>(the_key()).await }).await;
        found.expect("asking for it never fails").map_or(u64::MAX, |found| {
            let is_hit = found.status.outcome == Outcome::Hit;
            if is_hit { *found.value } else { 0 }
        })
    }

    /// Lengthens the life of the value, in these tiers.
    pub(super) fn touching(&self, node: &Node, tiers: Tiers) -> JoinHandle<bool> {
        let acme = node.cache.tenant("acme");
        let policy = policy().tiers(tiers);
        let touching = async move { acme.touch(the_key(), policy).await.expect("it never fails") };
        tokio::spawn(node.host.run(touching))
    }

    /// The row changes; its new version.
    pub(super) fn commit(&self) -> u64 {
        self.row.fetch_add(1, Ordering::SeqCst) + 1
    }

    /// How many loads have begun.
    pub(super) fn loads(&self) -> u64 {
        self.loads.load(Ordering::SeqCst)
    }

    /// From now on each load takes longer than the one before it, by so many ms.
    pub(super) fn space_loads(&self, ms: u64) {
        self.spaces.store(ms, Ordering::SeqCst);
    }

    /// Loaders look at the row and then wait.
    pub(super) fn hold_loaders(&self) {
        self.gate.send_replace(false);
    }

    /// They go on.
    pub(super) fn let_loaders_go(&self) {
        self.gate.send_replace(true);
    }

    /// A read whose load is under way: it has looked at the row, and waits, as loads do from now on.
    pub(super) async fn loading(self: &Arc<Self>, node: &Node) -> Reading {
        self.hold_loaders();
        let loads = self.loads();
        let reading = self.reading(node);
        self.until(|| self.loads() > loads).await;
        reading
    }

    /// A read whose command of this kind is held up before it is run.
    pub(super) async fn asking(self: &Arc<Self>, node: &Node, chosen: fn(&Command) -> bool) -> Reading {
        self.network.hold(node.host.id, chosen, false);
        let reading = self.reading(node);
        self.network.reached().await;
        reading
    }

    /// A read whose command of this kind was run, and whose answer is held up.
    pub(super) async fn answered(self: &Arc<Self>, node: &Node, chosen: fn(&Command) -> bool) -> Reading {
        self.network.hold(node.host.id, chosen, true);
        let reading = self.reading(node);
        self.network.reached().await;
        reading
    }

    /// A read that stands at a place within the engine.
    pub(super) async fn stopped_at(self: &Arc<Self>, node: &Node, place: Place) -> Reading {
        node.host.stop_at(place);
        let reading = self.reading(node);
        self.until(|| node.host.stands()).await;
        reading
    }

    /// Nothing holds loaders and commands up any more; when that read has come to its end.
    pub(super) async fn let_go(&self, reading: Reading) {
        self.let_loaders_go();
        self.network.release();
        let _ = reading.await;
    }

    /// A read that is under way.
    pub(super) fn reading(self: &Arc<Self>, node: &Node) -> Reading {
        self.reading_at_least(node, None)
    }

    /// The same, of somebody who brings a stamp.
    pub(super) fn reading_at_least(self: &Arc<Self>, node: &Node, stamp: Option<Stamp>) -> Reading {
        let acme = node.cache.tenant("acme");
        self.reading_of(node, stamp.map_or_else(|| acme.clone(), |stamp| acme.at_least(stamp)), the_key())
    }

    /// A read of the row under another key.
    pub(super) fn reading_of(self: &Arc<Self>, node: &Node, tenant: Tenant, key: Key) -> Reading {
        let stage = Arc::clone(self);
        let load = move |context: LoadContext| async move {
            let before = stage.loads.fetch_add(1, Ordering::SeqCst);
            let version = stage.row.load(Ordering::SeqCst);
            if stage.late.load(Ordering::SeqCst) {
                context.tag("late");
            }
            stage.pass(before * stage.spaces.load(Ordering::SeqCst)).await;
            let _ = stage.gate.subscribe().wait_for(|open| *open).await;
            if stage.fails.swap(false, Ordering::SeqCst) {
                return Err(std::io::Error::other("the origin is ill"));
            }
            Ok(Some(version))
        };
        let policy = policy();
        let reading = async move { tenant.fetch_with(key, policy, load).await };
        let running = node.host.run(reading);
        tokio::spawn(async move {
            running
                .await
                .map_or((0, Tier::Origin), |(value, status)| (*value.expect("the row is there"), status.tier))
        })
    }

    /// Somebody reads many keys at once; how many he gets.
    pub(super) async fn read_many(self: &Arc<Self>, node: &Node, keys: Vec<Key>) -> usize {
        let (acme, stage) = (node.cache.tenant("acme"), Arc::clone(self));
        let load = move |keys: Vec<Key>| {
            stage.loads.fetch_add(keys.len() as u64, Ordering::SeqCst);
            let version = stage.row.load(Ordering::SeqCst);
            async move { Ok::<_, std::io::Error>(keys.into_iter().map(|key| (key, version)).collect::<Vec<_>>()) }
        };
        let reading = async move { acme.get_or_load_many(keys, policy(), load).await };
        node.host.run(reading).await.map_or(0, |found| found.into_iter().flatten().count())
    }

    /// Somebody reads; what he gets.
    pub(super) async fn read(self: &Arc<Self>, node: &Node) -> u64 {
        self.reading(node).await.expect("it runs to its end").0
    }

    /// Somebody reads on each of two nodes; the lower of what they get.
    pub(super) async fn read_both(self: &Arc<Self>, a: &Node, b: &Node) -> u64 {
        self.read(a).await.min(self.read(b).await)
    }

    /// Reads until it comes from memory, so that nothing is newly admitted by the last.
    pub(super) async fn warm(self: &Arc<Self>, node: &Node) {
        for _ in 0..3 {
            self.read(node).await;
        }
    }

    /// A set of the row as it is now, under way.
    pub(super) fn setting(&self, node: &Node) -> JoinHandle<Result<Stamp, Error>> {
        let (acme, version) = (node.cache.tenant("acme"), self.row.load(Ordering::SeqCst));
        let policy = Policy::ttl(Duration::from_secs(600)).tag("one");
        tokio::spawn(node.host.run(async move { acme.set(the_key(), version, policy).await }))
    }

    /// An invalidation under way.
    pub(super) fn invalidating(
        &self,
        node: &Node,
        what: impl Into<Selection>,
        acked: bool,
    ) -> JoinHandle<Result<Stamp, Error>> {
        let (acme, what) = (node.cache.tenant("acme"), what.into());
        let invalidating = async move {
            let invalidation = acme.invalidate(what);
            if acked { invalidation.acked().await } else { invalidation.await }
        };
        tokio::spawn(node.host.run(invalidating))
    }

    /// Invalidates; when it has come back.
    pub(super) async fn invalidate(&self, node: &Node, what: impl Into<Selection>) -> Result<Stamp, Error> {
        self.invalidating(node, what, false).await.expect("it runs to its end")
    }

    /// Invalidates where Redis is there; when it has come back.
    pub(super) async fn tell(&self, node: &Node, what: impl Into<Selection>) {
        self.invalidate(node, what).await.expect("Redis is there");
    }

    /// Cuts a node off until its lease has run out.
    pub(super) async fn cut(&self, node: &Node) {
        self.network.cut(node.host.id, true, true);
        self.until(|| !node.inside().good).await;
        self.pass(LEASE / 10).await;
    }

    /// Lets it back.
    pub(super) async fn back(&self, node: &Node) {
        self.network.disconnect(Some(node.host.id));
        self.network.join(node.host.id);
        self.good(node).await;
    }

    /// Everything that Redis holds.
    pub(super) fn snapshot(&self) -> Data {
        self.network.with_server(|server| server.data.clone())
    }

    /// Takes keys away.
    pub(super) fn evict(&self, ending: &str) {
        self.network.with_server(|server| {
            let now = server.now_ms();
            let chosen = |name: &&[u8]| name.ends_with(ending.as_bytes());
            let names: Vec<Vec<u8>> = server.data.keys(now).filter(chosen).map(<[u8]>::to_vec).collect();
            for name in names {
                server.data.remove(&name, now);
            }
        });
    }

    /// Sets a member of the coherence state.
    pub(super) fn set_state(&self, member: &str, score: f64) {
        self.network.with_server(|server: &mut State| {
            let now = server.now_ms();
            let name =
                server.data.keys(now).find(|name| name.ends_with(b"}:i")).expect("it is there").to_vec();
            if let Some(Value::ZSet(members)) = server.data.get_mut(&name, now) {
                members.set(member.as_bytes(), score);
            }
        });
    }

    /// Whether something comes to its end within so many ms.
    pub(super) async fn ends<T>(&self, work: &mut (impl Future<Output = T> + Unpin), ms: u64) -> bool {
        tokio::time::timeout(Duration::from_millis(ms), work).await.is_ok()
    }
}
