//! The lease: who loads, and who waits for whom.

use super::{Granted, Job, Pending, all_corrupt};
use crate::error::{Error, ErrorKind};
use crate::remote::{Remote, WakeUp, random_name, random_part};
use crate::store::{InvalidateRequest, LeaseReply, LeaseRequest, Link, StoreError, StoreErrorKind};
use crate::value::Value;
use std::sync::Arc;
use std::time::Duration;

/// The answers to a request for leases.
pub(super) struct Leased<T: Value> {
    /// To be loaded here.
    pub(super) granted: Vec<Granted<T>>,
    /// Loaded elsewhere just now.
    pub(super) waiting: Vec<Pending<T>>,
    /// To be read again at once.
    pub(super) again: Vec<Pending<T>>,
    /// To be loaded here without storing it in Redis.
    pub(super) refused: Vec<Pending<T>>,
}

impl<T: Value> Default for Leased<T> {
    fn default() -> Self {
        Self { granted: vec![], waiting: vec![], again: vec![], refused: vec![] }
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
        let tokens: Vec<String> = pending.iter().map(|_| random_name()).collect();
        let lease = self.timeout().saturating_add(Duration::from_secs(1));
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
                    force: self.refresh_below.is_some(),
                    deadline_us,
                    scopes: one.scopes.shared(),
                })
                .collect();
            self.call(remote, link, link.lease(&asks, self.budget)).await
        };
        let answers = match reply {
            Ok(answers) => answers,
            Err(error) if error.kind == StoreErrorKind::Protocol => {
                return Ok(Leased { again: all_corrupt(pending), ..Leased::default() });
            }
            Err(_) => return Err(pending),
        };
        if answers.contains(&LeaseReply::Recover) {
            remote.lose_link(link, "the coherence state is gone");
            return Err(pending);
        }
        let mut leased = Leased::default();
        for ((pending, token), answer) in pending.into_iter().zip(tokens).zip(answers) {
            match answer {
                LeaseReply::Granted { epoch, head } => {
                    leased.granted.push(Granted { pending, token, epoch, ver: head });
                }
                LeaseReply::Wait(_) => leased.waiting.push(pending),
                LeaseReply::Retry => leased.again.push(pending),
                LeaseReply::Failed(_) | LeaseReply::Late | LeaseReply::Full | LeaseReply::Recover => {
                    leased.refused.push(pending);
                }
            }
        }
        Ok(leased)
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
        let what = InvalidateRequest { scopes: &[], keys: &keys };
        self.call(remote, link, link.invalidate(what, self.budget)).await.map(drop)
    }

    /// Waits until a load elsewhere ends, or its node must be dead.
    pub(super) async fn wait(&mut self, waiting: Vec<Pending<T>>, wakes: &[WakeUp]) -> Vec<Pending<T>> {
        if waiting.is_empty() {
            return waiting;
        }
        let waited = self.engine.now().since(self.began);
        let limit = self.timeout();
        if waited >= limit {
            let error = Error::new(ErrorKind::LoadTimeout, "another node's load did not end in time");
            waiting.iter().for_each(|one| one.land(Err(error.clone())));
            return Vec::new();
        }
        let lease = self.engine.options.lease;
        let longest = lease.mul_f64(1.0 + 0.1 * random_part()).min(limit - waited);
        let woken = wakes.iter().map(|wake| Box::pin(wake.woken()));
        let _ = tokio::time::timeout(longest, futures_util::future::select_all(woken)).await;
        // Waiting for another's load is not time spent on Redis.
        self.budget = self.engine.options.read_timeout;
        waiting
    }
}
