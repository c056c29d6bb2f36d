//! Those who read and write.

use super::history::{Bounds, Effect, Found, Pair, Returned};
use super::loads::{Beside, Load};
use super::universe::{How, LONGEST, MANY, Write};
use super::world::{Stamped, World};
use crate::node::Node;
use futures_util::future::join_all;
use larder::{Error, ErrorKind, Key, LoadContext, Outcome, Stamp, Status, Tier};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

type Value = super::universe::Value;

/// By how much the times that two clocks tell may differ.
const CLOCKS_DIFFER: Duration = Duration::from_secs(1);

/// Why a loader failed.
#[derive(Debug)]
struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the origin is ill")
    }
}

impl std::error::Error for Failed {}

/// For whom is loaded.
struct Call {
    node: Node,
    since: u64,
    /// Whether others must not load beside it.
    alone: bool,
}

/// A load under way.
struct Loading(Arc<World>, u64);

impl Drop for Loading {
    fn drop(&mut self) {
        self.0.loads.end(self.1, self.0.trace.now_ms());
    }
}

/// An invalidation under way.
pub(super) struct Telling<'a>(&'a World, u64);

impl Drop for Telling<'_> {
    fn drop(&mut self) {
        self.0.loads.told(self.1, self.0.trace.now_ms());
    }
}

impl World {
    pub(super) async fn dawdle(&self) {
        match self.chance.below(20) {
            0..12 => super::yields(self.chance.below(4)).await,
            12..19 => tokio::time::sleep(Duration::from_millis(self.chance.pick(&[1, 3, 10, 40]))).await,
            _ => tokio::time::sleep(Duration::from_millis(self.chance.pick(&[200, 900, 1500, 2800]))).await,
        }
    }

    /// What a loader does: it begins, looks, and takes its time.
    async fn load(self: Arc<Self>, row: usize) -> Result<Option<Value>, Failed> {
        if self.universe.0[row].is_one_of_many {
            // They come one by one, whatever becomes of who asked before.
            let (now, takes) = (self.trace.now_ms(), self.chance.below(12));
            let next = |busy: u64| Some(busy.max(now) + takes);
            let busy = self.origin_busy_ms.fetch_update(Ordering::SeqCst, Ordering::SeqCst, next);
            let wait = busy.map_or(0, |busy| busy.max(now) + takes - now);
            tokio::time::sleep(Duration::from_millis(wait)).await;
            return Ok(Some(self.universe.0[row].value()));
        }
        self.dawdle().await;
        let value = self.universe.0[row].value();
        self.dawdle().await;
        if self.chance.in_10_000(100) { Err(Failed) } else { Ok(Some(value)) }
    }

    /// Somebody reads.
    pub(super) async fn read(self: Arc<Self>, node: Node) {
        if self.universe.has_many() && self.chance.below(25) == 0 {
            return self.read_some_of_many(&node).await;
        }
        let row = self.universe.some(&self.chance);
        match self.chance.below(20) {
            0 | 1 => self.read_many(&node, self.universe.0[row].tenant).await,
            2 | 3 => self.read_only(&node, self.universe.0[row].tenant).await,
            4 => self.touch(&node, row).await,
            5 => self.look(&node, row).await,
            6 if self.chance.below(4) == 0 => self.replay(&node).await,
            _ => self.read_one(&node, row).await,
        }
    }

    /// Of a tenant that has many rows: one, all at once, or one by one.
    async fn read_some_of_many(self: &Arc<Self>, node: &Node) {
        let rows = self.universe.of(MANY);
        match self.chance.below(10) {
            0..4 => self.read_one(node, rows[self.chance.index(rows.len())]).await,
            4..6 => {
                let each = |row| {
                    let (world, of) = (Arc::clone(self), node.clone());
                    node.host.run(async move { world.read_one(&of, row).await })
                };
                join_all(rows.into_iter().map(each)).await;
            }
            6..9 => self.read_many(node, MANY).await,
            _ => self.read_only(node, MANY).await,
        }
    }

    fn begin(&self, node: &Node, row: usize) -> Bounds {
        let mut bounds = self.history.bounds(row, self.trace.now_ms(), self.standing(node, row));
        if self.demoted_lately() {
            bounds.in_redis = Pair::default();
        }
        bounds
    }

