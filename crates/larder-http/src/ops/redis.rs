//! What Redis says of itself, asked for once for all who want to know.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use larder::{Cache, RedisState};
use tokio::sync::Mutex;

/// How long Redis is waited for: what it says is news, and news that is late is none.
const PATIENCE: Duration = Duration::from_millis(500);
/// How long an answer is good, whoever asked for it.
const FRESH: Duration = Duration::from_millis(500);

/// Asks it.
#[derive(Default)]
pub(super) struct Probe(Mutex<Option<(Instant, Said)>>);

/// What it said.
#[derive(Clone, Debug, Default)]
pub(super) struct Said {
    /// How long a ping took.
    pub(super) round_trip: Option<Duration>,
    info: BTreeMap<String, String>,
}

impl Probe {
    /// What is known of a Redis that is in use, after half a second at most.
    pub(super) async fn ask(&self, cache: &Cache) -> Option<Said> {
        if !matches!(cache.redis_state(), RedisState::Connected { .. }) {
            return None;
        }
        let mut last = self.0.lock().await;
        if let Some((asked, said)) = &*last
            && asked.elapsed() < FRESH
        {
            return Some(said.clone());
        }
        let (info, ping) = tokio::join!(
            tokio::time::timeout(PATIENCE, cache.redis_info()),
            tokio::time::timeout(PATIENCE, cache.ping())
        );
        let said = Said {
            round_trip: ping.ok().and_then(Result::ok),
            info: info.ok().and_then(Result::ok).unwrap_or_default(),
        };
        *last = Some((Instant::now(), said.clone()));
        Some(said)
    }
}

impl Said {
    /// A number of `INFO`.
    pub(super) fn number(&self, name: &str) -> Option<u64> {
        self.info.get(name).and_then(|value| value.parse().ok())
    }

    /// A word of `INFO`.
    pub(super) fn word(&self, name: &str) -> Option<String> {
        self.info.get(name).cloned()
    }
}
