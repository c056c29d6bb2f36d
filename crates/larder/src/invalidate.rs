//! An invalidation: here at once, then in Redis, which tells the other nodes.

use crate::acks::Unacknowledged;
use crate::coherence::Stamped;
use crate::engine::Engine;
use crate::error::Error;
use crate::journal::Ticket;
use crate::l1::KeyRef;
use crate::recent;
use crate::remote::Remote;
use crate::scope::{Covered, ScopeHash, Selection};
use crate::simulation::{Mutant, is};
use crate::stamp::Stamp;
use crate::store::{EntryName, Holders, InvalidateReply, InvalidateRequest, Link, StoreError};
use crate::sync;
use futures_util::future::{BoxFuture, join_all};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tracing::Instrument;

/// How long one attempt may take; it is repeated until [`Engine::defer_after`].
pub(crate) const ATTEMPT: Duration = Duration::from_millis(500);

/// When an invalidation is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Until {
    /// Redis has it, and tells the others.
    Told,
    /// No node that holds a lease serves the old values any more.
    Applied,
    /// Redis has it; who asked waits for the others by itself.
    Watched,
}

/// What came of an invalidation in one bucket.
type Told = (Stamp, Option<Unacknowledged>);

/// When an invalidation is in force on all nodes.
pub(crate) struct Applied(Vec<Unacknowledged>);

impl Applied {
    /// Waits for it.
    pub(crate) async fn everywhere(self) {
        // All began at the same time: one after the other takes as long as the longest.
        for one in self.0 {
            one.applied().await;
        }
    }
}

/// What becomes of the values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// They are gone.
    Invalidate,
    /// They are stale.
    Expire,
}

/// An invalidation, from [`Tenant::invalidate`](crate::Tenant::invalidate) or
/// [`Cache::invalidate`](crate::Cache::invalidate). Await it: nothing happens before.
#[must_use = "nothing is invalidated until this is awaited"]
pub struct Invalidation {
    /// What each bucket is told. What is wrong is said when it is awaited.
    parts: Result<Vec<(Arc<Engine>, Selection)>, Error>,
    tenant: Option<Arc<str>>,
    kind: Kind,
    until: Until,
    /// What people are told of it.
    told: recent::Told,
}

impl Invalidation {
    pub(crate) fn new(tenant: Option<Arc<str>>, parts: Result<Vec<(Arc<Engine>, Selection)>, Error>) -> Self {
        Self { parts, tenant, kind: Kind::Invalidate, until: Until::Told, told: recent::Told::default() }
    }

    /// Expires instead: the values are stale from now on, as if their TTL had just ended, and not gone. Lookups load again;
    /// policies with [`stale_while_revalidate`](crate::Policy::stale_while_revalidate) or
    /// [`stale_if_error`](crate::Policy::stale_if_error) serve the old value as long as these allow, at most until the end
    /// that it had before. A loader sees it as [`LoadContext::previous`](crate::LoadContext::previous). Everything that is
    /// said of invalidations holds for expirations: what it covers and costs, when it is in force where, and that a load
    /// that began before leaves nothing fresh behind.
    pub fn expire(mut self) -> Self {
        self.kind = Kind::Expire;
        self
    }

    /// Waits until every node has applied it: once `Ok` is returned, no node that holds a coherence lease serves what was
    /// cached before. (Without this that is so within one lease, typically within a millisecond. A node that is cut off
    /// from Redis holds no lease after at most one; what it has loaded by itself it may serve for `outage_memory_ttl`.)
    ///
    /// Costs one more round trip to the slowest node, and at worst the rest of a lease (1 s by default) where a node was
    /// paused or killed.
    pub fn acked(mut self) -> Self {
        self.until = Until::Applied;
        self
    }
}

impl IntoFuture for Invalidation {
    type Output = Result<Stamp, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move { self.carry_out().await.map(|(stamp, _)| stamp) })
    }
}

impl Invalidation {
    /// An event has caused it.
    pub(crate) fn caused_by(mut self, kind: &str, changed: Option<&str>) -> Self {
        self.told = recent::Told::Caused(kind.to_owned(), changed.map(str::to_owned));
        self
    }

    /// It was made before, and is made once more.
    pub(crate) fn again(mut self) -> Self {
        self.told = recent::Told::Nothing;
        self
    }

    /// Tells Redis, and leaves it to the caller to wait for the other nodes.
    pub(crate) async fn watched(mut self) -> Result<(Stamp, Applied), Error> {
        self.until = Until::Watched;
        self.carry_out().await
    }

