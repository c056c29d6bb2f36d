//! The engine without a connection to Redis: lookups, flights, loads, admissions, invalidations and sets, each in a task of its own.

use super::explore;
use crate::cache::Cache;
use crate::clock::{Clock, ManualClock};
use crate::coherence::Mirror;
use crate::engine::{Engine, Options};
use crate::error::ErrorKind;
use crate::flight::Boarding;
use crate::job::{Job, LeaveBoard, Pending};
use crate::key;
use crate::l1::FullKey;
use crate::loader::{LoadContext, Loader, Single};
use crate::lookup::scopes_of;
use crate::nested::Hurry;
use crate::policy::Policy;
use crate::scope::{ScopeHash, tag};
use crate::stats::Stats;
use crate::store::StateReply;
use crate::tenant::Tenant;
use shuttle::future::{JoinHandle, block_on, spawn, yield_now};
use shuttle::rand::{Rng, thread_rng};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::watch;

/// A node, a row of the origin, and what was promised of it. The numbers beside the engine are no steps.
struct World {
    engine: Arc<Engine>,
    acme: Tenant,
    row: AtomicU64,
    promised: AtomicU64,
    loads: AtomicU64,
    /// Whether no load comes to its end for now.
    slow: watch::Sender<bool>,
}

const LEASE: Duration = Duration::from_secs(1);

/// A tag that only a loader knows.
const LATE: &str = "late";

fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(60)).jitter(0.0).tag("t")
}

impl World {
    fn new() -> Arc<Self> {
        let clock = Arc::new(ManualClock::default());
        Self::over(Mirror::alone(clock.clone()), clock)
    }

    fn over(mirror: Mirror, clock: Arc<ManualClock>) -> Arc<Self> {
        let options = Options {
            enabled: true,
            memory: 1 << 20,
            tenant_memory: None,
            tenant_loads: 8,
            audit: 0.0,
            max_value_size: 1 << 10,
            load_timeout: Duration::from_secs(10),
            outage_memory_ttl: None,
            lease: LEASE,
            read_timeout: Duration::from_millis(200),
        };
        let (mirror, stats) = (Arc::new(mirror), Arc::new(Stats::default()));
        let engine = Arc::new(Engine::new(options, clock, mirror, stats, None));
        let acme = Cache::over(Arc::clone(&engine)).tenant("acme");
        let [row, promised, loads] = [0; 3].map(AtomicU64::new);
        Arc::new(Self { engine, acme, row, promised, loads, slow: watch::Sender::new(false) })
    }

    /// What a loader does: it looks, and brings what it saw a while later.
    async fn load(self: Arc<Self>) -> Result<u64, Infallible> {
        self.loads.fetch_add(1, Ordering::SeqCst);
        let version = self.row.load(Ordering::SeqCst);
        yield_now().await;
        self.slow.subscribe().wait_for(|slow| !slow).await.expect("the world lasts");
        Ok(version)
    }

    async fn read(self: Arc<Self>) -> u64 {
        let (promised, world) = (self.promised.load(Ordering::SeqCst), Arc::clone(&self));
        let load = move |context: LoadContext| async move {
            context.tag(LATE);
            world.load().await.map(Some)
        };
        let (found, _) =
            self.acme.fetch_with(key!("k"), policy(), load).await.expect("the loader never fails");
        let version = *found.expect("there is a row");
        assert!(version >= promised, "a lookup brings {version} after {promised} was promised");
        version
    }

    fn reading(self: &Arc<Self>, times: usize) -> JoinHandle<()> {
        let world = Arc::clone(self);
        spawn(async move {
            for _ in 0..times {
                Arc::clone(&world).read().await;
            }
        })
    }

    fn invalidating(self: &Arc<Self>) -> JoinHandle<()> {
        let world = Arc::clone(self);
        spawn(async move {
            let version = world.row.fetch_add(1, Ordering::SeqCst) + 1;
            world.acme.invalidate(tag("t")).await.unwrap();
            world.promised.fetch_max(version, Ordering::SeqCst);
        })
    }

