//! The coherence task: makes links, recovers, follows the stream, renews the lease.
//!
//! There is one a node. It is the only one that begins trust and applies pushes, so both happen in the stream's order.

use crate::breaker::pause;
use crate::clock::Moment;
use crate::coherence::{Heard, Stamped};
use crate::engine::Engine;
use crate::recovery;
use crate::remote::{FORGETFUL, RedisState, Remote, random_part};
use crate::scope::{Change, ScopeHash};
use crate::simulation;
use crate::simulation::{Mutant, is};
use crate::store::{
    AckTo, HeartbeatReply, Link, Push, Recovered, StateReply, StoreError, StoreErrorKind, hinted,
};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedReceiver;

/// Follows the stream until the cache is shut down and all that it had begun has ended.
pub(crate) async fn supervise(engine: Arc<Engine>, remote: Arc<Remote>) {
    let ending = engine.ending.clone();
    let mut task = Supervisor::new(engine, remote);
    tokio::select! {
        biased;
        () = ending.cancelled() => {}
        () = task.run() => {}
    }
    task.end().await;
}

pub(crate) struct Supervisor {
    engine: Arc<Engine>,
    remote: Arc<Remote>,
    /// Places for acknowledgements under way.
    acking: Arc<Semaphore>,
    /// Some link was good enough to be followed.
    has_followed: bool,
}

/// Acknowledgements under way at once. One beyond it is not sent: whoever waits for it waits until this node's lease has
/// run out.
const MAX_ACKS: usize = 1024;

/// Why a link came to its end, or none was made.
pub(crate) type Ended = String;

impl Supervisor {
    pub(crate) fn new(engine: Arc<Engine>, remote: Arc<Remote>) -> Self {
        Self { engine, remote, acking: Arc::new(Semaphore::new(MAX_ACKS)), has_followed: false }
    }

    /// Nothing is under way any more.
    pub(crate) async fn end(&self) {
        // Whoever has something undelivered stays on the register: after an outage it is missed, and so made good.
        let owes_nothing = |_: &Arc<dyn Link>| self.remote.undelivered_count() == 0;
        if let Some(link) = self.remote.link().filter(owes_nothing) {
            let _ = link.leave(self.beat()).await;
        }
        self.remote.give_up();
    }

    fn beat(&self) -> Duration {
        self.engine.options.lease / 4
    }

    async fn run(&mut self) {
        let mut failures = 0;
        loop {
            match self.establish().await {
                Ok(followed) => {
                    failures = 0;
                    self.has_followed = true;
                    let ended = self.follow(followed).await;
                    self.remote.lose(&ended);
                }
                Err(error) => {
                    self.report(&error, failures);
                    tokio::time::sleep(pause(failures, random_part(), self.engine.options.lease)).await;
                    failures = failures.saturating_add(1);
                }
            }
        }
    }

    fn report(&self, error: &StoreError, failures: u32) {
        let hint = self.remote.connector.hint(error);
        let state = match error.kind {
            StoreErrorKind::Unsupported => RedisState::Unsupported { missing: hinted(&error.detail, hint) },
            _ => RedisState::Unavailable { reason: hinted(error, hint) },
        };
        if failures == 0
            && *self.remote.state.borrow() != state
            && let Some(words) = self.remote.announcer.lost(self.engine.mirror.bucket)
        {
            let address = self.remote.connector.address();
            let meanwhile = self.meanwhile();
            tracing::warn!(target: "larder::redis", %address, %error, hint, %meanwhile, "{words}");
        }
        self.remote.state.send_replace(state);
    }

    /// What it means to be without the shared tier.
    fn meanwhile(&self) -> String {
        match self.engine.options.outage_memory_ttl {
            Some(ttl) => format!(
                "this node does not learn what others invalidate, and keeps what it loads for {ttl:?}"
            ),
            None => "values are kept for their TTL, since by single_node nobody else changes them".to_owned(),
        }
    }

