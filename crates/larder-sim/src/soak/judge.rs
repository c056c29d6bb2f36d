//! What all nodes did, against what was promised: the history checker of the simulation, fed from real processes.

use super::probe::Probe;
use super::wire::{Read, Source, State, Told, name_of};
use crate::simulation::Counts;
use crate::simulation::history::{Effect, Found, History, Needed, Pair, Returned, Standing};
use larder::{Clock, SystemClock};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long reads and probes wait for promises that come to be known late, in microseconds: longer than any node is stopped.
const HOLD: u64 = 6_000_000;
/// How long promises are remembered, in microseconds: longer than any read takes and waits.
const REMEMBER: u64 = 60_000_000;
/// What waits. Beyond it the oldest is judged at once.
const WAITING: usize = 500_000;
/// Events that are kept to be shown around a violation.
const RECENT: usize = 100_000;
/// Lines that are shown around a violation.
const SHOWN: usize = 100;
/// Troubles that did not take place, of which the reason is kept.
const MISSED_KEPT: usize = 100;
/// The group of counts of troubles.
pub(super) const FAULTS: &str = "faults";
/// The same of those that did not take place.
const MISSED: &str = "faults that did not take place";
/// An outage that began so long ago, a lease aside, was seen by all, in microseconds.
const SEEN: u64 = 50_000;

/// What happened to a row.
enum Event {
    Read(Read),
    Told(Told),
}

/// What is to be judged.
enum Seen {
    /// By a node.
    Read(usize, Read),
    /// In Redis itself.
    Probe(Probe),
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(u64, Seen)>,
    recent: VecDeque<(u64, usize, Event)>,
    faults: VecDeque<(u64, String)>,
    counts: Counts,
    broken: Vec<String>,
    /// Troubles that did not take place, and why.
    missed: VecDeque<String>,
    /// When all servers were out of reach for everybody.
    downs: VecDeque<(u64, u64)>,
    /// When a server that was replaced may have answered.
    replaced: VecDeque<(u64, u64)>,
    states: BTreeMap<usize, State>,
    /// When a node was last heard to be in the good state.
    good: BTreeMap<usize, u64>,
    /// Since when a node is no more.
    gone: BTreeMap<usize, u64>,
}

/// The judge.
pub(super) struct Judge {
    began: u64,
    lease: u64,
    history: History,
    /// The origin.
    rows: Vec<AtomicU64>,
    inner: Mutex<Inner>,
}

/// Now, in microseconds of the machine's clock.
pub(super) fn now() -> u64 {
    SystemClock.now().as_nanos() / 1000
}

impl Judge {
    /// Of so many rows, under these bounds.
    pub(super) fn new(rows: usize, lease: Duration, outage_memory_ttl: Duration) -> Self {
        Self {
            began: now(),
            lease: u64::try_from(lease.as_micros()).expect("a lease is short"),
            history: History::in_units_of(Duration::from_micros(1), rows, lease, outage_memory_ttl),
            rows: (0..rows).map(|_| AtomicU64::new(1)).collect(),
            inner: Mutex::default(),
        }
    }

    /// The version of a row.
    pub(super) fn version(&self, row: usize) -> Option<u64> {
        Some(self.rows.get(row)?.load(Ordering::SeqCst))
    }

    /// Changes a row.
    pub(super) fn commit(&self, row: usize) -> Option<u64> {
        Some(self.rows.get(row)?.fetch_add(1, Ordering::SeqCst) + 1)
    }

    /// A read came back. It is judged when everything is known that may bind it.
    pub(super) fn read(&self, node: usize, read: Read) {
        self.seen(Seen::Read(node, read));
    }

    /// This lies in Redis, and whoever came would be served it.
    pub(super) fn probed(&self, probe: Probe) {
        self.seen(Seen::Probe(probe));
    }

    fn seen(&self, seen: Seen) {
        let mut inner = self.inner.lock();
        inner.waiting.push_back((now(), seen));
        if inner.waiting.len() > WAITING
            && let Some((_, seen)) = inner.waiting.pop_front()
        {
            self.judge(&mut inner, seen);
        }
    }

