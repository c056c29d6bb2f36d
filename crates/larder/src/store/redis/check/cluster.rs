//! The check of a Redis Cluster: how it stands, then each primary.

use super::{Ended, Steps};
use crate::store::redis::{
    cluster::{self, Caller, SLOTS, View},
    connect::RedisConnector,
    dial::{Address, Dialer},
    keys::Keyspace,
    url::{Seeds, shown},
};
use crate::store::{StoreError, StoreErrorKind};
use std::sync::Arc;

impl Steps {
    /// A step for each node of the configuration and one for the whole; then all steps of a server, for each primary.
    pub(super) async fn run_cluster(
        &mut self,
        connector: &RedisConnector,
        seeds: &Seeds,
    ) -> Result<(), Ended> {
        let dialer = self.quietly("connect", Dialer::new(connector.config(), connector.resolved())).await?;
        let first = self.done.len();
        for host in &seeds.hosts {
            let words = |told: &cluster::Told| format!("names {} primaries", told.primaries().len());
            let _ =
                self.step(&format!("node {}", shown(host)), words, cluster::ask(&dialer, host, None)).await;
        }
        self.forgive(first);
        let caller =
            Caller { config: connector.config(), resolved: connector.resolved(), seeds, node: "check" };
        let whole = async {
            let view = connector.cluster().view(caller).await?;
            whole(&view).map(|words| (view, words))
        };
        let (view, _) = self.step("cluster", |(_, words)| words.clone(), whole).await?;
        for (primary, _) in view.primaries() {
            self.primary(connector, &dialer, &view, &primary).await;
        }
        self.at = None;
        Ok(())
    }

    /// What fails at one is no reason not to try the others.
    async fn primary(&mut self, connector: &RedisConnector, dialer: &Dialer, view: &View, primary: &Address) {
        self.at = Some(shown(primary));
        let lives_here = |keys: &&Keyspace| view.primary(keys.slot()).is_ok_and(|there| there == primary);
        let keys = connector.keys().iter().find(lives_here);
        let _ = self.server(connector, &dialer.to_server(primary), keys).await;
    }
}

/// How the Cluster stands, in words.
fn whole(view: &Arc<View>) -> Result<String, StoreError> {
    let primaries = view.primaries();
    let served: usize = primaries.iter().map(|(_, slots)| slots).sum();
    if served == usize::from(SLOTS) {
        return Ok(format!("{} primaries serve all {SLOTS} slots", primaries.len()));
    }
    let detail = format!("{} of {SLOTS} slots have no primary", usize::from(SLOTS) - served);
    Err(StoreError::new(StoreErrorKind::Moved, detail))
}
