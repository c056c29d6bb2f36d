//! Waiting until no other node serves what was invalidated.

use crate::remote::Acks;
use crate::simulation::{Mutant, is};
use crate::store::Holders;
use std::collections::HashMap;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout_at};

impl Acks {
    /// Waits until every holder of a coherence lease has applied the invalidation, or holds none any more.
    ///
    /// The times of the reply are the server's, and clocks may differ in rate: hence one in a hundred more. Where its clock
    /// went back, a registration seems to hold for longer than any lease can.
    pub(crate) async fn of_all(&mut self, holders: Holders, lease: Duration) {
        let replied = Instant::now();
        let ends = |left: Duration| replied + left.min(lease).mul_f64(1.01) + Duration::from_millis(1);
        let mut waiting: HashMap<String, Instant> =
            holders.nodes.into_iter().map(|(node, left)| (node, ends(left))).collect();
        while let Some(last) = waiting.values().max() {
            match timeout_at(*last, self.next()).await {
                Ok(Some(node)) => drop(waiting.remove(&node)),
                Ok(None) | Err(_) => break,
            }
        }
        // Of holders from before the epoch began nobody knows.
        if holders.epoch_age < lease && !is(Mutant::EpochOfAnyAge) {
            sleep_until(ends(lease - holders.epoch_age)).await;
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
        node.remote.expect_acks().of_all(holders, lease).await;
        assert!(began.elapsed() > lease);
    }
}