    async fn carry_out(self) -> Result<(Stamp, Applied), Error> {
        let Self { parts, tenant, kind, until, told } = self;
        let mut parts = parts?;
        let draft = recent::Draft::of(tenant.as_ref(), &parts, kind == Kind::Expire, told);
        let any = parts.first().map(|(engine, _)| Arc::clone(engine));
        let begun = any.map(|engine| Begun { engine, tenant: tenant.clone(), draft: Some(draft) });
        let outcome = match (parts.pop(), parts.is_empty()) {
            (Some((engine, selection)), true) => {
                let told = engine.invalidate(tenant.clone(), selection, kind, until).await;
                told.map(|(stamp, unacknowledged)| (stamp, Applied(unacknowledged.into_iter().collect())))
            }
            (last, _) => {
                let all = parts.into_iter().chain(last);
                let told = all.map(|(engine, selection)| {
                    let tenant = tenant.clone();
                    async move { engine.invalidate(tenant, selection, kind, until).await }
                });
                together(join_all(told).await)
            }
        };
        if let Some(begun) = begun {
            begun.ended(outcome.as_ref().map(|_| ()));
        }
        outcome
    }
}

/// An invalidation that has begun. It is counted and told of once: when it has come back, or when its caller goes, who leaves
/// it to be carried through.
struct Begun {
    engine: Arc<Engine>,
    tenant: Option<Arc<str>>,
    /// Taken when it was counted. Nothing within: it was made before, and counted then.
    draft: Option<Option<recent::Draft>>,
}

impl Begun {
    fn ended(mut self, outcome: Result<(), &Error>) {
        if outcome.is_err_and(|error| error.ticket().is_none()) {
            self.draft = None;
        }
        self.count(outcome);
    }

    fn count(&mut self, outcome: Result<(), &Error>) {
        let Some(Some(draft)) = self.draft.take() else { return };
        self.engine.count_invalidation(self.tenant.as_deref());
        self.engine.stats.recent.made(self.engine.now(), draft, outcome);
    }
}

impl Drop for Begun {
    fn drop(&mut self) {
        self.count(Ok(()));
    }
}

/// The outcome of an invalidation in several buckets.
fn together(outcomes: Vec<Result<Told, Error>>) -> Result<(Stamp, Applied), Error> {
    let (mut told, mut deferred, mut unacknowledged) = (Stamp::default(), Vec::new(), Vec::new());
    for outcome in outcomes {
        match outcome {
            Ok((stamp, more)) => {
                told.and(stamp);
                unacknowledged.extend(more);
            }
            Err(error) => match error.ticket() {
                Some(_) if is(Mutant::PartlyDeferredIsDone) => {}
                Some(ticket) => deferred.push(ticket.clone()),
                None => return Err(error),
            },
        }
    }
    match deferred.is_empty() {
        true => Ok((told, Applied(unacknowledged))),
        false => Err(Error::deferred(OUT_OF_REACH, Ticket::all(deferred, told))),
    }
}

const OUT_OF_REACH: &str =
    "Redis is out of reach: the invalidation is in force on this node and is delivered when Redis is back";

impl Engine {
    /// Invalidates or expires. From its return on, this node serves nothing of before, also where the result is `Deferred`.
    async fn invalidate(
        self: &Arc<Self>,
        tenant: Option<Arc<str>>,
        selection: Selection,
        kind: Kind,
        until: Until,
    ) -> Result<Told, Error> {
        self.check_open()?;
        let covered = Covered::of(tenant.as_deref(), selection)?;
        let covered = match kind {
            Kind::Invalidate => covered,
            Kind::Expire => covered.softly(),
        };
        let covered = match tenant.as_deref() {
            Some(tenant) => self.within_quota(tenant, kind, covered),
            None => covered,
        };
        let result = match &self.remote {
            None => Ok((self.invalidate_alone(&covered), None)),
            Some(remote) => {
                // In a task of its own: a caller that goes away half-way leaves no block behind.
                let (engine, remote) = (Arc::clone(self), Arc::clone(remote));
                let blocked = Blocked::new(self, &covered);
                let work =
                    async move { engine.invalidate_shared(&remote, blocked, covered, tenant, until).await };
                let work = work.in_current_span();
                sync::spawn(&self.tasks, work).await.unwrap_or_else(|_| Err(crate::lookup::closed()))
            }
        };
        self.prune_if_grown_full();
        result
    }

    /// The same, or wider: a tenant that brings too many new scopes into the coherence state gets its own instead. Keys bring
    /// theirs where they are expired.
    fn within_quota(&self, tenant: &str, kind: Kind, mut covered: Covered) -> Covered {
        let new = covered.scopes.iter().filter(|scope| !self.mirror.knows(scope)).count();
        let account = self.stats.accounts.of(tenant);
        if new > 0 && !account.quota.may_bring_scopes(new, self.now()) {
            let whole = ScopeHash::of_tenant(tenant);
            covered.scopes = vec![if kind == Kind::Expire { whole.soft() } else { whole }];
            covered.globs.clear();
        }
        covered
    }

    fn count_invalidation(&self, tenant: Option<&str>) {
        self.stats.invalidations.fetch_add(1, Ordering::Relaxed);
        if let Some(tenant) = tenant {
            self.stats.accounts.of(tenant).count_invalidation();
        }
    }

    fn invalidate_alone(&self, covered: &Covered) -> Stamp {
        let scopes = covered.all();
        let at = self.mirror.stamp_alone(covered.change(&scopes));
        self.drop_entries(covered);
        self.flights.detach(&scopes);
        tell(covered);
        Stamp::new(self.mirror.bucket, at)
    }

