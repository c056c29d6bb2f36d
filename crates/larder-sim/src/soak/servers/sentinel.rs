//! A primary, two replicas, three Sentinels.

use super::super::scene::Scene;
use super::{Servers, break_network, trouble};
use crate::chance::Chance;
use larder_testkit::{RedisSentinel, RedisServer};
use std::time::Duration;

pub(super) struct Sentinel(RedisSentinel);

impl Sentinel {
    pub(super) fn start() -> Self {
        // As docs/guarantees.md asks for: a primary without its replicas takes no writes.
        let server =
            RedisServer::builder().arg("min-replicas-to-write", "1").arg("min-replicas-max-lag", "2");
        Self(RedisSentinel::builder().server(server).start())
    }

    fn primary(&self) -> usize {
        self.0.await_settled();
        self.0.primary().expect("they have just agreed")
    }
}

impl Servers for Sentinel {
    fn url(&self, _place: usize) -> String {
        self.0.url()
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn strike(&self, chance: &Chance, scene: &Scene) {
        let primary = self.primary();
        let (servers, of) = (self.0.servers(), format!("{primary}"));
        match chance.below(12) {
            0..2 => {
                let _fault = scene.fault("failover on demand", &of);
                let _ = self.0.failover();
            }
            2 => {
                let _fault = scene.fault("primary killed and replaced", &of);
                servers[primary].kill();
                let _ = self.0.await_failover(primary);
                servers[primary].restart();
            }
            3 => {
                let _fault = scene.fault("primary stopped and replaced", &of);
                servers[primary].pause();
                let _ = self.0.await_failover(primary);
                scene.last(chance.pick(&[0, 1000]));
                // It goes on as a primary, until a Sentinel tells it.
                servers[primary].resume();
            }
            4 => {
                let lasts = chance.pick(&[50, 300, 600]);
                let _fault = scene.fault("primary stopped for a moment", format_args!("{of}, {lasts} ms"));
                servers[primary].pause();
                scene.last(lasts);
                servers[primary].resume();
            }
            5 => {
                let replica = (primary + 1 + chance.index(2)) % 3;
                let _fault = scene.fault("replica killed and restarted", replica);
                servers[replica].kill();
                scene.last(chance.pick(&[100, 1500]));
                servers[replica].restart();
            }
            6 => {
                let sentinel = chance.index(3);
                let _fault = scene.fault("Sentinel stopped", sentinel);
                self.0.sentinels()[sentinel].pause();
                scene.last(chance.pick(&[500, 2500]));
                self.0.sentinels()[sentinel].resume();
            }
            7..9 => {
                break_network(self.0.proxy(primary), &format!("of primary {of}"), chance, scene);
            }
            _ => trouble(&servers[primary], &format!("primary {of}"), chance, scene),
        }
    }

    fn stores(&self) -> Vec<&RedisServer> {
        self.0.servers().iter().collect()
    }
}
