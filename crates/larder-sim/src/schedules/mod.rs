//! Directed schedules: ways to serve a stale value that were found once, each played step by step on the real engine and
//! the real scripts. The numbers are those of the protocol's description.

mod degraded;
mod leases;
mod memory;
mod outages;
mod redis;
mod sets;
mod stage;

use crate::node::Limits;
use crate::simulation::Options;
use stage::{Play, Stage};

/// A schedule.
pub struct Schedule {
    /// What holds in it.
    pub name: &'static str,
    small: bool,
    play: Play,
}

impl Schedule {
    const fn new(name: &'static str, play: Play) -> Self {
        Self { name, small: false, play }
    }

    /// With bounds that are met at once.
    const fn small(name: &'static str, play: Play) -> Self {
        Self { name, small: true, play }
    }

    /// Plays it. Whether what it is about holds.
    pub fn holds(&self, options: &Options) -> bool {
        let limits = if self.small {
            Limits { mirror_scopes: 2, state: 8, undelivered: 4 }
        } else {
            Limits { mirror_scopes: 100_000, state: 200_000, undelivered: 10_000 }
        };
        Stage::play(options, limits, self.play)
    }
}

/// All of them.
pub fn all() -> impl Iterator<Item = &'static Schedule> {
    [memory::ALL, redis::ALL, degraded::ALL, outages::ALL, leases::ALL, sets::ALL].into_iter().flatten()
}
