//! The mirror: the coherence state as this node has seen it, and the lease under which it may rely on it.

use super::map::{Map, Verdict};
use super::pause::{Pauses, Place};
use crate::clock::{Clock, Moment};
use crate::scope::{Change, ScopeHash, Subject};
use crate::simulation::{Mutant, is};
use crate::store::StateReply;
use crate::sync::{AtomicBool, AtomicU64, RwLock};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Notify;

/// Where a value came from: what must be presented to put it into memory. Only the mirror makes one.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Fence {
    /// Read from, or loaded under a lease of, the coherence state.
    Stamped(Stamped),
    /// Loaded while Redis was out of reach.
    Degraded(Ticket),
}

/// An epoch and the stamp up to which a value reflects every invalidation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamped {
    pub(crate) epoch: u64,
    pub(crate) stamp: u64,
}

/// The state of this node when a load without Redis began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ticket {
    /// The change counter then.
    change: u64,
    /// The untrusted period then.
    period: u64,
    /// Until when what was loaded may be served.
    pub(crate) until: Moment,
}

/// What an entry carries so that the mirror can judge it.
#[derive(Debug)]
pub(crate) struct Judged {
    fence: Fence,
    /// Whose judgement it is.
    bucket: u16,
    /// Raised whenever the entry was found valid against all that was applied then.
    stamp: AtomicU64,
    /// The change counter at which the entry was last found valid: the fast path.
    seen: AtomicU64,
    /// When it was expired, in nanoseconds of the clock; lowered before `stamp` is raised past the expiration.
    expired_at: AtomicU64,
}

impl Judged {
    /// It was expired at this moment, by what the mirror need not know.
    pub(crate) fn expired(&self, at: Moment) {
        self.expired_at.fetch_min(at.as_nanos(), Ordering::AcqRel);
    }
}

/// What a push tells beside what it says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Heard {
    /// It is the next, or was known of.
    Next,
    /// Something before it was missed: all that was stamped before is in doubt.
    Missed,
    /// The server does not know what it had told before: all that was stamped before is in doubt, and what it holds is.
    HistoryLost,
}

/// What this node knows of invalidations.
///
/// The order of steps here is the protocol (ARCHITECTURE.md, "A hit"): writers change the map first and raise the
/// change counter after it; readers look at the lease, then at the counter, then at the map.
pub(crate) struct Mirror {
    /// The bucket whose coherence state this is.
    pub(crate) bucket: u16,
    /// Raised by every change of the map.
    pub(super) change: AtomicU64,
    /// End of the coherence lease, in nanoseconds of the clock. Never ends without Redis.
    until: AtomicU64,
    /// Whether the node follows the stream: set when recovery is complete.
    trusted: AtomicBool,
    /// How often trust began; a heartbeat sent before does not count.
    trust: AtomicU64,
    pub(super) map: RwLock<Map>,
    clock: Arc<dyn Clock>,
    /// Told after every change.
    changed: Notify,
    pub(super) pauses: Pauses,
}

impl Mirror {
    /// Of a cache that no other node shares: the map is the truth, the lease never ends.
    pub(crate) fn alone(clock: Arc<dyn Clock>) -> Self {
        let mirror = Self::following(clock, 0);
        mirror.map.write().enter(1, 1, 1, 1);
        mirror.until.store(u64::MAX, Ordering::Release);
        mirror.trusted.store(true, Ordering::Release);
        mirror
    }

    /// Of a node that follows a stream: untrusted until told otherwise.
    pub(crate) fn following(clock: Arc<dyn Clock>, bucket: u16) -> Self {
        Self {
            bucket,
            change: AtomicU64::new(1),
            until: AtomicU64::new(0),
            trusted: AtomicBool::new(false),
            trust: AtomicU64::new(0),
            map: RwLock::default(),
            clock,
            changed: Notify::new(),
            pauses: Pauses::default(),
        }
    }

    fn lease_is_valid(&self) -> bool {
        self.clock.now() < Moment::from_nanos(self.until.load(Ordering::Acquire))
    }

