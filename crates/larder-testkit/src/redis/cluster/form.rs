//! Joining servers to a cluster.

use super::{AGREE, BUS, CLIENTS, ClusterOptions, RedisCluster};
use crate::poll::Poll;
use crate::redis::network::Network;
use crate::redis::{RedisServer, Reply};

/// All slots of a cluster.
const SLOTS: usize = 16_384;

pub(super) fn form(options: ClusterOptions) -> RedisCluster {
    let count = options.primaries * (1 + options.replicas);
    let network = Network::start(count, 2);
    let nodes = start_nodes(&options, &network, count);
    for (index, node) in nodes.iter().enumerate() {
        network.connect(index, CLIENTS, node.port());
        network.connect(index, BUS, node.bus_port);
        // Epochs that differ from the start: nobody has to give way to anybody later.
        told(node.command(&["CLUSTER", "SET-CONFIG-EPOCH", &(index + 1).to_string()]));
    }
    for (index, primary) in nodes[..options.primaries].iter().enumerate() {
        let edge = |index: usize| SLOTS * index / options.primaries;
        let (first, last) = (edge(index), edge(index + 1) - 1);
        told(primary.command(&["CLUSTER", "ADDSLOTSRANGE", &first.to_string(), &last.to_string()]));
    }
    // Everybody is introduced to everybody: quicker than to wait for gossip.
    for (index, node) in nodes.iter().enumerate() {
        for other in index + 1..count {
            let [port, bus] = [CLIENTS, BUS].map(|way| network.port(other, way).to_string());
            told(node.command(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus]));
        }
    }
    let ids: Vec<String> = nodes.iter().map(|node| node.command(&["CLUSTER", "MYID"]).text()).collect();
    let cluster = RedisCluster { nodes, ids, primaries: options.primaries, network };
    for replica in options.primaries..count {
        follow(&cluster, replica, replica % options.primaries);
    }
    cluster.await_complete();
    cluster
}

/// All at once: each needs some tens of milliseconds.
fn start_nodes(options: &ClusterOptions, network: &Network, count: usize) -> Vec<RedisServer> {
    std::thread::scope(|scope| {
        let start = |index: usize| {
            let [port, bus] = [CLIENTS, BUS].map(|way| network.port(index, way));
            let mut node = options.node.clone().replicated(port, Network::source(index));
            node.cluster = true;
            let announced = [
                ("cluster-announce-ip", "127.0.0.1".to_owned()),
                ("cluster-announce-bus-port", bus.to_string()),
                (
                    if node.tls.is_some() { "cluster-announce-tls-port" } else { "cluster-announce-port" },
                    port.to_string(),
                ),
                ("cluster-node-timeout", options.node_timeout.as_millis().to_string()),
                // A shard keeps its members.
                ("cluster-allow-replica-migration", "no".to_owned()),
            ];
            for (directive, value) in announced {
                node = node.arg(directive, &value);
            }
            if node.tls.is_some() {
                node = node.arg("tls-cluster", "yes");
            }
            scope.spawn(move || node.start())
        };
        let starting: Vec<_> = (0..count).map(start).collect();
        starting.into_iter().map(|thread| thread.join().expect("the server has said why")).collect()
    })
}

/// Makes `replica` follow `primary` as soon as they know each other.
fn follow(cluster: &RedisCluster, replica: usize, primary: usize) {
    let poll = Poll::new(AGREE);
    loop {
        let answer = cluster.nodes[replica].command(&["CLUSTER", "REPLICATE", &cluster.ids[primary]]);
        if !answer.is_error() {
            return;
        }
        assert!(poll.again_blocking(), "node {replica} does not follow node {primary}: {}", answer.text());
    }
}

/// Fails with the words of a server that refuses.
#[track_caller]
pub(super) fn told(answer: Reply) {
    assert!(!answer.is_error(), "the cluster refuses: {}", answer.text());
}
