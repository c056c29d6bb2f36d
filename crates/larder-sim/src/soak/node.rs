//! A node of the soak: a process with a cache, and callers who read and write.

use super::line::Line;
use super::rows::{Change, Kind, Row, Rows, SPREAD, Value};
use super::wire::{Order, Read, Said, Source, State, Told, Versions, parse_effect, parse_versions};
use crate::chance::Chance;
use crate::simulation::history::{Effect, Returned};
use clap::Args;
use larder::simulation::{Mutant, inside, is_good, switch_off};
use larder::{
    Cache, Clock, Error, ErrorKind, Key, LoadContext, Outcome, RedisConfig, Stamp, Status, SystemClock,
    Tenant, Tier,
};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

/// Tasks that read, and tasks that write.
const READERS: u64 = 8;
const WRITERS: u64 = 2;
/// Reads at a time: this many on average.
const BURST: f64 = 2.5;
/// Reads for each write.
const READS_PER_WRITE: f64 = 40.0;
/// How often a node tells how it stands.
const STATE_EVERY: Duration = Duration::from_millis(100);

/// A reader who brings no stamp.
const NO_STAMP: (u64, Effect) = (0, Effect::Invalidated);

/// What a node is told at its start.
#[derive(Clone, Debug, Args)]
pub struct NodeArgs {
    /// Where the coordinator listens.
    #[arg(long)]
    pub(super) coordinator: SocketAddr,
    /// Which node this is.
    #[arg(long)]
    pub(super) node: usize,
    /// In which place it is.
    #[arg(long)]
    pub(super) place: usize,
    /// Where Redis is.
    #[arg(long)]
    pub(super) redis: String,
    /// The coherence lease, in ms.
    #[arg(long)]
    pub(super) lease: u64,
    /// How long a value loaded without Redis is kept, in ms.
    #[arg(long)]
    pub(super) outage_memory_ttl: u64,
    /// Reads a second.
    #[arg(long)]
    pub(super) rate: u32,
    /// What chance follows from.
    #[arg(long)]
    pub(super) seed: u64,
    /// A rule of the engine that is switched off.
    #[arg(long, value_parser = parse_mutant)]
    pub(super) switch_off: Option<Mutant>,
}

/// A rule by its name.
pub(crate) fn parse_mutant(name: &str) -> Result<Mutant, String> {
    let found = Mutant::ALL.iter().copied().find(|mutant| format!("{mutant:?}") == name);
    found.ok_or_else(|| format!("there is no rule {name}; there are {:?}", Mutant::ALL))
}

struct Node {
    cache: Cache,
    rows: Rows,
    chance: Chance,
    line: Arc<Line>,
    /// The row whose values this node sets, one at a time.
    own: tokio::sync::Mutex<usize>,
    loads: AtomicU64,
    failed: AtomicU64,
}

/// Runs a node until it is told to go, or the coordinator is gone.
///
/// # Errors
/// If the coordinator is not there.
///
/// # Panics
/// If the settings contradict each other.
pub async fn run(args: NodeArgs) -> io::Result<()> {
    if let Some(mutant) = args.switch_off {
        switch_off(mutant);
    }
    let ms = Duration::from_millis;
    let (line, orders) = Line::connect(args.coordinator, args.node).await?;
    let config = RedisConfig { data_connections: 1 + args.node % 2, ..RedisConfig::new(args.redis) };
    let builder = Cache::builder("soak")
        .redis(config)
        .memory(32 << 20)
        .coherence_lease(ms(args.lease))
        .outage_memory_ttl(ms(args.outage_memory_ttl))
        .load_timeout(Duration::from_secs(3))
        .spread(SPREAD, 4);
    let cache = builder.build().await.expect("the settings agree with each other");
    let chance = Chance::new(args.seed);
    let (loads, failed) = Default::default();
    let rows = Rows::new();
    let own = tokio::sync::Mutex::new(rows.set_by(args.place));
    let node = Arc::new(Node { cache, rows, chance, line, own, loads, failed });
    node.serve(orders, args.rate).await;
    Ok(())
}