    /// Makes a link that can be trusted: everything deferred here is delivered, and every outage settled, when it
    /// returns.
    pub(crate) async fn establish(&mut self) -> Result<Followed, StoreError> {
        let mut opened = self.open(false).await?;
        if self.engine.mirror.has_left(opened.state.epoch) && !is(Mutant::OldEpochsStay) {
            // A state of old came back under a server that blesses it: replaced by a new epoch.
            drop(opened);
            opened = self.open(true).await?;
        }
        self.remote.adopt(&opened.link);
        let trusted = self.recover(opened).await;
        if let Err(error) = &trusted {
            self.remote.lose(&error.to_string());
        }
        trusted
    }

    /// Connects and registers, without trust.
    async fn open(&self, force: bool) -> Result<Opened, StoreError> {
        let (link, recovered) = self.connect(force).await?;
        if recovered.bumped {
            let (bucket, of) = (self.engine.mirror.bucket, self.remote.connector.buckets());
            if of == 1 {
                tracing::info!(target: "larder::redis", "a new epoch begins: what Redis held before is not used");
            } else if self.has_followed {
                tracing::info!(
                    target: "larder::redis",
                    bucket,
                    of,
                    "a new epoch of one bucket begins: what Redis held of it before is not used"
                );
            }
        }
        let pushes = link.pushes().ok_or_else(|| StoreError::new(StoreErrorKind::Protocol, "no stream"))?;
        let (state, outage) = self.register(&link).await?;
        Ok(Opened { link, pushes, state, outage })
    }

    async fn connect(&self, force: bool) -> Result<(Arc<dyn Link>, Recovered), StoreError> {
        self.remote.connector.connect(&self.remote.node, self.engine.mirror.bucket, force).await
    }

    /// A heartbeat that begins no lease: registers this node, and tells what holds now.
    async fn register(&self, link: &Arc<dyn Link>) -> Result<(StateReply, Option<u64>), StoreError> {
        let (sent, lease) = (self.engine.now(), self.engine.options.lease);
        let reply = link.heartbeat(lease, false, lease).await?;
        let HeartbeatReply::Alive { state, outage, now_us, .. } = reply else {
            return Err(StoreError::new(StoreErrorKind::Changed, "the coherence state is gone"));
        };
        self.remote.set_server_time(now_us, sent);
        self.remote.contacted(sent);
        Ok((state, outage))
    }

    /// Delivers what was deferred, settles the outage if there was one, and begins trust.
    async fn recover(&self, mut opened: Opened) -> Result<Followed, StoreError> {
        // However many outages come one on top of the other: nobody waits longer for those who do not come back.
        let began = self.engine.now();
        loop {
            recovery::deliver(&self.remote, &opened.link).await?;
            if let Some(outage) = opened.outage {
                recovery::settle(&self.engine, &self.remote, &opened.link, outage, began).await?;
            }
            // What holds after all that; another outage may have been flagged meanwhile.
            (opened.state, opened.outage) = self.register(&opened.link).await?;
            if self.engine.mirror.has_left(opened.state.epoch) {
                return Err(StoreError::new(StoreErrorKind::Changed, "an epoch of old came back"));
            }
            if (opened.outage.is_none() || is(Mutant::NoBarrier))
                && let Some(trust) = self.trust(&opened)
            {
                let backlog = backlog(&mut opened.pushes, opened.state.epoch);
                let Opened { link, pushes, .. } = opened;
                return Ok(Followed { link, pushes, backlog, trust, silent: 0, beats: 0 });
            }
            if !self.remote.is_current(&opened.link) {
                return Err(StoreError::new(StoreErrorKind::Disconnected, "it was lost while connecting"));
            }
        }
    }

    /// Begins trust. `None`: the link was lost, or something deferred, meanwhile.
    fn trust(&self, opened: &Opened) -> Option<u64> {
        let link = &opened.link;
        self.engine.flights.detach_all();
        let trust = self.remote.begin_trust(link, opened.state)?;
        self.engine.flights.detach_all();
        let tls = if link.tls() { " (TLS)" } else { "" };
        let (server, address) = (link.server().to_owned(), self.remote.connector.address());
        if self.remote.announcer.connected(self.engine.mirror.bucket) {
            tracing::info!(target: "larder::redis", %server, %address, "Redis connected{tls}");
        }
        for advice in link.advice().iter().filter(|advice| self.remote.announcer.advises(advice)) {
            tracing::warn!(target: "larder::redis", "{advice}");
        }
        let advice = link.advice().to_vec();
        self.remote.state.send_replace(RedisState::Connected { server, address, tls: link.tls(), advice });
        Some(trust)
    }