    async fn read_one(self: &Arc<Self>, node: &Node, row: usize) {
        let mut needed = self.begin(node, row);
        let mut tenant = node.tenant(self.universe.0[row].tenant);
        let mut stamped = false;
        // Somebody who brings the stamp of what he has written, perhaps on another node.
        if self.chance.below(8) == 0
            && let Some((stamp, rows, effect)) = self.some_stamp()
        {
            (tenant, stamped) = (tenant.at_least(stamp), true);
            rows.iter()
                .filter(|(of, _)| *of == row)
                .for_each(|(_, version)| needed.at_least(*version, effect));
            self.count("reads with a stamp", "at least");
        }
        let began = self.trace.now_ms();
        let (of, world) = (&self.universe.0[row], Arc::clone(self));
        let late = of.late;
        self.note(format_args!("n{} reads {row}", node.host.id));
        let How { policy, shares, is_patient } = of.how(&self.chance, false);
        let call = Call { node: node.clone(), since: began, alone: shares && !stamped };
        let load = move |context: LoadContext| async move {
            world.count("loads", "single");
            let _load = world.loading(&call, row);
            context.tag(late);
            let previous = context.previous().and_then(|previous| previous.value::<Value>());
            let loaded = Arc::clone(&world).load(row).await?;
            match (previous, &loaded) {
                (Some(previous), Some(value)) if previous.0 == value.0 => {
                    world.count("loads", "not modified");
                    context.not_modified::<Value, Failed>()
                }
                _ => Ok(loaded),
            }
        };
        let found = tenant.fetch_with(of.key.clone(), policy, load).await;
        match found {
            Ok((value, status)) => self.check(node, row, began, &needed, value.as_deref(), status),
            Err(error) => self.failed(&error, is_patient.then_some((&[row], began))),
        }
    }

    async fn read_many(self: &Arc<Self>, node: &Node, of: &'static str) {
        let rows = self.universe.of(of);
        let needed: Vec<Bounds> = rows.iter().map(|row| self.begin(node, *row)).collect();
        let began = self.trace.now_ms();
        let keys: Vec<Key> = rows.iter().map(|row| self.universe.0[*row].key.clone()).collect();
        self.note(format_args!("n{} reads all of {of:?}", node.host.id));
        let How { policy, shares, is_patient } = self.universe.0[rows[0]].how(&self.chance, true);
        let call = Arc::new(Call { node: node.clone(), since: began, alone: shares });
        // Every tag of every row, since this loader has no say.
        let policy = policy.tags(self.universe.tags_of(&rows));
        let world = Arc::clone(self);
        let load = move |keys: Vec<Key>| {
            let (world, call) = (Arc::clone(&world), Arc::clone(&call));
            async move {
                world.count("loads", "bulk");
                let mut values = Vec::new();
                let row_of = |key: &Key| {
                    let row =
                        world.universe.of(of).into_iter().find(|row| world.universe.0[*row].key == *key);
                    row.expect("only keys of this tenant are asked for")
                };
                let _loads: Vec<_> = keys.iter().map(|key| world.loading(&call, row_of(key))).collect();
                for key in keys {
                    let row = row_of(&key);
                    if let Some(value) = Arc::clone(&world).load(row).await? {
                        values.push((key, value));
                    }
                }
                Ok::<_, Failed>(values)
            }
        };
        match node.tenant(of).get_or_load_many(keys, policy, load).await {
            Ok(found) => {
                for ((row, needed), found) in rows.iter().zip(&needed).zip(found) {
                    let found = found.expect("the origin has all of them");
                    self.check(node, *row, began, needed, Some(&found.value), found.status);
                }
            }
            Err(error) => self.failed(&error, is_patient.then_some((&rows, began))),
        }
    }

    /// Reads what a tier has fresh, of all rows of a tenant.
    async fn read_only(&self, node: &Node, of: &'static str) {
        let rows = self.universe.of(of);
        let needed: Vec<Bounds> = rows.iter().map(|row| self.begin(node, *row)).collect();
        let began = self.trace.now_ms();
        let keys: Vec<Key> = rows.iter().map(|row| self.universe.0[*row].key.clone()).collect();
        let found = match node.tenant(of).get_many::<Value>(&keys).await {
            Ok(found) => found,
            Err(error) => return self.failed(&error, None),
        };
        for ((row, needed), found) in rows.iter().zip(&needed).zip(found) {
            let Some(found) = found else {
                self.count("reads", "nothing (loads not)");
                continue;
            };
            if found.status.outcome != Outcome::Hit {
                self.broke(format!("what loads nothing served {:?}", found.status));
            }
            self.check(node, *row, began, needed, Some(&found.value), found.status);
        }
    }