    fn setting(self: &Arc<Self>) -> JoinHandle<()> {
        let world = Arc::clone(self);
        spawn(async move {
            // Within the call, for between its steps others run: the value is as old as the watch.
            let (key, policy) = (key!("k"), policy());
            let watches = world.acme.watches(std::iter::once(&key));
            let version = world.row.fetch_add(1, Ordering::SeqCst) + 1;
            world.acme.set_since(vec![(key, version)], &watches, &policy).await.unwrap();
            world.promised.fetch_max(version, Ordering::SeqCst);
        })
    }

    /// Nothing is left of what was under way.
    async fn at_rest(&self) {
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
        assert_eq!((self.engine.flights.len(), self.engine.mirror.blocked()), (0, 0));
    }
}

/// Runs it, and then looks at what is left.
fn scenario(run: impl AsyncFnOnce(&Arc<World>)) {
    let world = World::new();
    block_on(async {
        run(&world).await;
        Arc::clone(&world).read().await;
        world.at_rest().await;
    });
}

async fn join(tasks: impl IntoIterator<Item = JoinHandle<()>>) {
    for task in tasks {
        task.await.unwrap();
    }
}

/// Lookups while what they look up is invalidated twice.
pub(super) fn lookups_while_invalidating() {
    scenario(async |world| {
        join([world.reading(2), world.invalidating(), world.reading(2), world.invalidating()]).await;
    });
}

/// A load that is overtaken.
pub(super) fn a_load_while_invalidating() {
    scenario(async |world| join([world.reading(1), world.invalidating()]).await);
}

/// Lookups while the value is set, and invalidated.
pub(super) fn lookups_while_setting() {
    scenario(async |world| {
        join([world.reading(2), world.setting(), world.invalidating(), world.setting()]).await;
    });
}

/// The lease runs out while one loads what another node has changed, so that one need not be told any more; then this node
/// hears of it and has a lease again. Who looks it up after that may find the load still under way.
pub(super) fn lookups_while_the_lease_lapses() {
    let clock = Arc::new(ManualClock::default());
    let mirror = Mirror::following(clock.clone(), 0);
    let state = |head| StateReply { epoch: 7, head, floor: 0 };
    let trust = mirror.begin_trust(state(100));
    mirror.renew(trust, clock.now(), state(100), LEASE, || {});
    let world = World::over(mirror, clock.clone());
    world.slow.send_replace(true);
    let coherence = |world: &Arc<World>| {
        let world = Arc::clone(world);
        spawn(async move {
            let version = world.row.fetch_add(1, Ordering::SeqCst) + 1;
            clock.advance(2 * LEASE);
            world.promised.fetch_max(version, Ordering::SeqCst);
            // The message takes its time.
            yield_now().await;
            let (mirror, late) = (&world.engine.mirror, ScopeHash::of_tag("acme", LATE));
            let sent = clock.now();
            mirror.apply(7, 100, 101, &[late]);
            world.engine.flights.detach(&[late]);
            mirror.renew(trust, sent, state(101), LEASE, || {});
            world.slow.send_replace(false);
        })
    };
    block_on(async {
        join([world.reading(1), coherence(&world), world.reading(1)]).await;
        Arc::clone(&world).read().await;
        world.at_rest().await;
    });
}

/// Three who miss at once.
pub(super) fn misses_at_once() {
    scenario(async |world| {
        join([world.reading(1), world.reading(1), world.reading(1)]).await;
        assert_eq!(world.loads.load(Ordering::SeqCst), 1);
    });
}