    /// Applies pushes and renews the lease until the link ends.
    async fn follow(&mut self, mut followed: Followed) -> Ended {
        let mut beat = tokio::time::interval(self.beat());
        beat.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                biased;
                push = followed.next() => if let Some(ended) = self.apply(&followed.link, push) { return ended },
                () = self.remote.lost.notified() => {
                    if self.remote.link().is_none() {
                        return "a call failed".to_owned();
                    }
                }
                _ = beat.tick() => if let Err(ended) = self.step(&mut followed).await { return ended },
            }
        }
    }

    /// One heartbeat. `Err`: the link has ended, or is of no use.
    pub(crate) async fn step(&mut self, followed: &mut Followed) -> Result<(), Ended> {
        match self.heartbeat(followed).await {
            Ok(()) => followed.silent = 0,
            Err(Silence::Once) if followed.silent < 2 => followed.silent += 1,
            Err(Silence::Once) => return Err("its heartbeats are of no use".to_owned()),
            Err(Silence::Ended(ended)) => return Err(ended),
        }
        Ok(())
    }

    /// Sends a heartbeat and goes on applying pushes until its reply is here. What came before the reply is applied
    /// before the lease is renewed.
    async fn heartbeat(&mut self, followed: &mut Followed) -> Result<(), Silence> {
        let (link, trust) = (Arc::clone(&followed.link), followed.trust);
        let sent = self.engine.now();
        let lease = self.engine.options.lease;
        // Every other one, so that nodes are known from at most half a lease before an outage.
        followed.beats = followed.beats.wrapping_add(1);
        let roll_call = followed.beats % 2 == 1;
        let reply = {
            let call = link.heartbeat(lease, roll_call, lease / 2);
            tokio::pin!(call);
            loop {
                tokio::select! {
                    biased;
                    push = followed.next() => if let Some(ended) = self.apply(&link, push) { return Err(Silence::Ended(ended)) },
                    reply = &mut call => break reply,
                }
            }
        };
        self.remote.note(&link, &reply);
        while let Ok(push) = followed.pushes.try_recv() {
            if let Some(ended) = self.apply(&link, Some(push)) {
                return Err(Silence::Ended(ended));
            }
        }
        match reply {
            Ok(HeartbeatReply::Alive { outage: Some(_), .. }) if !is(Mutant::NoBarrier) => {
                Err(Silence::Ended("it was silent for all nodes".to_owned()))
            }
            // The reply to an own invalidation may bring a new epoch before the stream does; a moment later both agree.
            Ok(HeartbeatReply::Alive { state, .. }) if self.engine.mirror.has_left(state.epoch) => {
                Err(Silence::Once)
            }
            Ok(HeartbeatReply::Alive { state, now_us, nodes, .. }) => {
                if roll_call {
                    self.remote.roll_called(nodes, now_us, lease * 4);
                }
                let sent = if is(Mutant::LeaseFromTheReply) { self.engine.now() } else { sent };
                self.renew(trust, sent, state, now_us);
                Ok(())
            }
            Ok(HeartbeatReply::Recover) => Err(Silence::Ended("the coherence state is gone".to_owned())),
            Err(error) if error.kind.link_survives() => Err(Silence::Once),
            Err(error) => Err(Silence::Ended(error.to_string())),
        }
    }

    fn renew(&self, trust: u64, sent: Moment, state: StateReply, now_us: u64) {
        self.remote.set_server_time(now_us, sent);
        self.remote.contacted(sent);
        self.engine.mirror.renew(trust, sent, state, self.engine.options.lease, || {
            self.engine.stats.missed_pushes.fetch_add(1, Ordering::Relaxed);
            self.engine.flights.detach_all();
        });
        self.engine.prune_if_full();
    }

    /// Tells the node that invalidated that it is applied here. Nothing waits for this.
    fn acknowledge(&self, link: &Arc<dyn Link>, to: AckTo) {
        if to.node == self.remote.node {
            return;
        }
        let Ok(place) = Arc::clone(&self.acking).try_acquire_owned() else { return };
        let (link, within) = (Arc::clone(link), self.engine.options.lease);
        tokio::spawn(simulation::task(async move {
            let _ = link.acknowledge(&to, within).await;
            drop(place);
        }));
    }

    /// Applies one push. `Some`: the link has ended.
    fn apply(&self, link: &Arc<dyn Link>, push: Option<Push>) -> Option<Ended> {
        match push {
            Some(Push::Invalidated { epoch, prev, stamp, scopes, globs, ack }) => {
                let what = Change { scopes: &scopes, globs: &globs };
                let soft = scopes.first().is_some_and(ScopeHash::is_soft);
                let (bucket, at) = (self.engine.mirror.bucket, Stamped { epoch, stamp });
                self.engine.stats.recent.heard(self.engine.now(), bucket, at, scopes.len(), soft);
                match self.engine.mirror.apply(epoch, prev, stamp, what) {
                    Heard::Next => self.engine.flights.detach(&scopes),
                    heard => {
                        self.engine.stats.missed_pushes.fetch_add(1, Ordering::Relaxed);
                        self.engine.flights.detach_all();
                        if heard == Heard::HistoryLost && !is(Mutant::LostHistoryGoesOn) {
                            self.remote.lose_history(link, FORGETFUL);
                        }
                    }
                }
                if let Some(to) = ack {
                    self.acknowledge(link, to);
                }
                // Memory is gone through at the next heartbeat; until then there is room for any number of messages.
                self.engine.mirror.forget_if_overfull();
                None
            }
            Some(Push::Epoch { epoch, head }) => {
                if self.engine.mirror.resync(epoch, head) {
                    self.engine.flights.detach_all();
                }
                None
            }
            Some(Push::Wake(key)) => {
                self.remote.wake(key);
                None
            }
            Some(Push::Acknowledged { ack, node }) => {
                self.remote.acknowledged(ack, node);
                None
            }
            // They come on links of their own.
            Some(Push::Appended(_) | Push::Signal { .. }) => None,
            Some(Push::Lost) | None => Some("the connection ended".to_owned()),
        }
    }
}

