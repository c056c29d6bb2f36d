//! Whatever breaks: every event once and in order, or a reset. Never silence.

use super::{Follower, SOON, head, numbered, publish};
use crate::support::{node, node_with, ready};
use larder::{Cache, ErrorKind, Event, Gap, Position, Replay, tag};
use larder_testkit::{Fault, RedisServer, TcpProxy, assert_eventually};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// A node whose bytes pass through a proxy.
async fn behind(proxy: &TcpProxy) -> Cache {
    let url = format!("redis://{}/0", proxy.address());
    let cache = Cache::builder("test").redis(url.as_str()).build().await.unwrap();
    ready(&cache).await;
    cache
}

/// Publishes until told to stop; the place of the last.
fn publishing(cache: &Cache) -> (Arc<AtomicBool>, tokio::task::JoinHandle<Vec<Position>>) {
    let stop: Arc<AtomicBool> = Arc::default();
    let (until, cache) = (Arc::clone(&stop), cache.clone());
    let work = tokio::spawn(async move {
        let mut places = Vec::new();
        while !until.load(Ordering::Relaxed) {
            let number = places.len() as u64;
            places.extend(publish(&cache, number..number + 1).await);
        }
        places
    });
    (stop, work)
}

#[tokio::test]
async fn subscribers_that_are_killed_again_and_again_miss_nothing() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (mut here, mut there) = (Follower::of(&one).await, Follower::of(&other).await);
    let (stop, work) = publishing(&one);
    for round in 1..=10 {
        for _ in 0..20 {
            there.step().await;
        }
        redis.kill_clients("pubsub");
        assert_eventually!(other.stats().events.reconnects >= round, SOON, "the connection ended");
    }
    stop.store(true, Ordering::Relaxed);
    let places = work.await.unwrap();
    for follower in [&mut here, &mut there] {
        follower.until(places.last().unwrap()).await;
        assert_eq!(follower.seen, (0..places.len() as u64).collect::<Vec<_>>());
        assert!(follower.resets.is_empty(), "{:?}", follower.resets);
    }
}

#[tokio::test]
async fn a_node_that_was_cut_off_reads_what_it_missed() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let (one, other) = (node(&redis).await, behind(&proxy).await);
    let mut follower = Follower::of(&other).await;
    let mut number = 0;
    for _ in 0..5 {
        proxy.set(Fault::Reset).await;
        let places = publish(&one, number..number + 100).await;
        number += 100;
        proxy.heal().await;
        follower.until(places.last().unwrap()).await;
    }
    assert_eq!(follower.seen, (0..number).collect::<Vec<_>>());
    assert!(follower.resets.is_empty());
}

#[tokio::test]
async fn a_connection_that_only_seems_to_live_is_found_out() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let (one, other) = (node(&redis).await, behind(&proxy).await);
    let mut follower = Follower::of(&other).await;
    proxy.set(Fault::Drop).await;
    let places = publish(&one, 0..10).await;
    assert_eventually!(other.stats().events.reconnects > 0, SOON, "it is noticed");
    proxy.cut();
    proxy.heal().await;
    follower.until(places.last().unwrap()).await;
    assert_eq!(follower.seen, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn whoever_was_away_for_longer_than_the_window_is_reset_and_goes_on_from_there() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let (one, other) = (node(&redis).await, behind(&proxy).await);
    let mut follower = Follower::of(&other).await;
    publish(&one, 0..10).await;
    proxy.set(Fault::Reset).await;
    let log = one.event_log();
    for _ in 0..100 {
        futures_util::future::try_join_all((0..100).map(|n| log.append("acme", numbered(n)))).await.unwrap();
    }
    proxy.heal().await;
    assert_eq!(follower.until_reset().await, Gap::Window);
    assert_eq!(follower.at.offset(), 10_010);
    let places = publish(&one, 7..9).await;
    follower.until(&places[1]).await;
    assert_eq!(follower.seen, [7, 8]);
}

#[tokio::test]
async fn large_events_take_the_place_of_many_small_ones() {
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    let log = cache.event_log();
    let small = publish(&cache, 0..100).await;
    for number in 0..200 {
        let text = "x".repeat(60_000 + number);
        log.append("acme", Event::new("large").data(serde_json::json!(text))).await.unwrap();
    }
    let keys = redis.command(&["KEYS", "*"]);
    let keys: Vec<String> = keys.items().iter().map(larder_testkit::Reply::text).collect();
    let stream = keys
        .iter()
        .find(|key| redis.command(&["TYPE", key.as_str()]).text() == "stream")
        .expect("the log's events");
    let bytes = redis.command(&["MEMORY", "USAGE", stream.as_str(), "SAMPLES", "0"]).int().unwrap();
    assert!(bytes < 5 << 20, "{bytes} bytes");
    assert!(bytes > 3 << 20, "no more is forgotten than need be: {bytes} bytes");
    let replay = log.after("acme", &small[99], 300, 1 << 20).await.unwrap();
    assert!(matches!(replay, Replay::Unrecoverable { .. }), "what is forgotten is told: {replay:?}");
}