    /// Lengthens a life without a load. Whatever comes of it, reads are held to the same.
    async fn touch(&self, node: &Node, row: usize) {
        let of = &self.universe.0[row];
        let touched = node.tenant(of.tenant).touch(of.key.clone(), of.policy(&self.chance, false)).await;
        match touched {
            Ok(touched) => {
                self.count("touches", if touched { "lengthened" } else { "nothing there" });
                self.note(format_args!("n{} touches {row}: {touched}", node.host.id));
            }
            Err(error) => self.failed(&error, None),
        }
    }

    /// Asks how long a value is fresh.
    async fn look(&self, node: &Node, row: usize) {
        let of = &self.universe.0[row];
        match node.tenant(of.tenant).ttl(of.key.clone()).await {
            Ok(left) => {
                self.count("looks", if left.is_some() { "fresh" } else { "not fresh" });
                // Nothing but a clock that goes back lengthens a life beyond a policy's.
                let back = Duration::from_millis(self.back_ms.load(Ordering::SeqCst));
                if left.is_some_and(|left| left > LONGEST + CLOCKS_DIFFER + back) {
                    self.broke(format!("row {row} is said to be fresh for {left:?}"));
                }
            }
            Err(error) => self.failed(&error, None),
        }
    }

    fn check(
        &self,
        node: &Node,
        row: usize,
        began: u64,
        needed: &Bounds,
        value: Option<&Value>,
        status: Status,
    ) {
        let version = value.map_or(0, |value| value.0);
        self.count(
            "reads",
            match (status.tier, status.coalesced) {
                (_, true) => "joined another's",
                (Tier::Memory, _) => "memory",
                (Tier::Redis, _) => "redis",
                _ => "origin",
            },
        );
        let id = node.host.id;
        self.note(format_args!("n{id} read {row} since {began}: {version} {:?}", status.tier));
        let fresh = status.outcome != Outcome::Stale;
        let found = Found { version, fresh, in_redis: status.tier == Tier::Redis && !status.coalesced };
        if !fresh {
            self.count("stale", if version < needed.anywhere.fresh.version { "expired" } else { "old" });
        }
        if let Some(least) = needed.broken_by(found) {
            if status.tier == Tier::Redis && self.regressed_lately() {
                return self.count("reads of what Redis had lost", "before the next heartbeat");
            }
            let (wanted, why) = (least.version, &least.why);
            self.broke(format!(
                "{why}; node {id} read row {row} from {began} on: {version}, not {wanted} ({status:?})"
            ));
        }
    }

    /// A read failed. `patient`: which rows it read, and since when, if it has waited for as long as loads may take.
    fn failed(&self, error: &Error, patient: Option<(&[usize], u64)>) {
        let now = self.trace.now_ms();
        let explained = |(rows, began): (&[usize], u64)| {
            rows.iter().any(|row| self.loads.explain_giving_up(*row, began, now))
        };
        match error.kind() {
            ErrorKind::LoadTimeout if patient.is_some_and(|patient| !explained(patient)) => {
                self.broke(format!("I7: loads were quick, and {error:?} came of {patient:?}"));
            }
            ErrorKind::Load | ErrorKind::LoadTimeout | ErrorKind::CoolingDown => {
                self.count("reads", "the origin failed")
            }
            _ => self.broke(format!("a read failed: {error:?}")),
        }
    }

    /// A load of a row begins. It has ended when what this returns is dropped.
    fn loading(self: &Arc<Self>, call: &Call, row: usize) -> Loading {
        let (node, now) = (call.node.host.id, self.trace.now_ms());
        if !self.standing(&call.node, row).good {
            self.loads.disturbed(now);
        }
        let load = Load { row, node, since: call.since, alone: call.alone, began: now };
        let (id, beside) = self.loads.begin(load);
        self.note(format_args!("n{node} loads {row}"));
        match beside {
            Beside::Nobody => {}
            Beside::Excused(why) => self.count("loads beside another", why),
            Beside::Another(what) => self.broke(format!("I5: {what}")),
        }
        Loading(Arc::clone(self), id)
    }

