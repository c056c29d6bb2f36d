//! Three primaries with a replica each.

use super::super::scene::Scene;
use super::{Servers, break_network, trouble};
use crate::chance::Chance;
use larder_testkit::{RedisCluster, RedisServer};
use std::time::Duration;

pub(super) struct Cluster(RedisCluster);

impl Cluster {
    pub(super) fn start() -> Self {
        // Not below the lease: see "Known limits" of ARCHITECTURE.md.
        Self(RedisCluster::builder().node_timeout(Duration::from_millis(2500)).start())
    }

    /// The slot of some bucket that is in use.
    fn some_slot(&self, chance: &Chance) -> Option<u16> {
        let states = |node: &RedisServer| node.command(&["KEYS", "ld1:soak:*:i"]);
        let states: Vec<_> = self.0.nodes().iter().map(states).collect();
        let all: Vec<_> = states.iter().flat_map(|states| states.items()).collect();
        (!all.is_empty()).then(|| self.0.slot_of(&all[chance.index(all.len())].text()))
    }
}

impl Servers for Cluster {
    fn url(&self, _place: usize) -> String {
        self.0.url()
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn strike(&self, chance: &Chance, scene: &Scene) {
        self.0.await_complete();
        // Before the first node has come there is nothing.
        let Some(slot) = self.some_slot(chance) else { return scene.last(100) };
        let (nodes, primary) = (self.0.nodes(), self.0.primary_of(slot));
        let replica = self.0.peers(primary).next().expect("each has a replica");
        let of = format!("{primary}");
        match chance.below(14) {
            0..2 => {
                let _fault = scene.fault("failover on demand", &of);
                self.0.failover(replica);
            }
            2 => {
                let _fault = scene.fault("primary killed and replaced", &of);
                nodes[primary].kill();
                let _ = self.0.await_takeover(primary);
                nodes[primary].restart();
            }
            3 => {
                let _fault = scene.fault("primary stopped and replaced", &of);
                nodes[primary].pause();
                let _ = self.0.await_takeover(primary);
                // It goes on as a primary, until another node tells it.
                nodes[primary].resume();
            }
            4 => {
                let lasts = chance.pick(&[50, 400, 1000]);
                let _fault = scene.fault("primary stopped for a moment", format_args!("{of}, {lasts} ms"));
                nodes[primary].pause();
                scene.last(lasts);
                nodes[primary].resume();
            }
            5 => {
                let _fault = scene.fault("replica killed and restarted", replica);
                nodes[replica].kill();
                scene.last(chance.pick(&[100, 1000]));
                nodes[replica].restart();
            }
            6..9 => {
                let other = (0..nodes.len()).filter(|node| *node != primary && *node != replica);
                let others: Vec<usize> = other.filter(|node| self.leads(*node)).collect();
                let to = others[chance.index(others.len())];
                let _fault = scene.fault("slot moved", format_args!("{slot} from {primary} to {to}"));
                let from = self.0.begin_move(slot, to);
                // Half-way: what is not there is asked for elsewhere.
                scene.last(chance.pick(&[0, 100, 1500]));
                self.0.move_keys(slot, from, to);
                self.0.end_move(slot, to);
            }
            9..11 => {
                break_network(self.0.proxy(primary), &format!("of primary {of}"), chance, scene);
            }
            _ => trouble(&nodes[primary], &format!("primary {of}"), chance, scene),
        }
    }

    fn stores(&self) -> Vec<&RedisServer> {
        self.0.nodes().iter().collect()
    }
}

impl Cluster {
    /// Whether a node is a primary.
    fn leads(&self, node: usize) -> bool {
        let role = self.0.nodes()[node].command(&["ROLE"]);
        role.items().first().is_some_and(|role| role.text() == "master")
    }
}
