//! Those who read and write.

use super::history::{Needed, Returned};
use super::universe::Write;
use super::world::World;
use crate::node::Node;
use larder::{Error, ErrorKind, Key, LoadContext, Stamp, Status, Tenant, Tier};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

type Value = super::universe::Value;

/// Why a loader failed.
#[derive(Debug)]
struct Failed;

impl std::fmt::Display for Failed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the origin is ill")
    }
}

impl std::error::Error for Failed {}

fn tenant(node: &Node, name: &str) -> Tenant {
    if name.is_empty() { node.cache.shared() } else { node.cache.tenant(name) }
}

impl World {
    async fn dawdle(&self) {
        match self.chance.below(20) {
            0..12 => super::yields(self.chance.below(4)).await,
            12..19 => tokio::time::sleep(Duration::from_millis(self.chance.pick(&[1, 3, 10, 40]))).await,
            _ => tokio::time::sleep(Duration::from_millis(self.chance.pick(&[200, 900, 1500, 2800]))).await,
        }
    }

    /// What a loader does: it begins, looks, and takes its time.
    async fn load(self: Arc<Self>, row: usize) -> Result<Option<Value>, Failed> {
        self.dawdle().await;
        let value = self.universe.0[row].value();
        self.dawdle().await;
        if self.chance.in_10_000(100) { Err(Failed) } else { Ok(Some(value)) }
    }

    /// Somebody reads.
    pub(super) async fn read(self: Arc<Self>, node: Node) {
        let row = self.chance.index(self.universe.0.len());
        match self.chance.below(10) {
            0 => self.read_many(&node, self.universe.0[row].tenant).await,
            1 => self.read_only(&node, row).await,
            _ => self.read_one(&node, row).await,
        }
    }

    fn begin(&self, node: &Node, row: usize) -> Needed {
        self.history.needed(row, self.trace.now_ms(), self.standing(node))
    }

