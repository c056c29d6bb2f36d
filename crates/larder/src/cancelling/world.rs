//! Where a call is made: a cache, what it holds, and what is under way elsewhere.

use super::calls::{Caller, Effect, GIVEN, k, tagged};
use crate::cache::Cache;
use crate::engine::Engine;
use crate::error::Error;
use crate::limits::{MAX_CONCURRENT_LOADS, TENANT_LOADS};
use crate::policy::Policy;
use crate::recent::ChangeVerb;
use crate::scope::ScopeHash;
use crate::stamp::Stamp;
use crate::status::Outcome;
use crate::tenant::Tenant;
use crate::testing::{Gate, LEASE, Node, Row, Server, policy};
use futures_util::poll;
use std::cell::Cell;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::task::{JoinHandle, yield_now};

/// What holds when the call is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Situation {
    /// There is no Redis, and no value.
    AloneCold,
    /// There is no Redis; the value is in memory.
    AloneWarm,
    /// Nobody has the value.
    Cold,
    /// Both nodes have it in memory, and Redis has it.
    Warm,
    /// Redis has it, and the other node.
    InRedis,
    /// The other node has begun to load it.
    LoadedElsewhere,
    /// As `Warm`, but this node's connection has just broken.
    CutOff,
}

impl Situation {
    pub(super) fn is_shared(self) -> bool {
        !matches!(self, Self::AloneCold | Self::AloneWarm)
    }

    /// Whether a value is there, by the time that all has ended.
    fn has_value(self) -> bool {
        !matches!(self, Self::AloneCold | Self::Cold)
    }
}

struct Redis {
    server: Server,
    node: Node,
    other: Node,
}

impl Redis {
    /// What the coherence tasks do, over and over, until `stop`.
    async fn beats(&mut self, without_node: bool, stop: &Cell<bool>) {
        while !stop.get() {
            self.other.go_on().await;
            if !without_node {
                self.node.go_on().await;
            }
            yield_now().await;
        }
    }
}

pub(super) struct World {
    situation: Situation,
    cache: Cache,
    row: Row,
    redis: Option<Redis>,
    gate: Gate,
    elsewhere: Option<JoinHandle<Result<u64, Error>>>,
    /// Loads before the call.
    reads: u64,
    news: Stamp,
}

impl World {
    /// Everything in Redis takes as many steps as `seed` says.
    pub(super) async fn new(situation: Situation, seed: usize) -> Self {
        let (row, gate) = (Row::default(), Gate::default());
        let (cache, redis) = if situation.is_shared() {
            let server = Server::new();
            let (mut node, mut other) = (Node::ready(&server).await, Node::ready(&server).await);
            // A young epoch is one more thing that acknowledgements wait for, in real time.
            for _ in 0..5 {
                server.clock.advance(LEASE / 4);
                assert!(node.beat().await && other.beat().await);
            }
            let cache = Cache::over(Arc::clone(&node.engine));
            (cache, Some(Redis { server, node, other }))
        } else {
            (Cache::builder("test").build().await.unwrap(), None)
        };
        let (reads, news) = (0, Stamp::default());
        let mut world = Self { situation, cache, row, redis, gate, elsewhere: None, reads, news };
        match situation {
            Situation::AloneCold | Situation::Cold => {}
            Situation::LoadedElsewhere => world.load_elsewhere().await,
            Situation::AloneWarm => drop(read(&world.acme(), &world.row).await),
            Situation::InRedis | Situation::Warm | Situation::CutOff => {
                read(&world.other().unwrap(), &world.row).await;
                if situation != Situation::InRedis {
                    read(&world.acme(), &world.row).await;
                }
            }
        }
        if let Some(Redis { server, node, .. }) = &world.redis {
            server.chance.seed(seed as u64);
            if situation == Situation::CutOff {
                node.cut(server);
            }
        }
        world.reads = world.row.reads();
        world
    }

    async fn load_elsewhere(&mut self) {
        let Some(Redis { other, .. }) = &self.redis else { return };
        self.elsewhere = Some(tokio::spawn(other.read_through(&self.row, &self.gate)));
        self.gate.reached().await;
    }

    /// The row changes, where the call tells of a change; and another node has news that is of no concern.
    pub(super) async fn begin(&mut self, effect: Effect) {
        if changes(effect) {
            self.row.write();
        }
        if let Some(Redis { server, .. }) = &self.redis {
            server.invalidate(&[ScopeHash::of_tag("acme", "unrelated")]);
            self.news = format!("0.{:x}.{:x}", server.epoch(), server.head()).parse().unwrap();
        }
    }

