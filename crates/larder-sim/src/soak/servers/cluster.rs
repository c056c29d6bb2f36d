//! Three primaries with a replica each.

use super::super::scene::Scene;
use super::{Servers, break_network, guard, lose_messages, trouble};
use crate::chance::Chance;
use larder::simulation::CLUSTER_TAGS;
use larder_testkit::{RedisCluster, RedisServer, TcpProxy};
use std::time::Duration;

/// A primary that does not answer for so long is replaced. Not below the lease (see "Known limits" of ARCHITECTURE.md),
/// and not below what it takes a primary to notice that its replica is gone.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);

pub(super) struct Cluster {
    servers: RedisCluster,
    /// The slot of each bucket.
    slots: Vec<(&'static str, u16)>,
    guarded: bool,
}

impl Cluster {
    pub(super) fn start(guarded: bool) -> Self {
        let node = guard(RedisServer::builder(), guarded);
        let servers = RedisCluster::builder().node(node).node_timeout(NODE_TIMEOUT).start();
        let slots = CLUSTER_TAGS.iter().map(|tag| (*tag, servers.slot_of(tag))).collect();
        Self { servers, slots, guarded }
    }

    fn some_slot(&self, chance: &Chance) -> (&'static str, u16) {
        self.slots[chance.index(self.slots.len())]
    }

    fn proxies(&self) -> impl Iterator<Item = &TcpProxy> + Clone {
        (0..self.servers.nodes().len()).map(|node| self.servers.proxy(node))
    }

    /// Whether a node is a primary.
    fn leads(&self, node: usize) -> bool {
        let role = self.servers.nodes()[node].command(&["ROLE"]);
        role.items().first().is_some_and(|role| role.text() == "master")
    }

    fn move_slot(&self, slot: u16, primary: usize, chance: &Chance, scene: &Scene) {
        let nodes = self.servers.nodes();
        let replica = self.servers.peers(primary).next().expect("each has a replica");
        let other = (0..nodes.len()).filter(|node| *node != primary && *node != replica);
        let others: Vec<usize> = other.filter(|node| self.leads(*node)).collect();
        let to = others[chance.index(others.len())];
        let _fault = scene.fault("slot moved", format_args!("{slot} from {primary} to {to}"));
        // A replica that is a moment late must not break the move off.
        let need =
            |replicas| [primary, to].into_iter().for_each(|node| nodes[node].need_replicas(replicas, 1));
        need(0);
        let from = self.servers.begin_move(slot, to);
        // Half-way: what is not there is asked for elsewhere.
        scene.last(chance.pick(&[0, 100, 1500]));
        self.servers.move_keys(slot, from, to);
        self.servers.end_move(slot, to);
        need(u32::from(self.guarded));
    }
}

impl Servers for Cluster {
    fn url(&self, _place: usize) -> String {
        self.servers.url()
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(2)
    }

    fn strike(&self, chance: &Chance, scene: &Scene) {
        self.servers.await_complete();
        let (_, slot) = self.some_slot(chance);
        let (nodes, primary) = (self.servers.nodes(), self.servers.primary_of(slot));
        let replica = self.servers.peers(primary).next().expect("each has a replica");
        let of = format!("{primary}");
        let what = chance.below(20);
        let _replacing = (what < 13).then(|| scene.replacing(self.lease() * 2));
        match what {
            0..2 => {
                let _fault = scene.fault("failover on demand", &of);
                self.servers.failover(replica);
            }
            2 => {
                let _fault = scene.fault("primary killed and replaced", &of);
                nodes[primary].kill();
                let _ = self.servers.await_takeover(primary);
                nodes[primary].restart();
            }
            3 => {
                let _fault = scene.fault("primary stopped and replaced", &of);
                nodes[primary].pause();
                let _ = self.servers.await_takeover(primary);
                // It goes on as a primary, until another node tells it.
                nodes[primary].resume();
            }
            4..6 => {
                let _fault = scene.fault("primary isolated and replaced", &of);
                self.servers.isolate(&[primary]);
                let _ = self.servers.await_takeover(primary);
                scene.last(chance.pick(&[0, 1000, 2500]));
                // It believes to be a primary, until another node tells it.
                self.servers.heal();
            }
            6..8 => {
                let lasts = chance.pick(&[900, 3800, 4500, 6000]);
                let _fault = scene.fault("all servers stopped", format_args!("{lasts} ms"));
                nodes.iter().for_each(RedisServer::pause);
                scene.away(lasts, || nodes.iter().for_each(RedisServer::resume));
            }
            8 => {
                let lasts = chance.pick(&[0, 1000, 4500]);
                let _fault =
                    scene.fault("all servers killed and restarted empty", format_args!("after {lasts} ms"));
                nodes.iter().for_each(RedisServer::kill);
                scene.away(lasts, || nodes.iter().for_each(RedisServer::restart));
            }
            9..11 => self.move_slot(slot, primary, chance, scene),
            11..13 => {
                break_network(self.servers.proxy(primary), &format!("of primary {of}"), chance, scene);
            }
            13 => {
                let lasts = chance.pick(&[50, 400, 1000]);
                let _fault = scene.fault("primary stopped for a moment", format_args!("{of}, {lasts} ms"));
                nodes[primary].pause();
                scene.last(lasts);
                nodes[primary].resume();
            }
            14 => {
                let _fault = scene.fault("replica killed and restarted", replica);
                nodes[replica].kill();
                scene.last(chance.pick(&[100, 1000]));
                nodes[replica].restart();
            }
            15..17 => lose_messages(self.proxies(), "of all servers", chance, scene),
            _ => trouble(&nodes[primary], &format!("primary {of}"), chance, scene),
        }
    }

    fn stores(&self) -> Vec<&RedisServer> {
        self.servers.nodes().iter().collect()
    }

    fn authority(&self, chance: &Chance) -> Option<(usize, &'static str)> {
        let (tag, slot) = self.some_slot(chance);
        Some((self.servers.find_primary_of(slot)?, tag))
    }

    fn lost_pushes(&self) -> usize {
        self.proxies().map(TcpProxy::lost_pushes).sum()
    }
}
