//! Servers of each kind, and what goes wrong with them.

mod cluster;
mod one;
mod sentinel;
mod single;
mod trouble;
mod way;

use super::caught;
use super::scene::Scene;
use crate::chance::Chance;
use clap::ValueEnum;
use larder_testkit::redis::RedisOptions;
use larder_testkit::{RedisServer, TcpProxy};
use std::time::Duration;
use tokio::runtime::Handle;
pub(super) use trouble::Trouble;

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

    /// What goes wrong with them in a round.
    fn round(&self) -> Vec<Trouble>;

    /// What goes wrong at the same time, on the way to them. Nothing, where [`Servers::round`] sees to that.
    fn network_round(&self) -> Vec<Trouble> {
        Vec::new()
    }

    /// Whether it may have a server replaced, which may go on to answer.
    fn may_replace(&self, _what: Trouble) -> bool {
        false
    }

    /// Something goes wrong, lasts, and is mended. The kit panics where servers do not what they are to do.
    fn strike(&self, what: Trouble, chance: &Chance, scene: &Scene);

    /// Those that hold data.
    fn stores(&self) -> Vec<&RedisServer>;

    /// Some hash tag under which there are entries, and the one of [`Servers::stores`] to which whoever comes now is sent for
    /// them. `None` while there is none, or not everybody would say the same.
    fn authority(&self, chance: &Chance) -> Option<(usize, &'static str)>;

    /// Those that only watch over them.
    fn watchers(&self) -> &[RedisServer] {
        &[]
    }

    /// What stands before those that hold data.
    fn ways(&self) -> Vec<&TcpProxy>;

    /// Ends a partition, where there can be one.
    fn join(&self) {}

    /// Whether a primary without its replicas takes no writes.
    fn guarded(&self) -> bool {
        false
    }

    /// Messages of Redis that were lost on their way to a node.
    fn lost_pushes(&self) -> usize {
        self.ways().into_iter().map(TcpProxy::lost_pushes).sum()
    }

    /// Undoes whatever a trouble may have left behind. Which servers were not there.
    fn mend(&self, runtime: &Handle) -> Vec<String> {
        let mut found = Vec::new();
        for (kind, server) in self
            .stores()
            .into_iter()
            .map(|store| ("server", store))
            .chain(self.watchers().iter().map(|watcher| ("Sentinel", watcher)))
        {
            if server.is_up() {
                continue;
            }
            let was = if server.is_paused() { "stopped" } else { "down" };
            let back = caught(|| if server.is_paused() { server.resume() } else { server.restart() });
            let now = back.map_or_else(|why| format!("stays so: {why}"), |()| "is back".to_owned());
            found.push(format!("the {kind} on port {} was {was}, and {now}", server.port()));
        }
        self.join();
        for way in self.ways() {
            runtime.block_on(way.heal());
        }
        let replicas = if self.guarded() { "1" } else { "0" };
        for store in self.stores() {
            for command in [
                ["CLIENT", "UNPAUSE"].as_slice(),
                &["CONFIG", "SET", "maxmemory", "0", "maxmemory-policy", "noeviction"],
                &["CONFIG", "SET", "client-output-buffer-limit", "pubsub 0 0 0"],
                &["CONFIG", "SET", "min-replicas-to-write", replicas, "min-replicas-max-lag", "1"],
            ] {
                // One that is not there was told of above.
                let _ = store.try_command(command);
            }
        }
        found
    }

    /// Which nodes hold leases of keys, by their names in the protocol.
    ///
    /// # Errors
    /// What a server said instead of an answer, if it said anything.
    fn holders(&self) -> Result<Vec<String>, String> {
        let mut holders = Vec::new();
        for (index, store) in self.stores().into_iter().enumerate() {
            let ask = |command: &[&str]| match store.try_command(command) {
                Ok(answer) if answer.is_error() => Err(format!("server {index} says {}", answer.text())),
                Ok(answer) => Ok(answer),
                Err(why) => Err(format!("server {index} does not answer: {why}")),
            };
            for key in ask(&["KEYS", "ld1:soak:*:l:*"])?.items() {
                // A replica may send whoever asks elsewhere.
                holders.extend(ask(&["HGET", &key.text(), "n"]).map(|holder| holder.text()));
            }
        }
        holders.retain(|holder| !holder.is_empty());
        Ok(holders)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn servers_that_are_away_at_the_end_are_told_of_and_brought_back() {
        let servers = start(Topology::Single, 1, true).await;
        let runtime = Handle::current();
        tokio::task::spawn_blocking(move || {
            assert_eq!(servers.mend(&runtime), [""; 0], "nothing was wrong");
            let server = servers.stores()[0];
            server.command(&["HSET", "ld1:soak:{0}:l:1:a:k", "n", "somebody"]);
            server.limit_memory(1, "noeviction");
            server.pause();
            let found = servers.mend(&runtime);
            assert!(found.len() == 1 && found[0].ends_with("was stopped, and is back"), "{found:?}");
            assert_eq!(servers.holders(), Ok(vec!["somebody".to_owned()]));
            assert!(!server.command(&["SET", "k", "v"]).is_error(), "there is room again");
            server.kill();
            let told = servers.holders().unwrap_err();
            assert!(told.starts_with("server 0 does not answer: "), "{told}");
            let found = servers.mend(&runtime);
            assert!(found.len() == 1 && found[0].ends_with("was down, and is back"), "{found:?}");
            assert_eq!(servers.holders(), Ok(Vec::new()));
        })
        .await
        .unwrap();
    }
}
