//! What was invalidated and published lately, for people. Nothing here is on the way of a lookup.

use crate::buckets::Buckets;
use crate::clock::Moment;
use crate::coherence::Stamped;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits::{RECENT_CHANGES, RECENT_HEARD, RECENT_SELECTORS};
use crate::scope::{Selection, Selector};
use parking_lot::Mutex;
use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

/// Something that was invalidated, expired or published.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Change {
    /// Grows with every change that this process knows of.
    pub id: u64,
    /// How long ago.
    pub ago: Duration,
    /// What became of the values.
    pub verb: ChangeVerb,
    /// Whose values; empty for shared ones, `None` for those of all tenants, and where only another node knows.
    pub tenant: Option<String>,
    /// The kind of the event that caused it.
    pub event: Option<String>,
    /// What that event said has changed.
    pub changed: Option<String>,
    /// What was covered, as people write it: `tag campaigns`, `key campaign:17`. The first six.
    pub what: Vec<String>,
    /// How many more there were. Of another node's change all there is.
    pub more: u64,
    /// Whether it was asked of this process.
    pub here: bool,
    /// Whether it waited, or waits, for Redis.
    pub deferred: bool,
}

/// What became of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ChangeVerb {
    /// They are gone.
    Invalidated,
    /// They are stale.
    Expired,
    /// Nothing: an event was published that invalidates nothing.
    Published,
}

/// What people are told of an invalidation.
#[derive(Clone, Debug, Default)]
pub(crate) enum Told {
    /// That it was asked for.
    #[default]
    Asked,
    /// The event that caused it: its kind and what has changed.
    Caused(String, Option<String>),
    /// Nothing: it was told before.
    Nothing,
}

/// The last changes.
#[derive(Debug, Default)]
pub(crate) struct Recent {
    made: Mutex<VecDeque<(Moment, Change)>>,
    /// What came over the stream; own ones come back so.
    heard: Mutex<VecDeque<Heard>>,
    /// Where own ones stand in the order.
    own: Mutex<VecDeque<Place>>,
    next: AtomicU64,
    told: AtomicU64,
}

/// Bucket, epoch and number.
type Place = (u16, u64, u64);

/// How long the reply to an own invalidation may be behind the stream.
const REPLIED: Duration = Duration::from_millis(500);

#[derive(Clone, Copy, Debug)]
struct Heard {
    id: u64,
    at: Moment,
    place: Place,
    scopes: usize,
    soft: bool,
}

impl Recent {
    fn id(&self) -> u64 {
        self.next.fetch_add(1, Relaxed)
    }

    /// This process has invalidated something, or will when Redis is back.
    pub(crate) fn made(&self, at: Moment, draft: Draft, outcome: Result<(), &Error>) {
        let deferred = outcome.is_err();
        if outcome.is_err_and(|error| error.ticket().is_none()) {
            return;
        }
        let Draft { verb, tenant, event, changed, what, more } = draft;
        let change = Change {
            id: self.id(),
            ago: Duration::ZERO,
            verb,
            tenant: tenant.map(|tenant| tenant.to_string()),
            event,
            changed,
            what,
            more,
            here: true,
            deferred,
        };
        push(&self.made, RECENT_CHANGES, (at, change));
    }

    /// Redis has stamped an invalidation of this process.
    pub(crate) fn stamped(&self, bucket: u16, at: Stamped) {
        push(&self.own, RECENT_HEARD, (bucket, at.epoch, at.stamp));
    }

    /// An invalidation came over the stream.
    pub(crate) fn heard(&self, at: Moment, bucket: u16, stamped: Stamped, scopes: usize, soft: bool) {
        let place = (bucket, stamped.epoch, stamped.stamp);
        self.told.fetch_add(1, Relaxed);
        push(&self.heard, RECENT_HEARD, Heard { id: self.id(), at, place, scopes, soft });
    }

    /// Invalidations that came over the stream, own ones included.
    pub(crate) fn told(&self) -> u64 {
        self.told.load(Relaxed)
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        (self.made.lock(), self.heard.lock(), self.own.lock())
    }

