//! Directed schedules: ways to serve a stale value that were found once, each played step by step on the real engine and
//! the real scripts.

mod stage;

use crate::simulation::Options;
use futures_util::future::BoxFuture;
use stage::Stage;

/// A schedule.
pub struct Schedule {
    /// What holds in it.
    pub name: &'static str,
    play: fn(Stage) -> BoxFuture<'static, ()>,
}

/// All of them.
pub const ALL: &[Schedule] = &[];

/// Plays one. Whether what it is about holds.
pub fn holds(schedule: &Schedule, options: &Options) -> bool {
    Stage::play(options, schedule.play)
}