/// Callers who go away at any point.
pub(super) fn callers_who_go_away() {
    scenario(async |world| {
        let leaving = |world: &Arc<World>| {
            let world = Arc::clone(world);
            spawn(async move {
                let mut reading = pin!(Arc::clone(&world).read());
                for _ in 0..thread_rng().gen_range(0..4) {
                    if futures_util::poll!(&mut reading).is_ready() {
                        return;
                    }
                    yield_now().await;
                }
            })
        };
        join([leaving(world), world.reading(1), leaving(world)]).await;
        assert_eq!(world.loads.load(Ordering::SeqCst), 1, "nobody cancels another's load");
    });
}

/// The task of a flight is dropped at any point, while others wait for it.
pub(super) fn a_flight_that_is_dropped() {
    scenario(async |world| {
        let pilot = {
            let world = Arc::clone(world);
            spawn(async move {
                let (engine, hurry) = (&world.engine, Hurry::default());
                let full = FullKey { tenant: "acme".into(), key: key!("k") };
                let scopes = scopes_of(&full, &policy());
                let begin = || engine.take_off::<u64>(&scopes, &hurry);
                let Boarding::Begin(flight, sender) = engine.flights.board(&full, |_| true, begin) else {
                    return;
                };
                let counters = engine.stats.counters("acme", "k");
                let change = engine.mirror.change();
                let begun = vec![Pending::new(full, scopes.clone(), flight, sender, counters, change)];
                let leave = LeaveBoard::of(engine, &begun);
                let load = {
                    let world = Arc::clone(&world);
                    move |_| async move { world.load().await.map(Some) }
                };
                let loader: Box<dyn Loader<u64>> = Box::new(Single::new(load));
                let job = Job::new(Arc::clone(engine), policy(), loader, hurry.clone());
                let mut running = pin!(job.run(begun, leave));
                for _ in 0..thread_rng().gen_range(0..4) {
                    if futures_util::poll!(&mut running).is_ready() {
                        return;
                    }
                    yield_now().await;
                }
            })
        };
        join([pilot, world.reading(1), world.reading(1), world.invalidating()]).await;
    });
}

/// A loader that panics, before or after its first await, once.
pub(super) fn a_loader_that_panics() {
    scenario(async |world| {
        let failing = |world: &Arc<World>| {
            let (acme, world) = (world.acme.clone(), Arc::clone(world));
            spawn(async move {
                let load = move || async move {
                    if world.loads.fetch_add(1, Ordering::SeqCst) == 0 {
                        if thread_rng().gen_bool(0.5) {
                            yield_now().await;
                        }
                        std::panic::resume_unwind(Box::new("on purpose"));
                    }
                    Ok::<u64, Infallible>(0)
                };
                match acme.get_or_load(key!("k"), policy(), load).await {
                    Ok(_) => {}
                    Err(error) => assert_eq!(error.kind(), ErrorKind::LoadPanicked),
                }
            })
        };
        join([failing(world), failing(world), failing(world)]).await;
        assert!(world.loads.load(Ordering::SeqCst) <= 3);
    });
}

#[test]
fn no_lookup_brings_what_was_invalidated_before_it_began() {
    explore(lookups_while_invalidating);
}

#[test]
fn no_load_that_was_overtaken_leaves_its_value() {
    explore(a_load_while_invalidating);
}

#[test]
fn no_lookup_brings_what_was_set_and_overtaken_before_it_began() {
    explore(lookups_while_setting);
}

#[test]
fn no_lookup_joins_what_was_invalidated_while_the_lease_had_run_out() {
    explore(lookups_while_the_lease_lapses);
}

#[test]
fn of_many_who_miss_at_once_one_loads() {
    explore(misses_at_once);
}

#[test]
fn callers_who_go_away_cancel_nobody_and_leave_nothing_behind() {
    explore(callers_who_go_away);
}

#[test]
fn whoever_waits_for_a_flight_that_is_dropped_is_woken_and_answered() {
    explore(a_flight_that_is_dropped);
}

#[test]
fn whoever_waits_for_a_loader_that_panics_is_told_and_the_next_one_loads() {
    explore(a_loader_that_panics);
}
