//! The calls, each with what it does to the value under `k` if it is polled at all.

use crate::cache::Cache;
use crate::error::{Error, ErrorKind};
use crate::event::Event;
use crate::key;
use crate::key::Key;
use crate::policy::{Policy, Tiers};
use crate::prefix;
use crate::scope::{all, first_segment, glob, tag};
use crate::stamp::Stamp;
use crate::tenant::Tenant;
use crate::testing::{LEASE, Row, policy};
use futures_util::future::BoxFuture;
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

/// What is set.
pub(super) const GIVEN: u64 = 100;

/// What a call does, all of it or nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing: what was there still is.
    Reads,
    /// The value is there.
    Loads,
    /// The value is there or not: the load begins after something else was waited for.
    MayLoad,
    /// The value is there, and this node's memory has it not.
    LoadsPastMemory,
    /// The same, and Redis has it not.
    LoadsPastRedis,
    /// The old value is gone.
    Invalidates,
    /// The old value is stale.
    Expires,
    /// The old value is gone, the new one there or not.
    Sets,
    /// The old value is gone, and one event is in the log.
    Publishes,
    /// One event is in the log.
    Logs,
}

/// What a caller has.
#[derive(Clone)]
pub(super) struct Caller {
    pub(super) cache: Cache,
    pub(super) acme: Tenant,
    pub(super) row: Row,
    /// Something that this node has not heard of yet.
    pub(super) news: Stamp,
}

type Made = BoxFuture<'static, Result<(), Error>>;
type Found = BoxFuture<'static, Result<Vec<(Key, u64)>, Infallible>>;

/// A call.
pub(super) struct Call {
    pub(super) name: &'static str,
    pub(super) effect: Effect,
    /// It says nothing without Redis.
    pub(super) only_shared: bool,
    pub(super) run: Box<dyn Fn(Caller) -> Made>,
}

fn call<F>(name: &'static str, effect: Effect, run: impl Fn(Caller) -> F + 'static) -> Call
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    Call { name, effect, only_shared: false, run: Box::new(move |caller| Box::pin(run(caller))) }
}

fn only_shared(call: Call) -> Call {
    Call { only_shared: true, ..call }
}

pub(super) fn k() -> Key {
    key!("k")
}

pub(super) fn tagged() -> Policy {
    policy().tag("t").stale_if_error(LEASE * 3600)
}

impl Caller {
    fn load(&self) -> impl FnOnce() -> BoxFuture<'static, Result<u64, Infallible>> + Send + 'static {
        let row = self.row.clone();
        move || {
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(row.read())
            })
        }
    }

    fn load_many(&self) -> impl Fn(Vec<Key>) -> Found + Send + Sync + 'static {
        let row = self.row.clone();
        move |keys| {
            let row = row.clone();
            Box::pin(async move {
                tokio::task::yield_now().await;
                Ok(keys.into_iter().map(|key| (key, row.read())).collect())
            })
        }
    }

    /// This tenant, and what it must reflect.
    fn at_least(&self) -> Tenant {
        self.acme.at_least(self.news.clone())
    }

    fn event(&self) -> Event {
        Event::new("changed").invalidates([tag("t")])
    }
}

/// A load that fails is no failure of the call.
fn failed<T>(outcome: Result<T, Error>) -> Result<(), Error> {
    match outcome {
        Err(error) if matches!(error.kind(), ErrorKind::Load | ErrorKind::CoolingDown) => Ok(()),
        other => other.map(drop),
    }
}

/// All of them.
pub(super) fn calls() -> Vec<Call> {
    [reads(), loads(), changes(), sets(), events(), others()].into_iter().flatten().collect()
}

