//! What is published on one node is seen on all: once, in order.

use super::{Follower, SOON, head, numbered, publish};
use crate::support::node;
use larder::{Event, FollowNext, Gap, Position, Replay, WatchNext};
use larder_testkit::RedisServer;
use std::time::Duration;

#[tokio::test]
async fn what_one_node_publishes_all_see_once_and_in_order() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (mut here, mut there) = (Follower::of(&one).await, Follower::of(&other).await);
    let places = publish(&one, 0..200).await;
    let offsets: Vec<u64> = places.iter().map(Position::offset).collect();
    assert_eq!(offsets, (1..=200).collect::<Vec<_>>());
    for follower in [&mut here, &mut there] {
        follower.until(places.last().unwrap()).await;
        assert_eq!(follower.seen, (0..200).collect::<Vec<_>>());
        assert!(follower.resets.is_empty());
    }
    let stats = one.stats().events;
    assert_eq!((stats.appended, stats.waiting, stats.resets, stats.watched), (200, 0, 0, 1));
}

#[tokio::test]
async fn nodes_that_publish_at_once_are_put_in_one_order_which_keeps_that_of_each() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (mut here, mut there) = (Follower::of(&one).await, Follower::of(&other).await);
    let (first, second) = tokio::join!(publish(&one, 0..300), publish(&other, 1000..1300));
    let last = first.iter().chain(&second).max_by_key(|place| place.offset()).unwrap();
    assert_eq!(last.offset(), 600);
    here.until(last).await;
    there.until(last).await;
    assert_eq!(here.seen, there.seen);
    let of = |range: std::ops::Range<u64>| -> Vec<u64> {
        here.seen.iter().copied().filter(|number| range.contains(number)).collect()
    };
    assert_eq!(of(0..300), (0..300).collect::<Vec<_>>());
    assert_eq!(of(1000..1300), (1000..1300).collect::<Vec<_>>());
}

#[tokio::test]
async fn tenants_have_logs_of_their_own() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let mut globex = other.event_log().watch("globex").await.unwrap();
    publish(&one, 0..10).await;
    let first = one.event_log().append("globex", numbered(7)).await.unwrap();
    assert_eq!(first.offset(), 1);
    let next = tokio::time::timeout(SOON, globex.next()).await.unwrap();
    let Some(WatchNext::Event(event)) = next else { panic!("{next:?}") };
    assert_eq!((event.tenant(), event.position()), ("globex", &first));
    assert_ne!(head(&one.event_log()).await.epoch(), first.epoch());
}

#[tokio::test]
async fn who_comes_back_is_given_what_it_missed_by_any_node() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let places = publish(&one, 0..50).await;
    // This node has never heard of the tenant: it asks Redis.
    let log = other.event_log();
    let Replay::Events { events, head, more } = log.after("acme", &places[9], 20, 1 << 20).await.unwrap()
    else {
        panic!()
    };
    assert_eq!((events.len(), head, more), (20, places[49].clone(), true));
    assert_eq!(events[0].position(), &places[10]);
    let Replay::Events { events, more: false, .. } =
        log.after("acme", &places[45], 20, 1 << 20).await.unwrap()
    else {
        panic!()
    };
    assert_eq!(events.len(), 4);
    // Now it follows, and answers without Redis.
    let _watch = log.watch("acme").await.unwrap();
    let more = publish(&one, 50..60).await;
    let mut follower = Follower::of(&other).await;
    follower.until(&more[9]).await;
    redis.reset_calls();
    let Replay::Events { events, .. } = log.after("acme", &places[49], 100, 1 << 20).await.unwrap() else {
        panic!()
    };
    assert_eq!(events.len(), 10);
    assert_eq!(redis.calls_of("xrange"), 0);
}

#[tokio::test]
async fn thousands_who_come_back_to_a_new_node_cost_redis_one_read() {
    let redis = RedisServer::start();
    let one = node(&redis).await;
    let places = publish(&one, 0..200).await;
    let fresh = node(&redis).await;
    let log = fresh.event_log();
    let _watch = log.watch("acme").await.unwrap();
    redis.reset_calls();
    let comes_back = |number: usize| {
        let (log, from) = (log.clone(), places[100 + number % 50].clone());
        async move {
            let Replay::Events { events, more: false, .. } =
                log.after("acme", &from, 300, 1 << 20).await.unwrap()
            else {
                panic!()
            };
            assert_eq!(events.len() as u64, 200 - from.offset());
        }
    };
    futures_util::future::join_all((0..2000).map(comes_back)).await;
    // The first asks for its own place; another may have to ask for an earlier one.
    let reads = redis.calls_of("xrange");
    assert!(reads <= 2 * 7, "{reads} reads of 32 events");
}

#[tokio::test]
async fn what_is_too_old_is_told_as_such() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let first = publish(&one, 0..1).await.remove(0);
    for batch in 0..100 {
        let log = one.event_log();
        let appends = (0..100).map(|number| log.append("acme", numbered(batch * 100 + number)));
        futures_util::future::try_join_all(appends).await.unwrap();
    }
    for cache in [&one, &other] {
        let Replay::Unrecoverable { gap, head } =
            cache.event_log().after("acme", &first, 300, 1 << 20).await.unwrap()
        else {
            panic!()
        };
        assert_eq!((gap, head.offset()), (Gap::Window, 10_001));
        let foreign = Position::unknown();
        let Replay::Unrecoverable { gap, .. } =
            cache.event_log().after("acme", &foreign, 300, 1 << 20).await.unwrap()
        else {
            panic!()
        };
        assert_eq!(gap, Gap::Epoch);
    }
}

