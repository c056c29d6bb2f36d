//! Invalidations.

use crate::support::*;
use larder::store::{EntryName, Push, Tags};
use larder_testkit::RedisServer;

#[tokio::test]
async fn a_scope_gets_the_stamp_that_is_the_new_head() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let (epoch, first) = node.invalidate(&[scope(1), scope(2)]).await;
    let (_, second) = node.invalidate(&[scope(2)]).await;
    assert!(second > first && epoch == node.recovered.epoch);
    let reply = node.link.read(&[], &[scope(1), scope(2), scope(3)], Tags::Named, LONG).await.unwrap();
    assert_eq!(reply.stamps, [Some(first), Some(second), None]);
    assert_eq!(reply.head_before, Some(second));
}

#[tokio::test]
async fn a_key_is_dropped_and_leaves_no_stamp() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[]).await;
    node.invalidate_key().await;
    assert_eq!(node.value().await, None);
    assert!(server.command(&["ZSCORE", STATE, "s00000000000200"]).is_nil());
}

#[tokio::test]
async fn every_node_hears_of_it_in_an_unbroken_chain() {
    let server = RedisServer::start();
    let (mut one, mut two) = (join(&server, "n1").await, join(&server, "n2").await);
    let (_, first) = one.invalidate_both(&[scope(1)], &[(ENTRY, key_scope())]).await;
    let (epoch, second) = two.invalidate(&[scope(2)]).await;
    for node in [&mut one, &mut two] {
        match node.push().await {
            Push::Invalidated { epoch: its, stamp, scopes, .. } => {
                assert_eq!((its, stamp, scopes), (epoch, first, vec![scope(1), key_scope()]));
            }
            other => panic!("{other:?}"),
        }
        let expected = Push::Invalidated {
            epoch,
            prev: first,
            stamp: second,
            scopes: vec![scope(2)],
            globs: vec![],
            ack: None,
        };
        assert_eq!(node.push().await, expected);
    }
}

#[tokio::test]
async fn stamps_rise_also_when_the_servers_clock_went_back() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    // They are times, as long as the clock goes on.
    let (past, now) = ((now_ms() - 3_600_000) * 1_000, now_ms() * 1_000);
    server.command(&["ZADD", STATE, &past.to_string(), "!h"]);
    assert!(node.invalidate(&[scope(1)]).await.1 + 5_000_000 > now);
    let future = (now_ms() + 3_600_000) * 1_000;
    server.command(&["ZADD", STATE, &future.to_string(), "!h"]);
    assert_eq!(node.invalidate(&[scope(1)]).await.1, future + 1);
    assert_eq!(node.invalidate(&[scope(1)]).await.1, future + 2);
}

#[tokio::test]
async fn more_than_a_batch_is_invalidated_in_several_and_the_stamp_covers_all() {
    let server = RedisServer::start();
    let mut node = join(&server, "n1").await;
    let scopes: Vec<_> = (0..1_200).map(numbered_scope).collect();
    let names: Vec<_> = (0..700).map(|n| format!("key:{n}")).collect();
    let keys: Vec<_> = (5_000u32..)
        .zip(&names)
        .map(|(n, name)| (EntryName { tenant: "acme", key: name }, numbered_scope(n)))
        .collect();
    let (_, stamp) = node.invalidate_both(&scopes, &keys).await;
    let reply = node.link.read(&[], &scopes, Tags::Named, LONG).await.unwrap();
    assert!(reply.stamps.iter().all(|its| its.is_some_and(|its| its <= stamp)));
    assert_eq!(reply.head_before, Some(stamp));
    let mut told = Vec::new();
    while told.len() < scopes.len() + keys.len() {
        match node.push().await {
            Push::Invalidated { scopes, .. } => told.extend(scopes),
            other => panic!("{other:?}"),
        }
    }
    let mut expected: Vec<_> = scopes.into_iter().chain(keys.into_iter().map(|(_, scope)| scope)).collect();
    told.sort();
    expected.sort();
    assert_eq!(told, expected);
}

#[tokio::test]
async fn the_cost_of_a_scope_does_not_depend_on_what_it_covers() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let fill_in = "for i = 1, 20000 do redis.call('SET', 'ld1:ns:{0}:e:4:acme:k' .. i, 'v') end";
    server.command(&["EVAL", fill_in, "0"]);
    server.reset_calls();
    node.invalidate(&[scope(1)]).await;
    let calls = server.calls();
    let sum: u64 = calls.iter().filter(|(name, _)| !name.starts_with("config")).map(|(_, n)| n).sum();
    assert!(sum <= 12, "{calls:?}");
    assert!(!calls.contains_key("scan") && !calls.contains_key("keys"), "{calls:?}");
}

#[tokio::test]
async fn stamps_that_no_entry_can_need_are_forgotten_and_the_floor_rises() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let floor = node.link.read(&[], &[], Tags::Named, LONG).await.unwrap().state.unwrap().floor;
    let old = (now_ms() - 31 * 24 * 3_600_000) * 1_000;
    for (member, at) in [("s000000000000001", old - 5), ("s000000000000002", old)] {
        server.command(&["ZADD", STATE, &at.to_string(), member]);
    }
    // A state that is as old as they are.
    server.command(&["ZADD", STATE, &(old - 9).to_string(), "!f"]);
    let (_, stamp) = node.invalidate(&[scope(3)]).await;
    let reply = node.link.read(&[], &[scope(1), scope(2), scope(3)], Tags::Named, LONG).await.unwrap();
    assert_eq!(reply.stamps, [None, None, Some(stamp)]);
    assert_eq!(reply.state.unwrap().floor, old);
    assert!(floor > old);
}

#[tokio::test]
async fn the_state_has_a_cap_beyond_which_the_oldest_stamps_become_the_floor() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let (_, before) = node.invalidate(&[scope(1)]).await;
    let grow = "local h = tonumber(redis.call('ZSCORE', KEYS[1], '!h'))
        for i = 1, 200000 do
          redis.call('ZADD', KEYS[1], string.format('%.0f', h + i), string.format('s9%014d', i))
        end
        redis.call('ZADD', KEYS[1], string.format('%.0f', h + 200000), '!h')";
    assert!(!server.command(&["EVAL", grow, "1", STATE]).is_error());
    let (_, stamp) = node.invalidate(&[scope(2)]).await;
    let members = server.command(&["ZCARD", STATE]).int().unwrap();
    assert!(members <= 200_000, "{members}");
    let reply = node.link.read(&[], &[scope(1), scope(2)], Tags::Named, LONG).await.unwrap();
    let floor = reply.state.unwrap().floor;
    assert_eq!(reply.stamps, [None, Some(stamp)]);
    assert!(floor >= before && floor < stamp, "{floor}");
    // What scope 1 had invalidated stays dead: it is below the floor.
    assert!(before <= floor);
}