/// A link on which this node is registered, and does not rely yet.
struct Opened {
    link: Arc<dyn Link>,
    pushes: UnboundedReceiver<Push>,
    state: StateReply,
    /// When the silence for all nodes began that is not settled yet (server time, µs).
    outage: Option<u64>,
}

/// A link that is being followed.
pub(crate) struct Followed {
    link: Arc<dyn Link>,
    pushes: UnboundedReceiver<Push>,
    /// What was pushed before it was followed.
    backlog: VecDeque<Push>,
    trust: u64,
    /// Heartbeats in a row that were of no use.
    silent: u32,
    /// Heartbeats in all.
    beats: u32,
}

impl Followed {
    /// The next push; `None` when the stream has ended.
    async fn next(&mut self) -> Option<Push> {
        match self.backlog.pop_front() {
            Some(push) => Some(push),
            None => self.pushes.recv().await,
        }
    }
}

/// What was pushed since the subscription, up to the reply that told of `epoch`, as far as it belongs to that epoch:
/// epochs that came and went before it are history, and must not be taken for news.
fn backlog(pushes: &mut UnboundedReceiver<Push>, epoch: u64) -> VecDeque<Push> {
    let mut backlog: VecDeque<Push> = std::iter::from_fn(|| pushes.try_recv().ok()).collect();
    let began = |push: &Push| matches!(push, Push::Epoch { epoch: its, .. } if *its == epoch);
    if let Some(at) = backlog.iter().rposition(began) {
        backlog.drain(..=at);
    }
    backlog
}

/// A heartbeat without effect.
enum Silence {
    /// No answer in time; the link may still be good.
    Once,
    /// The link has ended.
    Ended(Ended),
}

#[cfg(test)]
mod tests;
