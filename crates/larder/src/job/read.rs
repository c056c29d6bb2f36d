//! Reading Redis: one pipeline, and a judgement of what it brought.

use super::stamps::Stamps;
use super::{Job, Pending, all_corrupt};
use crate::clock::Moment;
use crate::coherence::{Fence, Stamped};
use crate::engine::Engine;
use crate::envelope::{self, Header};
use crate::flight::Landed;
use crate::freshness::{Expiry, Freshness, freshness, is_due_early};
use crate::l1::ahead_below;
use crate::limits::MAX_TAGS_OF_ENTRIES;
use crate::remote::{FORGETFUL, Remote, random_part};
use crate::scope::{ScopeHash, Subject};
use crate::simulation::{Limit, Mutant, is, limit};
use crate::status::Tier;
use crate::store::{EntryName, Link, ReadReply, StateReply, StoreErrorKind, Tags};
use crate::unnamed::{Class, UnnamedTags};
use crate::value::{Value, shielded};
use bytes::Bytes;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// Keys that are not there, and keys to be read again at once.
pub(crate) type Missing<T> = (Vec<Pending<T>>, Vec<Pending<T>>);

/// One read of Redis.
struct Read {
    reply: ReadReply,
    state: StateReply,
    stamps: Stamps,
    sent: Moment,
    /// The mirror's change counter before it.
    change: u64,
    /// The last stamp that was known before it.
    known: Stamped,
}

impl Read {
    /// Whether the server does not know what this node was told before: a primary that was a replica for a moment, as long as nobody has
    /// noticed by its identity.
    fn is_of_the_past(&self) -> bool {
        let is_behind = self.known.epoch == self.state.epoch && self.state.head < self.known.stamp;
        is_behind && !is(Mutant::LossUnnoticed)
    }

    /// The head before the values were read.
    fn fence(&self, epoch: u64) -> Option<Stamped> {
        self.reply.head_before.map(|stamp| Stamped { epoch, stamp })
    }
}

/// What Redis holds under a key.
enum Judgement {
    Landed,
    Missing,
    /// It has tags whose stamps are not among those that were read.
    MoreTags,
    Corrupt,
    /// Redis takes it for valid, and has told this node of its end.
    Ended,
}

impl<T: Value> Job<T> {
    /// Reads all pending keys; lands those that are there and fresh. `Err`: Redis cannot be relied on.
    pub(crate) async fn read(
        &mut self,
        remote: &Arc<Remote>,
        link: &Arc<dyn Link>,
        pending: Vec<Pending<T>>,
    ) -> Result<Missing<T>, Vec<Pending<T>>> {
        let (change, known) = (self.engine.mirror.change(), self.engine.mirror.known());
        let sent = self.engine.now();
        let scopes = union(&pending);
        let few = pending.len() <= limit(Limit::TagsOfEntries, MAX_TAGS_OF_ENTRIES);
        let expected = |one: &Pending<T>| self.engine.unnamed.are_expected(self.class_of(one));
        let tags = if few && pending.iter().any(expected) { Tags::Carried } else { Tags::Named };
        let reply = {
            let names: Vec<EntryName<'_>> = pending.iter().map(Pending::name).collect();
            // Once more within the deadline if the first try is not answered in half of it.
            let first = self.budget / 2;
            let mut reply = self.call(remote, link, link.read(&names, &scopes, tags, first)).await;
            if matches!(&reply, Err(error) if error.kind == StoreErrorKind::Timeout) {
                reply = self.call(remote, link, link.read(&names, &scopes, tags, self.budget)).await;
            }
            reply
        };
        let mut reply = match reply {
            Ok(reply) => reply,
            Err(error) if error.kind == StoreErrorKind::Protocol => {
                // A key of another type; of several, nobody knows which.
                self.engine.stats.corrupt.fetch_add(1, Ordering::Relaxed);
                return Ok((all_corrupt(pending), Vec::new()));
            }
            Err(_) => return Err(pending),
        };
        let Some(state) = reply.state else {
            remote.lose_link(link, "the coherence state is gone");
            return Err(pending);
        };
        let stamps = Stamps::new(scopes, &mut reply);
        let read = Read { reply, state, stamps, sent, change, known };
        let mut is_of_the_past = read.is_of_the_past();
        let (mut missing, mut again, mut met) = (Vec::new(), Vec::new(), Vec::new());
        for (index, mut one) in pending.into_iter().enumerate() {
            (one.fence, one.corrupt, one.previous) = (read.fence(state.epoch), false, None);
            if is(Mutant::HeadAfterTheValue) {
                one.fence = Some(Stamped { epoch: state.epoch, stamp: state.head });
            }
            let found = read.reply.values.get(index).and_then(Option::as_ref);
            let Some(bytes) = found.filter(|_| !is_of_the_past) else {
                missing.push(one);
                continue;
            };
            match self.judge(remote, &mut one, bytes, &read, &mut met) {
                Judgement::Landed => {}
                Judgement::Missing => missing.push(one),
                Judgement::MoreTags => {
                    one.told_its_tags = true;
                    again.push(one);
                }
                Judgement::Corrupt => {
                    self.engine.stats.corrupt.fetch_add(1, Ordering::Relaxed);
                    one.corrupt = true;
                    missing.push(one);
                }
                Judgement::Ended => {
                    is_of_the_past = true;
                    missing.push(one);
                }
            }
        }
        if is_of_the_past {
            remote.lose_history(link, FORGETFUL);
            missing.append(&mut again);
            missing.iter_mut().for_each(|one| (one.fence, one.corrupt, one.previous) = (None, false, None));
            return Err(missing);
        }
        self.engine.unnamed.met(met);
        Ok((missing, again))
    }