    /// An invalidation came back.
    pub(super) fn told(&self, node: usize, told: Told) {
        let mut inner = self.inner.lock();
        let how = if told.how == Returned::Deferred && self.in_outage(&inner, node, told.at) {
            Returned::DeferredInOutage
        } else {
            told.how
        };
        let (group, returned) = match told.effect {
            Effect::Invalidated => ("invalidations", "invalidations returned"),
            Effect::Expired => ("expirations", "expirations returned"),
        };
        inner.counts.count(group, told.kind.as_str());
        inner.counts.count(
            returned,
            match how {
                Returned::Ok => "ok",
                Returned::Acked => "acked",
                Returned::Deferred => "deferred",
                Returned::DeferredInOutage => "deferred in an outage of all",
            },
        );
        self.history.told(told.effect, node, self.since(told.at), &told.rows, how, told.kind.as_str());
        keep(&mut inner.recent, (told.at, node, Event::Told(told)), RECENT);
    }

    /// Whether all servers were away for so long that all nodes have seen it, and this one was among those who relied on
    /// them when it began: then what it deferred is made good whatever becomes of it.
    fn in_outage(&self, inner: &Inner, node: usize, at: u64) -> bool {
        let was_good_at = inner.good.get(&node).copied().unwrap_or(0);
        let seen = |(since, until): &(u64, u64)| {
            since + self.lease + SEEN < at && at <= *until && was_good_at >= *since
        };
        inner.downs.iter().any(seen)
    }

    /// How a node stands.
    pub(super) fn stands(&self, node: usize, state: State) {
        let mut inner = self.inner.lock();
        if state.good {
            inner.good.insert(node, state.at);
        }
        inner.states.insert(node, state);
    }

    /// How a node stood when it was last heard of.
    pub(super) fn standing(&self, node: usize) -> Option<State> {
        self.inner.lock().states.get(&node).cloned()
    }

    /// A node is no more.
    pub(super) fn gone(&self, node: usize) {
        let mut inner = self.inner.lock();
        inner.gone.insert(node, now());
        inner.good.remove(&node);
        if let Some(state) = inner.states.remove(&node) {
            count(&mut inner.counts, &state);
        }
    }

    /// From now on no server answers anybody.
    pub(super) fn down(&self) {
        let mut inner = self.inner.lock();
        keep(&mut inner.downs, (now(), u64::MAX), 100);
    }

    /// From now on servers may answer.
    pub(super) fn up(&self) {
        if let Some(down) = self.inner.lock().downs.back_mut() {
            down.1 = down.1.min(now());
        }
    }

    /// From now on a server may be replaced, and answer all the same.
    pub(super) fn replacing(&self) {
        keep(&mut self.inner.lock().replaced, (now(), u64::MAX), 100);
    }

    /// It was replaced, and whoever reads from it will have noticed in so long.
    pub(super) fn replaced(&self, within: Duration) {
        let within = u64::try_from(within.as_micros()).expect("some seconds");
        if let Some(replaced) = self.inner.lock().replaced.back_mut() {
            replaced.1 = replaced.1.min(now() + within);
        }
    }

    /// So many more.
    pub(super) fn add(&self, group: &'static str, name: &'static str, count: u64) {
        self.inner.lock().counts.add(group, name, count);
    }

    /// Something is done to nodes, servers or the network.
    pub(super) fn fault(&self, kind: &'static str, what: &str) {
        let mut inner = self.inner.lock();
        keep(&mut inner.faults, (now(), format!("{kind} {what}")), 1000);
    }

    /// A trouble of this kind was made.
    pub(super) fn took_place(&self, kind: &'static str) {
        self.add(FAULTS, kind, 1);
    }

    /// A trouble of this kind could not be made.
    pub(super) fn did_not_take_place(&self, kind: &'static str, why: &str) {
        let mut inner = self.inner.lock();
        inner.counts.count(MISSED, kind);
        let line = format!("{} {kind}: {why}", self.time(now()));
        keep(&mut inner.missed, line, MISSED_KEPT);
    }

