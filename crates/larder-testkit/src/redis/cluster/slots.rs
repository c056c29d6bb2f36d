//! Moving slots from one primary to another, in steps, so that tests can look in between.

use super::form::told;
use super::{AGREE, RedisCluster};
use crate::poll::Poll;
use crate::redis::Reply;

/// So many keys are moved at once.
const BATCH: &str = "100";

impl RedisCluster {
    /// The slot of a key.
    #[must_use]
    pub fn slot_of(&self, key: &str) -> u16 {
        let up = self.nodes.iter().find(|node| node.is_up()).expect("some node runs");
        let slot = up.command(&["CLUSTER", "KEYSLOT", key]).int();
        slot.and_then(|slot| slot.try_into().ok()).expect("CLUSTER KEYSLOT answers a slot")
    }

    /// Moves a slot with all its keys to another primary and waits until all nodes know: the three steps
    /// [`begin_move`](Self::begin_move), [`move_keys`](Self::move_keys) and [`end_move`](Self::end_move).
    pub fn move_slot(&self, slot: u16, to: usize) {
        let from = self.begin_move(slot, to);
        self.move_keys(slot, from, to);
        self.end_move(slot, to);
    }

    /// Opens the slot on both sides (`IMPORTING`, `MIGRATING`): keys that are not at its primary any more, or not yet
    /// there, are asked for at the other (`ASK`), and commands of several such keys answer `TRYAGAIN`. Returns the
    /// primary that has the slot.
    ///
    /// # Panics
    /// Where that is `to`, or a node refuses.
    pub fn begin_move(&self, slot: u16, to: usize) -> usize {
        let from = self.primary_of(slot);
        assert_ne!(from, to, "node {to} has slot {slot} already");
        self.set_slot(to, slot, "IMPORTING", from);
        self.set_slot(from, slot, "MIGRATING", to);
        from
    }

    /// Moves the keys of an opened slot (`MIGRATE`).
    ///
    /// # Panics
    /// Where a node refuses.
    pub fn move_keys(&self, slot: u16, from: usize, to: usize) {
        let (slot, port) = (slot.to_string(), self.port(to).to_string());
        loop {
            let found = self.nodes[from].command(&["CLUSTER", "GETKEYSINSLOT", &slot, BATCH]);
            if found.items().is_empty() {
                return told(found);
            }
            let mut migrate: Vec<Vec<u8>> =
                ["MIGRATE", "127.0.0.1", &port, "", "0", "5000"].map(Into::into).into();
            if let Some((user, password)) = self.nodes[to].options.admin() {
                migrate.extend(["AUTH2", user, password].map(Into::into));
            }
            migrate.push("KEYS".into());
            migrate.extend(found.items().iter().filter_map(|key| match key {
                Reply::Bulk(key) => Some(key.clone()),
                _ => None,
            }));
            told(self.nodes[from].command(&migrate));
        }
    }

    /// Gives the slot to `to`, and waits until all nodes know.
    ///
    /// # Panics
    /// Where a node refuses (keys are left behind), or they do not agree within 30 s.
    pub fn end_move(&self, slot: u16, to: usize) {
        let from = self.primary_of(slot);
        // The new one first: else nobody would have the slot for a moment.
        self.set_slot(to, slot, "NODE", to);
        self.set_slot(from, slot, "NODE", to);
        let id = &self.ids[to];
        let poll = Poll::new(AGREE);
        while !self.all_agree(|view| view.iter().all(|seen| seen.has(slot) == (seen.id == *id))) {
            assert!(poll.again_blocking(), "the nodes do not agree on slot {slot}");
        }
    }

    fn set_slot(&self, at: usize, slot: u16, what: &str, whose: usize) {
        told(self.nodes[at].command(&["CLUSTER", "SETSLOT", &slot.to_string(), what, &self.ids[whose]]));
    }
}