    pub(super) fn caller(&self) -> Caller {
        let (cache, row, news) = (self.cache.clone(), self.row.clone(), self.news.clone());
        Caller { acme: self.acme(), cache, row, news }
    }

    fn acme(&self) -> Tenant {
        self.cache.tenant("acme")
    }

    /// The tenant on the other node.
    fn other(&self) -> Option<Tenant> {
        self.redis.as_ref().map(|redis| redis.other.acme())
    }

    fn engine(&self) -> &Arc<Engine> {
        self.cache.engine()
    }

    /// Polls it so often, while others take a step each time, and drops it. What came of it, if it ended before.
    pub(super) async fn dropped_after<F: Future + Unpin>(
        &mut self,
        polls: usize,
        future: F,
    ) -> Option<F::Output> {
        let stop = Cell::new(false);
        let cut_off = self.situation == Situation::CutOff;
        let mut beats = std::pin::pin!(async {
            if let Some(redis) = &mut self.redis {
                redis.beats(cut_off, &stop).await;
            }
        });
        let mut future = future;
        let mut beating = true;
        for _ in 0..polls {
            if let Poll::Ready(output) = poll!(&mut future) {
                stop.set(true);
                if beating {
                    beats.await;
                }
                return Some(output);
            }
            beating = beating && poll!(&mut beats).is_pending();
            yield_now().await;
        }
        drop(future);
        stop.set(true);
        // A heartbeat is not cut off half-way.
        if beating {
            beats.await;
        }
        None
    }

    /// Lets it come to its end, while the coherence tasks go on.
    pub(super) async fn driven<F: Future>(&mut self, future: F) -> F::Output {
        let mut future = Box::pin(future);
        let Some(redis) = &mut self.redis else { return future.await };
        loop {
            // Timers, too, have their turn.
            if let Ok(output) = tokio::time::timeout(Duration::from_millis(1), &mut future).await {
                return output;
            }
            redis.other.go_on().await;
            redis.node.go_on().await;
        }
    }

    /// Until nothing is under way on any node, whatever that needs.
    pub(super) async fn settle(&mut self) {
        self.gate.open();
        if self.situation == Situation::CutOff
            && let Some(Redis { server, other, node }) = &mut self.redis
        {
            // Longer than an invalidation is tried, and no silence for the other node.
            for _ in 0..16 {
                server.clock.advance(LEASE / 8);
                other.go_on().await;
            }
            // What is tried again now and then notices.
            let _ = tokio::time::timeout(Duration::from_millis(40), node.settled()).await;
            node.engine.tasks.reopen();
        }
        self.situation = match self.situation {
            Situation::CutOff => Situation::Warm,
            same => same,
        };
        let Some(redis) = &self.redis else {
            let tasks = &self.engine().tasks;
            tasks.close();
            tasks.wait().await;
            tasks.reopen();
            return;
        };
        let tasks = [&redis.node, &redis.other].map(|node| node.engine.tasks.clone());
        let ended = async {
            for tasks in &tasks {
                tasks.close();
                tasks.wait().await;
            }
        };
        self.driven(ended).await;
        for tasks in &tasks {
            tasks.reopen();
        }
        if let Some(elsewhere) = self.elsewhere.take() {
            elsewhere.await.unwrap().unwrap();
        }
        if let Some(redis) = &mut self.redis {
            // Until the link is back and the last messages have come.
            for _ in 0..4 {
                redis.other.go_on().await;
                redis.node.go_on().await;
            }
            assert!(redis.node.engine.mirror.is_good() && redis.other.engine.mirror.is_good());
        }
    }

    /// No lease, no waiter, no flight, no block, no place among loads, nothing in a line.
    pub(super) fn assert_nothing_left(&self, what: &str) {
        let engines = [Some(self.engine()), self.redis.as_ref().map(|redis| &redis.other.engine)];
        for engine in engines.into_iter().flatten() {
            assert_eq!(engine.flights.len(), 0, "flights: {what}");
            assert_eq!(engine.mirror.blocked(), 0, "blocks: {what}");
            assert_eq!(engine.loads.available_permits(), MAX_CONCURRENT_LOADS, "places: {what}");
            let quota = &engine.stats.accounts.of("acme").quota;
            assert_eq!(quota.loading(TENANT_LOADS), 0, "places of the tenant: {what}");
            assert_eq!(engine.logs.queue.len(), 0, "events: {what}");
            let Some((remote, redis)) = engine.remote.as_ref().zip(self.redis.as_ref()) else { continue };
            assert_eq!(redis.server.leases_of(&remote.node), 0, "leases: {what}");
            assert_eq!(remote.waiting(), 0, "waiters for other nodes: {what}");
            assert_eq!(remote.unfinished(), (0, 0), "invalidations and waiters for acknowledgements: {what}");
            assert_eq!(remote.undelivered_count(), 0, "undelivered: {what}");
        }
    }