    /// Whether this node follows the stream and its lease has not run out: only then is Redis read.
    pub(crate) fn is_good(&self) -> bool {
        self.trusted.load(Ordering::Acquire) && self.lease_is_valid()
    }

    pub(crate) fn is_trusted(&self) -> bool {
        self.trusted.load(Ordering::Acquire)
    }

    /// How long the lease still holds.
    pub(crate) fn lease_left(&self) -> Duration {
        Moment::from_nanos(self.until.load(Ordering::Acquire)).since(self.clock.now())
    }

    /// When the heartbeat was sent that renewed this lease of length `lease`; `None` before the first of a trust.
    pub(crate) fn renewed(&self, lease: Duration) -> Option<Moment> {
        let lease = u64::try_from(lease.as_nanos()).unwrap_or(u64::MAX);
        self.until.load(Ordering::Acquire).checked_sub(lease).map(Moment::from_nanos)
    }

    /// Whether this node follows the stream and has applied everything up to `at`: what is in memory, and whatever it may
    /// still join, reflects it.
    pub(crate) fn has_applied(&self, at: Stamped) -> bool {
        let map = self.map.read();
        let applied = map.is_over(at.epoch) || at.epoch == map.epoch && at.stamp <= map.applied;
        drop(map);
        applied && self.is_good()
    }

