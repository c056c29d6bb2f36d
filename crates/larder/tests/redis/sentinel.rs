//! A primary that is found by its Sentinels, and replaced.

use crate::support::*;
use larder::store::redis::{RedisConfig, check};
use larder::store::{Push, StoreErrorKind};
use larder_testkit::{Member, Poll, RedisSentinel, RedisServer, TlsFiles, assert_eventually};
use std::time::Duration;

/// Failovers and elections take seconds.
const FAILOVER: Duration = Duration::from_secs(30);

fn at(url: String) -> RedisConfig {
    let mut config = RedisConfig::new(url);
    (config.connect_timeout, config.command_timeout) = (LONG, LONG);
    config
}

async fn node(all: &RedisSentinel, name: &str) -> Node {
    let node = try_join(at(all.url()), name).await.expect("the primary is found");
    node.link.heartbeat(LEASE, false, LONG).await.expect("the primary answers");
    node
}

/// Until the link has ended.
async fn lost(node: &mut Node) {
    let ended = async { while node.pushes.recv().await.is_some_and(|push| push != Push::Lost) {} };
    tokio::time::timeout(FAILOVER, ended).await.expect("the link ends");
}

/// A new link, as soon as there is a primary again.
async fn again(all: &RedisSentinel, name: &str) -> Node {
    let poll = Poll::new(FAILOVER);
    loop {
        match try_join(at(all.url()), name).await {
            Ok(node) => return node,
            Err(error) => assert!(poll.again().await, "the new primary is not found: {error}"),
        }
    }
}

fn clients_of(node_of: &RedisSentinel, server: usize) -> Vec<String> {
    let clients = node_of.servers()[server].command(&["CLIENT", "LIST"]).text();
    clients.lines().filter(|line| line.contains("name=larder:")).map(str::to_owned).collect()
}

#[tokio::test]
async fn the_primary_is_found_and_after_a_failover_the_next_one_begins_a_new_epoch() {
    let all = RedisSentinel::start();
    let mut before = node(&all, "n1").await;
    assert_eq!(clients_of(&all, 0).len(), 2, "one connection for coherence, one for data");
    before.store(&[]).await;
    let epoch = before.recovered.epoch;
    let new = all.failover();
    lost(&mut before).await;
    let after = again(&all, "n1").await;
    assert!(after.recovered.bumped && after.recovered.epoch != epoch);
    assert_eq!(clients_of(&all, new).len(), 2);
}

#[tokio::test]
async fn a_primary_that_dies_is_followed_to_its_successor() {
    let all = RedisSentinel::start();
    let mut before = node(&all, "n1").await;
    all.servers()[0].kill();
    lost(&mut before).await;
    let after = again(&all, "n1").await;
    assert!(after.recovered.bumped);
    after.store(&[]).await;
}

#[tokio::test]
async fn one_sentinel_that_answers_is_enough() {
    let all = RedisSentinel::start();
    all.sentinels()[0].kill();
    all.sentinels()[1].pause();
    let mut config = at(all.url());
    // What the one that stands still costs.
    config.connect_timeout = Duration::from_secs(1);
    let node = try_join(config, "n1").await.expect("the third one tells");
    node.store(&[]).await;
}