    /// All of the effect, or if it was not even `polled`, nothing of it.
    pub(super) async fn assert_whole(&self, effect: Effect, polled: bool, what: &str) {
        let (here, there) = (get(&self.acme()).await, self.got_by_the_other().await);
        let before = self.situation.has_value().then_some(0);
        let unchanged = (before, self.redis.is_some().then_some(before));
        let found = (here, there);
        let given = |found: Option<u64>| found.is_none_or(|found| found == GIVEN);
        match effect {
            _ if !polled => {
                assert_eq!(found, unchanged, "{what}");
                assert_eq!(self.row.reads(), self.reads, "loads: {what}");
            }
            Effect::Reads | Effect::Logs => assert_eq!(found, unchanged, "{what}"),
            Effect::Loads | Effect::LoadsPastMemory => {
                assert_eq!(found, (Some(0), self.redis.is_some().then_some(Some(0))), "{what}");
            }
            // What is waited for first is no part of the load.
            Effect::MayLoad => assert!([None, Some(0)].contains(&here), "{found:?}: {what}"),
            Effect::LoadsPastRedis => assert_eq!(here, Some(0), "{what}"),
            Effect::Invalidates | Effect::Publishes => {
                assert_eq!((here, there.flatten()), (None, None), "{what}");
            }
            Effect::Expires => {
                assert_eq!((here, there.flatten()), (None, None), "{what}");
                self.assert_stale(what).await;
            }
            Effect::Sets => assert!(given(here) && given(there.flatten()), "{found:?}: {what}"),
        }
        let logged = self.cache.event_log().head("acme").await.unwrap().offset();
        let expected = u64::from(polled && matches!(effect, Effect::Publishes | Effect::Logs));
        assert_eq!(logged, expected, "events: {what}");
        self.assert_counted(effect, polled, what);
        self.assert_read_alike(effect, polled, what).await;
    }

    async fn got_by_the_other(&self) -> Option<Option<u64>> {
        match self.other() {
            Some(other) => Some(get(&other).await),
            None => None,
        }
    }

    /// What was expired is there for those who take a stale value.
    async fn assert_stale(&self, what: &str) {
        if !self.situation.has_value() {
            return;
        }
        let tenants = [Some(self.acme()), self.other()];
        for tenant in tenants.into_iter().flatten() {
            let stale = tenant.fetch(k(), tagged(), || async { Err::<u64, _>("down") }).await;
            let stale = stale.unwrap_or_else(|error| panic!("{error}: {what}"));
            assert_eq!((stale.status.outcome, *stale.value), (Outcome::Stale, 0), "{what}");
        }
    }

    /// What is in force is also counted, and told to people, once.
    fn assert_counted(&self, effect: Effect, polled: bool, what: &str) {
        let changed = u64::from(polled && changes(effect));
        let told =
            self.cache.recent(None, 100).iter().filter(|one| one.verb != ChangeVerb::Published).count();
        let counted = self.cache.stats().invalidations;
        // What was deferred and is published is made once more.
        let counted = if effect == Effect::Publishes { counted.min(1) } else { counted };
        assert_eq!((counted, told as u64), (changed, changed), "counted and told: {what}");
    }

    /// Whoever asks now gets what holds now, on each node.
    async fn assert_read_alike(&self, effect: Effect, polled: bool, what: &str) {
        let tenants = [Some(self.acme()), self.other()];
        for tenant in tenants.into_iter().flatten() {
            let found = read_under(&tenant, &self.row, policy().tag("t")).await;
            let fine = match (changes(effect), polled) {
                (true, true) => found == 1 || found == GIVEN && effect == Effect::Sets,
                (true, false) => found <= 1,
                (false, _) => found == 0,
            };
            assert!(fine, "{found} is read: {what}");
        }
    }
}

fn changes(effect: Effect) -> bool {
    matches!(effect, Effect::Invalidates | Effect::Expires | Effect::Sets | Effect::Publishes)
}

async fn get(tenant: &Tenant) -> Option<u64> {
    tenant.get::<u64>(k()).await.unwrap().map(|found| *found.value)
}

async fn read(tenant: &Tenant, row: &Row) -> u64 {
    read_under(tenant, row, tagged()).await
}

async fn read_under(tenant: &Tenant, row: &Row, policy: Policy) -> u64 {
    let row = row.clone();
    *tenant.get_or_load(k(), policy, || async move { Ok::<_, Infallible>(row.read()) }).await.unwrap()
}
