//! Leases, fills and releases.

use crate::support::*;
use larder::ScopeHash;
use larder::store::{
    EntryName, FillReply, FillRequest, LeaseReply, LeaseRequest, Push, StoreErrorKind, Tags,
};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::Duration;

#[tokio::test]
async fn what_is_filled_under_a_lease_is_read_back_with_its_state() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let stored = node.store(&[scope(1)]).await;
    let reply = node.link.read(&[ENTRY], &[scope(1), scope(2)], Tags::Named, LONG).await.unwrap();
    assert_eq!(reply.values[0].as_ref().unwrap()[..19], stored[..19]);
    let state = reply.state.unwrap();
    assert_eq!(state.epoch, node.recovered.epoch);
    assert_eq!(reply.head_before, Some(state.head));
    assert_eq!(state.floor, state.head);
    assert_eq!(reply.stamps, [None, None]);
    let expires = server.command(&["PTTL", RAW]).int().unwrap();
    assert!((1..=60_000).contains(&expires), "{expires}");
    assert!(server.command(&["EXISTS", RAW_LEASE]).int() == Some(0));
}

#[tokio::test]
async fn several_entries_are_read_in_order_and_absent_ones_are_absent() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[]).await;
    let absent = EntryName { tenant: "acme", key: "absent" };
    let reply = node.link.read(&[absent, ENTRY, absent], &[], Tags::Named, LONG).await.unwrap();
    let found: Vec<_> = reply.values.iter().map(Option::is_some).collect();
    assert_eq!(found, [false, true, false]);
    let none = node.link.read(&[], &[scope(1)], Tags::Named, LONG).await.unwrap();
    assert!(none.values.is_empty() && none.state.is_some() && none.stamps == [None]);
}

#[tokio::test]
async fn a_read_that_does_not_know_the_tags_of_entries_gets_their_stamps_as_well() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[scope(1), scope(2), scope(3)]).await;
    let absent = EntryName { tenant: "acme", key: "absent" };
    let read = async |scopes: &[ScopeHash]| {
        let reply = node.link.read(&[absent, ENTRY], scopes, Tags::Carried, LONG).await.unwrap();
        assert!(reply.values[1].is_some() && reply.state.is_some() && reply.head_before.is_some());
        assert_eq!(reply.stamps, vec![None; scopes.len()]);
        reply.tags
    };
    let both = |number| [(scope(number), None), (scope(number).soft(), None)];
    assert_eq!(read(&[scope(2), scope(9)]).await, [both(1), both(3)].concat());
    assert_eq!(read(&[scope(1), scope(2), scope(3)]).await, []);
    // More than Lua passes at once.
    let many: Vec<_> = (100..2600).map(numbered_scope).collect();
    assert_eq!(read(&many).await, [both(1), both(2), both(3)].concat());
    let (_, hard) = node.invalidate(&[scope(1)]).await;
    let (_, soft) = node.invalidate(&[scope(3).soft()]).await;
    let after = [(scope(1), Some(hard)), (scope(1).soft(), None)];
    assert_eq!(read(&[scope(2)]).await[..2], after);
    assert_eq!(read(&many).await[4..], [(scope(3), None), (scope(3).soft(), Some(soft))]);
    assert_eq!(node.link.read(&[ENTRY], &[], Tags::Named, LONG).await.unwrap().tags, []);
    // As a plain read it is answered where nothing may be written.
    server.command(&["CONFIG", "SET", "maxmemory", "1"]);
    assert_eq!(read(&[scope(2)]).await.len(), 4);
    server.command(&["CONFIG", "SET", "maxmemory", "0"]);
    server.command(&["CONFIG", "SET", "min-replicas-to-write", "1"]);
    assert_eq!(read(&[scope(2)]).await.len(), 4);
}

#[tokio::test]
async fn a_fill_after_the_key_was_invalidated_is_lost() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    node.invalidate_key().await;
    assert_eq!(node.fill("t", grant, &[]).await.unwrap(), FillReply::Lost);
    assert_eq!(node.value().await, None);
}

