use larder_testkit::{RedisCluster, RedisServer, Reply, assert_eventually_blocking};
use std::net::TcpStream;
use std::process::Command;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

/// The system's own cluster client, by an announced address.
fn cli(cluster: &RedisCluster, node: usize, arguments: &[&str]) -> String {
    let port = cluster.port(node).to_string();
    let output = Command::new("redis-cli").args(["-c", "-p", &port]).args(arguments).output().unwrap();
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
}

/// Asks a node for a key, where it is a replica too.
fn get(node: &RedisServer, key: &str) -> Reply {
    node.command(&["GET", key])
}

#[test]
fn a_cluster_of_six_is_complete_within_seconds_and_serves_clients_from_every_node() {
    let started = Instant::now();
    let cluster = RedisCluster::start();
    eprintln!("the cluster was complete after {:?}", started.elapsed());
    assert_eq!(cluster.nodes().len(), 6);
    let primaries = [0, 5_461, 16_383].map(|slot| cluster.primary_of(slot));
    assert_eq!(primaries, [0, 1, 2]);
    for node in 0..6 {
        let key = format!("key-{node}");
        assert_eq!(cli(&cluster, node, &["SET", &key, "x"]), "OK");
        assert_eq!(cli(&cluster, (node + 1) % 6, &["GET", &key]), "x");
    }
    for node in 3..6 {
        assert_eq!(cluster.nodes()[node].info("replication")["master_link_status"], "up");
    }
    let ports: Vec<u16> =
        (0..6).flat_map(|node| [cluster.port(node), cluster.nodes()[node].port()]).collect();
    drop(cluster);
    for port in ports {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens on port {port}");
    }
}

#[test]
fn a_slot_moves_with_its_keys_and_asks_to_be_patient_meanwhile() {
    let cluster = RedisCluster::start();
    let slot = cluster.slot_of("{tag}");
    let from = cluster.primary_of(slot);
    let to = (from + 1) % 3;
    let nodes = cluster.nodes();
    for key in ["{tag}:a", "{tag}:b"] {
        assert_eq!(nodes[from].command(&["SET", key, key]).text(), "OK");
    }
    assert_eq!(cluster.begin_move(slot, to), from);
    assert_eq!(get(&nodes[from], "{tag}:a").text(), "{tag}:a");
    assert!(get(&nodes[from], "{tag}:none").text().starts_with("ASK "));
    let both = nodes[from].command(&["MGET", "{tag}:a", "{tag}:none"]).text();
    assert!(both.starts_with("TRYAGAIN"), "{both}");
    cluster.move_keys(slot, from, to);
    cluster.end_move(slot, to);
    assert_eq!(cluster.primary_of(slot), to);
    assert_eq!(get(&nodes[to], "{tag}:a").text(), "{tag}:a");
    let moved = get(&nodes[from], "{tag}:a").text();
    assert_eq!(moved, format!("MOVED {slot} 127.0.0.1:{}", cluster.port(to)));
    cluster.move_slot(slot, from);
    assert_eq!(get(&nodes[from], "{tag}:b").text(), "{tag}:b");
}

#[test]
fn a_replica_takes_over_when_asked_and_when_its_primary_dies() {
    let cluster = RedisCluster::start();
    assert_eq!(cli(&cluster, 0, &["SET", "{tag}", "x"]), "OK");
    let slot = cluster.slot_of("{tag}");
    let first = cluster.primary_of(slot);
    let replica = cluster.peers(first).next().unwrap();
    cluster.failover(replica);
    assert_eq!(cluster.primary_of(slot), replica);
    assert_eq!(get(&cluster.nodes()[replica], "{tag}").text(), "x");
    cluster.await_complete();

    cluster.nodes()[replica].kill();
    assert_eq!(cluster.await_takeover(replica), first);
    assert_eq!(cli(&cluster, first, &["GET", "{tag}"]), "x");
    cluster.nodes()[replica].restart();
    cluster.await_complete();
    assert_eq!(
        get(&cluster.nodes()[replica], "{tag}").text(),
        format!("MOVED {slot} 127.0.0.1:{}", cluster.port(first))
    );
}

#[test]
#[cfg(target_os = "linux")]
fn an_isolated_primary_is_replaced_and_refuses_after_a_while() {
    let cluster = RedisCluster::start();
    let slot = cluster.slot_of("{tag}");
    let old = cluster.primary_of(slot);
    cluster.isolate(&[old]);
    let new = cluster.await_takeover(old);
    assert_eq!(cluster.nodes()[new].command(&["SET", "{tag}", "new"]).text(), "OK");
    // Its clients still reach it.
    assert_eventually_blocking!(
        cli(&cluster, old, &["SET", "{tag}", "old"]).contains("CLUSTERDOWN"),
        LONG,
        "the isolated primary refuses"
    );
    cluster.heal();
    cluster.await_complete();
    assert_eq!(cluster.primary_of(slot), new);
    assert_eventually_blocking!(
        cluster.nodes()[old].info("replication")["role"] == "slave",
        LONG,
        "the old primary follows the new one"
    );
}

#[test]
fn nodes_of_a_cluster_can_have_passwords() {
    let node = RedisServer::builder().password("secret");
    let cluster = RedisCluster::builder().node(node).size(3, 0).start();
    assert!(cli(&cluster, 0, &["PING"]).contains("NOAUTH"));
    let slot = cluster.slot_of("a");
    let from = cluster.primary_of(slot);
    cluster.nodes()[from].command(&["SET", "a", "1"]);
    cluster.move_slot(slot, (from + 1) % 3);
    assert_eq!(get(&cluster.nodes()[(from + 1) % 3], "a").text(), "1");
}
