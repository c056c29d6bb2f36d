//! Servers of each kind, and what goes wrong with them.

mod cluster;
mod sentinel;
mod single;

use super::scene::Scene;
use crate::chance::Chance;
use clap::ValueEnum;
use larder_testkit::redis::RedisOptions;
use larder_testkit::{RedisServer, TcpProxy, proxy};
use std::time::Duration;

/// How Redis is set up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Topology {
    /// One server, and a network of its own between it and each node.
    #[default]
    Single,
    /// A primary, two replicas, three Sentinels.
    Sentinel,
    /// Three primaries with a replica each.
    Cluster,
}

/// Servers in which things go wrong.
pub(super) trait Servers: Send + Sync {
    /// Where the node in this place finds them.
    fn url(&self, place: usize) -> String;

    /// The coherence lease of their nodes.
    fn lease(&self) -> Duration;

    /// Something goes wrong with them, lasts, and is mended.
    fn strike(&self, chance: &Chance, scene: &Scene);

    /// Something goes wrong on the way to them, lasts, and is mended. Nothing, where [`Servers::strike`] sees to that.
    fn strike_network(&self, _chance: &Chance, _scene: &Scene) {}

    /// Those that hold data.
    fn stores(&self) -> Vec<&RedisServer>;

    /// Some hash tag under which there are entries, and the one of [`Servers::stores`] to which whoever comes now is sent for
    /// them. `None` while there is none, or not everybody would say the same.
    fn authority(&self, chance: &Chance) -> Option<(usize, &'static str)>;

    /// Messages of Redis that were lost on their way to a node.
    fn lost_pushes(&self) -> usize;

    /// Which nodes hold leases of keys, by their names in the protocol.
    fn holders(&self) -> Vec<String> {
        let mut holders = Vec::new();
        for store in self.stores() {
            for key in store.command(&["KEYS", "ld1:soak:*:l:*"]).items() {
                holders.push(store.command(&["HGET", &key.text(), "n"]).text());
            }
        }
        holders.retain(|holder| !holder.is_empty());
        holders
    }
}

/// The hash tag of all entries, where there is no Cluster.
const ONLY: &str = "0";

/// Starts them, for so many nodes. `guarded`: a primary without its replicas takes no writes.
pub(super) async fn start(topology: Topology, places: usize, guarded: bool) -> Box<dyn Servers> {
    match topology {
        Topology::Single => Box::new(single::Single::start(places).await),
        Topology::Sentinel => Box::new(sentinel::Sentinel::start(guarded)),
        Topology::Cluster => Box::new(cluster::Cluster::start(guarded)),
    }
}

/// As docs/guarantees.md asks for: a primary without its replicas takes no writes.
fn guard(server: RedisOptions, guarded: bool) -> RedisOptions {
    let [replicas, lag] = ["min-replicas-to-write", "min-replicas-max-lag"];
    if guarded { server.arg(replicas, "1").arg(lag, "1") } else { server }
}

/// The network fails, lasts so, and is mended.
fn break_network(proxy: &TcpProxy, of: &str, chance: &Chance, scene: &Scene) {
    use proxy::Fault;
    let ms = Duration::from_millis;
    let (kind, fault) = match chance.below(10) {
        0 => ("network delays", Fault::Delay(ms(chance.pick(&[5, 30, 120, 250])))),
        1 => ("network half open", Fault::Stall),
        2 => ("replies held back", Fault::HoldReplies),
        3 => ("requests held back", Fault::HoldRequests),
        4 => ("network drops", Fault::Drop),
        5 => {
            let after = chance.pick(&[1, 20, 300, 5000]);
            ("replies cut off", Fault::CutReplies { after })
        }
        6 => ("network trickles", Fault::Trickle { bytes: chance.pick(&[1, 7, 100]), every: ms(2) }),
        7 => ("connections reset", Fault::Reset),
        8 => ("connections refused", Fault::Refuse),
        _ => {
            let _fault = scene.fault("connections cut", of);
            return proxy.cut();
        }
    };
    let _fault = scene.fault(kind, format_args!("{of} {fault:?}"));
    scene.runtime.block_on(proxy.set(fault));
    scene.last(chance.pick(&[50, 300, 900, 1500, 3000]));
    if fault == Fault::Drop {
        // Streams with a hole are of no use to anybody.
        proxy.cut();
    }
    scene.runtime.block_on(proxy.heal());
}

/// What is published does not reach nodes on these ways, and nothing else shows it.
fn lose_messages<'a>(
    proxies: impl Iterator<Item = &'a TcpProxy> + Clone,
    of: &str,
    chance: &Chance,
    scene: &Scene,
) {
    let lasts = chance.pick(&[100, 400, 1500, 3000]);
    let _fault = scene.fault("messages lost", format_args!("{of} {lasts} ms"));
    proxies.clone().for_each(|proxy| scene.runtime.block_on(proxy.set(proxy::Fault::LosePushes)));
    scene.last(lasts);
    proxies.for_each(|proxy| scene.runtime.block_on(proxy.heal()));
}

/// What one server can suffer while it goes on.
fn trouble(server: &RedisServer, of: &str, chance: &Chance, scene: &Scene) {
    let ms = Duration::from_millis;
    match chance.below(9) {
        0 => {
            let _fault = scene.fault("clients killed", of);
            server.kill_clients("normal");
        }
        1 => {
            let _fault = scene.fault("subscribers killed", of);
            server.kill_clients("pubsub");
        }
        2 => {
            let lasts = chance.pick(&[100, 600, 1500, 2500]);
            let _fault = scene.fault("writes paused", format_args!("{of} {lasts} ms"));
            server.pause_writes(ms(lasts));
            scene.last(lasts);
            server.unpause_clients();
        }
        3 => {
            let lasts = chance.pick(&[100, 600, 1500, 2500]);
            let _fault = scene.fault("clients paused", format_args!("{of} {lasts} ms"));
            // Nobody can end it: it ends by itself.
            server.pause_clients(ms(lasts));
            std::thread::sleep(ms(lasts));
        }
        4 => {
            let _fault = scene.fault("memory full", of);
            server.fill_up(chance.pick(&[0, 10_000, 200_000]));
            scene.last(chance.pick(&[300, 1000, 2000]));
            server.limit_memory(0, "noeviction");
        }
        5 => {
            let _fault = scene.fault("everything evicted by and by", of);
            let used: u64 = server.info("memory")["used_memory"].parse().expect("used_memory is a number");
            server.limit_memory(used.saturating_sub(chance.pick(&[1000, 30_000, 300_000])), "allkeys-random");
            scene.last(chance.pick(&[100, 500, 1500]));
            server.limit_memory(0, "noeviction");
        }
        6 => {
            let _fault = scene.fault("coherence state evicted", of);
            for key in server.command(&["KEYS", "ld1:soak:*:i"]).items() {
                server.evict(key.text());
            }
        }
        7 => {
            let _fault = scene.fault("flushed", of);
            // Refused, where a replica is a moment late.
            server.command(&["FLUSHALL"]);
        }
        _ => {
            let _fault = scene.fault("subscribers' buffers small", of);
            server.limit_subscribers(chance.pick(&[64, 1000]));
            scene.last(chance.pick(&[300, 1000, 2000]));
            server.limit_subscribers(0);
        }
    }
}
