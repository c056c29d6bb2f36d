//! Random histories of the whole engine on a server in memory, checked against what is promised: three nodes, their
//! callers, writers who wait for acknowledgements or pass stamps on, faults of every kind.
//!
//! A history follows from its seed, as far as real timers (retries, waits for leases) do not come in between; now and then
//! it sleeps so that they do. `LARDER_HISTORIES=500` runs more of them.

use crate::cache::Cache;
use crate::clock::{Clock, Moment};
use crate::error::ErrorKind;
use crate::journal::Ticket;
use crate::key;
use crate::key::Key;
use crate::loader::LoadContext;
use crate::policy::Policy;
use crate::prefix;
use crate::scope::{Selection, all, first_segment, glob, tag};
use crate::stamp::Stamp;
use crate::store::StoreErrorKind;
use crate::testing::{Call, Chance, Fault, Node, Server, Snapshot};
use parking_lot::Mutex as Lock;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::Mutex;

const LEASE: Duration = Duration::from_millis(20);
const KEEP: Duration = Duration::from_millis(40);
const KEYS: u64 = 3;
const NODES: u64 = 3;
/// Scopes in a journal before it is folded, in every other history.
const SHORT_JOURNAL: usize = 3;

fn key(index: u64) -> Key {
    if index < 2 { key!("a", index) } else { key!("b", index) }
}

fn policy(index: u64) -> Policy {
    Policy::ttl(Duration::from_secs(60)).tag(if index == 0 { "one" } else { "two" })
}

/// Tags that only the loaders know.
const LATE: [&str; 3] = ["x", "y", "y"];

fn at(index: u64) -> usize {
    usize::try_from(index).expect("small")
}

/// What was invalidated, and when that had come back to its caller.
struct Written {
    key: u64,
    version: u64,
    node: u64,
    returned: Moment,
    /// Set while it is deferred, and its ticket has not come back.
    deferred: Option<Ticket>,
    /// Set once Redis has been told.
    stamp: Option<Stamp>,
    /// Whether the caller had waited for acknowledgements.
    acked: bool,
    /// Whether Redis had been silent for all nodes for longer than a lease when it came back: then it must be made good
    /// whatever becomes of its node. (A node that was cut off by itself before may defer at once, and nobody knows.)
    by_outage: bool,
}

struct Slot {
    id: u64,
    node: Arc<Mutex<Node>>,
    cache: Cache,
    /// Cut off from the server until this step.
    cut_off: u64,
}

impl Slot {
    /// As far as nothing is under way.
    async fn shut_down(&self) {
        if let Ok(node) = self.node.try_lock()
            && self.cache.engine().tasks.is_empty()
        {
            node.shut_down().await;
        }
    }

    fn cut(&self, server: &Server) {
        server.cut(&self.cache.engine().remote.as_ref().unwrap().node);
    }
}

struct World {
    server: Server,
    rows: [AtomicU64; 3],
    written: Lock<Vec<Written>>,
    broken: Lock<Vec<String>>,
    /// When the last outage began.
    down_since: AtomicU64,
    reads: AtomicU64,
    short_journals: bool,
}

impl World {
    fn now(&self) -> Moment {
        self.server.clock.now()
    }

    fn slot(self: &Arc<Self>, id: u64) -> Slot {
        let node = Node::with(&self.server, |options| {
            options.lease = LEASE;
            options.outage_memory_ttl = Some(KEEP);
        });
        if self.short_journals {
            node.remote.bound_journal(SHORT_JOURNAL);
        }
        let cache = Cache::over(Arc::clone(&node.engine));
        Slot { id, node: Arc::new(Mutex::new(node)), cache, cut_off: 0 }
    }