    /// It is over.
    pub(super) fn over(&self, kind: &'static str, what: &str) {
        keep(&mut self.inner.lock().faults, (now(), format!("over: {kind} {what}")), 1000);
    }

    /// Something that must not be.
    pub(super) fn broke(&self, what: String) {
        self.inner.lock().broken.push(what);
    }

    /// How many violations there were.
    pub(super) fn violations(&self) -> usize {
        self.inner.lock().broken.len()
    }

    /// Judges what has waited long enough; `all` of it: what has not, too.
    pub(super) fn settle(&self, all: bool) {
        let now = now();
        let mut inner = self.inner.lock();
        while let Some((_, seen)) = inner.waiting.pop_front_if(|(came, _)| all || *came + HOLD < now) {
            self.judge(&mut inner, seen);
        }
        let is_gone = |node: usize| inner.gone.get(&node).is_some_and(|since| since + REMEMBER < now);
        self.history.forget(self.since(now.saturating_sub(REMEMBER)), |node| !is_gone(node));
        inner.gone.retain(|_, since| *since + 2 * REMEMBER > now);
    }

    fn judge(&self, inner: &mut Inner, seen: Seen) {
        match seen {
            Seen::Read(node, read) => self.judge_read(inner, node, read),
            Seen::Probe(probe) => self.judge_probe(inner, &probe),
        }
    }

    fn judge_read(&self, inner: &mut Inner, node: usize, read: Read) {
        let Read { row, began, ended, version, owner, good, source, fresh, at_least } = read;
        if at_least.0 > 0 {
            inner.counts.count("reads with a stamp", "of their row");
        }
        if !good {
            inner.counts.count("reads without trust", source.as_str());
        }
        let server_up = inner.downs.iter().all(|(since, until)| began < *since || began > *until);
        let mut bounds = self.history.bounds(row, self.since(began), Standing { node, good, server_up });
        bounds.at_least(at_least.0, at_least.1);
        if inner.replaced.iter().any(|(since, until)| ended >= *since && began <= *until) {
            bounds.in_redis = Pair::default();
        }
        inner.counts.count("reads", if fresh { source.as_str() } else { "stale" });
        if !fresh {
            let expired = version < bounds.anywhere.fresh.version;
            inner.counts.count("stale", if expired { "expired" } else { "old" });
        }
        keep(&mut inner.recent, (ended, node, Event::Read(read)), RECENT);
        let found = Found { version, fresh, in_redis: source == Source::Redis };
        if let Some(why) = self.wrong((row, owner, version), bounds.broken_by(found)) {
            let shown = self.around(inner, row, (began, ended));
            inner.broken.push(format!("node {node} read row {row}: {why}\n{shown}"));
        }
    }

    /// I4: whatever lies in Redis for everybody to take is not older than what had come back when it was looked for.
    fn judge_probe(&self, inner: &mut Inner, probe: &Probe) {
        let Probe { row, owner, version, fresh, began, ended, server } = *probe;
        inner.counts.count("entries seen in Redis", if fresh { "fresh" } else { "stale" });
        let nobody = Standing { node: usize::MAX, good: false, server_up: true };
        let bounds = self.history.bounds(row, self.since(began), nobody).in_redis;
        let needed = Some(if fresh { bounds.fresh } else { bounds.at_all });
        let needed = needed.filter(|needed| version < needed.version);
        if let Some(why) = self.wrong((row, owner, version), needed.as_ref()) {
            let (shown, fresh) =
                (self.around(inner, row, (began, ended)), if fresh { "fresh" } else { "stale" });
            let began = self.time(began);
            let what = format!("I4: since {began} server {server} has row {row} as a {fresh} one: {why}");
            inner.broken.push(format!("{what}\n{shown}"));
        }
    }

    /// What is wrong with a value of this row, owner and version.
    fn wrong(&self, (row, owner, version): (usize, usize, u64), broken: Option<&Needed>) -> Option<String> {
        if owner != row {
            Some(format!("I11: the value of row {owner}"))
        } else if let Some(needed) = broken {
            Some(format!("{}: version {version}, not {}", needed.why, needed.version))
        } else if self.version(row).is_none_or(|current| version > current) {
            Some(format!("version {version}, which there never was"))
        } else {
            None
        }
    }