#[tokio::test]
async fn a_lost_reply_makes_no_second_event() {
    let redis = RedisServer::start();
    let proxy = TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await;
    let (one, other) = (behind(&proxy).await, node(&redis).await);
    let mut follower = Follower::of(&other).await;
    let mut places = publish(&one, 0..5).await;
    for number in 5..10 {
        proxy.set(Fault::HoldReplies).await;
        let log = one.event_log();
        let append = tokio::spawn(async move { log.append("acme", numbered(number)).await.unwrap() });
        // Redis has carried it out, and the answer is lost with its connection.
        assert_eventually!(head(&other.event_log()).await.offset() == number + 1, SOON, "it is there");
        let before = one.stats().events.reconnects;
        proxy.cut();
        assert_eventually!(one.stats().events.reconnects > before, SOON, "the connection ended");
        proxy.heal().await;
        places.push(append.await.unwrap());
    }
    let offsets: Vec<u64> = places.iter().map(Position::offset).collect();
    assert_eq!(offsets, (1..=10).collect::<Vec<_>>());
    follower.until(&places[9]).await;
    assert_eq!(follower.seen, (0..10).collect::<Vec<_>>());
}

#[tokio::test]
async fn events_wait_for_a_redis_that_stands_still_and_follow_in_their_order() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (mut here, mut there) = (Follower::of(&one).await, Follower::of(&other).await);
    publish(&one, 0..3).await;
    redis.pause();
    let log = one.event_log();
    let appends: Vec<_> = (3..200)
        .map(|number| {
            let log = log.clone();
            tokio::spawn(async move { log.append("acme", numbered(number)).await.unwrap() })
        })
        .collect();
    assert_eventually!(one.stats().events.waiting >= 100, SOON, "they wait");
    assert_eventually!(one.stats().events.reconnects > 0, SOON, "it is given up");
    redis.resume();
    // Not the head: what this node has heard may be behind what it was answered.
    let mut places = Vec::new();
    for append in appends {
        places.push(append.await.unwrap());
    }
    let last = places.into_iter().max_by_key(|place| place.offset()).unwrap();
    assert_eq!(last.offset(), 200);
    for follower in [&mut here, &mut there] {
        follower.until(&last).await;
        let mut seen = follower.seen.clone();
        seen.sort_unstable();
        assert_eq!(seen, (0..200).collect::<Vec<_>>());
        assert!(follower.resets.is_empty());
    }
    assert_eq!(here.seen, there.seen);
}

#[tokio::test]
async fn an_invalidation_that_waits_for_redis_is_counted_once() {
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    redis.pause();
    let mut publication = cache.tenant("acme").publish(Event::new("changed").invalidates([tag("t")]));
    let logged = publication.logged();
    assert_eq!(publication.await.unwrap_err().kind(), ErrorKind::Deferred);
    assert_eq!(cache.stats().invalidations, 1);
    redis.resume();
    logged.await.unwrap();
    assert_eq!(cache.stats().invalidations, 1, "made once more, for the log, and asked once");
}

#[tokio::test]
async fn a_redis_that_comes_back_empty_or_with_old_data_begins_a_new_history() {
    let redis = RedisServer::builder().appendonly().start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (mut here, mut there) = (Follower::of(&one).await, Follower::of(&other).await);
    publish(&one, 0..10).await;
    let old = redis.snapshot();
    let before = publish(&one, 10..20).await;
    let changes: [(&str, &dyn Fn()); 4] = [
        ("empty", &|| {
            redis.kill();
            redis.restart_empty();
        }),
        ("old", &|| {
            redis.kill();
            redis.restore_snapshot(&old);
        }),
        ("the same", &|| redis.restart_keeping_data()),
        ("flushed", &|| redis.flush()),
    ];
    let mut seen = before.last().unwrap().clone();
    for (name, change) in changes {
        change();
        // The next event is in a new history, and no old offset is used again in the one before.
        let places = publish(&one, 0..3).await;
        assert_ne!(places[0].epoch(), seen.epoch(), "{name}");
        for follower in [&mut here, &mut there] {
            follower.until(&places[2]).await;
            assert!(!follower.resets.is_empty(), "{name}");
            assert!(follower.resets.iter().all(|gap| *gap == Gap::Epoch), "{name}");
            assert_eq!(follower.seen, (3 - follower.seen.len() as u64..3).collect::<Vec<_>>(), "{name}");
            follower.resets.clear();
        }
        let replay = other.event_log().after("acme", &seen, 300, 1 << 20).await.unwrap();
        assert!(matches!(replay, Replay::Unrecoverable { gap: Gap::Epoch, .. }), "{name}");
        seen = places[2].clone();
    }
}

