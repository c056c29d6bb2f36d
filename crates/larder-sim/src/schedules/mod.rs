//! Directed schedules: ways to serve a stale value that were found once, each played step by step on the real engine and
//! the real scripts. The numbers are those of the protocol's description.

mod buckets;
mod degraded;
mod expirations;
mod leases;
mod logs;
mod memory;
mod moving;
mod outages;
mod patterns;
mod redis;
mod sets;
mod stage;

use crate::network::Topology;
use crate::node::Limits;
use crate::simulation::Options;
use stage::{Play, Stage};

/// How a schedule is played, with what its function takes beside the stage.
macro_rules! play {
    ($play:ident $(, $argument:expr)*) => {
        |stage| Box::pin($play(stage $(, $argument)*))
    };
}
use play;

/// A schedule.
pub struct Schedule {
    /// What holds in it.
    pub name: &'static str,
    limits: Limits,
    topology: Topology,
    play: Play,
}

/// Bounds that are met at once.
const SMALL: Limits = Limits {
    mirror_scopes: 2,
    state: 8,
    undelivered: 4,
    waiting_events: 2,
    event_history: 3,
    ..FEW_PATTERNS
};

/// Room for two patterns, and for one of each tenant.
const FEW_PATTERNS: Limits = Limits { tenant_rules: 1, rules: 2, ..Limits::USUAL };

impl Schedule {
    const fn new(name: &'static str, play: Play) -> Self {
        Self { name, limits: Limits::USUAL, topology: Topology::Single, play }
    }

    const fn within(limits: Limits, name: &'static str, play: Play) -> Self {
        Self { limits, ..Self::new(name, play) }
    }

    /// With bounds that are met at once.
    const fn small(name: &'static str, play: Play) -> Self {
        Self::within(SMALL, name, play)
    }

    /// Whose reads of Redis ask for no tags that they do not name.
    const fn plain(name: &'static str, play: Play) -> Self {
        Self::within(Limits { plain_after: 0, ..Limits::USUAL }, name, play)
    }

    /// On a Cluster of two servers with two buckets: acme's rows are in both, beta's in one.
    const fn cluster(name: &'static str, play: Play) -> Self {
        Self { topology: Topology::Cluster(2), ..Self::new(name, play) }
    }

    /// With a replica and Sentinels.
    const fn sentinel(name: &'static str, play: Play) -> Self {
        Self { topology: Topology::Sentinel, ..Self::new(name, play) }
    }

    /// Plays it. Whether what it is about holds.
    pub fn holds(&self, options: &Options) -> bool {
        Stage::play(options, self.limits, self.topology, self.play)
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Schedule> {
    let all = [
        memory::ALL,
        redis::ALL,
        degraded::ALL,
        outages::ALL,
        leases::ALL,
        sets::ALL,
        patterns::ALL,
        expirations::ALL,
        buckets::ALL,
        moving::ALL,
        logs::ALL,
    ];
    all.into_iter().flatten()
}
