//! The lease: who loads, and who waits for whom.

use super::{Granted, Job, Pending, all_corrupt};
use crate::error::{Error, ErrorKind};
use crate::l1::FullKey;
use crate::remote::{Remote, WakeUp, random_name, random_part};
use crate::scope::ScopeHash;
use crate::store::{
    EntryName, InvalidateRequest, LeaseReply, LeaseRequest, Link, StoreError, StoreErrorKind,
};
use crate::sync;
use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;

/// By how much more fresh time Redis may see on a value than this node, whose estimate of its clock is never too early.
const CLOCKS_DIFFER: Duration = Duration::from_millis(50);

/// The answers to a request for leases.
pub(super) struct Leased<T: Value> {
    /// To be loaded here.
    pub(super) granted: Vec<Granted<T>>,
    /// Loaded elsewhere just now.
    pub(super) waiting: Vec<Pending<T>>,
    /// For how long it is certain that those who load them live.
    pub(super) certain: Option<Duration>,
    /// To be read again at once.
    pub(super) again: Vec<Pending<T>>,
    /// To be loaded here without storing it in Redis.
    pub(super) refused: Vec<Pending<T>>,
}

impl<T: Value> Default for Leased<T> {
    fn default() -> Self {
        Self { granted: vec![], waiting: vec![], certain: None, again: vec![], refused: vec![] }
    }
}

impl<T: Value> Job<T> {
    /// Asks for the right to load each key. `Err`: Redis cannot be relied on.
    pub(super) async fn lease(
        &mut self,
        remote: &Arc<Remote>,
        link: &Arc<dyn Link>,
        pending: Vec<Pending<T>>,
    ) -> Result<Leased<T>, Vec<Pending<T>>> {
        if pending.iter().any(|one| one.corrupt) && self.drop_corrupt(remote, link, &pending).await.is_err() {
            return Err(pending);
        }
        if self.budget.is_zero() {
            return Err(pending);
        }
        let tokens: Vec<String> = pending.iter().map(|_| random_name()).collect();
        let lease = self.lease_time();
        let deadline_us = remote
            .server_us(self.engine.now())
            .checked_add(u64::try_from(self.budget.as_micros()).unwrap_or(u64::MAX));
        let reply = {
            let asks: Vec<LeaseRequest<'_>> = pending
                .iter()
                .zip(&tokens)
                .map(|(one, token)| LeaseRequest {
                    entry: one.name(),
                    token,
                    lease,
                    refresh_below: one.refresh_below.map(|below| below.saturating_add(CLOCKS_DIFFER)),
                    deadline_us,
                    key_scope: one.scopes.key(),
                    scopes: one.scopes.shared(),
                })
                .collect();
            self.call(remote, link, link.lease(&asks, self.budget)).await
        };
        let answers = match reply {
            Ok(answers) if !answers.contains(&LeaseReply::Recover) => answers,
            other => {
                // Some may have been granted all the same, and then nobody would know.
                let held = |(one, token): (&Pending<T>, &String)| Held::new(one, token);
                self.give_back(remote, pending.iter().zip(&tokens).map(held).collect(), Duration::ZERO);
                return match other {
                    Err(error) if error.kind == StoreErrorKind::Protocol => {
                        Ok(Leased { again: all_corrupt(pending), ..Leased::default() })
                    }
                    Err(_) => Err(pending),
                    Ok(_) => {
                        remote.lose_link(link, "the coherence state is gone");
                        Err(pending)
                    }
                };
            }
        };
        let mut leased = Leased::default();
        for ((pending, token), answer) in pending.into_iter().zip(tokens).zip(answers) {
            match answer {
                LeaseReply::Granted { epoch, head } => {
                    leased.granted.push(Granted { pending, token, epoch, ver: head });
                }
                LeaseReply::Wait(certain) => {
                    leased.waiting.push(pending);
                    leased.certain = Some(leased.certain.map_or(certain, |other| other.min(certain)));
                }
                LeaseReply::Retry => leased.again.push(pending),
                // What is given needs no load, so that one failed is no reason to fail.
                LeaseReply::Failed(_) if self.loader.made_at().is_some() => leased.refused.push(pending),
                LeaseReply::Failed(left) => self.land_cooling(&pending, left),
                LeaseReply::Late | LeaseReply::Full | LeaseReply::Recover => {
                    leased.refused.push(pending);
                }
            }
        }
        Ok(leased)
    }

