//! What all nodes did, against what was promised: the history checker of the simulation, fed from real processes.

use super::wire::{Read, State, Told};
use crate::simulation::Counts;
use crate::simulation::history::{History, Returned, Standing};
use larder::{Clock, SystemClock};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// How long a read waits for promises that come to be known late, in microseconds: longer than any node is stopped.
const HOLD: u64 = 6_000_000;
/// How long promises are remembered, in microseconds: longer than any read takes and waits.
const REMEMBER: u64 = 60_000_000;
/// Reads that wait. Beyond it the oldest are judged at once.
const WAITING: usize = 500_000;
/// Events that are kept to be shown around a violation.
const RECENT: usize = 100_000;
/// Lines that are shown around a violation.
const SHOWN: usize = 100;
/// An outage that began so long ago, a lease aside, was seen by all, in microseconds.
const SEEN: u64 = 50_000;

/// What happened to a row.
enum Event {
    Read(Read),
    Told(Told),
}

#[derive(Default)]
struct Inner {
    waiting: VecDeque<(u64, usize, Read)>,
    recent: VecDeque<(u64, usize, Event)>,
    faults: VecDeque<(u64, String)>,
    counts: Counts,
    broken: Vec<String>,
    /// When all servers were out of reach for everybody.
    downs: VecDeque<(u64, u64)>,
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
        let mut inner = self.inner.lock();
        inner.waiting.push_back((now(), node, read));
        if inner.waiting.len() > WAITING
            && let Some((_, node, read)) = inner.waiting.pop_front()
        {
            self.judge(&mut inner, node, read);
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
        inner.counts.count("invalidations", told.kind.as_str());
        inner.counts.count(
            "invalidations returned",
            match how {
                Returned::Ok => "ok",
                Returned::Acked => "acked",
                Returned::Deferred => "deferred",
                Returned::DeferredInOutage => "deferred in an outage of all",
            },
        );
        self.history.returned(node, self.since(told.at), &told.rows, how, told.kind.as_str());
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

    /// Something is done to nodes, servers or the network.
    pub(super) fn fault(&self, kind: &'static str, what: &str) {
        let mut inner = self.inner.lock();
        inner.counts.count("faults", kind);
        keep(&mut inner.faults, (now(), format!("{kind} {what}")), 1000);
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

    /// Judges the reads that have waited long enough; `all` of them: those that have not, too.
    pub(super) fn settle(&self, all: bool) {
        let now = now();
        let mut inner = self.inner.lock();
        while let Some((_, node, read)) = inner.waiting.pop_front_if(|(came, ..)| all || *came + HOLD < now) {
            self.judge(&mut inner, node, read);
        }
        let is_gone = |node: usize| inner.gone.get(&node).is_some_and(|since| since + REMEMBER < now);
        self.history.forget(self.since(now.saturating_sub(REMEMBER)), |node| !is_gone(node));
        inner.gone.retain(|_, since| *since + 2 * REMEMBER > now);
    }

    fn judge(&self, inner: &mut Inner, node: usize, read: Read) {
        inner.counts.count("reads", read.source.as_str());
        if read.at_least > 0 {
            inner.counts.count("reads with a stamp", "of their row");
        }
        if !read.good {
            inner.counts.count("reads without trust", read.source.as_str());
        }
        let server_up = inner.downs.iter().all(|(since, until)| read.began < *since || read.began > *until);
        let standing = Standing { node, good: read.good, server_up };
        let mut needed = self.history.needed(read.row, self.since(read.began), standing);
        needed.at_least(read.at_least);
        keep(&mut inner.recent, (read.ended, node, Event::Read(read)), RECENT);
        let Read { row, version, owner, .. } = read;
        let why = if owner != row {
            format!("I11: the value of row {owner}")
        } else if version < needed.version {
            format!("{}: version {version}, not {}", needed.why, needed.version)
        } else if self.version(row).is_none_or(|current| version > current) {
            format!("version {version}, which there never was")
        } else {
            return;
        };
        let shown = self.around(inner, &read);
        inner.broken.push(format!("node {node} read row {row}: {why}\n{shown}"));
    }

    /// What happened to a row around a read.
    fn around(&self, inner: &Inner, read: &Read) -> String {
        let Read { row, began, ended, .. } = *read;
        let mut lines: Vec<(u64, String)> = Vec::new();
        for (at, node, event) in &inner.recent {
            let near = *at + 3_000_000 > began && *at < ended + 500_000;
            let line = match event {
                Event::Read(read) if near && read.row == row => {
                    let Read { version, good, source, .. } = read;
                    let (began, source) = (self.time(read.began), source.as_str());
                    format!("node {node} read {version} from {source}, begun at {began}, good: {good}")
                }
                Event::Told(told) if near => {
                    let Some((_, version)) = told.rows.iter().find(|(of, _)| *of == row) else { continue };
                    let (kind, how) = (told.kind.as_str(), told.how);
                    let stamp = told.stamp.as_deref().unwrap_or("no stamp");
                    format!("node {node} invalidated {kind}, of version {version}: {how:?}, {stamp}")
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

    /// Reads and invalidations so far, and faults.
    pub(super) fn so_far(&self) -> [u64; 3] {
        let inner = self.inner.lock();
        let waiting = inner.waiting.len() as u64;
        let [reads, told, faults] =
            ["reads", "invalidations", "faults"].map(|group| inner.counts.total(group));
        [reads + waiting, told, faults]
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
    use super::super::wire::Source;
    use super::*;

    fn judge() -> Judge {
        Judge::new(2, Duration::from_secs(1), Duration::from_secs(2))
    }

    fn told(how: Returned, at: u64) -> Told {
        Told { how, at, kind: Kind::Key, rows: vec![(0, 2)], stamp: None }
    }

    fn read(began: u64, version: u64, good: bool) -> Read {
        let (row, owner, ended, source, at_least) = (0, 0, began + 1, Source::Memory, 0);
        Read { row, began, ended, version, owner, good, source, at_least }
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
        judge.read(1, Read { at_least: 1, ..read(at, 1, true) });
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
}
