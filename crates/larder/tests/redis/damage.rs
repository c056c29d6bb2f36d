//! Foreign types and damaged bytes under our keys: misses, never errors.

use crate::support::*;
use larder::store::{EntryName, FillReply, LeaseReply, Tags};
use larder_testkit::RedisServer;

#[tokio::test]
async fn a_value_of_another_type_is_no_entry_and_is_overwritten() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    for make in [&["RPUSH", RAW, "x"][..], &["HSET", RAW, "f", "v"], &["ZADD", RAW, "1", "m"]] {
        server.command(&["DEL", RAW]);
        assert!(!server.command(make).is_error());
        // No bytes are no envelope, so that the engine counts it; of several keys Redis calls it absent.
        assert_eq!(node.value().await.as_deref(), Some(&[][..]));
        let many = node
            .link
            .read(&[ENTRY, EntryName { tenant: "", key: "k" }], &[], Tags::Named, LONG)
            .await
            .unwrap();
        assert_eq!(many.values, [None, None]);
        assert!(many.state.is_some());
        let tags = node.link.read(&[ENTRY], &[scope(1)], Tags::Carried, LONG).await.unwrap();
        assert!(tags.state.is_some() && tags.tags.is_empty());
        node.store(&[scope(1)]).await;
        assert!(node.value().await.is_some());
    }
}

#[tokio::test]
async fn an_envelope_that_is_damaged_is_loaded_anew() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let good = node.store(&[scope(1), scope(2)]).await;
    assert_eq!(node.lease("t").await, LeaseReply::Retry);
    let cuts = [0, 1, 2, 3, 10, 42, 43, 58, 74].map(|n| good[..n].to_vec());
    let mut many_tags = good.to_vec();
    many_tags[2] = 200;
    let mut newer = good.to_vec();
    newer[0] = b'M';
    for bytes in cuts.into_iter().chain([many_tags, newer, b"hello".to_vec(), vec![0xff; 600]]) {
        server.command(&[b"SET".as_slice(), RAW.as_bytes(), &bytes]);
        let read = node.link.read(&[ENTRY], &[scope(3)], Tags::Carried, LONG).await.unwrap();
        assert!(read.values[0].as_deref() == Some(&*bytes) && read.state.is_some() && read.tags.len() <= 64);
        let grant = node.granted("u").await;
        assert!(matches!(node.fill("u", grant, &[]).await.unwrap(), FillReply::Stored { .. }), "{bytes:?}");
    }
}

#[tokio::test]
async fn a_lease_of_another_type_or_with_damaged_fields_hinders_nobody() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    for make in [
        &["SET", RAW_LEASE, "x"][..],
        &["RPUSH", RAW_LEASE, "x"],
        &["HSET", RAW_LEASE, "x", "soon", "n", "n1"],
        &["HSET", RAW_LEASE, "n", "n1"],
    ] {
        server.command(&["DEL", RAW_LEASE]);
        assert!(!server.command(make).is_error());
        let grant = node.granted("t").await;
        server.command(&["DEL", RAW_LEASE]);
        assert!(!server.command(make).is_error());
        assert_eq!(node.fill("t", grant, &[]).await.unwrap(), FillReply::Lost);
        node.link.release(ENTRY, key_scope(), "t", LONG, LONG).await.unwrap();
        node.invalidate_key().await;
        assert_eq!(server.command(&["EXISTS", RAW_LEASE]).int(), Some(0));
    }
}

#[tokio::test]
async fn keys_of_any_bytes_are_kept_apart() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    let long = "k".repeat(1_024);
    let names = [
        ("a", "b:c"),
        ("a:b", "c"),
        ("a", "{0}"),
        ("{0}", "a"),
        ("a*", "?[x]"),
        ("a", "nul\0and spaces \n"),
        ("", "a:b"),
        ("é", "😀"),
        ("a", long.as_str()),
        ("a", &long[1..]),
    ]
    .map(|(tenant, key)| EntryName { tenant, key });
    for (n, entry) in names.into_iter().enumerate() {
        let token = n.to_string();
        let reply = node.lease_with(|ask| (ask.entry, ask.token) = (entry, &token)).await;
        assert!(matches!(reply, LeaseReply::Granted { .. }), "{entry:?} met another's lease: {reply:?}");
    }
    node.invalidate_both(&[], &[(names[1], scope(1))]).await;
    let reply = node.lease_with(|ask| ask.entry = names[0]).await;
    assert!(matches!(reply, LeaseReply::Wait(_)), "its neighbour's lease went with it: {reply:?}");
}

#[tokio::test]
async fn a_coherence_state_that_is_gone_or_of_another_type_is_none() {
    let server = RedisServer::start();
    let node = join(&server, "n1").await;
    node.store(&[scope(1)]).await;
    for break_it in [&["DEL", STATE][..], &["SET", STATE, "x"]] {
        server.command(break_it);
        for tags in [Tags::Named, Tags::Carried] {
            let read = node.link.read(&[ENTRY], &[scope(2)], tags, LONG).await.unwrap();
            assert!(read.state.is_none() && read.values[0].is_some(), "{break_it:?} {tags:?}");
        }
    }
}
