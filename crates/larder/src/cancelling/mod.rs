//! Calls whose futures are dropped at every await, before and after whatever runs behind them has taken its next step:
//! each has its whole effect or none, nothing of it stays behind, and the next call goes well.
//!
//! A call is polled whether or not it was woken, and after each poll all others take a step. So the number of polls says
//! how far what runs behind had come when the caller went.

mod calls;
mod world;

use crate::cache::Cache;
use crate::testing::{Call as ServerCall, Server};
use calls::{Call, calls};
use std::sync::Arc;
use std::time::Duration;
use world::{Situation, World};

/// A call that has not ended by then never does.
const MOST: usize = 400;

/// Drops the call after `polls` polls, looks at what is left, and makes it again. Whether it had ended before it was dropped.
async fn dropped(call: &Call, situation: Situation, polls: usize) -> bool {
    let what = format!("{} dropped after {polls} polls, {situation:?}", call.name);
    let mut world = World::new(situation, polls).await;
    world.begin(call.effect).await;
    let ended = world.dropped_after(polls, (call.run)(world.caller())).await;
    let has_ended = ended.is_some();
    if let Some(Err(error)) = ended {
        assert!(situation == Situation::CutOff && error.ticket().is_some(), "{what}: {error}");
    }
    world.settle().await;
    world.assert_nothing_left(&what);
    world.assert_whole(call.effect, polls > 0, &what).await;
    let again = (call.run)(world.caller());
    if let Err(error) = world.driven(again).await {
        panic!("{what}: the next one fails: {error}");
    }
    world.settle().await;
    world.assert_nothing_left(&format!("{what}, and once more"));
    has_ended
}

/// Drops each call after every number of polls that leaves it unfinished, and once when it has ended.
async fn at_every_await(situation: Situation) {
    for call in calls().iter().filter(|call| situation.is_shared() || !call.only_shared) {
        let ended = async |polls| dropped(call, situation, polls).await;
        let mut polls = 0;
        while !ended(polls).await {
            polls += 1;
            assert!(polls < MOST, "{} never ends", call.name);
        }
    }
}

#[tokio::test]
async fn without_redis_a_call_that_is_dropped_at_any_await_leaves_nothing_behind() {
    at_every_await(Situation::AloneCold).await;
    at_every_await(Situation::AloneWarm).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_await_leaves_nothing_behind_where_nobody_has_the_value() {
    at_every_await(Situation::Cold).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_await_leaves_nothing_behind_where_all_nodes_have_the_value() {
    at_every_await(Situation::Warm).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_at_any_await_leaves_nothing_behind_where_redis_has_the_value() {
    at_every_await(Situation::InRedis).await;
}

#[tokio::test]
async fn a_call_that_is_dropped_while_another_node_loads_leaves_nothing_behind() {
    // They end when the other's load does, which is after they were dropped.
    for call in calls() {
        for polls in [0, 1, 2, 3, 5, 8, 13, 21, 34, 55] {
            if dropped(&call, Situation::LoadedElsewhere, polls).await {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_while_this_node_is_cut_off_leaves_nothing_behind() {
    for call in calls() {
        for polls in [0, 1, 2, 5, 9] {
            if dropped(&call, Situation::CutOff, polls).await {
                break;
            }
        }
    }
}

#[tokio::test]
async fn a_cache_that_nobody_waits_for_any_more_leaves_no_node_behind() {
    for polls in 1..4 {
        let server = Server::new();
        // The first attempt to connect does not end.
        let held = server.hold(ServerCall::Heartbeat);
        let connector = Arc::new(server.clone());
        let builder = Cache::builder("test").connector(connector, Duration::from_secs(1));
        let mut building = Box::pin(builder.build());
        for _ in 0..polls {
            assert!(futures_util::poll!(&mut building).is_pending());
            tokio::task::yield_now().await;
        }
        held.reached().await;
        assert_eq!(server.links(), 1);
        drop(building);
        held.open();
        server.left_by_all().await;
    }
}

#[tokio::test]
async fn a_shutdown_that_is_dropped_half_way_can_be_made_again() {
    for polls in 1..6 {
        let server = Server::new();
        let connector = Arc::new(server.clone());
        let cache =
            Cache::builder("test").connector(connector, Duration::from_secs(1)).build().await.unwrap();
        assert_eq!(server.links(), 1);
        {
            let mut ending = Box::pin(cache.shutdown());
            for _ in 0..polls {
                if futures_util::poll!(&mut ending).is_ready() {
                    break;
                }
                tokio::task::yield_now().await;
            }
        }
        cache.shutdown().await;
        assert_eq!(server.nodes(), 0, "{polls}");
        drop(cache);
        server.left_by_all().await;
    }
}