    /// What happened to a row around this time.
    fn around(&self, inner: &Inner, row: usize, (began, ended): (u64, u64)) -> String {
        let mut lines: Vec<(u64, String)> = Vec::new();
        for (at, node, event) in &inner.recent {
            let near = *at + 3_000_000 > began && *at < ended + 500_000;
            let line = match event {
                Event::Read(read) if near && read.row == row => {
                    let Read { version, good, source, fresh, .. } = read;
                    let (began, source) = (self.time(read.began), source.as_str());
                    format!(
                        "node {node} read {version} from {source}, begun at {began}, good: {good}, fresh: {fresh}"
                    )
                }
                Event::Told(told) if near => {
                    let Some((_, version)) = told.rows.iter().find(|(of, _)| *of == row) else { continue };
                    let (kind, how, effect) = (told.kind.as_str(), told.how, name_of(told.effect));
                    let stamp = told.stamp.as_deref().unwrap_or("no stamp");
                    format!("node {node} {effect} {kind}, of version {version}: {how:?}, {stamp}")
                }
                _ => continue,
            };
            lines.push((*at, line));
        }
        // The last ones matter most.
        lines.sort();
        lines.drain(..lines.len().saturating_sub(SHOWN));
        let faults = inner.faults.iter().filter(|(at, _)| *at + 8_000_000 > began && *at < ended + 500_000);
        lines.extend(faults.map(|(at, fault)| (*at, format!("--- {fault}"))));
        lines.sort();
        lines.into_iter().fold(String::new(), |mut all, (at, line)| {
            let _ = writeln!(all, "    {} {line}", self.time(at));
            all
        })
    }

    /// Microseconds since the beginning.
    fn since(&self, at: u64) -> u64 {
        at.saturating_sub(self.began)
    }

    /// The same in seconds, for people.
    fn time(&self, at: u64) -> String {
        let since = self.since(at);
        format!("{:>4}.{:06}", since / 1_000_000, since % 1_000_000)
    }

    /// What was counted so far, and what broke.
    pub(super) fn verdict(&self) -> (Counts, Vec<String>) {
        let inner = self.inner.lock();
        let mut counts = inner.counts.clone();
        inner.states.values().for_each(|state| count(&mut counts, state));
        (counts, inner.broken.clone())
    }

    /// The last troubles that did not take place, and why.
    pub(super) fn missed(&self) -> Vec<String> {
        self.inner.lock().missed.iter().cloned().collect()
    }

    /// Reads (and probes that wait) so far, invalidations and expirations, and faults.
    pub(super) fn so_far(&self) -> [u64; 3] {
        let inner = self.inner.lock();
        let waiting = inner.waiting.len() as u64;
        let [reads, invalidations, expirations, faults] =
            ["reads", "invalidations", "expirations", FAULTS].map(|group| inner.counts.total(group));
        [reads + waiting, invalidations + expirations, faults]
    }
}

/// What a node has counted itself.
fn count(counts: &mut Counts, state: &State) {
    counts.add("nodes", "loads", state.loads);
    counts.add("nodes", "new epochs gone through", state.epochs);
    counts.add("nodes", "missed pushes noticed", state.missed_pushes);
    counts.add("nodes", "reads that failed with the origin", state.failed);
}

