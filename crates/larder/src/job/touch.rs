//! Lengthening a life without a load.
//!
//! Nobody looks at the origin here, so the value keeps its version: whatever was invalidated or expired since its load
//! counts as before. In Redis it is done under a lease, like a load, and the value is read only then: an invalidation of
//! the key from that moment on takes the lease away with the value, and every other one has a stamp that the fill meets.

use super::Job;
use super::lease::Held;
use super::read::local_expiry;
use crate::clock::Moment;
use crate::engine::{Engine, NewEntry};
use crate::envelope;
use crate::freshness::Expiry;
use crate::l1::FullKey;
use crate::policy::{Policy, Tiers};
use crate::remote::{Remote, random_name};
use crate::scope::EntryScopes;
use crate::simulation::{Mutant, Place, is, pause};
use crate::store::{EntryName, FillReply, FillRequest, LeaseReply, LeaseRequest, Link, Tags};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

impl Job<()> {
    /// Returns whether any tier had the value and keeps it for longer now.
    pub(crate) async fn touch(mut self, key: FullKey) -> bool {
        let mut touched = false;
        if self.policy.tiers != Tiers::Memory
            && let Some(remote) = self.engine.remote.clone()
            && let Some(link) = remote.good_link()
        {
            touched = self.touch_redis(&remote, &link, &key).await;
        }
        if self.policy.tiers != Tiers::Redis {
            touched |= self.engine.touch_memory(&key, &self.policy);
        }
        touched
    }

    async fn touch_redis(&mut self, remote: &Arc<Remote>, link: &Arc<dyn Link>, key: &FullKey) -> bool {
        let (scopes, token) = (EntryScopes::of(&key.tenant, &key.key), random_name());
        let name = EntryName { tenant: &key.tenant, key: key.key.as_str() };
        let budget = u64::try_from(self.budget.as_micros()).unwrap_or(u64::MAX);
        let ask = [LeaseRequest {
            entry: name,
            token: &token,
            lease: self.lease_time(),
            refresh_below: Some(Duration::MAX),
            deadline_us: remote.server_us(self.engine.now()).checked_add(budget),
            key_scope: scopes.key(),
            scopes: scopes.shared(),
        }];
        let reply = self.call(remote, link, link.lease(&ask, self.budget)).await;
        let mut held = Some(Held::of(key, scopes.key(), &token));
        let granted = match reply.as_deref() {
            Ok([LeaseReply::Granted { epoch, head }]) => Some((*epoch, *head)),
            // It may have been granted all the same.
            Err(_) => None,
            Ok([LeaseReply::Recover]) => {
                remote.lose_link(link, "the coherence state is gone");
                return false;
            }
            Ok(_) => return false,
        };
        let mut touched = false;
        if let Some((epoch, head)) = granted
            && let Some(fill) = self.longer(remote, link, key, scopes.clone(), (epoch, head)).await
        {
            let request = fill.request(name, &token, epoch);
            let reply = self.call(remote, link, link.fill(&[request], self.budget)).await;
            match reply.as_deref() {
                Ok([Ok(FillReply::Recover)]) => remote.lose_link(link, "the coherence state is gone"),
                Ok([Ok(answer)]) => {
                    held = None;
                    touched = matches!(answer, FillReply::Stored { .. });
                }
                _ => {}
            }
        }
        if let Some(held) = held {
            self.give_back(remote, vec![held], Duration::ZERO);
        }
        touched
    }

    /// What Redis has under the lease, with a longer life.
    async fn longer(
        &mut self,
        remote: &Arc<Remote>,
        link: &Arc<dyn Link>,
        key: &FullKey,
        mut scopes: EntryScopes,
        (epoch, head): (u64, u64),
    ) -> Option<Longer> {
        let name = [EntryName { tenant: &key.tenant, key: key.key.as_str() }];
        let sent = self.engine.now();
        let reply = self.call(remote, link, link.read(&name, &[], Tags::Named, self.budget)).await.ok()?;
        let opened = envelope::open(reply.values.first()?.as_ref()?, key.key.as_str())?;
        let mut header = opened.header;
        let now = self.engine.now();
        let old = local_expiry(remote, &header, sent);
        if header.epoch != epoch || now >= old.hard {
            return None;
        }
        if is(Mutant::TouchedAsNew) {
            header.ver = head;
        }
        let new = longer(old, &self.policy, now);
        let ms = |moment: Moment| remote.server_us(moment) / 1000;
        (header.soft_at, header.hard_at) = (ms(new.soft), ms(new.hard));
        header.ttl = new.soft.since(new.made);
        header.tags.iter().for_each(|tag| scopes.add(*tag));
        let envelope = envelope::seal(&header, key.key.as_str(), opened.payload.as_deref());
        Some(Longer { scopes, ver: header.ver, keep: new.hard.since(now), envelope })
    }
}

/// A value on its way back to Redis.
struct Longer {
    scopes: EntryScopes,
    ver: u64,
    keep: Duration,
    envelope: Bytes,
}

impl Longer {
    fn request<'a>(&'a self, entry: EntryName<'a>, token: &'a str, epoch: u64) -> FillRequest<'a> {
        FillRequest {
            entry,
            key_scope: self.scopes.key(),
            token,
            epoch,
            ver: self.ver,
            keep: self.keep,
            envelope: self.envelope.clone(),
            scopes: self.scopes.shared(),
        }
    }
}

impl Engine {
    fn touch_memory(&self, key: &FullKey, policy: &Policy) -> bool {
        let now = self.now();
        let Some(entry) = self.l1.get(key.borrow()) else { return false };
        // Before the entry is judged: a lookup that finds it expired meanwhile raises its stamp past the expiration.
        let fence = self.mirror.fence_of(&entry.judged);
        let Some(stale_from) = self.mirror.standing(&entry.judged, entry.scopes.subject(&key.key)) else {
            return false;
        };
        if now >= entry.expiry.hard {
            return false;
        }
        pause(Place::Touching);
        let fence = if is(Mutant::TouchFenceLate) { self.mirror.fence_of(&entry.judged) } else { fence };
        // Expired stays expired, also where the stamp from which the new entry is judged is later than the expiration.
        let stale_from = if is(Mutant::TouchedFresh) { Moment::FOREVER } else { stale_from };
        let longer = NewEntry {
            key: key.clone(),
            value: entry.value.clone(),
            scopes: entry.scopes.clone(),
            tags: entry.tags.clone(),
            expiry: longer(entry.expiry, policy, now),
            stale_from,
            load: entry.load,
            weight: entry.value_weight(&key.key),
            counters: Arc::clone(&entry.counters),
        };
        self.admit(longer, fence, entry.ver);
        true
    }
}

/// A life that begins anew, and is no shorter than it was. How old the value is does not change.
fn longer(old: Expiry, policy: &Policy, now: Moment) -> Expiry {
    let new = Engine::expiry(now, policy.jitter, policy.ttl, policy.stale_window());
    Expiry { made: old.made, soft: old.soft.max(new.soft), hard: old.hard.max(new.hard) }
}
