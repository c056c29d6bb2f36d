//! The log in memory, from outside.

use super::*;
use crate::cache::Cache;
use crate::limits::{EVENT_HISTORY, MAX_EVENT_BYTES, MAX_SIGNALS};
use crate::{ManualClock, Next, key, tag};
use serde_json::json;
use std::time::Duration;

async fn alone() -> (Cache, EventLog) {
    let cache = Cache::builder("test").build().await.unwrap();
    let log = cache.event_log();
    (cache, log)
}

fn offset_of(next: Option<WatchNext>) -> u64 {
    match next {
        Some(WatchNext::Event(event)) => event.position().offset(),
        other => panic!("{other:?}"),
    }
}

async fn offsets(log: &EventLog, from: &Position, max_events: usize, max_bytes: usize) -> (Vec<u64>, bool) {
    match log.after("acme", from, max_events, max_bytes).await.unwrap() {
        Replay::Events { events, more, .. } => {
            (events.iter().map(|event| event.position().offset()).collect(), more)
        }
        other => panic!("{other:?}"),
    }
}

async fn lost(log: &EventLog, from: &Position) -> Gap {
    match log.after("acme", from, 300, 1 << 20).await.unwrap() {
        Replay::Unrecoverable { gap, head } => {
            assert_eq!(head, log.head("acme").await.unwrap());
            gap
        }
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_published_change_is_dropped_told_here_and_then_logged() {
    let (cache, log) = alone().await;
    let acme = cache.tenant("acme");
    let policy = crate::Policy::ttl(Duration::from_secs(60)).tag("t");
    let load = || async { Ok::<_, std::convert::Infallible>(1u64) };
    acme.get_or_load(key!("k"), &policy, load).await.unwrap();
    let (mut here, mut watch) = (cache.subscribe_to("thing.*"), log.watch("acme").await.unwrap());
    acme.publish(Event::new("other")).await.unwrap();
    let event = Event::new("thing.updated").id("17").data(json!({"a": 1})).from("7").invalidates([tag("t")]);
    let mut publication = acme.publish(event);
    let logged = publication.logged();
    assert!(publication.await.unwrap().is_some());
    assert!(!acme.contains::<u64>(key!("k")).await.unwrap());
    let Some(Next::Event(event)) = here.next().await else { panic!() };
    assert_eq!((event.kind(), event.tenant()), ("thing.updated", "acme"));
    assert_eq!(logged.await.unwrap().offset(), 2);
    assert_eq!(offset_of(watch.next().await), 1);
    let Some(WatchNext::Event(event)) = watch.next().await else { panic!() };
    assert_eq!((event.kind(), event.room(), event.from()), ("thing.updated", "tenant", Some("7")));
    assert_eq!(watch.head(), *event.position());
    assert!(watch.try_next().is_none());
    assert_eq!((cache.stats().events.appended, cache.stats().events.watched), (2, 1));
}

#[tokio::test]
async fn events_enter_the_log_in_the_order_in_which_they_were_first_polled() {
    let (cache, log) = alone().await;
    let acme = cache.tenant("acme");
    let publications = (0..50).map(|number| {
        let event = Event::new(format!("k{number}"));
        let event = if number % 2 == 0 { event.invalidates([tag("t")]) } else { event };
        acme.publish(event).into_future()
    });
    futures_util::future::join_all(publications).await;
    let begin = Position::new(log.head("acme").await.unwrap().epoch(), 0);
    let Replay::Events { events, more: false, .. } = log.after("acme", &begin, 300, 1 << 20).await.unwrap()
    else {
        panic!()
    };
    let kinds: Vec<_> = events.iter().map(|event| event.kind().to_owned()).collect();
    assert_eq!(kinds, (0..50).map(|number| format!("k{number}")).collect::<Vec<_>>());
}

#[tokio::test]
async fn nothing_happens_before_a_publication_is_awaited() {
    let (cache, log) = alone().await;
    let mut publication = cache.tenant("acme").publish(Event::new("k"));
    let logged = publication.logged();
    drop(publication);
    assert_eq!(logged.await.unwrap_err().kind(), ErrorKind::Closed);
    assert_eq!(log.head("acme").await.unwrap().offset(), 0);
}

#[tokio::test]
async fn an_event_with_the_key_of_another_is_told_the_place_of_the_first() {
    let (cache, log) = alone().await;
    let first = log.append("acme", Event::new("k").idempotency_key("ob-1")).await.unwrap();
    log.append("acme", Event::new("k")).await.unwrap();
    let mut again = cache.tenant("acme").publish(Event::new("k").idempotency_key("ob-1"));
    let logged = again.logged();
    again.await.unwrap();
    assert_eq!(logged.await.unwrap(), first);
    assert_eq!(log.head("acme").await.unwrap().offset(), 2);
    // Another tenant's keys are its own.
    log.append("globex", Event::new("k").idempotency_key("ob-1")).await.unwrap();
    assert_eq!(log.head("globex").await.unwrap().offset(), 1);
}

#[tokio::test]
async fn what_is_too_large_for_the_log_is_refused_and_invalidated_all_the_same() {
    let (cache, log) = alone().await;
    let acme = cache.tenant("acme");
    let policy = crate::Policy::ttl(Duration::from_secs(60)).tag("t");
    acme.get_or_load(key!("k"), &policy, || async { Ok::<_, std::convert::Infallible>(1u64) }).await.unwrap();
    let large = Event::new("k").data("x".repeat(MAX_EVENT_BYTES).into()).invalidates([tag("t")]);
    let mut publication = acme.publish(large.clone());
    let logged = publication.logged();
    assert_eq!(publication.await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(logged.await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert!(!acme.contains::<u64>(key!("k")).await.unwrap());
    assert_eq!(log.append("acme", large).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
    assert_eq!(log.head("acme").await.unwrap().offset(), 0);
    let error = acme.publish(Event::new("k").invalidates([tag("")])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTag);
    acme.publish(Event::new("k")).await.unwrap();
    assert_eq!(log.head("acme").await.unwrap().offset(), 1, "what failed holds up nobody");
}

#[tokio::test]
async fn a_reader_gets_what_it_missed_in_pieces_or_is_told_that_it_is_gone() {
    let (_cache, log) = alone().await;
    let begin = log.head("acme").await.unwrap();
    for _ in 0..10 {
        log.append("acme", Event::new("k").data("x".repeat(1000).into())).await.unwrap();
    }
    assert_eq!(offsets(&log, &begin, 4, 1 << 20).await, (vec![1, 2, 3, 4], true));
    assert_eq!(offsets(&log, &Position::new(begin.epoch(), 8), 4, 1 << 20).await, (vec![9, 10], false));
    assert_eq!(offsets(&log, &begin, 100, 2500).await, (vec![1, 2], true));
    assert_eq!(offsets(&log, &begin, 100, 1).await, (vec![1], true), "one in any case");
    assert_eq!(offsets(&log, &Position::new(begin.epoch(), 10), 4, 1 << 20).await, (vec![], false));
    for foreign in [Position::new("other", 3), Position::new(begin.epoch(), 11), Position::unknown()] {
        assert_eq!(lost(&log, &foreign).await, Gap::Epoch);
    }
    for _ in 10..=EVENT_HISTORY {
        log.append("acme", Event::new("k")).await.unwrap();
    }
    assert_eq!(lost(&log, &begin).await, Gap::Window);
    assert_eq!(offsets(&log, &Position::new(begin.epoch(), 1), 1, 1 << 20).await, (vec![2], true));
}

#[tokio::test]
async fn a_watcher_that_is_too_slow_is_reset_and_goes_on_from_the_head() {
    let (_cache, log) = alone().await;
    let (mut slow, mut quick) = (log.watch("acme").await.unwrap(), log.watch("acme").await.unwrap());
    for offset in 1..=EVENT_HISTORY as u64 + 1 {
        log.append("acme", Event::new("k")).await.unwrap();
        assert_eq!(offset_of(quick.next().await), offset);
    }
    let Some(WatchNext::Reset { head, gap: Gap::Slow }) = slow.next().await else { panic!() };
    assert_eq!(head, quick.head());
    log.append("acme", Event::new("k")).await.unwrap();
    assert_eq!(offset_of(slow.next().await), head.offset() + 1);
}

#[tokio::test]
async fn signals_reach_those_who_watch_between_the_events_and_are_bounded() {
    let (_cache, log) = alone().await;
    let mut watch = log.watch("acme").await.unwrap();
    log.append("acme", Event::new("k")).await.unwrap();
    log.signal("acme", Bytes::from_static(b"one")).await.unwrap();
    log.append("acme", Event::new("k")).await.unwrap();
    log.signal("globex", Bytes::from_static(b"not for acme")).await.unwrap();
    assert_eq!(offset_of(watch.next().await), 1);
    assert!(matches!(watch.next().await, Some(WatchNext::Signal(message)) if message == "one"));
    assert_eq!(offset_of(watch.next().await), 2);
    for number in 0..=MAX_SIGNALS {
        log.signal("acme", Bytes::from(number.to_string())).await.unwrap();
    }
    assert!(matches!(watch.next().await, Some(WatchNext::Signal(message)) if message == "1"));
    let large = Bytes::from(vec![0; MAX_SIGNAL_BYTES + 1]);
    assert_eq!(log.signal("acme", large).await.unwrap_err().kind(), ErrorKind::InvalidRequest);
}

#[tokio::test]
async fn who_waits_is_woken_by_what_comes() {
    let (cache, log) = alone().await;
    let mut watch = log.watch("acme").await.unwrap();
    let waiting = tokio::spawn(async move { offset_of(watch.next().await) });
    tokio::task::yield_now().await;
    log.append("acme", Event::new("k")).await.unwrap();
    assert_eq!(waiting.await.unwrap(), 1);
    let mut watch = log.watch("acme").await.unwrap();
    cache.shutdown().await;
    assert!(watch.next().await.is_none());
    for error in [log.watch("acme").await.err(), log.append("acme", Event::new("k")).await.err()] {
        assert_eq!(error.unwrap().kind(), ErrorKind::Closed);
    }
}

#[tokio::test]
async fn a_follower_hears_of_all_tenants_what_its_pattern_covers() {
    let (cache, log) = alone().await;
    let mut follow = log.follow("campaign.*").unwrap();
    cache.tenant("acme").publish(Event::new("campaign.created")).await.unwrap();
    cache.tenant("acme").publish(Event::new("lead.created")).await.unwrap();
    cache.shared().publish(Event::new("campaign.deleted")).await.unwrap();
    for (tenant, kind) in [("acme", "campaign.created"), ("", "campaign.deleted")] {
        let Some(FollowNext::Event(event)) = follow.next().await else { panic!() };
        assert_eq!((event.tenant(), event.kind()), (tenant, kind));
    }
}

#[tokio::test]
async fn a_history_that_nobody_adds_to_is_forgotten_and_its_place_is_not() {
    let clock = Arc::new(ManualClock::default());
    let cache = Cache::builder("test").clock(clock.clone()).build().await.unwrap();
    let log = cache.event_log();
    let begin = log.head("acme").await.unwrap();
    let last = log.append("acme", Event::new("k")).await.unwrap();
    clock.advance(crate::limits::EVENT_HISTORY_TTL);
    log.append("globex", Event::new("k")).await.unwrap();
    assert_eq!(lost(&log, &begin).await, Gap::Window);
    assert_eq!(log.head("acme").await.unwrap(), last);
    clock.advance(crate::limits::EVENT_LOG_TTL);
    log.append("globex", Event::new("k")).await.unwrap();
    assert_eq!(lost(&log, &last).await, Gap::Epoch);
}

#[tokio::test]
async fn those_in_a_room_are_counted_by_user() {
    let (_cache, log) = alone().await;
    let info = |text: &'static str| Bytes::from_static(text.as_bytes());
    let told = |presence: Presence| (presence.changed, presence.total);
    assert_eq!(told(log.join("acme", "chat", "c1", "ann", info("1")).await.unwrap()), (true, 1));
    assert_eq!(told(log.join("acme", "chat", "c2", "ann", info("2")).await.unwrap()), (false, 1));
    assert_eq!(told(log.join("acme", "chat", "c2", "ann", info("3")).await.unwrap()), (false, 1));
    assert_eq!(told(log.join("acme", "chat", "c3", "bob", info("")).await.unwrap()), (true, 2));
    let members = log.members("acme", "chat", 1).await.unwrap();
    assert_eq!((members.total, members.truncated), (2, true));
    let ann = &members.members[0];
    assert_eq!((ann.user.as_str(), ann.conns, &ann.info), ("ann", 2, &info("3")));
    assert_eq!(told(log.leave("acme", "chat", "c1").await.unwrap()), (false, 2));
    assert_eq!(told(log.leave("acme", "chat", "c1").await.unwrap()), (false, 2));
    assert_eq!(told(log.leave("acme", "chat", "c2").await.unwrap()), (true, 1));
    assert_eq!(log.members("globex", "chat", 10).await.unwrap(), Members::default());
    assert!(log.join("acme", &"r".repeat(201), "c", "u", Bytes::new()).await.is_err());
}