    /// The newest first.
    fn read(&self, now: Moment, wanted: impl Fn(&Change) -> bool, limit: usize) -> Vec<Change> {
        let made = self.made.lock();
        let mut changes: Vec<Change> = made
            .iter()
            .filter(|(_, change)| wanted(change))
            .map(|(at, change)| Change { ago: now.since(*at), ..change.clone() })
            .collect();
        drop(made);
        let heard: Vec<Heard> = self.heard.lock().iter().copied().collect();
        let own: HashSet<Place> = self.own.lock().iter().copied().collect();
        // The stream may be ahead of the reply that tells of an own one.
        let is_others = |heard: &Heard| now.since(heard.at) >= REPLIED && !own.contains(&heard.place);
        let others = heard.into_iter().filter(is_others);
        changes.extend(others.map(|heard| heard.change(now)).filter(wanted));
        changes.sort_unstable_by_key(|change| (change.ago, std::cmp::Reverse(change.id)));
        changes.truncate(limit);
        changes
    }
}

fn push<T>(ring: &Mutex<VecDeque<T>>, most: usize, item: T) {
    let mut ring = ring.lock();
    if ring.len() >= most {
        ring.pop_front();
    }
    ring.push_back(item);
}

impl Heard {
    fn change(&self, now: Moment) -> Change {
        Change {
            id: self.id,
            ago: now.since(self.at),
            verb: if self.soft { ChangeVerb::Expired } else { ChangeVerb::Invalidated },
            tenant: None,
            event: None,
            changed: None,
            what: Vec::new(),
            more: self.scopes as u64,
            here: false,
            deferred: false,
        }
    }
}

/// An invalidation as it is told when it is done.
#[derive(Debug)]
pub(crate) struct Draft {
    verb: ChangeVerb,
    tenant: Option<Arc<str>>,
    event: Option<String>,
    changed: Option<String>,
    what: Vec<String>,
    more: u64,
}

impl Draft {
    /// Of what each bucket is told. `None`: people are not told.
    pub(crate) fn of(
        tenant: Option<&Arc<str>>,
        parts: &[(Arc<Engine>, Selection)],
        expires: bool,
        told: Told,
    ) -> Option<Self> {
        let (event, changed) = match told {
            Told::Asked => (None, None),
            Told::Caused(kind, changed) => (Some(kind), changed),
            Told::Nothing => return None,
        };
        // All buckets are told of the same, but each of its own keys.
        let mut each = parts.iter().enumerate().flat_map(|(place, (_, selection))| {
            let counts = move |one: &&Selector| place == 0 || matches!(one, Selector::Key(_));
            selection.each().filter(counts)
        });
        let what = each.by_ref().take(RECENT_SELECTORS).map(shown).collect();
        let verb = if expires { ChangeVerb::Expired } else { ChangeVerb::Invalidated };
        Some(Self { verb, tenant: tenant.cloned(), event, changed, what, more: each.count() as u64 })
    }

    /// Of an event that invalidates nothing.
    pub(crate) fn published(tenant: &Arc<str>, kind: &str, changed: Option<&str>) -> Self {
        Self {
            verb: ChangeVerb::Published,
            tenant: Some(Arc::clone(tenant)),
            event: Some(kind.to_owned()),
            changed: changed.map(str::to_owned),
            what: Vec::new(),
            more: 0,
        }
    }
}

/// As people write it.
fn shown(selector: &Selector) -> String {
    match selector {
        Selector::Key(key) => format!("key {}", key.as_str()),
        Selector::Tag(tag) => format!("tag {tag}"),
        Selector::Prefix(prefix) => format!("prefix {}", prefix.as_str()),
        Selector::Glob(pattern) => format!("pattern {pattern}"),
        Selector::FirstSegment(name) => format!("endpoint {name}"),
        Selector::All => "everything".to_owned(),
    }
}

impl Buckets {
    pub(crate) fn recent(&self, tenant: Option<&str>, limit: usize) -> Vec<Change> {
        let engine = self.first();
        let wanted = |change: &Change| match tenant {
            None => true,
            Some(tenant) => change.tenant.as_deref() == Some(tenant),
        };
        engine.stats.recent.read(engine.now(), wanted, limit)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cache, Event, all, first_segment, glob, key, tag};

