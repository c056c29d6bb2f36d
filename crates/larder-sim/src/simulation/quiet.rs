//! After everything is healed and nobody calls any more: what does not come to an end?

use super::faults::Troubles;
use super::world::{Place, World};
use crate::network::Weather;
use crate::redis::{State, Value};
use std::sync::Arc;
use std::time::Duration;

impl World {
    /// I12 and I13: every node is trusted again, and nothing is left behind.
    pub(super) async fn rest(self: &Arc<Self>, troubles: &mut Troubles, places: &mut [Place]) {
        // From here on only ends are looked for.
        self.loads.disturbed(u64::MAX);
        self.network.set_weather(Weather::calm());
        self.heal(troubles, places, true).await;
        self.note(format_args!("everything is healed"));
        // A connection that nobody answers is given up after 2 s, attempts are up to 5 s apart, loads take up to 3 s, and
        // leases of those who are gone 4 s.
        let mut left = Vec::new();
        for _ in 0..60 {
            tokio::time::sleep(Duration::from_millis(250)).await;
            left = self.left(places);
            if left.is_empty() {
                self.count("ends", "at rest");
                return;
            }
        }
        self.broke(format!("I12, I13: 15 s after everything was healed: {left:?}"));
    }

    fn left(&self, places: &mut [Place]) -> Vec<String> {
        let mut left = self.behind(|node| places.iter().any(|place| place.node.host.id == node));
        for place in places {
            while place.callers.try_join_next().is_some() {}
            let inside = place.node.inside();
            let counts = [
                ("untrusted", usize::from(!inside.good)),
                ("calls", place.callers.len()),
                ("flights", inside.flights),
                ("tasks", inside.tasks),
                ("blocked", inside.blocked),
                ("undelivered", inside.undelivered),
                ("waiting", inside.waiting),
                ("leases", self.leases(&inside.node)),
            ];
            let counts: Vec<_> = counts.into_iter().filter(|(_, count)| *count > 0).collect();
            if !counts.is_empty() {
                left.push(format!("node {}: {counts:?}", place.node.host.id));
            }
        }
        left
    }

    /// How many leases Redis holds for a node.
    fn leases(&self, node: &str) -> usize {
        let servers = (0..self.network.servers()).map(|server| self.network.at(server));
        let held = |state: &mut State| {
            let now = state.now_ms();
            let names: Vec<Vec<u8>> = state.data.keys(now).map(<[u8]>::to_vec).collect();
            let holder = |name: &Vec<u8>| match state.data.get(name, now) {
                Some(Value::Hash(fields)) => fields.get(b"n".as_slice()).cloned(),
                _ => None,
            };
            names.iter().filter(|name| holder(name).is_some_and(|holder| holder == node.as_bytes())).count()
        };
        servers.map(|server| server.with_server(held)).sum()
    }
}