#[tokio::test]
async fn without_a_sentinel_that_tells_the_primary_each_says_why() {
    let all = RedisSentinel::builder().sentinel(RedisServer::builder().password("watch")).start();
    let error = try_join(at(all.url()), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");

    let url = format!("{}?sentinel_password=watch", all.url());
    let error = try_join(at(url.replace("/main/0", "/other/0")), "n1").await.err().unwrap();
    assert!(error.detail.contains("no primary named other"), "{error}");

    let data = format!("redis+sentinel://127.0.0.1:{}/main", all.port(0));
    let error = try_join(at(data), "n1").await.err().unwrap();
    assert!(error.detail.contains("it is no Sentinel"), "{error}");

    all.sentinels().iter().for_each(RedisServer::kill);
    let error = try_join(at(url), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Disconnected);
    assert_eq!(error.detail.matches("127.0.0.1:").count(), 3, "{error}");
    assert!(!error.detail.contains("watch"));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_sentinel_that_missed_the_failover_is_not_believed() {
    let all = RedisSentinel::start();
    all.isolate(&[Member::Sentinel(0)]);
    all.servers()[0].kill();
    let new = all.await_failover(0);
    all.servers()[0].restart();
    // The larger side makes it a replica; the isolated Sentinel still takes it for the primary.
    assert_eventually!(
        all.servers()[0].info("replication")["role"] == "slave",
        FAILOVER,
        "the old primary is demoted"
    );
    let error = try_join(at(all.url_by("", &[0])), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::NotWritable, "{error}");
    assert!(error.detail.contains("by its Sentinels"), "{error}");
    // Two against one.
    let node = node(&all, "n1").await;
    assert_eq!(clients_of(&all, new).len(), 2);
    node.store(&[]).await;
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_isolated_primary_is_left_as_soon_as_most_sentinels_name_another() {
    let all = RedisSentinel::start();
    let mut config = at(all.url());
    // They are not asked without a reason.
    config.health_interval = Duration::from_secs(3_600);
    let mut before = try_join(config, "n1").await.unwrap();
    // The node reaches everything; only the servers do not reach each other. The old primary goes on answering.
    all.isolate(&[Member::Server(0), Member::Sentinel(0)]);
    let new = all.await_failover(0);
    lost(&mut before).await;
    let error = before.link.ping(LONG).await.unwrap_err();
    assert!(error.detail.contains("name another primary"), "{error}");
    assert_eq!(all.servers()[0].info("replication")["role"], "master");
    let after = again(&all, "n1").await;
    assert!(after.recovered.bumped);
    assert_eq!(clients_of(&all, new).len(), 2);
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn an_isolated_primary_is_left_also_by_a_node_that_hears_no_announcement() {
    let deaf = RedisServer::builder().acl("user deaf on >watch +@all -subscribe &*");
    let all = RedisSentinel::builder().sentinel(deaf).start();
    let mut config = at(format!("{}?sentinel_user=deaf&sentinel_password=watch", all.url()));
    config.health_interval = Duration::from_millis(100);
    let mut node = try_join(config, "n1").await.unwrap();
    all.isolate(&[Member::Server(0), Member::Sentinel(0)]);
    let _ = all.await_failover(0);
    lost(&mut node).await;
    let error = node.link.ping(LONG).await.unwrap_err();
    assert!(error.detail.contains("name another primary"), "{error}");
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_node_that_is_cut_off_with_the_old_primary_loses_it_to_min_replicas() {
    let server = RedisServer::builder().arg("min-replicas-to-write", "1").arg("min-replicas-max-lag", "1");
    let all = RedisSentinel::builder().server(server).down_after(Duration::from_secs(4)).start();
    let config = at(all.url_by("", &[0]));
    let mut node = try_join(config.clone(), "n1").await.unwrap();
    assert_eq!(node.link.advice(), <[String; 0]>::default());
    all.isolate(&[Member::Server(0), Member::Sentinel(0)]);
    let poll = Poll::new(FAILOVER);
    let error = loop {
        match node.link.heartbeat(LEASE, false, LONG).await {
            Ok(_) => assert!(poll.again().await, "a primary without replicas takes heartbeats"),
            Err(error) => break error,
        }
    };
    assert_eq!(error.kind, StoreErrorKind::NotWritable);
    lost(&mut node).await;
    // Its Sentinel knows no other; the server refuses, and so does the link.
    let error = try_join(config, "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::NotWritable, "{error}");
}

#[tokio::test]
async fn a_demoted_primary_whose_connections_stay_open_is_noticed_by_a_heartbeat() {
    let all = RedisSentinel::start();
    let mut node = node(&all, "n1").await;
    node.store(&[]).await;
    // Nobody disconnects its clients, and nobody announces anything.
    all.sentinels().iter().for_each(RedisServer::kill);
    all.servers()[0].demote(&all.servers()[1]);
    node.link.ping(LONG).await.expect("it answers");
    let error = node.link.heartbeat(LEASE, false, LONG).await.unwrap_err();
    assert_eq!(error.kind, StoreErrorKind::NotWritable);
    lost(&mut node).await;
}

#[tokio::test]
async fn servers_and_sentinels_take_tls_and_logins_of_their_own() {
    let files = TlsFiles::generate(["127.0.0.1"]);
    let all = RedisSentinel::builder()
        .server(RedisServer::builder().tls(&files).acl("user app on >data ~* &* +@all"))
        .sentinel(RedisServer::builder().tls(&files).acl("user looker on >watch +@all &*"))
        .start();
    let mut config =
        at(format!("{}?sentinel_user=looker&sentinel_password=watch", all.url_by("app:data@", &[0, 1, 2])));
    assert!(config.url.starts_with("rediss+sentinel://"));
    config.tls.ca = Some(files.ca().into());
    let node = try_join(config, "n1").await.unwrap();
    assert!(node.link.tls());
    node.store(&[]).await;
}

#[tokio::test]
async fn servers_that_may_be_replaced_and_do_not_need_their_replicas_are_advised_against() {
    let all = RedisSentinel::builder().down_after(Duration::from_secs(13)).start();
    let by_name = node(&all, "n1").await;
    let direct = try_join(at(all.servers()[0].url()), "n2").await.unwrap();
    for advice in [by_name.link.advice(), direct.link.advice()] {
        let [advice] = advice else { panic!("{advice:?}") };
        assert!(advice.contains("2 replicas") && advice.contains("min-replicas-to-write 1"), "{advice}");
    }
    for server in all.servers() {
        server.need_replicas(1, 10);
    }
    let guarded = node(&all, "n3").await;
    assert!(guarded.link.advice().is_empty());
    assert!(replicas(&all).await.contains("min-replicas-max-lag 10s, down-after-milliseconds 13s"));
}

/// What the check says of replicas.
async fn replicas(all: &RedisSentinel) -> String {
    let steps = check(at(all.url()), "ns").await;
    let step = steps.iter().find(|step| step.name == "replicas");
    step.unwrap_or_else(|| panic!("{steps:?}")).result.clone().unwrap()
}

#[tokio::test]
async fn a_primary_that_is_replaced_before_it_refuses_writes_is_advised_against() {
    let all = RedisSentinel::builder().down_after(Duration::from_secs(12)).start();
    for server in all.servers() {
        server.need_replicas(1, 10);
    }
    let node = node(&all, "n1").await;
    let [advice] = node.link.advice() else { panic!("{:?}", node.link.advice()) };
    assert!(advice.starts_with("min-replicas-max-lag is 10s and down-after-milliseconds 12s: "), "{advice}");
    assert_eq!(replicas(&all).await, format!("warning: {advice}"));
    // One Sentinel that stands still and one that is gone are no reason not to know.
    all.sentinels()[0].pause();
    all.sentinels()[1].kill();
    let mut config = at(all.url());
    config.connect_timeout = Duration::from_secs(5);
    assert_eq!(try_join(config, "n2").await.unwrap().link.advice(), node.link.advice());
}

#[tokio::test]
async fn the_check_asks_each_sentinel_and_then_the_primary() {
    let all = RedisSentinel::start();
    let steps = check(at(all.url()), "ns").await;
    assert!(steps.iter().all(|step| step.result.is_ok()), "{steps:?}");
    let said = |name: &str| {
        let step = steps.iter().find(|step| step.name == name);
        step.unwrap_or_else(|| panic!("{name} in {steps:?}")).result.clone().unwrap()
    };
    let sentinels: Vec<_> = steps.iter().filter(|step| step.name.starts_with("sentinel ")).collect();
    assert_eq!(sentinels.len(), 3);
    let primary = format!("127.0.0.1:{}", all.port(0));
    assert_eq!(sentinels[0].result.as_deref(), Ok(format!("names {primary} as main").as_str()));
    assert_eq!(said("connect"), primary);
    assert!(said("replicas").contains("min-replicas-to-write 1"));

    all.sentinels()[0].kill();
    let steps = check(at(all.url()), "ns").await;
    let words = steps[0].result.as_ref().unwrap();
    assert!(words.starts_with("warning: ") && words.contains("is a Sentinel running there?"), "{words}");
    assert!(steps.len() > 4, "the others are enough");

    all.sentinels().iter().for_each(RedisServer::kill);
    let steps = check(at(all.url()), "ns").await;
    assert!(steps.iter().all(|step| step.result.is_err()), "{steps:?}");
}
