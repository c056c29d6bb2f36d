//! Three primaries with a replica each.

use super::super::scene::Scene;
use super::one::Victim;
use super::trouble::{OF_A_WAY, OF_ONE, round};
use super::{Servers, Trouble, guard};
use crate::chance::Chance;
use larder::simulation::CLUSTER_TAGS;
use larder_testkit::{RedisCluster, RedisServer, TcpProxy};
use std::time::Duration;

/// A primary that does not answer for so long is replaced. Not below the lease (see "Known limits" of ARCHITECTURE.md),
/// and not below what it takes a primary to notice that its replica is gone.
const NODE_TIMEOUT: Duration = Duration::from_secs(3);

/// What only this set-up suffers.
const ITS_OWN: [Trouble; 8] = [
    Trouble::FailoverOnDemand,
    Trouble::KilledAndReplaced,
    Trouble::StoppedAndReplaced,
    Trouble::IsolatedAndReplaced,
    Trouble::SlotMoved,
    Trouble::AllStopped,
    Trouble::AllEmpty,
    Trouble::ReplicaKilled,
];

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

    /// What a server alone suffers too.
    fn strike_primary(&self, what: Trouble, primary: usize, chance: &Chance, scene: &Scene) {
        let (server, of) = (&self.servers.nodes()[primary], format!("of primary {primary}"));
        let victim = Victim { server, of: &of, alone: false, stops: &[50, 400, 1000], downs: &[0, 300] };
        victim.strike(what, self.servers.proxy(primary), self.proxies(), chance, scene);
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
        assert!(!others.is_empty(), "no other node says that it is a primary");
        let to = others[chance.index(others.len())];
        let _fault = scene.fault(Trouble::SlotMoved.as_str(), format_args!("{slot} from {primary} to {to}"));
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

    fn round(&self) -> Vec<Trouble> {
        round(&ITS_OWN, &[&OF_ONE, &OF_A_WAY])
    }

    fn may_replace(&self, what: Trouble) -> bool {
        use Trouble::{Empty, MessagesLost, OldSnapshot, ReplicaKilled, Restarted};
        match what {
            ReplicaKilled | MessagesLost => false,
            // Nobody takes its place, unless it takes longer to come back than it should.
            Empty | Restarted | OldSnapshot => true,
            what => !OF_ONE.contains(&what),
        }
    }

    fn strike(&self, what: Trouble, chance: &Chance, scene: &Scene) {
        self.servers.await_complete();
        let (_, slot) = self.some_slot(chance);
        let (nodes, primary) = (self.servers.nodes(), self.servers.primary_of(slot));
        let replica = self.servers.peers(primary).next().expect("each has a replica");
        let of = format!("{primary}");
        match what {
            Trouble::FailoverOnDemand => {
                let _fault = scene.fault(what.as_str(), &of);
                self.servers.failover(replica);
            }
            Trouble::KilledAndReplaced => {
                let _fault = scene.fault(what.as_str(), &of);
                nodes[primary].kill();
                let _ = self.servers.await_takeover(primary);
                nodes[primary].restart();
            }
            Trouble::StoppedAndReplaced => {
                let _fault = scene.fault(what.as_str(), &of);
                nodes[primary].pause();
                let _ = self.servers.await_takeover(primary);
                // It goes on as a primary, until another node tells it.
                nodes[primary].resume();
            }
            Trouble::IsolatedAndReplaced => {
                let _fault = scene.fault(what.as_str(), &of);
                self.servers.isolate(&[primary]);
                let _ = self.servers.await_takeover(primary);
                scene.last(chance.pick(&[0, 1000, 2500]));
                // It believes to be a primary, until another node tells it.
                self.servers.heal();
            }
            Trouble::SlotMoved => self.move_slot(slot, primary, chance, scene),
            Trouble::AllStopped => {
                let lasts = chance.pick(&[900, 3800, 4500, 6000]);
                let _fault = scene.fault(what.as_str(), format_args!("{lasts} ms"));
                nodes.iter().for_each(RedisServer::pause);
                scene.away(lasts, || nodes.iter().for_each(RedisServer::resume));
            }
            Trouble::AllEmpty => {
                let lasts = chance.pick(&[0, 1000, 4500]);
                let _fault = scene.fault(what.as_str(), format_args!("after {lasts} ms"));
                nodes.iter().for_each(RedisServer::kill);
                scene.away(lasts, || nodes.iter().for_each(RedisServer::restart));
            }
            Trouble::ReplicaKilled => {
                let _fault = scene.fault(what.as_str(), replica);
                nodes[replica].kill();
                scene.last(chance.pick(&[100, 1000]));
                nodes[replica].restart();
            }
            what => self.strike_primary(what, primary, chance, scene),
        }
    }

    fn stores(&self) -> Vec<&RedisServer> {
        self.servers.nodes().iter().collect()
    }

    fn authority(&self, chance: &Chance) -> Option<(usize, &'static str)> {
        let (tag, slot) = self.some_slot(chance);
        Some((self.servers.find_primary_of(slot)?, tag))
    }

    fn ways(&self) -> Vec<&TcpProxy> {
        self.proxies().collect()
    }

    fn join(&self) {
        self.servers.heal();
        // A move that was broken off.
        for (_, slot) in &self.slots {
            for node in self.servers.nodes() {
                // Replicas refuse it.
                let _ = node.try_command(&["CLUSTER", "SETSLOT", &slot.to_string(), "STABLE"]);
            }
        }
    }

    fn guarded(&self) -> bool {
        self.guarded
    }
}