    /// What is expected of the tags of what Redis holds under a key.
    fn class_of(&self, one: &Pending<T>) -> Class {
        UnnamedTags::class(&one.scopes.first_segment(), !self.policy.tags.is_empty())
    }

    /// Judges what Redis holds under a key; lands and admits it if it may be served.
    fn judge(
        &self,
        remote: &Remote,
        one: &mut Pending<T>,
        bytes: &Bytes,
        read: &Read,
        met: &mut Vec<(Class, bool)>,
    ) -> Judgement {
        let Some(opened) = envelope::open(bytes, one.key.key.as_str()) else { return Judgement::Corrupt };
        let header = opened.header;
        if header.codec != T::CODEC as u8 {
            return Judgement::Corrupt;
        }
        if header.epoch != read.state.epoch && !is(Mutant::StoredEpochIgnored)
            || header.ver < read.state.floor && !is(Mutant::FloorIgnored)
        {
            return Judgement::Missing;
        }
        // Not of a call that names what the read before has just told it.
        if !one.told_its_tags {
            met.push((self.class_of(one), !read.stamps.names_all(&header.tags)));
        }
        header.tags.iter().for_each(|tag| one.scopes.add(*tag));
        // The stamps are from a moment after the value: what was put into its place between the two has its own tags.
        if !read.stamps.knows_all(&header.tags) && !is(Mutant::UnnamedTagsIgnored) {
            return Judgement::MoreTags;
        }
        let lasting = local_expiry(remote, &header, read.sent);
        let mut stale_from = Moment::FOREVER;
        for (scope, stamp) in read.stamps.later(one.scopes.all(), header.ver) {
            let key = one.key.key.as_str();
            if self.engine.is_spared(&scope, key, header.epoch, header.ver, stamp) {
                continue;
            }
            if is(Mutant::StampsIgnored) || scope.is_soft() && is(Mutant::StoredExpirationsIgnored) {
                continue;
            }
            if !scope.is_soft() {
                return Judgement::Missing;
            }
            stale_from = stale_from.min(remote.moment_of(stamp, read.sent));
        }
        let subject = Subject { scopes: one.scopes.all(), key: one.key.key.as_str() };
        if self.engine.mirror.has_ended(subject, header.ver, read.known)
            && !is(Mutant::LossUnnoticed)
            && !is(Mutant::StampsIgnored)
        {
            return Judgement::Ended;
        }
        let expiry = lasting.stale_from(stale_from);
        let now = self.engine.now();
        if now >= expiry.hard {
            return Judgement::Missing;
        }
        let age = freshness(expiry, Engine::windows(&self.policy), now);
        let decoded = shielded(|| opened.payload.as_deref().map(T::decode).transpose());
        let Some(Ok(value)) = decoded else { return Judgement::Corrupt };
        let value = value.map(Arc::new);
        let scopes = one.scopes.clone();
        let payload_len = opened.payload.as_ref().map_or(0, Bytes::len);
        let landed =
            Landed { value, tier: Tier::Redis, expiry, load: Some(header.load), scopes, change: read.change };
        let stamped = if is(Mutant::HeadAfterTheValue) { one.fence } else { read.fence(header.epoch) };
        let stamped =
            if is(Mutant::AdmittedAsOfNow) { Some(self.engine.mirror.fence_alone()) } else { stamped };
        if let Some(stamped) = stamped {
            let fence = Fence::Stamped(stamped);
            let weigh = |value: &Arc<T>| shielded(|| value.weight(payload_len)).unwrap_or(payload_len);
            let weight = landed.value.as_ref().map_or(0, weigh);
            let tags = self.policy.tags.to_vec();
            let mut entry = self.new_entry(one, &landed, tags, weight);
            // That it was expired is no matter of its TTL: a longer one does not make it fresh.
            (entry.expiry, entry.stale_from) = (lasting, stale_from);
            self.admit(entry, fence, header.ver);
        }
        one.previous = Some(landed.clone());
        let load = header.load;
        let left = expiry.soft.since(now);
        match age {
            Freshness::Fresh if one.refresh_below.is_some_and(|below| left < below) => Judgement::Missing,
            Freshness::Fresh => {
                one.land(Ok(landed));
                let eager = self.policy.eager_refresh;
                if one.refresh_below.is_none() && is_due_early(left, load, eager, random_part) {
                    one.refresh_below = Some(ahead_below(expiry, now));
                    return Judgement::Missing;
                }
                Judgement::Landed
            }
            Freshness::StaleUsable => {
                one.land(Ok(landed));
                Judgement::Missing
            }
            Freshness::StaleIfError | Freshness::Expired => Judgement::Missing,
        }
    }
}

/// The scopes of all pending keys, each once.
fn union<T: Value>(pending: &[Pending<T>]) -> Vec<ScopeHash> {
    let mut union: Vec<_> = pending.iter().flat_map(|one| one.scopes.asked()).collect();
    if pending.len() > 1 {
        union.sort_unstable();
        union.dedup();
    }
    union
}

/// Expiry on our clock of an envelope that was asked for at `sent`: what remains is counted from then.
pub(crate) fn local_expiry(remote: &Remote, header: &Header, sent: Moment) -> Expiry {
    let server_ms = remote.server_us(sent) / 1000;
    let left = |at: u64| Duration::from_millis(at.saturating_sub(server_ms));
    let soft = sent.plus(left(header.soft_at));
    let age = header.ttl.saturating_sub(left(header.soft_at));
    let made = Moment::from_nanos(sent.as_nanos().saturating_sub(u64::try_from(age.as_nanos()).unwrap_or(0)));
    Expiry { made, soft, hard: sent.plus(left(header.hard_at)) }
}