fn reads() -> Vec<Call> {
    use Effect::Reads;
    vec![
        call("get", Reads, |c| async move { c.acme.get::<u64>(k()).await.map(drop) }),
        call("contains", Reads, |c| async move { c.acme.contains::<u64>(k()).await.map(drop) }),
        call("ttl", Reads, |c| async move { c.acme.ttl(k()).await.map(drop) }),
        call("get_many", Reads, |c| async move {
            c.acme.get_many::<u64>(&[k(), key!("absent"), key!("m")]).await.map(drop)
        }),
        call("at_least, get", Reads, |c| async move { c.at_least().get::<u64>(k()).await.map(drop) }),
        call("at_least, ttl", Reads, |c| async move { c.at_least().ttl(k()).await.map(drop) }),
        call("at_least, get_many", Reads, |c| async move {
            c.at_least().get_many::<u64>(&[k(), key!("m")]).await.map(drop)
        }),
        only_shared(call("at_least, of an epoch that is not known", Reads, |c| async move {
            let unknown = "0.77.1".parse().expect("a stamp");
            c.acme.at_least(unknown).get::<u64>(k()).await.map(drop)
        })),
        call("a load that fails", Reads, |c| async move {
            let limits =
                tagged().soft_timeout(LEASE * 5).hard_timeout(LEASE * 5).failure_cooldown(LEASE / 100);
            let load = || async {
                tokio::task::yield_now().await;
                Err::<u64, _>("down")
            };
            // Of another key: what is under `k` would be served instead.
            failed(c.acme.fetch(key!("down"), limits, load).await)
        }),
        call("a fallback to Redis", Reads, |c| async move {
            let load = || async { Err::<u64, _>("down") };
            failed(
                c.at_least().fetch(k(), tagged().tiers(Tiers::Redis).retry_after(Duration::ZERO), load).await,
            )
        }),
        call("touch", Reads, |c| async move { c.acme.touch(k(), tagged()).await.map(drop) }),
    ]
}

fn loads() -> Vec<Call> {
    use Effect::{Loads, LoadsPastMemory, LoadsPastRedis, MayLoad};
    vec![
        call(
            "get_or_load",
            Loads,
            |c| async move { c.acme.get_or_load(k(), tagged(), c.load()).await.map(drop) },
        ),
        call("fetch within time-outs", Loads, |c| async move {
            let limits = tagged().soft_timeout(LEASE * 5).hard_timeout(LEASE * 5);
            c.acme.fetch(k(), limits, c.load()).await.map(drop)
        }),
        call("fetch_opt", Loads, |c| async move {
            let load = c.load();
            c.acme.fetch_opt(k(), tagged(), || async { load().await.map(Some) }).await.map(drop)
        }),
        call("fetch_prepared", Loads, |c| async move {
            c.acme.fetch_prepared(k(), tagged(), || c.load()).await.map(drop)
        }),
        call("get_or_load_many", Loads, |c| async move {
            let keys = vec![k(), key!("m"), k()];
            c.acme.get_or_load_many(keys, tagged(), c.load_many()).await.map(drop)
        }),
        call("at_least, get_or_load", MayLoad, |c| async move {
            c.at_least().get_or_load(k(), tagged(), c.load()).await.map(drop)
        }),
        call("at_least, get_or_load_many", MayLoad, |c| async move {
            c.at_least().get_or_load_many(vec![k(), key!("m")], tagged(), c.load_many()).await.map(drop)
        }),
        call("refresh", Loads, |c| async move {
            c.acme.refresh(k(), tagged(), Duration::from_secs(120), c.load()).await
        }),
        call("a load within a load", Loads, |c| async move {
            let (inner, load) = (c.acme.clone(), c.load());
            let load =
                || async move { inner.get_or_load(key!("inner"), policy(), load).await.map(|value| *value) };
            c.acme.get_or_load(k(), tagged(), load).await.map(drop)
        }),
        only_shared(call("a load for Redis only", LoadsPastMemory, |c| async move {
            c.acme.get_or_load(k(), tagged().tiers(Tiers::Redis), c.load()).await.map(drop)
        })),
        call("a load for memory only", LoadsPastRedis, |c| async move {
            c.acme.get_or_load(k(), tagged().tiers(Tiers::Memory), c.load()).await.map(drop)
        }),
        call("a load ahead, behind a stale value", Loads, |c| async move {
            let lenient = tagged().stale_while_revalidate(LEASE * 3600).eager_refresh(10.0);
            c.acme.fetch(k(), lenient, c.load()).await.map(drop)
        }),
    ]
}