fn keep<T>(all: &mut VecDeque<T>, one: T, at_most: usize) {
    all.push_back(one);
    if all.len() > at_most {
        all.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::super::rows::Kind;
    use super::*;

    fn judge() -> Judge {
        Judge::new(2, Duration::from_secs(1), Duration::from_secs(2))
    }

    fn told(how: Returned, at: u64) -> Told {
        Told { how, at, kind: Kind::Key, effect: Effect::Invalidated, rows: vec![(0, 2)], stamp: None }
    }

    fn read(began: u64, version: u64, good: bool) -> Read {
        let (row, owner, ended, source, at_least) =
            (0, 0, began + 1, Source::Memory, (0, Effect::Invalidated));
        Read { row, began, ended, version, owner, good, source, fresh: true, at_least }
    }

    fn violations(judge: &Judge) -> usize {
        judge.settle(true);
        judge.violations()
    }

    #[test]
    fn a_read_is_held_against_promises_that_come_to_be_known_after_it() {
        let (judge, at) = (judge(), now());
        assert_eq!(judge.commit(0), Some(2));
        judge.read(1, read(at + 1, 1, true));
        judge.told(1, told(Returned::Ok, at));
        judge.read(2, read(at + 1, 1, true));
        assert_eq!(violations(&judge), 1, "the node itself, not the other");
        judge.read(2, read(at + 1_001_100, 1, true));
        judge.read(2, read(at + 1_001_100, 1, false));
        assert_eq!(violations(&judge), 2, "the other after a lease, if it has one");
        assert!(
            judge.verdict().1[1].contains("node 1 invalidated key, of version 2: Ok"),
            "{:?}",
            judge.verdict().1
        );
    }

    #[test]
    fn values_of_others_and_values_that_never_were_are_violations() {
        let (judge, at) = (judge(), now());
        judge.read(1, Read { owner: 1, ..read(at, 1, true) });
        judge.read(1, read(at, 9, true));
        judge.read(1, Read { at_least: (1, Effect::Invalidated), ..read(at, 1, true) });
        assert_eq!(violations(&judge), 2);
    }

    #[test]
    fn what_was_deferred_binds_all_if_all_have_seen_the_outage_and_its_node_had_relied_on_redis() {
        for (was_good, bound) in [(true, 1), (false, 0)] {
            let judge = judge();
            judge.commit(0);
            judge.down();
            let since = now();
            judge.stands(1, State { at: since + 10, good: was_good, ..State::default() });
            judge.told(1, told(Returned::Deferred, since + 1_200_000));
            judge.inner.lock().downs[0].1 = since + 1_300_000;
            judge.read(2, read(since + 1_250_000, 1, true));
            assert_eq!(violations(&judge), 0, "not before it is over");
            judge.read(2, read(since + 1_400_000, 1, true));
            assert_eq!(violations(&judge), bound);
        }
    }

    #[test]
    fn what_was_expired_may_be_served_as_stale_and_not_as_fresh() {
        let (judge, at) = (judge(), now());
        judge.commit(0);
        judge.told(1, Told { effect: Effect::Expired, ..told(Returned::Ok, at) });
        judge.read(1, Read { fresh: false, ..read(at + 1, 1, true) });
        judge.probed(Probe { fresh: false, ..probe(at + 1, 1) });
        assert_eq!(violations(&judge), 0);
        judge.read(1, read(at + 1, 1, true));
        judge.probed(probe(at + 1, 1));
        assert_eq!(violations(&judge), 2);
        assert_eq!(judge.verdict().0.of("stale", "expired"), 1);
    }

    #[test]
    fn what_lies_in_redis_is_bound_by_what_has_come_back_before_it_was_looked_for() {
        let judge = judge();
        let at = judge.began + 1;
        judge.commit(0);
        judge.probed(probe(at - 1, 1));
        judge.probed(probe(at, 2));
        judge.told(1, told(Returned::Ok, at));
        assert_eq!(violations(&judge), 0);
        judge.probed(probe(at, 1));
        judge.probed(Probe { owner: 1, ..probe(at, 2) });
        judge.read(2, Read { source: Source::Redis, ..read(at, 1, true) });
        assert_eq!(violations(&judge), 3, "and so is who reads it");
        while now() <= at {}
        judge.replacing();
        let during = now();
        judge.replaced(Duration::ZERO);
        judge.read(2, Read { source: Source::Redis, ..read(during, 1, true) });
        assert_eq!(violations(&judge), 3, "unless a server of the past may have answered");
    }

    fn probe(began: u64, version: u64) -> Probe {
        Probe { row: 0, owner: 0, version, fresh: true, began, ended: began, server: 0 }
    }
}