    /// Waits until [`Mirror::has_applied`], as long as this node follows the stream.
    pub(crate) async fn applied(&self, at: Stamped) {
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // Before the look: a change after it is not missed.
            changed.as_mut().enable();
            if self.has_applied(at) || !self.is_good() {
                return;
            }
            changed.await;
        }
    }

    /// The change counter: names a moment between changes.
    pub(crate) fn change(&self) -> u64 {
        self.change.load(Ordering::Acquire)
    }

    /// Whether an entry of these scopes may be served from memory now, be it as a stale one.
    pub(crate) fn serves<'a>(&self, judged: &Judged, subject: impl Into<Subject<'a>>) -> bool {
        self.standing(judged, subject).is_some()
    }

    /// Since when an entry of these scopes is stale whatever its TTL ([`Moment::FOREVER`]: it is not), if it may be served
    /// from memory now.
    pub(crate) fn standing<'a>(&self, judged: &Judged, subject: impl Into<Subject<'a>>) -> Option<Moment> {
        let subject = subject.into();
        match judged.fence {
            Fence::Stamped(stamped) => {
                let early = if is(Mutant::CounterBeforeLease) { self.change() } else { 0 };
                self.pauses.at(Place::HitBegins);
                if !self.lease_is_valid() && !is(Mutant::NoLease) {
                    return None;
                }
                self.pauses.at(Place::LeaseSeen);
                let change = if early == 0 { self.change.load(Ordering::Acquire) } else { early };
                if judged.seen.load(Ordering::Acquire) == change {
                    return Some(Moment::from_nanos(judged.expired_at.load(Ordering::Relaxed)));
                }
                self.standing_after_a_change(judged, stamped.epoch, subject, change)
            }
            Fence::Degraded(ticket) => {
                self.judge_degraded(&ticket, subject.scopes).map(|verdict| self.expired_at(verdict))
            }
        }
    }

    #[cold]
    fn standing_after_a_change(
        &self,
        judged: &Judged,
        epoch: u64,
        subject: Subject<'_>,
        change: u64,
    ) -> Option<Moment> {
        self.pauses.at(Place::CounterSeen);
        let map = self.map.read();
        let verdict = map.judge(subject, epoch, judged.stamp.load(Ordering::Acquire))?;
        if is(Mutant::StampBeforeExpiration) {
            judged.stamp.fetch_max(map.applied, Ordering::AcqRel);
        }
        // Before the stamp: whoever sees that raised sees this too.
        let late = if is(Mutant::ExpiredAtLate) { u64::MAX } else { verdict.expired_at.as_nanos() };
        let known = judged.expired_at.fetch_min(late, Ordering::AcqRel);
        if verdict.expiring {
            return Some(self.expired_at(verdict).min(Moment::from_nanos(known)));
        }
        judged.stamp.fetch_max(map.applied, Ordering::AcqRel);
        drop(map);
        self.pauses.at(Place::MapChecked);
        if is(Mutant::ExpiredAtLate) {
            judged.expired_at.fetch_min(verdict.expired_at.as_nanos(), Ordering::AcqRel);
        }
        let change = if is(Mutant::SeenAfterTheMap) { self.change() } else { change };
        judged.seen.store(change, Ordering::Release);
        Some(verdict.expired_at.min(Moment::from_nanos(known)))
    }

    fn expired_at(&self, verdict: Verdict) -> Moment {
        if verdict.expiring { verdict.expired_at.min(self.clock.now()) } else { verdict.expired_at }
    }

    fn judge_degraded(&self, ticket: &Ticket, scopes: &[ScopeHash]) -> Option<Verdict> {
        if self.is_good() || self.clock.now() >= ticket.until {
            return None;
        }
        let map = self.map.read();
        (map.period == ticket.period || is(Mutant::PeriodIgnored))
            .then(|| map.judge_since(scopes, ticket.change))
            .flatten()
    }

    /// Admission: whether a value with this fence may be put into memory, and if so what its entry carries.
    pub(crate) fn admit<'a>(&self, fence: Fence, subject: impl Into<Subject<'a>>) -> Option<Judged> {
        let subject = subject.into();
        let map = self.map.read();
        // Loaded under the lock: no change can come between the counter and the check.
        let change = self.change.load(Ordering::Acquire);
        let (stamp, verdict) = match fence {
            Fence::Stamped(at) => {
                let verdict = map.judge(subject, at.epoch, at.stamp);
                drop(map);
                (at.stamp, verdict?)
            }
            Fence::Degraded(ticket) => {
                drop(map);
                (0, self.judge_degraded(&ticket, subject.scopes)?)
            }
        };
        self.pauses.at(Place::Admitted);
        let change = if is(Mutant::SeenAfterAdmission) { self.change() } else { change };
        // While an expiration is under way, the map is to be asked at every hit.
        let seen = if verdict.expiring { 0 } else { change };
        Some(Judged {
            fence,
            bucket: self.bucket,
            stamp: AtomicU64::new(stamp),
            seen: AtomicU64::new(seen),
            expired_at: AtomicU64::new(verdict.expired_at.as_nanos()),
        })
    }

    /// The fence of what an entry holds, as of when it was last found valid.
    pub(crate) fn fence_of(&self, judged: &Judged) -> Fence {
        match judged.fence {
            Fence::Stamped(at) => {
                Fence::Stamped(Stamped { epoch: at.epoch, stamp: judged.stamp.load(Ordering::Acquire) })
            }
            degraded @ Fence::Degraded(_) => degraded,
        }
    }

    /// The fence of a load that begins now, without asking Redis: whatever was stamped up to here was announced before, so
    /// the load sees it.
    pub(crate) fn fence_alone(&self) -> Stamped {
        let map = self.map.read();
        Stamped { epoch: map.epoch, stamp: map.applied.max(map.known) }
    }

    /// The ticket of a load that begins now without Redis. `None` in good state, where nothing is kept that way.
    pub(crate) fn ticket(&self, keep: Duration) -> Option<Ticket> {
        let now = self.clock.now();
        let map = self.map.read();
        let change = self.change.load(Ordering::Acquire);
        let ticket = Ticket { change, period: map.period, until: now.plus(keep) };
        drop(map);
        (!self.is_good()).then_some(ticket)
    }

    /// Whether what was loaded under this ticket may be handed to somebody who asks now, as a fresh value.
    pub(crate) fn honours(&self, ticket: &Ticket, scopes: &[ScopeHash]) -> bool {
        self.judge_degraded(ticket, scopes).is_some_and(|verdict| verdict == Verdict::FINE)
    }

    /// Whether no scope was invalidated or expired since a moment named by [`Mirror::change`], as far as can be told.
    pub(crate) fn unchanged_since(&self, scopes: &[ScopeHash], change: u64) -> bool {
        self.map.read().judge_since(scopes, change).is_some_and(|verdict| verdict == Verdict::FINE)
    }

    /// Whether no scope was invalidated since; it may have been expired.
    pub(crate) fn valid_since(&self, scopes: &[ScopeHash], change: u64) -> bool {
        self.map.read().judge_since(scopes, change).is_some()
    }

    /// Invalidates in a cache that no other node shares; returns the stamp.
    pub(crate) fn stamp_alone<'a>(&self, what: impl Into<Change<'a>>) -> Stamped {
        let what = what.into();
        let mut map = self.map.write();
        let (epoch, stamp) = (map.epoch, map.applied + 1);
        let change = self.change.load(Ordering::Acquire) + 1;
        raise(&mut map, what, stamp, change, self.clock.now());
        map.applied = stamp;
        self.change.store(change, Ordering::Release);
        Stamped { epoch, stamp }
    }

    /// An own invalidation begins: nothing of these scopes is served until its reply is here.
    pub(crate) fn block(&self, scopes: &[ScopeHash]) {
        let now = self.clock.now();
        if !is(Mutant::NoBlock) {
            self.changing(|map, change| scopes.iter().for_each(|scope| map.block(*scope, change, now)));
        }
    }

    /// Takes one block back. The stamp that replaces it is in the map already.
    pub(crate) fn unblock(&self, scopes: &[ScopeHash]) {
        self.changing(|map, _| scopes.iter().for_each(|scope| map.unblock(*scope)));
    }

    /// The reply of an own invalidation: its stamp takes the place of the block, in one step. `false`, and the block
    /// stays: it happened in another epoch than the one that this node follows.
    pub(crate) fn settle<'a>(&self, what: impl Into<Change<'a>>, at: Stamped) -> bool {
        let (what, now) = (what.into(), self.clock.now());
        self.changing(|map, change| {
            let settled = at.epoch == map.epoch;
            if settled {
                if !is(Mutant::ReplyNotApplied) {
                    raise(map, what, at.stamp, change, now);
                }
                what.scopes.iter().for_each(|scope| map.unblock(*scope));
            }
            settled
        })
    }

    /// [`Mirror::settle`] of a reply over the link that this node follows: it may run ahead of the stream, and bring the
    /// first news of an epoch.
    pub(crate) fn settle_ahead<'a>(&self, what: impl Into<Change<'a>>, at: Stamped) -> bool {
        self.changing(|map, change| {
            if at.epoch != map.epoch && !map.is_over(at.epoch) {
                map.enter(at.epoch, at.stamp, at.stamp, change);
            }
        });
        self.settle(what, at)
    }

    /// A push.
    pub(crate) fn apply<'a>(&self, epoch: u64, prev: u64, stamp: u64, what: impl Into<Change<'a>>) -> Heard {
        let (what, now) = (what.into(), self.clock.now());
        self.changing(|map, change| {
            if map.is_over(epoch) {
                return Heard::Next;
            }
            let heard = match epoch == map.epoch {
                // Behind the head (a resync overtook it): the map still takes it, the head does not go back.
                true if stamp <= map.applied || prev == map.applied => Heard::Next,
                true if prev < map.applied => Heard::HistoryLost,
                _ => Heard::Missed,
            };
            match heard {
                Heard::Next => {}
                _ if is(Mutant::GapsIgnored) => {}
                Heard::HistoryLost if !is(Mutant::LostHistoryGoesOn) => {
                    map.enter(epoch, stamp, stamp, change)
                }
                _ => map.enter(epoch, stamp, prev, change),
            }
            raise(map, what, stamp, change, now);
            map.applied = map.applied.max(stamp);
            heard
        })
    }

    /// A new epoch, or news of the head of the current one: whatever is stamped before it and not applied is in doubt.
    /// Returns whether anything was.
    pub(crate) fn resync(&self, epoch: u64, head: u64) -> bool {
        self.changing(|map, change| {
            // A head behind ours is older news: the pushes after it came first, without a gap.
            let news = !map.is_over(epoch) && (epoch != map.epoch || head > map.applied);
            if news && !is(Mutant::HeadsIgnored) {
                map.enter(epoch, head, head, change);
            }
            news
        })
    }

    /// Recovery is complete. The lease begins with a heartbeat sent after this. Returns the number of this trust.
    pub(crate) fn begin_trust(&self, state: StateReply) -> u64 {
        self.changing(|map, change| {
            if map.epoch != state.epoch || map.applied != state.head {
                map.enter(state.epoch, state.head, state.head, change);
            }
            map.period += u64::from(!is(Mutant::PeriodKeptAtTrust));
            self.until.store(0, Ordering::Release);
            self.trusted.store(true, Ordering::Release);
        });
        self.trust.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// The stream or the server is in doubt: what is in memory is served until the lease ends, Redis not at all.
    /// Returns whether the node had followed the stream.
    pub(crate) fn end_trust(&self) -> bool {
        self.trust.fetch_add(1, Ordering::AcqRel);
        self.trusted.swap(false, Ordering::AcqRel)
    }

    /// After [`Mirror::end_trust`], where the server has lost what it had told of: what was read there of late may be of the
    /// past, so nothing that is in memory is served before the lease begins anew.
    pub(crate) fn end_lease(&self) {
        let _none_begins = self.map.write();
        if !is(Mutant::LeaseOfThePast) {
            self.until.store(0, Ordering::Release);
        }
    }

    /// Whether this epoch was left: the stream has brought a later one.
    pub(crate) fn has_left(&self, epoch: u64) -> bool {
        self.map.read().is_over(epoch)
    }

    /// The reply of a heartbeat that was sent at `sent` under `trust`; every push before it has been applied. `missed` is
    /// called if pushes had been missed, before the lease is renewed: nobody may join a flight from before them under it.
    pub(crate) fn renew(
        &self,
        trust: u64,
        sent: Moment,
        state: StateReply,
        lease: Duration,
        missed: impl FnOnce(),
    ) {
        if self.has_left(state.epoch) {
            return;
        }
        if self.resync(state.epoch, state.head) {
            missed();
        }
        let end = sent.plus(lease);
        let before = {
            // The lease may be ended meanwhile, and is not to be begun by this then.
            let _none_ends = self.map.read();
            if !self.is_trusted() || self.trust.load(Ordering::Acquire) != trust {
                return;
            }
            Moment::from_nanos(self.until.fetch_max(end.as_nanos(), Ordering::AcqRel))
        };
        // Asked after the lease was renewed: a lapse between a look and the renewal would go unnoticed.
        let now = self.clock.now();
        if before <= now && now < end {
            self.changing(|map, _| map.period += u64::from(!is(Mutant::PeriodKeptAtLapse)));
        }
    }

    /// Whether a value in Redis of this version is spared by the rules of its tenant, the last of which was stamped
    /// `newest`, after it.
    pub(crate) fn rules_spare(
        &self,
        scope: &ScopeHash,
        key: &str,
        epoch: u64,
        ver: u64,
        newest: u64,
    ) -> bool {
        self.map.read().rules_spare(scope, key, epoch, ver, newest)
    }

    /// The map first, the counter after it, both before the lock is let go.
    fn changing<R>(&self, change_map: impl FnOnce(&mut Map, u64) -> R) -> R {
        self.pauses.at(Place::Changing);
        let mut map = self.map.write();
        let change = self.change.load(Ordering::Acquire) + 1;
        let result = change_map(&mut map, change);
        self.change.store(change, Ordering::Release);
        drop(map);
        self.changed.notify_waiters();
        result
    }

    /// Whether the map has outgrown its bound: time for [`Mirror::prune`].
    pub(crate) fn is_full(&self) -> bool {
        self.map.read().is_full()
    }

    /// The same for those who would ask often: not again while that which could not be forgotten last time is most of it.
    pub(crate) fn has_grown_full(&self) -> bool {
        self.map.read().has_grown_full()
    }

    /// Keeps the map below twice its bound, at no more than a walk through the map: entries in memory that the forgotten half
    /// could concern grow cold, since nobody looks at them before.
    pub(crate) fn forget_if_overfull(&self) {
        if self.map.read().is_overfull() {
            self.prune(|_| {});
        }
    }

    /// Forgets the older half of the map. `sweep` is given a function that re-stamps an entry that is still valid, and
    /// calls it for all of memory: what it does not reach grows cold, never stale.
    pub(crate) fn prune(&self, sweep: impl FnOnce(&dyn Fn(&Judged, Subject<'_>))) {
        let (bound, applied, epoch) = {
            let map = self.map.read();
            (map.prune_bound(), map.applied, map.epoch)
        };
        sweep(&|judged, subject| {
            let Fence::Stamped(stamped) = judged.fence else { return };
            // Stamps of one epoch say nothing in another, nor those of one bucket.
            if judged.bucket != self.bucket || stamped.epoch != epoch {
                return;
            }
            let verdict = self.map.read().judge(subject, epoch, judged.stamp.load(Ordering::Acquire));
            if let Some(verdict) = verdict.filter(|verdict| !verdict.expiring) {
                self.pauses.at(Place::Swept);
                judged.expired_at.fetch_min(verdict.expired_at.as_nanos(), Ordering::AcqRel);
                // `applied` of before the check: what was applied since is still in the map.
                let applied = if is(Mutant::SweptAfter) { self.map.read().applied } else { applied };
                judged.stamp.fetch_max(applied, Ordering::AcqRel);
            }
        });
        self.pauses.at(Place::Sweeping);
        let mut map = self.map.write();
        if map.epoch == epoch {
            map.prune(bound);
        }
    }

    /// The epoch that this node follows; `None` before the first.
    pub(crate) fn epoch(&self) -> Option<u64> {
        Some(self.map.read().epoch).filter(|epoch| *epoch > 0)
    }

    /// How often a new epoch began while this node was there.
    pub(crate) fn epoch_changes(&self) -> u64 {
        self.map.read().epoch_changes
    }

    /// Keeps everybody away from the map, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Sized + '_ {
        self.map.write()
    }

    /// Keeps those away who would change the map.
    #[cfg(test)]
    pub(crate) fn lock_shared(&self) -> impl Sized + '_ {
        self.map.read()
    }

    /// How many scopes are blocked.
    #[cfg(any(test, feature = "simulation"))]
    pub(crate) fn blocked(&self) -> usize {
        self.map.read().blocked()
    }

    /// The last stamp that this node knows of. Whoever is asked after this, and has lost nothing, knows it, too.
    pub(crate) fn known(&self) -> Stamped {
        let map = self.map.read();
        Stamped { epoch: map.epoch, stamp: map.known.max(map.applied) }
    }

    /// Whether what was made at `ver` has been invalidated since, by something that was [known](Mirror::known) then.
    pub(crate) fn has_ended(&self, subject: Subject<'_>, ver: u64, known: Stamped) -> bool {
        let map = self.map.read();
        map.epoch == known.epoch && map.has_ended(subject, ver, known.stamp)
    }

    /// Whether this scope was invalidated not too long ago.
    pub(crate) fn knows(&self, scope: &ScopeHash) -> bool {
        self.map.read().knows(scope)
    }

    /// How many scopes are remembered.
    pub(crate) fn scopes_remembered(&self) -> usize {
        self.map.read().len()
    }
}

/// Records an invalidation of the current epoch.
fn raise(map: &mut Map, what: Change<'_>, stamp: u64, change: u64, now: Moment) {
    for glob in what.globs {
        map.rule(glob, stamp);
    }
    for scope in what.scopes {
        map.raise(*scope, stamp, change, now);
    }
}
