//! Links into a Redis Cluster.

use crate::support::LONG;
use larder::store::redis::{CheckStep, RedisConfig, RedisConnector, check};
use larder::store::{Connector, Link, Push, Recovered, StoreErrorKind};
use larder_testkit::{RedisCluster, RedisServer, TlsFiles};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::mpsc::UnboundedReceiver;

const LEASE: Duration = Duration::from_secs(60);

/// What an application's user needs in a Cluster, and nothing more.
const ACL: &str = "user app on >pw ~ld1:ns:* &ld1:ns:* +@read +@write +@pubsub +evalsha +script|load +hello -@dangerous \
                   +info +time +ping +select +scan";

type Joined = (Arc<dyn Link>, UnboundedReceiver<Push>, Recovered);

fn config(url: &str) -> RedisConfig {
    let mut config = RedisConfig::new(url);
    // The machine that runs the tests is busy.
    (config.connect_timeout, config.command_timeout) = (LONG, LONG);
    config
}

async fn join(connector: &RedisConnector, bucket: u16) -> Joined {
    let (link, recovered) = connector.connect("n1", bucket, false).await.unwrap();
    let pushes = link.pushes().expect("nobody took it yet");
    link.heartbeat(LEASE, false, LONG).await.unwrap();
    (link, pushes, recovered)
}

async fn join_all(connector: &RedisConnector) -> Vec<Joined> {
    futures_util::future::join_all((0..connector.buckets()).map(|bucket| join(connector, bucket))).await
}

/// How many connections of ours each primary has.
fn connections(cluster: &RedisCluster) -> Vec<usize> {
    let ours =
        |node: &RedisServer| node.command(&["CLIENT", "LIST"]).text().matches("name=larder:n1").count();
    cluster.nodes().iter().map(ours).collect()
}

#[tokio::test]
async fn all_buckets_on_a_primary_share_its_connections() {
    let cluster = RedisCluster::start();
    let connector = RedisConnector::new(config(&cluster.url()), "ns").unwrap();
    assert_eq!((connector.buckets(), connector.default_lease()), (16, Duration::from_secs(2)));
    let joined = join_all(&connector).await;
    assert!(joined.iter().all(|(_, _, recovered)| recovered.bumped));
    assert_eq!(connections(&cluster), [2, 2, 2, 0, 0, 0]);
    // One link is made again, on the same connections; another node's would be others.
    let again = join(&connector, 3).await;
    assert!(!again.2.bumped);
    assert_eq!(connections(&cluster), [2, 2, 2, 0, 0, 0]);
    for (link, _, _) in &joined[4..] {
        link.heartbeat(LEASE, false, LONG).await.unwrap();
    }
    let replaced = joined[3].0.heartbeat(LEASE, false, LONG).await.unwrap_err();
    assert_eq!(replaced.kind, StoreErrorKind::Disconnected);
}

#[tokio::test]
async fn the_end_of_a_connection_ends_all_links_over_it_and_no_epoch() {
    let cluster = RedisCluster::start();
    let connector = RedisConnector::new(config(&cluster.url()), "ns").unwrap();
    let mut joined = join_all(&connector).await;
    cluster.nodes()[0].kill_clients("pubsub");
    let mut ended = 0;
    for (bucket, (link, pushes, _)) in (0..).zip(&mut joined) {
        if cluster.nodes()[0].command(&["EXISTS", &format!("ld1:ns:{{{}}}:i", NAMES[bucket])]).int()
            == Some(1)
        {
            while tokio::time::timeout(LONG, pushes.recv()).await.expect("it is told") != Some(Push::Lost) {}
            assert!(link.heartbeat(LEASE, false, LONG).await.is_err());
            ended += 1;
        } else {
            link.heartbeat(LEASE, false, LONG).await.unwrap();
        }
    }
    assert_eq!(ended, 5);
    assert!(join_all(&connector).await.iter().all(|(_, _, recovered)| !recovered.bumped));
}

/// The first five are on the first of three primaries.
const NAMES: [&str; 16] =
    ["18", "249", "72", "223", "105", "2", "64", "235", "265", "34", "413", "155", "273", "22", "219", "48"];

#[tokio::test]
async fn connections_that_do_not_answer_any_more_are_replaced() {
    let cluster = RedisCluster::start();
    let mut config = config(&cluster.url());
    config.command_timeout = Duration::from_secs(1);
    let connector = RedisConnector::new(config, "ns").unwrap();
    let before = join(&connector, 0).await;
    cluster.proxy(0).set(larder_testkit::Fault::Drop).await;
    assert_eq!(before.0.ping(Duration::from_millis(50)).await.unwrap_err().kind, StoreErrorKind::Timeout);
    assert!(
        connector.connect("n1", 0, false).await.is_err(),
        "nothing passes, and it takes no longer than it may"
    );
    cluster.proxy(0).cut();
    cluster.proxy(0).heal().await;
    assert!(!join(&connector, 0).await.2.bumped);
}