    /// The lowest version that a lookup on this node may bring if it begins now.
    fn needed(&self, slot: u64, cache: &Cache, key: u64) -> (u64, String) {
        let (now, mirror) = (self.now(), &cache.engine().mirror);
        let bound = if mirror.is_good() { LEASE } else { LEASE.max(KEEP) };
        let written = self.written.lock();
        let binds = |one: &&Written| {
            one.key == key
                && (one.node == slot
                    || one.deferred.is_none() && now.since(one.returned) > bound
                    || one.acked && mirror.is_good()
                    || one.by_outage && mirror.is_good() && self.server.is_up())
        };
        let highest = written.iter().filter(binds).max_by_key(|one| one.version);
        highest.map_or((0, String::new()), |one| {
            let (deferred, acked) = (one.deferred.is_some(), one.acked);
            let why = format!("node {} deferred {deferred} acked {acked} at {:?}", one.node, one.returned);
            (one.version, why)
        })
    }

    /// What a reader knows who was given the stamp of some write to this key.
    fn stamped(&self, key: u64, chance: &Chance) -> Option<(u64, Stamp)> {
        let written = self.written.lock();
        let stamped = |one: &Written| Some((one.version, one.stamp.clone().filter(|_| one.key == key)?));
        let all: Vec<_> = written.iter().rev().filter_map(stamped).take(4).collect();
        let at = chance.below(4);
        all.into_iter().nth(usize::try_from(at).expect("small"))
    }

    /// Tickets that have come back.
    fn collect_tickets(&self) {
        let now = self.now();
        for one in self.written.lock().iter_mut() {
            if let Some(stamp) = one.deferred.as_ref().and_then(Ticket::stamp) {
                (one.deferred, one.stamp, one.returned) = (None, Some(stamp), now);
            }
        }
    }

    async fn read(self: Arc<Self>, slot: u64, cache: Cache, chance: Chance) {
        let index = chance.below(KEYS);
        let (mut needed, mut why) = self.needed(slot, &cache, index);
        let mut acme = cache.tenant("acme");
        if chance.below(5) == 0
            && let Some((version, stamp)) = self.stamped(index, &chance)
        {
            if version > needed {
                (needed, why) = (version, format!("at least {stamp}"));
            }
            acme = acme.at_least(stamp);
        }
        let began = self.now();
        let good = cache.engine().mirror.is_good();
        let world = Arc::clone(&self);
        let load = move |context: LoadContext| async move {
            chance.delay().await;
            let value = world.rows[at(index)].load(Ordering::SeqCst);
            context.tag(LATE[at(index)]);
            chance.delay().await;
            Ok::<_, Infallible>(Some(value))
        };
        let found = acme.fetch_with(key(index), policy(index), load).await;
        self.reads.fetch_add(1, Ordering::SeqCst);
        match found {
            Ok((value, status)) if *value.as_deref().unwrap() < needed => {
                let broken = format!(
                    "node {slot} (good {good}) read {index} at {began:?}: {value:?}, not {needed} ({why}); {status:?}"
                );
                self.broken.lock().push(broken);
            }
            Ok(_) => {}
            Err(error) => self.broken.lock().push(format!("node {slot} read {index}: {error:?}")),
        }
    }

    async fn write(self: Arc<Self>, slot: u64, cache: Cache, chance: Chance) {
        let (in_tenant, selection, keys): (bool, Selection, &[u64]) = match chance.below(11) {
            drawn @ 0..3 => (true, key(drawn).into(), &[[0], [1], [2]][at(drawn)]),
            3 => (true, tag("two").into(), &[1, 2]),
            4 => (true, tag("y").into(), &[1, 2]),
            5 => (true, prefix!("a").into(), &[0, 1]),
            6 => (true, all().into(), &[0, 1, 2]),
            7 => (true, glob("a*").into(), &[0, 1]),
            8 => (true, glob("*:1").into(), &[1]),
            9 => (false, first_segment("b").into(), &[2]),
            _ => (false, all().into(), &[0, 1, 2]),
        };
        let commit = |key: &u64| (*key, self.rows[at(*key)].fetch_add(1, Ordering::SeqCst) + 1);
        let versions: Vec<(u64, u64)> = keys.iter().map(commit).collect();
        let told =
            if in_tenant { cache.tenant("acme").invalidate(selection) } else { cache.invalidate(selection) };
        let (wait, began) = (chance.below(4) == 0, Instant::now());
        let result = if wait { told.acked().await } else { told.await };
        let (stamp, deferred) = match result {
            Ok(stamp) => (Some(stamp), None),
            Err(error) if error.kind() == ErrorKind::Deferred => (None, error.ticket().cloned()),
            Err(error) => return self.broken.lock().push(format!("{error:?}")),
        };
        let acked = wait && stamp.is_some();
        if acked {
            // It may have waited for leases to run out, by real time.
            self.server.clock.advance(began.elapsed());
        }
        let down_since = Moment::from_nanos(self.down_since.load(Ordering::SeqCst));
        let by_outage = deferred.is_some() && !self.server.is_up() && self.now().since(down_since) > LEASE;
        let returned = self.now();
        self.written.lock().extend(versions.into_iter().map(|(key, version)| Written {
            key,
            version,
            node: slot,
            returned,
            deferred: deferred.clone(),
            stamp: stamp.clone(),
            acked,
            by_outage,
        }));
    }
}