fn changes() -> Vec<Call> {
    use Effect::{Expires, Invalidates};
    vec![
        call("invalidate a key", Invalidates, |c| async move { c.acme.invalidate(k()).await.map(drop) }),
        call("delete", Invalidates, |c| async move { c.acme.delete(k()).await.map(drop) }),
        call("invalidate a tag", Invalidates, |c| async move { c.acme.invalidate(tag("t")).await.map(drop) }),
        call("invalidate a prefix", Invalidates, |c| async move {
            c.acme.invalidate(prefix!("k")).await.map(drop)
        }),
        call("invalidate a pattern", Invalidates, |c| async move {
            c.acme.invalidate(glob("*k")).await.map(drop)
        }),
        call("invalidate a tenant", Invalidates, |c| async move { c.acme.invalidate(all()).await.map(drop) }),
        call(
            "invalidate everything",
            Invalidates,
            |c| async move { c.cache.invalidate(all()).await.map(drop) },
        ),
        call("invalidate, acked", Invalidates, |c| async move {
            c.acme.invalidate(tag("t")).acked().await.map(drop)
        }),
        call("invalidate across tenants, acked", Invalidates, |c| async move {
            c.cache.invalidate(first_segment("k")).acked().await.map(drop)
        }),
        call("expire", Expires, |c| async move { c.acme.expire(tag("t")).await.map(drop) }),
        call("expire a key, acked", Expires, |c| async move { c.acme.expire(k()).acked().await.map(drop) }),
        call("expire across tenants", Expires, |c| async move { c.cache.expire(all()).await.map(drop) }),
    ]
}

fn sets() -> Vec<Call> {
    use Effect::Sets;
    vec![
        call("set", Sets, |c| async move { c.acme.set(k(), GIVEN, tagged()).await.map(drop) }),
        call("set for Redis only", Sets, |c| async move {
            c.acme.set(k(), GIVEN, tagged().tiers(Tiers::Redis)).await.map(drop)
        }),
        call("set for memory only", Sets, |c| async move {
            c.acme.set(k(), GIVEN, tagged().tiers(Tiers::Memory)).await.map(drop)
        }),
        call("set_many", Sets, |c| async move {
            let values = vec![(key!("m"), 7), (k(), GIVEN), (key!("n"), 8)];
            c.acme.set_many(values, tagged()).await.map(drop)
        }),
        call("set and read one's own write", Sets, |c| async move {
            let stamp = c.acme.set(k(), GIVEN, tagged()).await?;
            c.acme.at_least(stamp).get::<u64>(k()).await.map(drop)
        }),
    ]
}

fn events() -> Vec<Call> {
    use Effect::{Logs, Publishes};
    vec![
        call("publish", Publishes, |c| async move { c.acme.publish(c.event()).await.map(drop) }),
        call("publish, and wait for the log", Publishes, |c| async move {
            let mut publication = c.acme.publish(c.event());
            let logged = publication.logged();
            publication.await?;
            logged.await.map(drop)
        }),
        call("publish what invalidates nothing", Logs, |c| async move {
            let mut publication = c.acme.publish(Event::new("seen"));
            let logged = publication.logged();
            publication.await?;
            logged.await.map(drop)
        }),
        call("append", Logs, |c| async move {
            c.cache.event_log().append("acme", Event::new("said")).await.map(drop)
        }),
    ]
}

fn others() -> Vec<Call> {
    use Effect::Reads;
    vec![
        call("ping", Reads, |c| async move { c.cache.ping().await.map(drop) }),
        call("ready", Reads, |c| async move {
            c.cache.ready().await;
            Ok(())
        }),
        call("entries_named", Reads, |c| async move {
            c.cache.entries_named("k:acme").await;
            Ok(())
        }),
        call("watch a log", Reads, |c| async move { c.cache.event_log().watch("acme").await.map(drop) }),
    ]
}
