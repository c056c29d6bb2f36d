//! One server, and a network of its own between it and each node.

use super::super::scene::Scene;
use super::{ONLY, Servers, break_network, lose_messages, trouble};
use crate::chance::Chance;
use larder_testkit::redis::Snapshot;
use larder_testkit::{RedisServer, TcpProxy};
use parking_lot::Mutex;
use std::time::Duration;

pub(super) struct Single {
    redis: RedisServer,
    ways: Vec<TcpProxy>,
    old: Mutex<Option<Snapshot>>,
}

impl Single {
    pub(super) async fn start(places: usize) -> Self {
        let redis = RedisServer::start();
        let mut ways = Vec::new();
        for _ in 0..places {
            ways.push(TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await);
        }
        Self { redis, ways, old: Mutex::default() }
    }
}

impl Servers for Single {
    fn url(&self, place: usize) -> String {
        self.redis.url_at(&self.ways[place].address().to_string(), "", "")
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn strike(&self, chance: &Chance, scene: &Scene) {
        let redis = &self.redis;
        match chance.below(12) {
            0..2 => {
                let lasts = chance.pick(&[50, 400, 900, 1800, 3500]);
                let _fault = scene.fault("server stopped", format_args!("{lasts} ms"));
                redis.pause();
                scene.away(lasts, || redis.resume());
            }
            2 => {
                let lasts = chance.pick(&[0, 500, 2500]);
                let _fault =
                    scene.fault("server killed and restarted empty", format_args!("after {lasts} ms"));
                redis.kill();
                redis.wipe();
                scene.away(lasts, || redis.restart());
            }
            3 => {
                let _fault = scene.fault("server restarted with all its data", "");
                redis.restart_keeping_data();
            }
            4 => {
                let Some(old) = self.old.lock().take() else {
                    *self.old.lock() = Some(redis.snapshot());
                    return;
                };
                let lasts = chance.pick(&[0, 2500]);
                let _fault = scene.fault("old snapshot restored", format_args!("after {lasts} ms"));
                redis.kill();
                scene.away(lasts, || redis.restore_snapshot(&old));
            }
            _ => trouble(redis, "", chance, scene),
        }
    }

    fn strike_network(&self, chance: &Chance, scene: &Scene) {
        let place = chance.index(self.ways.len());
        let (way, of) = (&self.ways[place], format!("of place {place}"));
        match chance.below(4) {
            0 => lose_messages(std::iter::once(way), &of, chance, scene),
            _ => break_network(way, &of, chance, scene),
        }
    }

    fn stores(&self) -> Vec<&RedisServer> {
        vec![&self.redis]
    }

    fn authority(&self, _chance: &Chance) -> Option<(usize, &'static str)> {
        Some((0, ONLY))
    }

    fn lost_pushes(&self) -> usize {
        self.ways.iter().map(TcpProxy::lost_pushes).sum()
    }
}