#[tokio::test]
async fn a_log_whose_state_was_evicted_begins_a_new_history() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let mut follower = Follower::of(&other).await;
    let places = publish(&one, 0..10).await;
    follower.until(&places[9]).await;
    assert!(redis.evict("ld1:test:{0}:h:4:acme:"));
    let places = publish(&one, 10..12).await;
    assert_eq!(places[0].offset(), 1);
    assert_eq!(follower.until_reset().await, Gap::Epoch);
    follower.until(&places[1]).await;
    assert!(follower.seen.is_empty() || follower.seen.ends_with(&[11]), "{:?}", follower.seen);
    // Events without the state are events that are gone.
    assert!(redis.evict("ld1:test:{0}:s:4:acme:"));
    let late = node(&redis).await;
    let replay = late.event_log().after("acme", &places[0], 300, 1 << 20).await.unwrap();
    assert!(matches!(replay, Replay::Unrecoverable { gap: Gap::Window, .. }), "{replay:?}");
}

#[tokio::test]
async fn too_many_events_that_wait_are_dropped_and_everybody_is_told() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (mut here, mut there) = (Follower::of(&one).await, Follower::of(&other).await);
    let places = publish(&one, 0..3).await;
    redis.pause();
    let acme = one.tenant("acme");
    let mut first = acme.publish(numbered(3));
    let dropped = first.logged();
    first.await.unwrap();
    // Some are on their way already.
    for number in 4..larder::limits::MAX_WAITING_EVENTS as u64 + 200 {
        acme.publish(numbered(number)).await.unwrap();
    }
    let stats = one.stats().events;
    assert_eq!(stats.overflows, 1);
    redis.resume();
    // What was on its way was logged in the old history; nobody is left without an answer.
    let _ = tokio::time::timeout(SOON, dropped).await.expect("an answer");
    let last = publish(&one, 0..1).await.remove(0);
    assert_ne!(last.epoch(), places[0].epoch());
    for follower in [&mut here, &mut there] {
        follower.until(&last).await;
        assert_eq!(follower.resets, [Gap::Epoch]);
    }
}

#[tokio::test]
async fn without_redis_in_reach_a_watch_begins_nowhere_and_is_reset_when_it_is_back() {
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    redis.pause();
    let mut follower = Follower::of(&cache).await;
    assert!(follower.at.is_unknown());
    assert_eq!(cache.event_log().head("acme").await.unwrap_err().kind(), ErrorKind::Unavailable);
    let from = Position::unknown();
    let error = cache.event_log().after("acme", &from, 1, 1).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    redis.resume();
    assert_eq!(follower.until_reset().await, Gap::Epoch);
    let places = publish(&cache, 0..2).await;
    follower.until(&places[1]).await;
}

#[tokio::test]
async fn an_event_whose_invalidation_was_deferred_is_logged_when_redis_is_back() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let mut follower = Follower::of(&other).await;
    redis.pause();
    let mut publication = one.tenant("acme").publish(numbered(0).invalidates([tag("t")]));
    let logged = publication.logged();
    assert_eq!(publication.await.unwrap_err().kind(), ErrorKind::Deferred);
    // One that invalidates nothing waits behind it.
    let mut behind = one.tenant("acme").publish(numbered(1));
    let last = behind.logged();
    behind.await.unwrap();
    redis.resume();
    let first = tokio::time::timeout(SOON, logged).await.unwrap().unwrap();
    let last = tokio::time::timeout(SOON, last).await.unwrap().unwrap();
    assert_eq!((first.offset(), last.offset()), (1, 2));
    follower.until(&last).await;
    assert_eq!(follower.seen, [0, 1]);
}

#[tokio::test]
async fn a_shutdown_does_not_wait_for_a_redis_that_does_not_come() {
    let redis = RedisServer::start();
    let cache = node_with(&redis, |builder| builder).await;
    head(&cache.event_log()).await;
    redis.pause();
    // One waits for its place behind one whose invalidation waits.
    let changed = cache.tenant("acme").publish(numbered(0).invalidates([tag("t")])).await;
    assert_eq!(changed.unwrap_err().kind(), ErrorKind::Deferred);
    let mut publication = cache.tenant("acme").publish(numbered(1));
    let logged = publication.logged();
    publication.await.unwrap();
    tokio::time::timeout(SOON, cache.shutdown()).await.expect("it ends");
    assert_eq!(logged.await.unwrap_err().kind(), ErrorKind::Closed);
    redis.resume();
}
