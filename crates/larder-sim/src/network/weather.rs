//! How long what is sent is under way, and what happens to it.

use super::{pass, yields};
use crate::chance::Chance;
use std::time::Duration;

/// Chances are in 10,000.
#[derive(Clone, Copy, Debug)]
pub struct Weather {
    /// That a message is late, by one of [`late_ms`](Self::late_ms).
    pub late: u64,
    /// By how much.
    pub late_ms: &'static [u64],
    /// That what was sent at once arrives in parts, with others in between.
    pub split: u64,
    /// That a connection breaks before a command is run.
    pub lost_before: u64,
    /// That it breaks after, so that nobody learns the answer.
    pub lost_after: u64,
    /// That a command that was run is run once more, later.
    pub repeated: u64,
    /// How long a connection rests when so many bytes have passed as fit into a socket, in ms.
    pub rests_ms: &'static [u64],
    /// That a lookup or another task stops between two steps while others run.
    pub preempted: u64,
}

impl Weather {
    /// Everything arrives, with little delay.
    pub fn calm() -> Self {
        Self {
            late: 500,
            late_ms: &[1, 1, 2, 5],
            split: 300,
            lost_before: 0,
            lost_after: 0,
            rests_ms: &[0, 1, 2],
            repeated: 0,
            preempted: 100,
        }
    }

    /// Much goes wrong.
    pub fn rough() -> Self {
        Self {
            late: 300,
            late_ms: &[1, 1, 1, 2, 2, 3, 5, 10, 30, 60, 130, 260, 1300],
            split: 1000,
            lost_before: 5,
            lost_after: 5,
            rests_ms: &[1, 2, 5, 20, 150],
            repeated: 20,
            preempted: 200,
        }
    }

    /// Everything arrives at once.
    pub fn still() -> Self {
        Self { late: 0, split: 0, preempted: 0, rests_ms: &[0], ..Self::calm() }
    }

    pub(super) fn delay(&self, chance: &Chance) -> Duration {
        let late = chance.in_10_000(self.late);
        Duration::from_millis(if late { chance.pick(self.late_ms) } else { 0 })
    }

    /// The way of a message.
    pub(super) async fn travel(&self, chance: &Chance) {
        pass(self.delay(chance)).await;
        if self.late > 0 {
            yields(chance.pick(&[0, 0, 0, 1, 3])).await;
        }
    }
}