    async fn invalidate_shared(
        &self,
        remote: &Arc<Remote>,
        blocked: Blocked,
        covered: Covered,
        tenant: Option<Arc<str>>,
        until: Until,
    ) -> Result<Told, Error> {
        let underway = remote.invalidating();
        let mut acks = (until != Until::Told).then(|| remote.expect_acks());
        self.drop_entries(&covered);
        self.flights.detach(&blocked.scopes);
        let started = self.now();
        // Deferring sooner than others can notice the silence would hide it from them; a silence that has lasted long
        // enough need not be waited for again.
        let patience = self.defer_after().saturating_sub(remote.silence());
        loop {
            let left = patience.saturating_sub(self.now().since(started));
            let within = left.clamp(Duration::from_millis(1), ATTEMPT);
            let done = attempt(remote, &covered, acks.as_ref().map(|acks| acks.id), within).await;
            // A reply of a history that this node has left does not count: it is done again in the one that it follows.
            if let Some((link, at, holders)) = done
                && remote.settle(&link, covered.change(&blocked.scopes), at)
            {
                self.flights.detach(&blocked.scopes);
                self.stats.recent.stamped(self.mirror.bucket, at);
                tell(&covered);
                drop(underway);
                let acks = acks.take().filter(|_| !is(Mutant::NobodyAcks));
                let mut unacknowledged = acks.map(|acks| acks.of_all(holders, self.options.lease));
                if until == Until::Applied
                    && let Some(unacknowledged) = unacknowledged.take()
                {
                    unacknowledged.applied().await;
                }
                return Ok((Stamp::new(self.mirror.bucket, at), unacknowledged));
            }
            let left = patience.saturating_sub(self.now().since(started));
            if left.is_zero() {
                break;
            }
            let pause = Duration::from_millis(25).min(left);
            let mut state = remote.state.subscribe();
            let _ = tokio::time::timeout(pause, state.changed()).await;
        }
        let scopes = covered.all();
        let ticket = blocked.defer(remote, covered, tenant.as_deref());
        drop(underway);
        self.flights.detach(&scopes);
        self.stats.deferred.fetch_add(1, Ordering::Relaxed);
        Err(Error::deferred(OUT_OF_REACH, ticket))
    }

    /// How long an invalidation is tried before it is deferred: longer than a lease, so that an outage that all nodes
    /// see is marked in Redis before anybody relies on Redis again.
    fn defer_after(&self) -> Duration {
        if is(Mutant::DeferredTooSoon) { Duration::from_millis(1) } else { self.options.lease.mul_f64(1.5) }
    }

    fn drop_entries(&self, covered: &Covered) {
        for (tenant, key, _) in &covered.keys {
            self.l1.remove(KeyRef { tenant, key });
        }
    }
}

fn tell(covered: &Covered) {
    let first = covered.keys.first().map(|(tenant, key, _)| KeyRef { tenant, key });
    crate::log::invalidated(covered.scopes.len(), covered.keys.len(), first);
}

/// One attempt to tell Redis.
async fn attempt(
    remote: &Arc<Remote>,
    covered: &Covered,
    ack: Option<u64>,
    within: Duration,
) -> Option<(Arc<dyn Link>, Stamped, Holders)> {
    let link = remote.link()?;
    let keys: Vec<(EntryName<'_>, ScopeHash)> = covered
        .keys
        .iter()
        .map(|(tenant, key, scope)| (EntryName { tenant, key: key.as_str() }, *scope))
        .collect();
    let what = InvalidateRequest { scopes: &covered.scopes, keys: &keys, globs: &covered.globs, ack };
    let reply: Result<InvalidateReply, StoreError> = link.invalidate(what, within).await;
    remote.note(&link, &reply);
    match reply {
        Ok(InvalidateReply::Done { epoch, stamp, holders }) => {
            Some((link, Stamped { epoch, stamp }, holders))
        }
        Ok(InvalidateReply::Recover) => {
            remote.lose_link(&link, "the coherence state is gone");
            None
        }
        Err(_) => None,
    }
}

/// Scopes that this node serves nothing of, until settled or made good. If neither happens (the task was dropped on
/// shutdown) the block stays: safe, and the process is about to end.
struct Blocked {
    engine: Arc<Engine>,
    scopes: Vec<ScopeHash>,
}

impl Blocked {
    fn new(engine: &Arc<Engine>, covered: &Covered) -> Self {
        let scopes = covered.all();
        engine.mirror.block(&scopes);
        Self { engine: Arc::clone(engine), scopes }
    }

    fn defer(self, remote: &Remote, covered: Covered, tenant: Option<&str>) -> Ticket {
        // Raises the change counter once more: what was loaded while we tried is not kept either.
        self.engine.mirror.block(&self.scopes);
        self.engine.mirror.unblock(&self.scopes);
        remote.defer(covered, tenant)
    }
}
