//! Calls whose futures are dropped at every await, on a real Redis: replies come that nobody waits for any more. The
//! table of all calls, step by step, is in the unit tests of the same name.

use crate::support::{Row, node_with, policy, unhurried};
use futures_util::future::{BoxFuture, FutureExt};
use larder::{Cache, CacheBuilder, Error, Event, Key, Tiers, key, tag};
use larder_testkit::{RedisServer, assert_eventually};
use std::convert::Infallible;
use std::future::Future;
use std::time::Duration;

const SOON: Duration = Duration::from_secs(30);

/// What a call does, if it is polled at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Effect {
    Nothing,
    /// The value is there.
    Loads,
    /// The old value is gone; what was set may be there.
    Changes,
    /// The old value is gone, and one event is in the log.
    Publishes,
    /// One event is in the log.
    Logs,
}

/// A caller, and the key and the tag that it is about.
#[derive(Clone)]
struct Caller {
    cache: Cache,
    key: Key,
    tag: String,
    row: Row,
}

impl Caller {
    fn acme(&self) -> larder::Tenant {
        self.cache.tenant("acme")
    }

    fn policy(&self) -> larder::Policy {
        policy().tag(&self.tag)
    }

    fn load(self) -> impl FnOnce() -> BoxFuture<'static, Result<u64, Infallible>> + Send + 'static {
        move || self.row.load().boxed()
    }

    fn event(&self) -> Event {
        Event::new("changed").invalidates([tag(&self.tag)])
    }
}