impl Node {
    async fn serve(self: Arc<Self>, mut orders: mpsc::Receiver<Order>, rate: u32) {
        let mut callers = JoinSet::new();
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let tick = Duration::from_secs_f64(READERS as f64 * BURST / f64::from(rate.max(1)));
        #[expect(clippy::cast_precision_loss, reason = "a handful")]
        let write_tick = Duration::from_secs_f64(WRITERS as f64 * READS_PER_WRITE / f64::from(rate.max(1)));
        for _ in 0..READERS {
            callers.spawn(Arc::clone(&self).reader(tick));
        }
        for _ in 0..WRITERS {
            callers.spawn(Arc::clone(&self).writer(write_tick));
        }
        let reporter = tokio::spawn(Arc::clone(&self).report());
        while let Some(order) = orders.recv().await {
            match order {
                Order::Stop => callers.abort_all(),
                Order::Check => {
                    for row in 0..self.rows.0.len() {
                        self.read_one(row).await;
                    }
                    self.line.say(Said::Checked).await;
                }
                Order::Bye => {
                    callers.abort_all();
                    self.cache.shutdown().await;
                    break;
                }
                Order::Answer { .. } => {}
            }
        }
        reporter.abort();
    }

    async fn report(self: Arc<Self>) {
        let mut pace = tokio::time::interval(STATE_EVERY);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let (at, inside, stats) = (now(), inside(&self.cache), self.cache.stats());
            let counts = [inside.flights, inside.tasks, inside.blocked, inside.undelivered, inside.waiting];
            let state = State {
                at,
                good: inside.good,
                name: inside.node,
                left: counts.map(|count| count as u64),
                loads: self.loads.load(Ordering::Relaxed),
                epochs: stats.epoch_bumps,
                missed_pushes: stats.missed_pushes,
                failed: self.failed.load(Ordering::Relaxed),
            };
            self.line.say(Said::State(state)).await;
        }
    }

    async fn reader(self: Arc<Self>, tick: Duration) {
        let mut pace = tokio::time::interval(tick);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            for _ in 0..=self.chance.below(4) {
                let row = self.chance.index(self.rows.0.len());
                match self.chance.below(100) {
                    0..4 => self.read_many(self.rows.0[row].tenant).await,
                    4..8 => self.read_only(row).await,
                    8..11 => {
                        // Somebody who goes away.
                        let node = Arc::clone(&self);
                        let gone = tokio::spawn(async move { node.read_one(row).await });
                        pause(&self.chance).await;
                        gone.abort();
                    }
                    _ => self.read_one(row).await,
                }
            }
        }
    }

    async fn writer(self: Arc<Self>, tick: Duration) {
        let mut pace = tokio::time::interval(tick);
        pace.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            pace.tick().await;
            let node = Arc::clone(&self);
            let sets = self.chance.below(12) == 0;
            let writing =
                tokio::spawn(async move { if sets { node.set().await } else { node.write().await } });
            if self.chance.below(50) == 0 {
                // Somebody who goes away.
                pause(&self.chance).await;
                writing.abort();
            } else if let Err(ended) = writing.await
                && ended.is_panic()
            {
                self.line.say(Said::Failed { why: format!("a write panicked: {ended}") }).await;
            }
        }
    }

    fn tenant(&self, name: &str) -> Tenant {
        if name.is_empty() { self.cache.shared() } else { self.cache.tenant(name) }
    }

    /// What a loader does: it begins, looks, and takes its time.
    async fn load(&self, row: usize) -> io::Result<Value> {
        self.loads.fetch_add(1, Ordering::Relaxed);
        pause(&self.chance).await;
        let version = self.line.ask(|id| Said::Get { id, row }).await?;
        let version = version.parse().map_err(io::Error::other)?;
        pause(&self.chance).await;
        if self.chance.below(100) == 0 {
            return Err(io::Error::other("the origin is ill"));
        }
        Ok(self.rows.0[row].value(row, version))
    }

    fn begin(&self, tenant: &Tenant, row: &Row) -> (u64, bool) {
        let began = now();
        (began, is_good(tenant, &row.key))
    }

    async fn read_one(self: &Arc<Self>, row: usize) {
        let of = &self.rows.0[row];
        let (mut tenant, mut at_least) = (self.tenant(of.tenant), NO_STAMP);
        // Somebody who brings the stamp of what he has written, perhaps on another node.
        if self.chance.below(16) == 0
            && let Some((stamp, effect, rows)) = self.some_stamp().await
        {
            at_least.0 = rows.iter().find(|(of, _)| *of == row).map_or(0, |(_, version)| *version);
            at_least.1 = effect;
            tenant = tenant.at_least(stamp);
        }
        let (began, good) = self.begin(&tenant, of);
        let node = Arc::clone(self);
        let load = move |context: LoadContext| async move {
            context.tag(node.rows.0[row].late);
            let previous = context.previous().and_then(|previous| previous.value::<Value>());
            let loaded = node.load(row).await?;
            match previous {
                Some(previous) if previous.0 == loaded.0 => context.not_modified::<Value, io::Error>(),
                _ => Ok(Some(loaded)),
            }
        };
        match tenant.fetch_with(of.key.clone(), of.policy(&self.chance, false), load).await {
            Ok((Some(value), status)) => self.tell(row, (began, good), at_least, &value, status).await,
            Ok((None, _)) => self.broke("the origin has all rows, and yet there was none").await,
            Err(error) => self.failed(&error).await,
        }
    }

    async fn read_many(self: &Arc<Self>, of: &'static str) {
        let (rows, tenant) = (self.rows.of(of), self.tenant(of));
        let began: Vec<_> = rows.iter().map(|row| self.begin(&tenant, &self.rows.0[*row])).collect();
        let keys: Vec<Key> = rows.iter().map(|row| self.rows.0[*row].key.clone()).collect();
        // Every tag of every row, since this loader has no say.
        let policy = rows.iter().fold(self.rows.0[rows[0]].policy(&self.chance, true), |policy, row| {
            policy.tags(self.rows.0[*row].tags())
        });
        let node = Arc::clone(self);
        let load = move |keys: Vec<Key>| {
            let node = Arc::clone(&node);
            async move {
                let mut values = Vec::new();
                for key in keys {
                    let row = node.rows.of(of).into_iter().find(|row| node.rows.0[*row].key == key);
                    let row = row.expect("only keys of this tenant are asked for");
                    values.push((key, node.load(row).await?));
                }
                Ok::<_, io::Error>(values)
            }
        };
        match tenant.get_or_load_many(keys, policy, load).await {
            Ok(found) => {
                for ((row, began), found) in rows.iter().zip(began).zip(found) {
                    match found {
                        Some(found) => self.tell(*row, began, NO_STAMP, &found.value, found.status).await,
                        None => self.broke("the origin has all rows, and yet there was none").await,
                    }
                }
            }
            Err(error) => self.failed(&error).await,
        }
    }

    async fn read_only(&self, row: usize) {
        let of = &self.rows.0[row];
        let tenant = self.tenant(of.tenant);
        let began = self.begin(&tenant, of);
        match tenant.get::<Value>(of.key.clone()).await {
            Ok(Some(found)) => self.tell(row, began, NO_STAMP, &found.value, found.status).await,
            Ok(None) => {}
            Err(error) => self.failed(&error).await,
        }
    }

    async fn tell(
        &self,
        row: usize,
        (began, good): (u64, bool),
        at_least: (u64, Effect),
        value: &Value,
        status: Status,
    ) {
        let source = match (status.coalesced, status.tier) {
            (true, _) => Source::Joined,
            (_, Tier::Memory) => Source::Memory,
            (_, Tier::Redis) => Source::Redis,
            _ => Source::Loaded,
        };
        let fresh = status.outcome != Outcome::Stale;
        let (version, owner, ended) = (value.0, value.1, now());
        let read = Read { row, began, ended, version, owner, good, source, fresh, at_least };
        self.line.say(Said::Read(read)).await;
    }

    async fn failed(&self, error: &Error) {
        match error.kind() {
            ErrorKind::Load | ErrorKind::LoadTimeout | ErrorKind::CoolingDown => {
                self.failed.fetch_add(1, Ordering::Relaxed);
            }
            ErrorKind::Closed => {}
            _ => self.broke(&format!("a read failed: {error:?}")).await,
        }
    }

    async fn broke(&self, why: &str) {
        self.line.say(Said::Failed { why: why.to_owned() }).await;
    }

    async fn some_stamp(&self) -> Option<(Stamp, Effect, Versions)> {
        let answer = self.line.ask(|id| Said::Stamp { id }).await.ok()?;
        let mut words = answer.split(' ');
        let stamp = words.next()?.parse().ok()?;
        Some((stamp, parse_effect(words.next()?)?, parse_versions(words.next()?)?))
    }

    async fn write(self: &Arc<Self>) {
        let Change { tenant, selection, effect, rows, kind } = self.rows.change(&self.chance);
        let row = rows[self.chance.index(rows.len())];
        let Ok(put) = self.line.ask(|id| Said::Put { id, rows }).await else { return };
        let Some(rows) = parse_versions(&put) else { return self.broke("the origin stammers").await };
        let invalidation = match tenant {
            Some(tenant) => self.tenant(tenant).invalidate(selection),
            None => self.cache.invalidate(selection),
        };
        let invalidation = if effect == Effect::Expired { invalidation.expire() } else { invalidation };
        let acked = self.chance.below(4) == 0;
        let result = if acked { invalidation.acked().await } else { invalidation.await };
        let how = if acked { Returned::Acked } else { Returned::Ok };
        self.came_back((kind, effect), rows, how, result).await;
        // Whoever has written looks at once.
        self.read_one(row).await;
    }

    async fn set(self: &Arc<Self>) {
        let row = self.own.lock().await;
        let Ok(put) = self.line.ask(|id| Said::Put { id, rows: vec![*row] }).await else { return };
        let Some(rows) = parse_versions(&put) else { return self.broke("the origin stammers").await };
        let of = &self.rows.0[*row];
        let (value, policy) = (of.value(*row, rows[0].1), of.policy(&self.chance, true));
        let result = self.tenant(of.tenant).set(of.key.clone(), value, policy).await;
        self.came_back((Kind::Set, Effect::Invalidated), rows, Returned::Ok, result).await;
        self.read_one(*row).await;
    }

    /// A write came back to its caller.
    async fn came_back(
        self: &Arc<Self>,
        (kind, effect): (Kind, Effect),
        rows: Versions,
        how: Returned,
        result: Result<Stamp, Error>,
    ) {
        let at = returned();
        let told = |how, stamp: Option<&Stamp>| {
            let stamp = stamp.map(ToString::to_string);
            Said::Told(Told { how, at, kind, effect, rows: rows.clone(), stamp })
        };
        match result {
            Ok(stamp) => self.line.say(told(how, Some(&stamp))).await,
            Err(error) => match error.ticket().cloned() {
                Some(ticket) => {
                    self.line.say(told(Returned::Deferred, None)).await;
                    let node = Arc::clone(self);
                    tokio::spawn(async move {
                        // From its delivery on it is an invalidation like any other.
                        let Ok(stamp) = ticket.delivered().await else { return };
                        let (how, at, stamp) = (Returned::Ok, returned(), Some(stamp.to_string()));
                        node.line.say(Said::Told(Told { how, at, kind, effect, rows, stamp })).await;
                    });
                }
                None if error.kind() == ErrorKind::Closed => {}
                None => self.broke(&format!("a write failed: {error:?}")).await,
            },
        }
    }
}

/// Takes some time, rarely long.
async fn pause(chance: &Chance) {
    let ms = match chance.below(200) {
        0..110 => return,
        110..180 => chance.pick(&[1, 2, 5, 10]),
        180..198 => chance.pick(&[30, 60, 150]),
        _ => chance.pick(&[900, 1500, 2600]),
    };
    tokio::time::sleep(Duration::from_millis(ms)).await;
}

/// Now, rounded down: nothing that is said to have begun then has begun before.
fn now() -> u64 {
    SystemClock.now().as_nanos() / 1000
}

/// Now, rounded up: whatever is said to have come back then has.
fn returned() -> u64 {
    SystemClock.now().as_nanos().div_ceil(1000)
}