    /// Rows are about to be invalidated. That has come to its end when what this returns is dropped.
    pub(super) fn telling(&self, node: &Node, rows: &[(usize, u64)]) -> Telling<'_> {
        let rows = rows.iter().map(|(row, _)| *row).collect();
        Telling(self, self.loads.telling(node.host.id, rows))
    }

    /// Somebody writes, and tells the cache.
    pub(super) async fn write(self: Arc<Self>, node: Node) {
        if self.options.sets && self.chance.below(10) == 0 {
            self.set(&node).await;
        } else if self.options.logs && self.chance.below(4) == 0 {
            self.publish(&node).await;
        } else {
            self.invalidate(&node).await;
        }
    }

    async fn invalidate(&self, node: &Node) {
        let Write { tenant: of, selectors, effect, rows, kind } = self.universe.write(&self.chance);
        self.note(format_args!("n{} commits {rows:?}: {kind} {effect:?}", node.host.id));
        let _telling = self.telling(node, &rows);
        let invalidation = match of {
            Some(of) => node.tenant(of).invalidate(selectors),
            None => node.cache.invalidate(selectors),
        };
        let invalidation = if effect == Effect::Expired { invalidation.expire() } else { invalidation };
        let began = self.trace.now_ms();
        let (result, done) = if self.chance.below(4) == 0 {
            let result = invalidation.acked().await;
            let leapt = began <= self.leapt_until_ms.load(Ordering::SeqCst);
            (result, if leapt { Returned::Ok } else { Returned::Acked })
        } else {
            (invalidation.await, Returned::Ok)
        };
        self.told(node, kind, (rows, effect), result, done).await;
    }

    /// Sets one value, or all of a tenant's at once.
    async fn set(&self, node: &Node) {
        let row = self.universe.some(&self.chance);
        let of = self.universe.0[row].tenant;
        let rows = if self.chance.below(3) == 0 { self.universe.of(of) } else { vec![row] };
        let rows: Vec<_> = rows.into_iter().map(|row| (row, self.universe.commit(row))).collect();
        // What was committed before this call is in the values.
        let values =
            rows.iter().map(|(row, _)| (self.universe.0[*row].key.clone(), self.universe.0[*row].value()));
        let mut values: Vec<(Key, Value)> = values.collect();
        self.note(format_args!("n{} commits and sets {rows:?}", node.host.id));
        // Every tag of every row: this call has one policy.
        let policy = self.universe.0[row].policy(&self.chance, true);
        let all: Vec<usize> = rows.iter().map(|(row, _)| *row).collect();
        let policy = policy.tags(self.universe.tags_of(&all));
        let tenant = node.tenant(of);
        let _telling = self.telling(node, &rows);
        let result = match values.pop() {
            Some((key, value)) if values.is_empty() => tenant.set(key, value, policy).await,
            last => tenant.set_many(values.into_iter().chain(last).collect(), policy).await,
        };
        self.told(node, "set", (rows, Effect::Invalidated), result, Returned::Ok).await;
    }

    pub(super) async fn told(
        &self,
        node: &Node,
        kind: &'static str,
        (rows, effect): (Vec<(usize, u64)>, Effect),
        result: Result<Stamp, Error>,
        done: Returned,
    ) {
        self.count(if effect == Effect::Expired { "expirations" } else { "invalidations" }, kind);
        match result {
            Ok(stamp) => self.done(node, kind, (stamp, rows, effect), done),
            Err(error) => {
                let Some(ticket) = error.ticket() else {
                    return self.broke(format!("an invalidation failed: {error:?}"));
                };
                let (id, now) = (node.host.id, self.trace.now_ms());
                self.count("invalidations returned", "deferred");
                for (row, version) in &rows {
                    let how = self.deferred(*row);
                    self.note(format_args!("n{id} {kind} {effect:?} {row}: {how:?}"));
                    self.history.told(effect, id, now, &[(*row, *version)], how, kind);
                }
                // From its delivery on it is an invalidation like any other.
                if let Ok(stamp) = ticket.delivered().await {
                    self.count("deferred", "delivered later");
                    self.done(node, kind, (stamp, rows, effect), Returned::Ok);
                }
            }
        }
    }

    fn done(&self, node: &Node, kind: &str, stamped: Stamped, how: Returned) {
        let (stamp, rows, effect) = &stamped;
        let (id, now) = (node.host.id, self.trace.now_ms());
        self.count("invalidations returned", if how == Returned::Acked { "acked" } else { "ok" });
        self.note(format_args!("n{id} {kind} {effect:?} {rows:?}: {how:?} {stamp}"));
        self.history.told(*effect, id, now, rows, how, kind);
        self.probe();
        if *stamp != Stamp::default() {
            self.stamped(stamped);
        }
    }
}