    fn said(changes: &[Change]) -> Vec<(Option<&str>, Vec<&str>, u64)> {
        let each = changes.iter();
        each.map(|it| (it.tenant.as_deref(), it.what.iter().map(String::as_str).collect(), it.more)).collect()
    }

    #[tokio::test]
    async fn what_was_invalidated_is_told_the_newest_first_and_to_a_tenant_only_its_own() {
        let cache = Cache::builder("test").build().await.unwrap();
        let acme = cache.tenant("acme");
        acme.invalidate(tag("campaigns")).await.unwrap();
        acme.expire(key!("campaign", 17)).await.unwrap();
        cache.tenant("globex").invalidate(glob("c*")).await.unwrap();
        cache.invalidate(first_segment("posts")).await.unwrap();
        cache.shared().invalidate(all()).await.unwrap();
        let recent = cache.recent(None, 10);
        assert_eq!(
            said(&recent),
            [
                (Some(""), vec!["everything"], 0),
                (None, vec!["endpoint posts"], 0),
                (Some("globex"), vec!["pattern c*"], 0),
                (Some("acme"), vec!["key campaign:17"], 0),
                (Some("acme"), vec!["tag campaigns"], 0),
            ]
        );
        assert_eq!(recent[3].verb, ChangeVerb::Expired);
        assert_eq!(said(&cache.recent(None, 1)).len(), 1);
        assert_eq!(cache.recent(Some("acme"), 10).len(), 2);
        assert_eq!(said(&cache.recent(Some("globex"), 10)), [(Some("globex"), vec!["pattern c*"], 0)]);
    }

    #[tokio::test]
    async fn an_event_is_told_with_what_it_dropped_and_as_one() {
        let cache = Cache::builder("test").build().await.unwrap();
        let acme = cache.tenant("acme");
        let tags = (0..9).map(|i| tag(format!("t{i}")));
        acme.publish(Event::new("campaign.updated").id("17").invalidates(tags)).await.unwrap();
        acme.publish(Event::new("ping")).await.unwrap();
        let recent = cache.recent(None, 10);
        let kinds: Vec<_> =
            recent.iter().map(|it| (it.event.as_deref(), it.verb, it.what.len(), it.more)).collect();
        assert_eq!(
            kinds,
            [
                (Some("ping"), ChangeVerb::Published, 0, 0),
                (Some("campaign.updated"), ChangeVerb::Invalidated, 6, 3)
            ]
        );
        assert_eq!(recent[1].changed.as_deref(), Some("17"));
    }

    #[test]
    fn both_rings_are_bounded_and_an_own_change_is_not_told_twice() {
        let recent = Recent::default();
        let draft = || Draft::published(&Arc::from("acme"), "ping", None);
        let stamp = |stamp| Stamped { epoch: 1, stamp };
        for i in 0..2 * RECENT_CHANGES as u64 {
            recent.made(Moment::from_nanos(i), draft(), Ok(()));
            recent.stamped(0, stamp(i));
        }
        assert_eq!(recent.made.lock().len(), RECENT_CHANGES);
        let own = 2 * RECENT_CHANGES as u64 - 1;
        let now = Moment::from_nanos(1 << 30);
        recent.heard(now, 0, stamp(own), 1, false);
        recent.heard(now, 0, stamp(own + 1), 3, false);
        assert_eq!(
            recent.read(now, |_| true, 1000).len(),
            RECENT_CHANGES,
            "not before its reply can be here"
        );
        let told = recent.read(now.plus(REPLIED), |_| true, 1000);
        assert_eq!(told.len(), RECENT_CHANGES + 1);
        assert_eq!((told[0].here, told[0].more), (false, 3));
        for i in 0..2 * RECENT_HEARD as u64 {
            recent.heard(now, 1, stamp(i), 1, false);
            recent.stamped(2, stamp(i));
        }
        assert_eq!((recent.heard.lock().len(), recent.own.lock().len()), (RECENT_HEARD, RECENT_HEARD));
    }
}