#[tokio::test]
async fn a_fill_after_a_scope_was_invalidated_is_refused_also_if_only_the_loader_named_it() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    node.invalidate(&[scope(7)]).await;
    assert_eq!(node.fill("t", grant, &[scope(6), scope(7)]).await.unwrap(), FillReply::Invalidated);
    assert_eq!(node.value().await, None);
    // Another scope's invalidation does no harm, nor does one from before the grant.
    let grant = node.granted("u").await;
    node.invalidate(&[scope(8)]).await;
    let stored = node.fill("u", grant, &[scope(7)]).await.unwrap();
    let head = node.link.read(&[], &[], Tags::Named, LONG).await.unwrap().head_before.unwrap();
    assert_eq!(stored, FillReply::Stored { head, expired: None });
}

#[tokio::test]
async fn a_fill_of_an_older_epoch_or_below_the_floor_is_refused() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let (epoch, head) = node.granted("t").await;
    assert_eq!(node.fill("t", (epoch ^ 1, head), &[]).await.unwrap(), FillReply::Invalidated);
    node.granted("u").await;
    assert_eq!(node.fill("u", (epoch, head - 1), &[]).await.unwrap(), FillReply::Invalidated);
}

#[tokio::test]
async fn a_fill_with_a_foreign_token_is_lost_and_leaves_the_lease_alone() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    assert_eq!(node.fill("other", grant, &[]).await.unwrap(), FillReply::Lost);
    assert!(matches!(node.fill("t", grant, &[]).await.unwrap(), FillReply::Stored { .. }));
}

#[tokio::test]
async fn a_second_loader_waits_and_is_woken_by_the_fill() {
    let server = RedisServer::start();
    let (one, mut two) = (join(&server, "n1").await, join(&server, "n2").await);
    let grant = one.granted("t1").await;
    match two.lease("t2").await {
        LeaseReply::Wait(left) => assert!(left > Duration::from_secs(5) && left <= Duration::from_secs(30)),
        other => panic!("no wait but {other:?}"),
    }
    one.fill("t1", grant, &[]).await.unwrap();
    assert_eq!(two.push().await, Push::Wake(key_scope()));
    assert_eq!(two.lease("t3").await, LeaseReply::Retry);
}

#[tokio::test]
async fn a_second_loader_waits_no_longer_than_the_first_is_certain_to_live() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    one.granted("t1").await;
    let dies = (now_ms() + 9_000) * 1_000;
    server.command(&["ZADD", STATE, &format!("-{dies}"), "!nn1"]);
    match two.lease("t2").await {
        LeaseReply::Wait(left) => assert!(left <= Duration::from_secs(9), "{left:?}"),
        other => panic!("no wait but {other:?}"),
    }
}

#[tokio::test]
async fn a_waiter_is_woken_when_the_load_fails_and_when_the_key_is_invalidated() {
    let server = RedisServer::start();
    let (one, mut two) = (join(&server, "n1").await, join(&server, "n2").await);
    one.granted("t1").await;
    assert!(matches!(two.lease("t2").await, LeaseReply::Wait(_)));
    one.link.release(ENTRY, key_scope(), "t1", Duration::ZERO, LONG).await.unwrap();
    assert_eq!(two.push().await, Push::Wake(key_scope()));

    one.granted("t3").await;
    assert!(matches!(two.lease("t4").await, LeaseReply::Wait(_)));
    one.invalidate_key().await;
    assert_eq!(two.push().await, Push::Wake(key_scope()));
    two.granted("t5").await;
}

#[tokio::test]
async fn a_holder_whose_node_is_gone_does_not_keep_others_waiting() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    let grant = one.granted("t1").await;
    one.link.leave(LONG).await.unwrap();
    let other = two.granted("t2").await;
    assert_eq!(one.fill("t1", grant, &[]).await.unwrap(), FillReply::Lost);
    assert!(matches!(two.fill("t2", other, &[]).await.unwrap(), FillReply::Stored { .. }));
}

#[tokio::test]
async fn waiters_of_a_dead_holder_are_woken_by_its_successor() {
    let server = RedisServer::start();
    let (one, mut two) = (join(&server, "n1").await, join(&server, "n2").await);
    let three = join(&server, "n3").await;
    one.granted("t1").await;
    assert!(matches!(two.lease("t2").await, LeaseReply::Wait(_)));
    one.link.leave(LONG).await.unwrap();
    let grant = three.granted("t3").await;
    three.fill("t3", grant, &[]).await.unwrap();
    assert_eq!(two.push().await, Push::Wake(key_scope()));
}