    async fn read_one(self: &Arc<Self>, node: &Node, row: usize) {
        let mut needed = self.begin(node, row);
        let mut tenant = tenant(node, self.universe.0[row].tenant);
        // Somebody who brings the stamp of what he has written, perhaps on another node.
        if self.chance.below(8) == 0
            && let Some((stamp, rows)) = self.some_stamp()
        {
            tenant = tenant.at_least(stamp);
            rows.iter().filter(|(of, _)| *of == row).for_each(|(_, version)| needed.at_least(*version));
            self.count("reads with a stamp", "at least");
        }
        let began = self.trace.now_ms();
        let (of, world) = (&self.universe.0[row], Arc::clone(self));
        let late = of.late;
        let load = move |context: LoadContext| async move {
            world.count("loads", "single");
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
        let found = tenant.fetch_with(of.key.clone(), of.policy(&self.chance, false), load).await;
        match found {
            Ok((value, status)) => self.check(node, row, began, &needed, value.as_deref(), status),
            Err(error) => self.failed(&error),
        }
    }

    async fn read_many(self: &Arc<Self>, node: &Node, of: &'static str) {
        let rows = self.universe.of(of);
        let needed: Vec<Needed> = rows.iter().map(|row| self.begin(node, *row)).collect();
        let began = self.trace.now_ms();
        let keys: Vec<Key> = rows.iter().map(|row| self.universe.0[*row].key.clone()).collect();
        let policy = self.universe.0[rows[0]].policy(&self.chance, true);
        // Every tag of every row, since this loader has no say.
        let policy = policy.tags(rows.iter().flat_map(|row| self.universe.0[*row].tags()));
        let world = Arc::clone(self);
        let load = move |keys: Vec<Key>| {
            let world = Arc::clone(&world);
            async move {
                world.count("loads", "bulk");
                let mut values = Vec::new();
                for key in keys {
                    let row = world.universe.of(of).into_iter().find(|row| world.universe.0[*row].key == key);
                    let row = row.expect("only keys of this tenant are asked for");
                    if let Some(value) = Arc::clone(&world).load(row).await? {
                        values.push((key, value));
                    }
                }
                Ok::<_, Failed>(values)
            }
        };
        match tenant(node, of).get_or_load_many(keys, policy, load).await {
            Ok(found) => {
                for ((row, needed), found) in rows.iter().zip(&needed).zip(found) {
                    let found = found.expect("the origin has all of them");
                    self.check(node, *row, began, needed, Some(&found.value), found.status);
                }
            }
            Err(error) => self.failed(&error),
        }
    }

    async fn read_only(&self, node: &Node, row: usize) {
        let needed = self.begin(node, row);
        let began = self.trace.now_ms();
        let of = &self.universe.0[row];
        match tenant(node, of.tenant).get::<Value>(of.key.clone()).await {
            Ok(Some(found)) => self.check(node, row, began, &needed, Some(&found.value), found.status),
            Ok(None) => self.count("reads", "nothing (loads not)"),
            Err(error) => self.failed(&error),
        }
    }

    fn check(
        &self,
        node: &Node,
        row: usize,
        began: u64,
        needed: &Needed,
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
        if version < needed.version {
            let (wanted, why) = (needed.version, &needed.why);
            self.broke(format!(
                "{why}; node {id} read row {row} from {began} on: {version}, not {wanted} ({status:?})"
            ));
        }
    }

    fn failed(&self, error: &Error) {
        match error.kind() {
            ErrorKind::Load | ErrorKind::LoadTimeout | ErrorKind::CoolingDown => {
                self.count("reads", "the origin failed")
            }
            _ => self.broke(format!("a read failed: {error:?}")),
        }
    }

    /// Somebody writes, and tells the cache.
    pub(super) async fn write(self: Arc<Self>, node: Node) {
        if self.options.sets && self.chance.below(10) == 0 {
            self.set(&node).await;
        } else {
            self.invalidate(&node).await;
        }
    }

    async fn invalidate(&self, node: &Node) {
        let Write { tenant: of, selection, rows, kind } = self.universe.write(&self.chance);
        self.note(format_args!("n{} commits {rows:?} and invalidates {kind}", node.host.id));
        let invalidation = match of {
            Some(of) => tenant(node, of).invalidate(selection),
            None => node.cache.invalidate(selection),
        };
        let began = self.trace.now_ms();
        let (result, done) = if self.chance.below(4) == 0 {
            let result = invalidation.acked().await;
            let leapt = began <= self.leapt_until_ms.load(Ordering::SeqCst);
            (result, if leapt { Returned::Ok } else { Returned::Acked })
        } else {
            (invalidation.await, Returned::Ok)
        };
        self.told(node, kind, rows, result, done).await;
    }

    async fn set(&self, node: &Node) {
        let row = self.chance.index(self.universe.0.len());
        let version = self.universe.commit(row);
        // What was committed before this call is in the value.
        let of = &self.universe.0[row];
        let value = of.value();
        let rows = vec![(row, version)];
        self.note(format_args!("n{} commits {rows:?} and sets {}", node.host.id, value.0));
        let result = tenant(node, of.tenant).set(of.key.clone(), value, of.policy(&self.chance, true)).await;
        self.told(node, "set", rows, result, Returned::Ok).await;
    }

    async fn told(
        &self,
        node: &Node,
        kind: &'static str,
        rows: Vec<(usize, u64)>,
        result: Result<Stamp, Error>,
        done: Returned,
    ) {
        self.count("invalidations", kind);
        match result {
            Ok(stamp) => self.done(node, kind, rows, stamp, done),
            Err(error) => {
                let Some(ticket) = error.ticket() else {
                    return self.broke(format!("an invalidation failed: {error:?}"));
                };
                let now = self.trace.now_ms();
                let down_since = self.down_since_ms.load(Ordering::SeqCst);
                let in_outage = self.network.is_down() && now > down_since + self.lease_ms() + 2;
                let how = if in_outage { Returned::DeferredInOutage } else { Returned::Deferred };
                self.note(format_args!("n{} {kind} {rows:?}: {how:?}", node.host.id));
                self.count("invalidations returned", "deferred");
                self.history.returned(node.host.id, now, &rows, how, kind);
                // From its delivery on it is an invalidation like any other.
                if let Ok(stamp) = ticket.delivered().await {
                    self.count("deferred", "delivered later");
                    self.done(node, kind, rows, stamp, Returned::Ok);
                }
            }
        }
    }

    fn done(&self, node: &Node, kind: &str, rows: Vec<(usize, u64)>, stamp: Stamp, how: Returned) {
        self.count("invalidations returned", if how == Returned::Acked { "acked" } else { "ok" });
        self.note(format_args!("n{} {kind} {rows:?}: {how:?} {stamp}", node.host.id));
        self.history.returned(node.host.id, self.trace.now_ms(), &rows, how, kind);
        self.probe();
        if stamp != Stamp::default() {
            self.stamped(stamp, rows);
        }
    }
}
