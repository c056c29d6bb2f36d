//! Waiting until no other node serves what was invalidated.

use crate::remote::Acks;
use crate::simulation::{Mutant, is};
use crate::store::Holders;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

/// An invalidation that others may not have applied yet.
pub(crate) struct Unacknowledged {
    acks: Acks,
    /// Until when each of them may go on as before.
    waiting: HashMap<String, Instant>,
    /// Until when there may be holders from before the epoch began, of whom nobody knows.
    unknown: Option<Instant>,
}

impl Acks {
    /// Of every holder of a coherence lease that the reply names, which has just come.
    ///
    /// The times of the reply are the server's, and clocks may differ in rate: hence one in a hundred more. Where its clock
    /// went back, a registration seems to hold for longer than any lease can.
    pub(crate) fn of_all(self, holders: Holders, lease: Duration) -> Unacknowledged {
        let replied = Instant::now();
        let ends = |left: Duration| replied + left.min(lease).mul_f64(1.01) + Duration::from_millis(1);
        let young = holders.epoch_age < lease && !is(Mutant::EpochOfAnyAge);
        Unacknowledged {
            acks: self,
            waiting: holders.nodes.into_iter().map(|(node, left)| (node, ends(left))).collect(),
            unknown: young.then(|| ends(lease - holders.epoch_age)),
        }
    }
}

impl Unacknowledged {
    /// Waits until every holder has applied the invalidation, or holds no lease any more.
    pub(crate) async fn applied(mut self) {
        while let Some(last) = self.waiting.values().max() {
            match timeout_at(*last, self.acks.next()).await {
                Ok(Some(node)) => drop(self.waiting.remove(&node)),
                Ok(None) | Err(_) => break,
            }
        }
        if let Some(until) = self.unknown {
            sleep_until(until).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Node, Server};

    #[tokio::test]
    async fn nobody_is_waited_for_longer_than_a_lease() {
        let (node, lease, hour) = (Node::new(&Server::new()), Duration::from_millis(20), 3600);
        let nodes = vec![("n2".to_owned(), Duration::from_secs(hour))];
        let holders = Holders { nodes, epoch_age: Duration::from_secs(hour) };
        let began = Instant::now();
        node.remote.expect_acks().of_all(holders, lease).applied().await;
        assert!(began.elapsed() > lease);
    }
}
