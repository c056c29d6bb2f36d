//! Filling: what was loaded under a lease goes to Redis, and from there into memory.

use super::load::Fruit;
use super::{Granted, Job};
use crate::clock::Moment;
use crate::coherence::{Fence, Stamped};
use crate::envelope::{self, Header};
use crate::flight::Landed;
use crate::remote::Remote;
use crate::simulation::{Mutant, is};
use crate::status::Tier;
use crate::store::{FillReply, FillRequest, Link};
use crate::value::{Value, shielded};
use bytes::Bytes;
use std::sync::Arc;
use std::time::Duration;

/// A loaded value on its way to Redis.
struct Parcel<T: Value> {
    granted: Granted<T>,
    /// The stamp up to which it reflects every invalidation.
    ver: u64,
    landed: Landed<T>,
    /// `None`: it is not to be stored.
    envelope: Option<Bytes>,
    weight: usize,
    tags: Vec<Arc<str>>,
    keep: Duration,
}

impl<T: Value> Parcel<T> {
    fn request(&self) -> FillRequest<'_> {
        FillRequest {
            entry: self.granted.pending.name(),
            key_scope: self.granted.pending.scopes.key(),
            token: &self.granted.token,
            epoch: self.granted.epoch,
            ver: self.ver,
            keep: self.keep,
            envelope: self.envelope.clone().unwrap_or_default(),
            scopes: self.landed.scopes.shared(),
        }
    }
}

impl<T: Value> Job<T> {
    /// Loads under leases, fills Redis, admits and lands.
    pub(super) async fn load_granted(
        &mut self,
        remote: &Arc<Remote>,
        link: &Arc<dyn Link>,
        granted: Vec<Granted<T>>,
    ) {
        let (change, brought) = (self.engine.mirror.change(), self.loader.made_at().is_some());
        let loaded = self.load(granted.iter().map(|one| &one.pending)).await;
        let (loaded, made, took) = match loaded {
            Ok(loaded) => loaded,
            Err(error) => {
                let cooldown = self.policy.failure_cooldown;
                self.give_back(remote, granted.iter().map(Granted::held).collect(), cooldown);
                return granted.iter().for_each(|one| self.land_failed(&one.pending, &error));
            }
        };
        let parcels: Vec<Parcel<T>> = granted
            .into_iter()
            .zip(loaded)
            .map(|(granted, loaded)| {
                // What was brought is as old as it was found to be.
                let change = if brought { granted.pending.change } else { change };
                self.pack(remote, granted, loaded, made, took, change)
            })
            .collect();
        self.fill(remote, link, &parcels).await;
        for parcel in parcels {
            parcel.granted.pending.land(Ok(parcel.landed));
        }
    }

    /// Puts what was loaded into an envelope, if it is to be stored.
    fn pack(
        &self,
        remote: &Remote,
        granted: Granted<T>,
        loaded: Fruit<T>,
        made: Moment,
        took: Duration,
        change: u64,
    ) -> Parcel<T> {
        let prepared = self.prepare(&granted.pending, loaded, made);
        let landed = prepared.landed(took, change);
        let mut payload = Vec::new();
        let now = self.engine.mirror.fence_alone().stamp;
        let ver = if is(Mutant::VersionOfTheFill) { now.max(granted.ver) } else { granted.ver };
        let encoded = match &prepared.value {
            Some(value) => shielded(|| value.encode(&mut payload)).is_some_and(|done| done.is_ok()),
            None => true,
        };
        let (mut envelope, mut weight) = (None, 0);
        if prepared.store && encoded && self.fits(payload.len()) {
            let weigh = |value: &Arc<T>| shielded(|| value.weight(payload.len())).unwrap_or(payload.len());
            weight = prepared.value.as_ref().map_or(0, weigh);
            let ms = |moment: Moment| remote.server_us(moment) / 1000;
            let own = prepared.scopes.all();
            let header = Header {
                ver,
                epoch: granted.epoch,
                soft_at: ms(prepared.expiry.soft),
                hard_at: ms(prepared.expiry.hard),
                load: took,
                ttl: prepared.expiry.soft.since(prepared.expiry.made),
                codec: T::CODEC as u8,
                tags: own[prepared.base_scopes..].to_vec(),
            };
            let key = granted.pending.key.key.as_str();
            envelope = Some(envelope::seal(&header, key, prepared.value.is_some().then_some(&payload[..])));
        }
        let keep = prepared.expiry.hard.since(prepared.expiry.made);
        Parcel { granted, ver, landed, envelope, weight, tags: prepared.tags, keep }
    }

    /// Stores parcels in Redis and, where that was accepted, in memory. A parcel that is not to be stored, or was
    /// refused, gives its lease back.
    async fn fill(&mut self, remote: &Arc<Remote>, link: &Arc<dyn Link>, parcels: &[Parcel<T>]) {
        let (stored, kept_out): (Vec<&Parcel<T>>, Vec<_>) =
            parcels.iter().partition(|parcel| parcel.envelope.is_some());
        let held = |parcels: &[&Parcel<T>]| parcels.iter().map(|parcel| parcel.granted.held()).collect();
        if !kept_out.is_empty() {
            self.give_back(remote, held(&kept_out), Duration::ZERO);
        }
        if stored.is_empty() {
            return;
        }
        let reply = {
            let fills: Vec<FillRequest<'_>> = stored.iter().map(|parcel| parcel.request()).collect();
            self.call(remote, link, link.fill(&fills, self.budget)).await
        };
        let answers = match reply {
            Ok(answers) => answers,
            Err(error) => stored.iter().map(|_| Err(error.clone())).collect(),
        };
        for (parcel, answer) in stored.into_iter().zip(answers) {
            let Granted { pending, ver, .. } = &parcel.granted;
            match answer {
                Ok(FillReply::Stored { head, expired }) => {
                    crate::log::set(pending.key.borrow(), Tier::Redis, parcel.keep);
                    let stale_from = expired.map(|stamp| remote.moment_of(stamp, self.engine.now()));
                    self.remember(parcel, head, stale_from.unwrap_or(Moment::FOREVER));
                }
                Ok(FillReply::Recover) => remote.lose_link(link, "the coherence state is gone"),
                Ok(FillReply::Lost | FillReply::Invalidated) if is(Mutant::RefusedFillsKept) => {
                    let now = self.engine.mirror.fence_alone().stamp;
                    self.remember(parcel, now, Moment::FOREVER);
                }
                Ok(FillReply::Lost | FillReply::Invalidated) => {}
                Err(_) => {
                    // It may have been stored or not, now or later: the lease decides, and goes. In memory, what was
                    // loaded under it is as good as it was: the mirror learns of every invalidation since the grant.
                    self.give_back(remote, vec![parcel.granted.held()], Duration::ZERO);
                    self.remember(parcel, *ver, Moment::FOREVER);
                }
            }
        }
    }

    /// Puts it into memory as of `stamp`. Until then nothing has invalidated it; it may have been expired.
    fn remember(&self, parcel: &Parcel<T>, stamp: u64, stale_from: Moment) {
        let Granted { pending, epoch, ver, .. } = &parcel.granted;
        let (landed, fence) = (&parcel.landed, Fence::Stamped(Stamped { epoch: *epoch, stamp }));
        let mut entry = self.new_entry(pending, landed, parcel.tags.clone(), parcel.weight);
        entry.stale_from = stale_from;
        self.admit(entry, fence, *ver);
    }
}
