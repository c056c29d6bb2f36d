//! One server, and a network of its own between it and each node.

use super::super::scene::Scene;
use super::one::Victim;
use super::trouble::{OF_A_WAY, OF_ONE, round};
use super::way::{break_network, lose_messages};
use super::{ONLY, Servers, Trouble};
use crate::chance::Chance;
use larder_testkit::{RedisServer, TcpProxy};
use std::time::Duration;

pub(super) struct Single {
    redis: RedisServer,
    ways: Vec<TcpProxy>,
}

impl Single {
    pub(super) async fn start(places: usize) -> Self {
        let redis = RedisServer::start();
        let mut ways = Vec::new();
        for _ in 0..places {
            ways.push(TcpProxy::start(format!("127.0.0.1:{}", redis.port())).await);
        }
        Self { redis, ways }
    }
}

impl Servers for Single {
    fn url(&self, place: usize) -> String {
        self.redis.url_at(&self.ways[place].address().to_string(), "", "")
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn round(&self) -> Vec<Trouble> {
        // Stopped more often: it is all that there is.
        round(&[Trouble::Stopped], &[&OF_ONE])
    }

    fn network_round(&self) -> Vec<Trouble> {
        OF_A_WAY.into()
    }

    fn strike(&self, what: Trouble, chance: &Chance, scene: &Scene) {
        let place = chance.index(self.ways.len());
        let (way, of) = (&self.ways[place], format!("of place {place}"));
        match what {
            Trouble::MessagesLost => lose_messages(std::iter::once(way), &of, chance, scene),
            what if OF_A_WAY.contains(&what) => break_network(what, way, &of, chance, scene),
            what => {
                let (stops, downs) = (&[50, 400, 900, 1800, 3500], &[0, 500, 2500]);
                Victim { server: &self.redis, of: "", alone: true, stops, downs }.suffer(what, chance, scene);
            }
        }
    }

    fn stores(&self) -> Vec<&RedisServer> {
        vec![&self.redis]
    }

    fn authority(&self, _chance: &Chance) -> Option<(usize, &'static str)> {
        Some((0, ONLY))
    }

    fn ways(&self) -> Vec<&TcpProxy> {
        self.ways.iter().collect()
    }
}