    /// A load of it failed a moment ago, on this node or another: it is not tried again for a while.
    fn land_cooling(&self, one: &Pending<T>, left: Duration) {
        let why = "a load of this key failed a moment ago and is not tried again yet";
        let error = Error::new(ErrorKind::CoolingDown, why);
        self.remember_failure(one, left, &error);
        one.land(Err(error));
    }

    /// Deletes what is not ours under our keys, of whatever type it is.
    async fn drop_corrupt(
        &mut self,
        remote: &Arc<Remote>,
        link: &Arc<dyn Link>,
        pending: &[Pending<T>],
    ) -> Result<(), StoreError> {
        let keys: Vec<_> =
            pending.iter().filter(|one| one.corrupt).map(|one| (one.name(), one.scopes.key())).collect();
        let what = InvalidateRequest { scopes: &[], keys: &keys, globs: &[], ack: None };
        self.call(remote, link, link.invalidate(what, self.budget)).await.map(drop)
    }

    /// Waits until a load elsewhere ends, or its node may be dead. Returns whether one has ended.
    pub(super) async fn wait(&mut self, leased: &mut Leased<T>, wakes: &[WakeUp]) -> bool {
        let waiting = &mut leased.waiting;
        if waiting.is_empty() {
            return false;
        }
        let limit = self.timeout();
        if self.waited >= limit {
            let error = Error::new(ErrorKind::LoadTimeout, "another node's load did not end in time");
            waiting.drain(..).for_each(|one| self.land_failed(&one, &error));
            return false;
        }
        let (began, lease) = (self.engine.now(), self.engine.options.lease);
        // Spread over a tenth of a lease, so that not all who wait look at once.
        let certain = leased.certain.unwrap_or(lease).min(lease);
        let longest = certain.saturating_add(lease.mul_f64(0.1 * random_part())).min(limit - self.waited);
        let woken = wakes.iter().map(|wake| Box::pin(wake.woken()));
        let ended = tokio::time::timeout(longest, futures_util::future::select_all(woken)).await.is_ok();
        self.waited += self.engine.now().since(began);
        // Waiting for another's load is not time spent on Redis.
        self.budget = self.engine.options.read_timeout;
        ended
    }

    /// Gives leases back, behind: nobody waits for it. For `cooldown` nobody is granted them. Over the next link if need be, since nobody else loads these keys
    /// until their leases are back or have run out.
    pub(super) fn give_back(&self, remote: &Arc<Remote>, mut held: Vec<Held>, cooldown: Duration) {
        let (engine, remote) = (Arc::clone(&self.engine), Arc::clone(remote));
        let (within, run_out) = (engine.options.read_timeout, self.lease_time());
        sync::spawn(&self.engine.tasks, async move {
            let mut state = remote.state.subscribe();
            let give = async {
                loop {
                    while let (Some(one), Some(link)) = (held.last(), remote.link()) {
                        let entry = EntryName { tenant: &one.key.tenant, key: one.key.key.as_str() };
                        let outcome = link.release(entry, one.scope, &one.token, cooldown, within).await;
                        remote.note(&link, &outcome);
                        if outcome.is_err() {
                            break;
                        }
                        held.pop();
                    }
                    if held.is_empty() || engine.closing.is_cancelled() {
                        return;
                    }
                    tokio::select! {
                        biased;
                        _ = state.changed() => {}
                        () = tokio::time::sleep(within) => {}
                        () = engine.closing.cancelled() => {}
                    }
                }
            };
            let _ = tokio::time::timeout(run_out, give).await;
        });
    }

    /// How long a lease is asked for: the load, and time to fill.
    pub(super) fn lease_time(&self) -> Duration {
        self.timeout().saturating_add(Duration::from_secs(1))
    }
}

/// A lease that is ours, or may be.
pub(super) struct Held {
    key: FullKey,
    scope: ScopeHash,
    token: String,
}

impl Held {
    pub(super) fn new<T: Value>(one: &Pending<T>, token: &str) -> Self {
        Self::of(&one.key, one.scopes.key(), token)
    }

    pub(super) fn of(key: &FullKey, scope: ScopeHash, token: &str) -> Self {
        Self { key: key.clone(), scope, token: token.to_owned() }
    }
}