#[tokio::test]
async fn a_lease_is_refused_while_a_fresh_value_is_there_unless_forced() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[scope(1)]).await;
    assert_eq!(node.lease("t").await, LeaseReply::Retry);
    assert!(matches!(
        node.lease_with(|ask| ask.refresh_below = Some(LONG * 3600)).await,
        LeaseReply::Granted { .. }
    ));
    node.link.release(ENTRY, key_scope(), "token", Duration::ZERO, LONG).await.unwrap();
    // A scope that stands only in the envelope makes it stale, and so does one that only the caller names.
    node.invalidate(&[scope(1)]).await;
    node.granted("t").await;
    node.link.release(ENTRY, key_scope(), "t", Duration::ZERO, LONG).await.unwrap();
    node.store(&[]).await;
    node.invalidate(&[scope(2)]).await;
    assert_eq!(node.lease("u").await, LeaseReply::Retry);
    let declared = [scope(2)];
    assert!(matches!(node.lease_with(|ask| ask.scopes = &declared).await, LeaseReply::Granted { .. }));
}

#[tokio::test]
async fn what_is_stale_of_another_epoch_or_below_the_floor_may_be_loaded_anew() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let state = node.link.read(&[], &[], Tags::Named, LONG).await.unwrap().state.unwrap();
    let put = |bytes: &[u8]| {
        server.command(&["DEL", RAW_LEASE]);
        server.command(&[b"SET".as_slice(), RAW.as_bytes(), bytes]);
    };
    put(&envelope(state.epoch, state.head, &[]));
    assert_eq!(node.lease("t").await, LeaseReply::Retry);
    put(&envelope_until(now_ms() - 1_000, state.epoch, state.head, &[]));
    node.granted("t").await;
    put(&envelope(state.epoch, state.floor - 1, &[]));
    node.granted("t").await;
    // Of an epoch in which the clock was ahead.
    put(&envelope(state.epoch ^ 1, state.head + 3_600_000_000, &[]));
    node.granted("t").await;
}

#[tokio::test]
async fn leases_and_cooldowns_end_by_themselves() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.granted("t").await;
    let left = server.command(&["PTTL", RAW_LEASE]).int().unwrap();
    assert!((1..=30_000).contains(&left), "{left}");
    node.link.release(ENTRY, key_scope(), "t", Duration::from_secs(20), LONG).await.unwrap();
    let left = server.command(&["PTTL", RAW_LEASE]).int().unwrap();
    assert!((1..=20_000).contains(&left), "{left}");
}

#[tokio::test]
async fn a_cooldown_that_is_over_leaves_no_trace_in_the_next_lease() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    server.command(&["HSET", RAW_LEASE, "f", "1", "x", "1"]);
    one.granted("t1").await;
    assert!(matches!(two.lease("t2").await, LeaseReply::Wait(_)));
}

#[tokio::test]
async fn after_a_failed_load_nobody_loads_for_the_cooldown() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    one.granted("t1").await;
    one.link.release(ENTRY, key_scope(), "t1", Duration::from_millis(400), LONG).await.unwrap();
    match two.lease("t2").await {
        LeaseReply::Failed(left) => assert!(left <= Duration::from_millis(400)),
        other => panic!("no cooldown but {other:?}"),
    }
    assert_eventually!(
        matches!(two.lease("t3").await, LeaseReply::Granted { .. }),
        LONG,
        "the cooldown ends"
    );
}

#[tokio::test]
async fn a_cooldown_ends_with_an_invalidation_of_what_failed_with_its_epoch_and_below_the_floor() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    let fail = async |token: &str| {
        one.granted(token).await;
        one.link.release(ENTRY, key_scope(), token, Duration::from_secs(20), LONG).await.unwrap();
        assert!(matches!(two.lease("waits").await, LeaseReply::Failed(_)));
    };
    let ends = async |token: &str| {
        let declared = [scope(1)];
        let granted = two.lease_with(|ask| ask.scopes = &declared).await;
        assert!(matches!(granted, LeaseReply::Granted { .. }), "{token}: {granted:?}");
        two.link.release(ENTRY, key_scope(), "token", Duration::ZERO, LONG).await.unwrap();
    };
    fail("t1").await;
    one.invalidate(&[scope(1)]).await;
    ends("t1").await;
    fail("t2").await;
    server.command(&["HSET", RAW_LEASE, "e", "7"]);
    ends("t2").await;
    fail("t3").await;
    let head = server.command(&["ZSCORE", STATE, "!h"]).text();
    let above = head.parse::<f64>().unwrap() + 1.0;
    server.command(&["ZADD", STATE, &above.to_string(), "!f"]);
    ends("t3").await;
}

