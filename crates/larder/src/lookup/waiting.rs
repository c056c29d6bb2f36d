//! Waiting for a flight within the time-outs of a policy, and what is served where nothing came of it.

use super::{Answer, answer, answer_landed};
use crate::engine::Engine;
use crate::error::{Error, ErrorKind};
use crate::flight::{Flight, Landing};
use crate::freshness::{Freshness, freshness};
use crate::l1::{FullKey, KeyRef};
use crate::policy::{Policy, Tiers};
use crate::status::Outcome;
use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};

/// How waiting for a flight ended.
pub(super) enum Waited<T> {
    /// `None`: it was dropped on the way.
    Landed(Option<Landing<T>>),
    /// This is served instead. The flight goes on.
    Instead(Answer<T>),
    /// It takes too long. The flight goes on.
    TooLong(Error),
}

impl Engine {
    /// Waits for a flight as long as the policy allows a lookup that began at `began`: up to the soft time-out if there
    /// is something to serve instead (and this node has caught up with what the lookup must reflect), up to the hard one
    /// in any case.
    pub(super) async fn wait_for<T: Value>(
        self: &Arc<Self>,
        flight: &Flight<T>,
        key: &FullKey,
        policy: &Policy,
        (began, caught_up): (Instant, bool),
    ) -> Waited<T> {
        let mut landing = std::pin::pin!(flight.landing());
        if let Some(limit) = policy.soft_timeout.filter(|_| caught_up) {
            if let Ok(landing) = timeout_at(began + limit, &mut landing).await {
                return Waited::Landed(landing);
            }
            if let Some(answer) = self.instead(key, policy).await {
                return Waited::Instead(answer);
            }
        }
        match policy.hard_timeout {
            None => Waited::Landed(landing.await),
            Some(limit) => match timeout_at(began + limit, landing).await {
                Ok(landing) => Waited::Landed(landing),
                Err(_) => {
                    let why = format!("the loader did not end within {limit:?}; it goes on behind");
                    Waited::TooLong(Error::new(ErrorKind::LoadTimeout, why))
                }
            },
        }
    }

    /// What may be served where a load failed or takes too long, and is then served for a while without waiting for
    /// another. Asked again: what was valid before the load may have been invalidated during it.
    async fn instead<T: Value>(self: &Arc<Self>, key: &FullKey, policy: &Policy) -> Option<Answer<T>> {
        if policy.tiers == Tiers::Redis {
            // On the heap: what is rarely needed makes the future of every lookup no larger.
            return Box::pin(self.instead_from_redis(key, policy)).await;
        }
        let (entry, expiry) = self.valid_entry(key.borrow())?;
        let now = self.now();
        let outcome = match freshness(expiry, Engine::windows(policy), now) {
            Freshness::Fresh => Outcome::Hit,
            Freshness::StaleUsable | Freshness::StaleIfError => {
                entry.retry_not_before(now.plus(policy.retry_after));
                Outcome::Stale
            }
            Freshness::Expired => return None,
        };
        let answer = answer::<T>(&entry, outcome, now)?;
        entry.count(&answer.1);
        Some(answer)
    }

    async fn instead_from_redis<T: Value>(
        self: &Arc<Self>,
        key: &FullKey,
        policy: &Policy,
    ) -> Option<Answer<T>> {
        let stale = policy.clone().eager_refresh(0.0).stale_while_revalidate(policy.stale_window());
        let landed = self.read_only::<T>(std::slice::from_ref(key), &stale).await.pop()??;
        let counters = self.stats.counters(&key.tenant, key.key.first_segment());
        answer_landed(Ok(landed), false, self.now(), &counters).ok()
    }

    /// A load failed: the stale value, if there is one that may still be served. What this node knows may be older than
    /// what the lookup must reflect, if it has not `caught_up`.
    pub(super) async fn fall_back<T: Value>(
        self: &Arc<Self>,
        key: &FullKey,
        policy: &Policy,
        error: Error,
        caught_up: bool,
    ) -> Result<Answer<T>, Error> {
        let failed_load = matches!(
            error.kind(),
            ErrorKind::Load
                | ErrorKind::LoadPanicked
                | ErrorKind::LoadTimeout
                | ErrorKind::CoolingDown
                | ErrorKind::TooManyLoads
        );
        if failed_load
            && caught_up
            && let Some(answer) = self.instead(key, policy).await
        {
            return Ok(answer);
        }
        self.stats.counters(&key.tenant, key.key.first_segment()).count_miss();
        self.l1.note(key.borrow(), Outcome::Miss);
        Err(error)
    }

    /// Loads again behind a value that is about to expire, unless more than `below` of its fresh time is left by then.
    #[cold]
    pub(super) fn load_ahead<T: Value>(
        self: &Arc<Self>,
        key: KeyRef<'_>,
        tenant: &Arc<str>,
        policy: &Policy,
        below: Duration,
        loader: Box<dyn crate::loader::Loader<T>>,
    ) {
        if policy.check(self.options.load_timeout).is_err() {
            return;
        }
        let full = FullKey { tenant: Arc::clone(tenant), key: key.key.clone() };
        let mut loader = Some(loader);
        let mut loader = move || loader.take().expect("one job for one key");
        self.refresh(std::iter::once(&full), policy, Some(below), &mut loader);
    }
}