/// Runs one history; what it broke.
async fn history(seed: u64, steps: u64) -> (Vec<String>, u64) {
    let server = Server::new();
    server.chance.seed(seed);
    let chance = server.chance.clone();
    let world = Arc::new(World {
        server: server.clone(),
        rows: Default::default(),
        written: Lock::default(),
        broken: Lock::default(),
        down_since: AtomicU64::new(0),
        reads: AtomicU64::new(0),
        short_journals: seed % 2 == 1,
    });
    let mut slots: Vec<Slot> = (0..NODES).map(|id| world.slot(id)).collect();
    let (mut ids, mut snapshot): (u64, Option<Snapshot>) = (NODES, None);
    for step in 0..steps {
        server.chance.faults(if step % 200 > 100 { 20 } else { 0 });
        server.clock.advance(Duration::from_millis(chance.pick(&[0, 0, 0, 0, 1, 1, 3])));
        world.collect_tickets();
        let index = at(chance.below(NODES));
        let slot = &slots[index];
        let (caller, cache) = (Arc::clone(&world), slot.cache.clone());
        let mut called = None;
        match chance.below(1000) {
            0..350 => called = Some(tokio::spawn(caller.read(slot.id, cache, chance.clone()))),
            350..430 => called = Some(tokio::spawn(caller.write(slot.id, cache, chance.clone()))),
            430..800 if slot.cut_off <= step => {
                if let Ok(mut node) = Arc::clone(&slot.node).try_lock_owned() {
                    tokio::spawn(async move { node.go_on().await });
                }
            }
            800..920 => chance.delay().await,
            920..960 => tokio::time::sleep(Duration::from_millis(3)).await,
            960..964 => slot.cut(&server),
            964..967 => {
                slot.cut(&server);
                slots[index].cut_off = step + chance.below(150);
            }
            967..970 => server.clock.advance(LEASE * 2),
            970..974 if server.is_up() => {
                server.set_up(false);
                world.down_since.store(world.now().as_nanos(), Ordering::SeqCst);
            }
            974..984 => server.set_up(true),
            984..986 => server.evict_state(),
            986..988 => snapshot = Some(server.snapshot()),
            988..990 if server.is_up() => snapshot.iter().for_each(|snapshot| server.restore(snapshot)),
            990..993 => {
                if chance.below(3) == 0 {
                    slot.shut_down().await;
                }
                slot.cut(&server);
                slots[index] = world.slot(ids);
                ids += 1;
            }
            993..995 => server.on(Call::Invalidate, 30, Fault::Fail(StoreErrorKind::Protocol)),
            995..1000 => server.calm(),
            _ => {}
        }
        tokio::task::yield_now().await;
        // Some callers go away.
        if let Some(called) = called.filter(|_| chance.below(10) == 0) {
            chance.delay().await;
            called.abort();
        }
        if !world.broken.lock().is_empty() {
            break;
        }
    }
    let mut broken = std::mem::take(&mut *world.broken.lock());
    if broken.is_empty() {
        broken = quiet(&server, &slots).await;
        world.collect_tickets();
        let alive = |one: &&Written| one.deferred.is_some() && slots.iter().any(|slot| slot.id == one.node);
        let lost = world.written.lock().iter().filter(alive).count();
        if lost > 0 {
            broken.push(format!("{lost} tickets that nobody honours"));
        }
    }
    (broken, world.reads.load(Ordering::SeqCst))
}