type Run = Box<dyn Fn(Caller) -> BoxFuture<'static, Result<(), Error>>>;
type Call = (&'static str, Effect, Run);

fn call<F>(name: &'static str, effect: Effect, run: impl Fn(Caller) -> F + 'static) -> Call
where
    F: Future<Output = Result<(), Error>> + Send + 'static,
{
    (name, effect, Box::new(move |caller| run(caller).boxed()))
}

fn calls() -> Vec<Call> {
    use Effect::{Changes, Loads, Logs, Nothing, Publishes};
    vec![
        call("get_many", Nothing, |c| async move {
            c.acme().get_many::<u64>(&[c.key.clone(), key!("absent")]).await.map(drop)
        }),
        call("ttl", Nothing, |c| async move { c.acme().ttl(c.key).await.map(drop) }),
        call("touch", Nothing, |c| async move { c.acme().touch(c.key.clone(), c.policy()).await.map(drop) }),
        call("ping", Nothing, |c| async move { c.cache.ping().await.map(drop) }),
        call("redis_info", Nothing, |c| async move { c.cache.redis_info().await.map(drop) }),
        call("get_or_load", Loads, |c| async move {
            c.acme().get_or_load(c.key.clone(), c.policy(), c.load()).await.map(drop)
        }),
        call("get_or_load from Redis", Loads, |c| async move {
            let past_memory = c.policy().tiers(Tiers::Redis);
            c.acme().get_or_load(c.key.clone(), past_memory, c.load()).await.map(drop)
        }),
        call("get_or_load_many", Loads, |c| async move {
            let (acme, policy, keys, row) =
                (c.acme(), c.policy(), vec![c.key.clone(), key!("m", &c.tag)], c.row);
            let load = move |keys: Vec<Key>| {
                let found: Vec<(Key, u64)> = keys.into_iter().map(|key| (key, row.read())).collect();
                async move { Ok::<_, Infallible>(found) }
            };
            acme.get_or_load_many(keys, policy, load).await.map(drop)
        }),
        call("refresh", Loads, |c| async move {
            let acme = c.acme();
            acme.refresh(c.key.clone(), c.policy(), Duration::from_secs(120), c.load()).await
        }),
        call("invalidate", Changes, |c| async move { c.acme().invalidate(tag(&c.tag)).await.map(drop) }),
        call(
            "invalidate, acked",
            Changes,
            |c| async move { c.acme().invalidate(c.key).acked().await.map(drop) },
        ),
        call(
            "expire, acked",
            Changes,
            |c| async move { c.acme().expire(tag(&c.tag)).acked().await.map(drop) },
        ),
        call("set", Changes, |c| async move { c.acme().set(c.key.clone(), 100, c.policy()).await.map(drop) }),
        call("set_many, and at_least", Changes, |c| async move {
            let values = vec![(key!("m", &c.tag), 7), (c.key.clone(), 100)];
            let stamp = c.acme().set_many(values, c.policy()).await?;
            c.acme().at_least(stamp).get::<u64>(c.key).await.map(drop)
        }),
        call("publish", Publishes, |c| async move { c.acme().publish(c.event()).await.map(drop) }),
        call("publish, and wait for the log", Publishes, |c| async move {
            let mut publication = c.acme().publish(c.event());
            let logged = publication.logged();
            publication.await?;
            logged.await.map(drop)
        }),
        call("append", Logs, |c| async move {
            c.cache.event_log().append("acme", Event::new("said")).await.map(drop)
        }),
        call("watch", Nothing, |c| async move { c.cache.event_log().watch("acme").await.map(drop) }),
        call("read a log", Nothing, |c| async move {
            let log = c.cache.event_log();
            let head = log.head("acme").await?;
            log.after("acme", &head, 10, 1000).await.map(drop)
        }),
        call("signal", Nothing, |c| async move { c.cache.event_log().signal("acme", "x".into()).await }),
        call("claim", Nothing, |c| async move {
            c.cache.event_log().claim("acme", &c.tag, Duration::from_secs(5)).await.map(drop)
        }),
    ]
}

/// Polls it so often, while others run, and drops it. Whether it has ended before.
async fn dropped_after(polls: usize, mut call: BoxFuture<'static, Result<(), Error>>) -> bool {
    for _ in 0..polls {
        if let std::task::Poll::Ready(outcome) = futures_util::poll!(&mut call) {
            outcome.unwrap();
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

async fn get(cache: &Cache, key: &Key) -> Option<u64> {
    cache.tenant("acme").get::<u64>(key.clone()).await.unwrap().map(|found| *found.value)
}

/// No load, no event, no invalidation under way, and no lease in Redis.
async fn assert_nothing_left(redis: &RedisServer, cache: &Cache, what: &str) {
    let under_way = || {
        let stats = cache.stats();
        stats.flights + stats.events.waiting + stats.undelivered
    };
    let leases = || redis.command(&["KEYS", "ld1:test:*:l:*"]).items().len();
    assert_eventually!(under_way() == 0 && leases() == 0, SOON, "{} and {}: {what}", under_way(), leases());
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_await_leaves_nothing_in_redis() {
    let redis = RedisServer::start();
    // A lease that is left there stays for longer than this test waits.
    let patient = |builder: CacheBuilder| {
        let builder = builder.redis(unhurried(&redis.url())).coherence_lease(SOON / 6);
        builder.load_timeout(SOON * 4)
    };
    let (one, other) = (node_with(&redis, patient).await, node_with(&redis, patient).await);
    let (log, mut events) = (one.event_log(), 0);
    for (at, (name, effect, run)) in calls().into_iter().enumerate() {
        let (mut polls, mut ended) = (0, false);
        while !ended {
            let (what, row) = (format!("{name} dropped after {polls} polls"), Row::default());
            let (key, tag) = (key!("k", at, polls), format!("{at}-{polls}"));
            let caller = Caller { cache: one.clone(), key: key.clone(), tag, row: row.clone() };
            // The node beside it has the value; what is loaded nobody has yet.
            if effect != Effect::Loads {
                let load = row.load();
                other.tenant("acme").get_or_load(key.clone(), caller.policy(), || load).await.unwrap();
                row.write();
            }
            ended = dropped_after(polls, run(caller.clone())).await;
            assert_nothing_left(&redis, &one, &what).await;
            let polled = polls > 0;
            match effect {
                Effect::Changes | Effect::Publishes if polled => {
                    let gone =
                        async || get(&other, &key).await != Some(0) && get(&one, &key).await != Some(0);
                    assert_eventually!(gone().await, SOON, "{what}");
                }
                Effect::Loads => assert_eq!(get(&one, &key).await, polled.then_some(0), "{what}"),
                _ => assert_eq!(get(&one, &key).await, Some(0), "{what}"),
            }
            events += u64::from(polled && matches!(effect, Effect::Publishes | Effect::Logs));
            assert_eq!(log.head("acme").await.unwrap().offset(), events, "{what}");
            run(caller).await.unwrap();
            events += u64::from(matches!(effect, Effect::Publishes | Effect::Logs));
            polls += 1 + polls / 2;
        }
    }
    for cache in [one, other] {
        assert_nothing_left(&redis, &cache, "in the end").await;
        assert_eq!(cache.stats().epoch_bumps, 0);
        cache.shutdown().await;
    }
}