#[tokio::test]
async fn a_release_with_a_foreign_token_does_nothing() {
    let server = RedisServer::start();
    let (one, two) = (join(&server, "n1").await, join(&server, "n2").await);
    one.granted("t1").await;
    two.link.release(ENTRY, key_scope(), "other", Duration::from_secs(9), LONG).await.unwrap();
    assert!(matches!(two.lease("t2").await, LeaseReply::Wait(_)));
}

#[tokio::test]
async fn a_request_that_comes_too_late_leaves_no_lease() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let past = (now_ms() - 1_000) * 1_000;
    assert_eq!(node.lease_with(|ask| ask.deadline_us = Some(past)).await, LeaseReply::Late);
    assert_eq!(server.command(&["EXISTS", RAW_LEASE]).int(), Some(0));
    let future = (now_ms() + 60_000) * 1_000;
    let reply = node.lease_with(|ask| ask.deadline_us = Some(future)).await;
    assert!(matches!(reply, LeaseReply::Granted { .. }), "{reply:?}");
}

#[tokio::test]
async fn a_full_server_takes_no_load_but_every_invalidation() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let grant = node.granted("t").await;
    server.fill_up(2 << 20);
    let ballast = "#!lua flags=allow-oom\n redis.call('SET', KEYS[1], string.rep('x', 4 * 1024 * 1024))";
    assert!(!server.command(&["EVAL", ballast, "1", "ballast"]).is_error());
    let error = node.fill("t", grant, &[scope(1)]).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::OutOfMemory, "{error}");
    let key = |key| EntryName { tenant: "acme", key };
    let asks = ["a", "b"].map(|name| LeaseRequest {
        entry: key(name),
        token: name,
        lease: LEASE,
        refresh_below: None,
        key_scope: key_scope(),
        deadline_us: None,
        scopes: &[],
    });
    assert_eq!(node.link.lease(&asks, LONG).await.unwrap(), [LeaseReply::Full, LeaseReply::Full]);
    node.invalidate_both(&[scope(1)], &[(ENTRY, key_scope())]).await;
    node.link.release(ENTRY, key_scope(), "t", Duration::from_secs(1), LONG).await.unwrap();
    node.link.heartbeat(LEASE, false, LONG).await.unwrap();
    let again = join(&server, "n2").await;
    assert!(!again.recovered.bumped);
    // Nothing of it has hurt the link. Some servers count what Lua has not collected yet.
    server.command(&["FLUSHALL"]);
    server.limit_memory(0, "noeviction");
    assert_eq!(node.lease("u").await, LeaseReply::Recover);
}

#[tokio::test]
async fn pipelined_leases_and_fills_have_an_answer_each() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let names: Vec<String> = (0..40).map(|n| format!("key:{n}")).collect();
    let entry = |name| EntryName { tenant: "acme", key: name };
    let ask = |name| LeaseRequest {
        entry: entry(name),
        token: name,
        lease: LEASE,
        refresh_below: None,
        key_scope: key_scope(),
        deadline_us: None,
        scopes: &[],
    };
    let asks: Vec<_> = names.iter().map(|name| ask(name.as_str())).collect();
    let grants = node.link.lease(&asks, LONG).await.unwrap();
    node.invalidate_both(&[], &[(entry("key:3"), scope(3))]).await;
    let fills = names.iter().zip(&grants).map(|(name, grant)| {
        let LeaseReply::Granted { epoch, head } = *grant else { panic!("{grant:?}") };
        FillRequest {
            entry: entry(name),
            key_scope: key_scope(),
            token: name,
            epoch,
            ver: head,
            keep: LEASE,
            envelope: envelope(epoch, head, &[]),
            scopes: &[],
        }
    });
    let fills: Vec<_> = fills.collect();
    for (n, reply) in node.link.fill(&fills, LONG).await.unwrap().into_iter().enumerate() {
        assert_eq!(matches!(reply.unwrap(), FillReply::Lost), n == 3, "key {n}");
    }
    assert!(node.link.lease(&[], LONG).await.unwrap().is_empty());
    assert!(node.link.fill(&[], LONG).await.unwrap().is_empty());
}