/// All faults are healed and nobody calls: what does not come to an end?
async fn quiet(server: &Server, slots: &[Slot]) -> Vec<String> {
    server.calm();
    server.set_up(true);
    server.chance.faults(0);
    let mut left = Vec::new();
    for _ in 0..400 {
        left.clear();
        for slot in slots {
            // A node that recovers may wait for another to do so.
            if let Ok(mut node) = Arc::clone(&slot.node).try_lock_owned() {
                tokio::spawn(async move { node.go_on().await });
            }
        }
        tokio::time::sleep(Duration::from_millis(2)).await;
        for slot in slots {
            let (engine, remote) = (&slot.cache.engine(), slot.cache.engine().remote.as_ref().unwrap());
            let state = [
                ("untrusted", usize::from(!engine.mirror.is_good())),
                ("flights", engine.flights.len()),
                ("tasks", engine.tasks.len()),
                ("blocks", engine.mirror.blocked()),
                ("undelivered", remote.undelivered_count()),
                ("waiting", remote.waiting()),
                ("leases", server.leases_of(&remote.node)),
            ];
            if state.iter().any(|(_, count)| *count > 0) {
                left.push(format!("node {}: {state:?}", slot.id));
            }
        }
        if left.is_empty() {
            break;
        }
        server.clock.advance(Duration::from_millis(2));
    }
    left
}

#[test]
fn no_history_shows_what_was_invalidated_or_leaves_anything_behind() {
    let more = std::env::var("LARDER_HISTORIES").ok().and_then(|text| text.parse().ok());
    let (from, to): (u64, u64) = (0, more.unwrap_or(10));
    let mut reads = 0;
    for seed in from..to {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (broken, done) = runtime.block_on(history(seed, 1000));
        reads += done;
        assert!(broken.is_empty(), "seed {seed}: {broken:#?}");
    }
    assert!(reads > 100 * (to - from), "{reads} reads");
}

/// Readers and writers on threads that really run at once.
async fn on_threads(cache: Cache, rounds: u64) {
    let row: Arc<(AtomicU64, AtomicU64)> = Arc::default();
    let mut tasks = tokio::task::JoinSet::new();
    for worker in 0..8 {
        let (acme, row) = (cache.tenant("acme"), Arc::clone(&row));
        tasks.spawn(async move {
            for round in 0..rounds {
                if worker < 2 && round % 5 == 0 {
                    let version = row.0.fetch_add(1, Ordering::SeqCst) + 1;
                    let what: Selection = match version % 3 {
                        0 => tag("late").into(),
                        1 => key(0).into(),
                        _ => tag("one").into(),
                    };
                    acme.invalidate(what).await.unwrap();
                    row.1.fetch_max(version, Ordering::SeqCst);
                    continue;
                }
                let needed = row.1.load(Ordering::SeqCst);
                let origin = Arc::clone(&row);
                let load = move |context: LoadContext| async move {
                    let version = origin.0.load(Ordering::SeqCst);
                    tokio::task::yield_now().await;
                    context.tag("late");
                    Ok::<_, Infallible>(Some(version))
                };
                let (found, status) = acme.fetch_with(key(0), policy(0), load).await.unwrap();
                assert!(*found.unwrap() >= needed, "{status:?}");
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_that_run_at_once_see_nothing_that_was_invalidated() {
    on_threads(Cache::builder("test").build().await.unwrap(), 5000).await;
    let server = Server::new();
    let mut node = Node::ready(&server).await;
    let cache = Cache::over(Arc::clone(&node.engine));
    let working = tokio::spawn(on_threads(cache, 1000));
    while !working.is_finished() {
        node.go_on().await;
        tokio::task::yield_now().await;
    }
    working.await.unwrap();
}