#[tokio::test]
async fn a_user_of_the_recommended_access_list_can_do_everything() {
    for (rules, allowed) in [(format!("{ACL} +cluster|slots"), true), (ACL.to_owned(), false)] {
        let cluster = RedisCluster::builder().node(RedisServer::builder().acl(rules)).start();
        let config = config(&cluster.url().replace("://", "://app:pw@"));
        cluster.nodes().iter().for_each(|node| node.need_replicas(1, 10));
        let steps = check(config.clone(), "ns").await;
        let failed: Vec<_> = steps.iter().filter(|step| step.result.is_err()).collect();
        assert_eq!(failed.is_empty(), allowed, "{failed:?}");
        let connector = RedisConnector::new(config, "ns").unwrap();
        if allowed {
            join_all(&connector).await;
            // It may not ask for settings, and the check says so.
            let replicas = steps.iter().find(|step| step.name.ends_with(" replicas")).unwrap();
            let words = replicas.result.as_ref().unwrap();
            let unread = "this can't be read: min-replicas-max-lag and cluster-node-timeout (access denied";
            assert!(words.contains(unread) && words.contains("more than 2s below"), "{words}");
        } else {
            let error = connector.connect("n1", 0, false).await.err().expect("it may not ask who has what");
            assert_eq!(error.kind, StoreErrorKind::Denied);
            let words = failed[0].result.as_ref().unwrap_err();
            assert!(words.contains("+cluster|slots") && !words.contains("pw@"), "{words}");
        }
    }
}

#[tokio::test]
async fn primaries_that_may_be_replaced_and_do_not_need_their_replicas_are_advised_against() {
    let cluster = RedisCluster::start();
    let connector = RedisConnector::new(config(&cluster.url()), "ns").unwrap();
    let (link, _, _) = join(&connector, 0).await;
    let [advice] = link.advice() else { panic!("{:?}", link.advice()) };
    assert!(
        advice.contains("min-replicas-to-write 1") && advice.contains("a replica, which may"),
        "{advice}"
    );
    let steps = check(config(&cluster.url()), "ns").await;
    let warned = steps.iter().filter(|step| step.result == Ok(format!("warning: {advice}"))).count();
    assert_eq!(warned, 3, "{steps:?}");
}

#[tokio::test]
async fn a_primary_that_is_replaced_before_it_refuses_writes_is_advised_against() {
    let cluster = RedisCluster::start();
    cluster.nodes().iter().for_each(|node| node.need_replicas(1, 10));
    for (timeout, advised) in [("12000", true), ("13000", false)] {
        for node in cluster.nodes() {
            node.command(&["CONFIG", "SET", "cluster-node-timeout", timeout]);
        }
        let connector = RedisConnector::new(config(&cluster.url()), "ns").unwrap();
        let (link, _, _) = join(&connector, 0).await;
        let told = link
            .advice()
            .iter()
            .any(|advice| advice.starts_with("min-replicas-max-lag is 10s and cluster-node-timeout 12s: "));
        assert_eq!((told, link.advice().len()), (advised, usize::from(advised)));
        let steps = check(config(&cluster.url()), "ns").await;
        let of_replicas = || steps.iter().filter(|step| step.name.ends_with(" replicas"));
        let warned =
            |step: &CheckStep| step.result.as_ref().unwrap().starts_with("warning: min-replicas-max-lag");
        assert_eq!(
            of_replicas().filter(|step| warned(step)).count(),
            if advised { 3 } else { 0 },
            "{steps:?}"
        );
        assert_eq!(of_replicas().count(), 3);
    }
}

#[tokio::test]
async fn all_nodes_are_spoken_to_over_tls() {
    let files = TlsFiles::generate(["127.0.0.1"]);
    let cluster = RedisCluster::builder().node(RedisServer::builder().tls(&files)).start();
    let mut config = config(&cluster.url().replace("redis+", "rediss+"));
    config.tls.ca = Some(files.ca().to_owned());
    let connector = RedisConnector::new(config.clone(), "ns").unwrap();
    let joined = join_all(&connector).await;
    assert!(joined.iter().all(|(link, _, _)| link.tls()));
    let steps = check(config, "ns").await;
    assert!(steps.iter().all(|step| step.result.is_ok()), "{steps:?}");
}