#[tokio::test]
async fn a_publisher_that_is_not_sure_may_repeat_itself_on_any_node() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let event = || Event::new("k").idempotency_key("ob-17");
    let first = one.event_log().append("acme", event()).await.unwrap();
    publish(&one, 0..5).await;
    let mut again = other.tenant("acme").publish(event());
    let logged = again.logged();
    again.await.unwrap();
    assert_eq!(logged.await.unwrap(), first);
    assert_eq!(head(&one.event_log()).await.offset(), 6);
}

#[tokio::test]
async fn signals_reach_all_nodes_and_have_no_place() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let mut watch = other.event_log().watch("acme").await.unwrap();
    let message = bytes::Bytes::from_static(b"\xff kick 42");
    one.event_log().signal("acme", message.clone()).await.unwrap();
    let next = tokio::time::timeout(SOON, watch.next()).await.unwrap();
    assert!(matches!(next, Some(WatchNext::Signal(got)) if got == message));
    assert_eq!(head(&one.event_log()).await.offset(), 0);
}

#[tokio::test]
async fn a_follower_hears_of_every_tenant_on_every_node() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let mut follow = other.event_log().follow("campaign.*").unwrap();
    // Until its connection is there.
    head(&other.event_log()).await;
    for (tenant, kind) in
        [("acme", "campaign.created"), ("acme", "lead.created"), ("globex", "campaign.deleted")]
    {
        one.tenant(tenant).publish(Event::new(kind)).await.unwrap();
    }
    let mut heard = Vec::new();
    for _ in 0..2 {
        let next = tokio::time::timeout(SOON, follow.next()).await.unwrap();
        let Some(FollowNext::Event(event)) = next else { panic!("{next:?}") };
        heard.push((event.tenant().to_owned(), event.kind().to_owned()));
    }
    heard.sort();
    let expected = [("acme", "campaign.created"), ("globex", "campaign.deleted")];
    assert_eq!(heard, expected.map(|(tenant, kind)| (tenant.to_owned(), kind.to_owned())));
}

#[tokio::test]
async fn an_event_costs_redis_one_script_and_one_message() {
    let redis = RedisServer::start();
    let cache = node(&redis).await;
    publish(&cache, 0..1).await;
    redis.reset_calls();
    for number in 1..11 {
        publish(&cache, number..number + 1).await;
    }
    assert_eq!((redis.calls_of("xadd"), redis.calls_of("spublish")), (10, 10));
    // What waits behind another goes with it.
    redis.reset_calls();
    let log = cache.event_log();
    futures_util::future::try_join_all((0..64).map(|number| log.append("acme", numbered(number))))
        .await
        .unwrap();
    assert_eq!(redis.calls_of("xadd"), 64);
    assert!(redis.calls_of("spublish") <= 4, "{}", redis.calls_of("spublish"));
}

#[tokio::test]
async fn a_cache_that_is_shut_down_has_logged_what_it_was_given() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    for number in 0..100 {
        one.tenant("acme").publish(numbered(number)).await.unwrap();
    }
    one.shutdown().await;
    assert_eq!(head(&other.event_log()).await.offset(), 100);
}

#[tokio::test]
async fn who_is_in_a_room_is_known_on_every_node_until_it_leaves() {
    let redis = RedisServer::start();
    let (one, other) = (node(&redis).await, node(&redis).await);
    let (log, beside) = (one.event_log(), other.event_log());
    let info = bytes::Bytes::from_static(b"{\"name\":\"Ann:\\n\"}");
    let first = log.join("acme", "chat:1", "c1", "ann", info.clone()).await.unwrap();
    assert_eq!((first.changed, first.total), (true, 1));
    let second = beside.join("acme", "chat:1", "c2", "ann", info.clone()).await.unwrap();
    assert_eq!((second.changed, second.total), (false, 1));
    assert!(beside.join("acme", "chat:1", "c3", "bob", bytes::Bytes::new()).await.unwrap().changed);
    for log in [&log, &beside] {
        let members = log.members("acme", "chat:1", 10).await.unwrap();
        assert_eq!((members.total, members.truncated, members.members.len()), (2, false, 2));
        let ann = &members.members[0];
        assert_eq!((ann.user.as_str(), ann.conns, &ann.info), ("ann", 2, &info));
        let some = log.members("acme", "chat:1", 1).await.unwrap();
        assert_eq!((some.total, some.truncated, some.members.len()), (2, true, 1));
    }
    assert!(!log.leave("acme", "chat:1", "c1").await.unwrap().changed);
    let left = beside.leave("acme", "chat:1", "c2").await.unwrap();
    assert_eq!((left.changed, left.total), (true, 1));
    assert_eq!(log.members("acme", "chat:2", 10).await.unwrap().total, 0);
    // A node that dies leaves its members to time: the room is gone from Redis by itself.
    let ttl = redis.command(&["PTTL", "ld1:test:{0}:m:4:acme:chat:1"]).int().unwrap();
    assert!((1..=120_000).contains(&ttl), "{ttl}");
    assert!(Duration::from_secs(60) <= larder::limits::PRESENCE_TTL);
}
