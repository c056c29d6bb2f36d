//! Another server takes a primary's place, at another address.

use super::{Network, identity};
use crate::redis::{Data, Identity};

impl Network {
    /// Whether there is a replica that can take a primary's place.
    pub fn can_fail_over(&self) -> bool {
        self.0.inner.lock().spare.is_some()
    }

    /// The replica takes the place of this primary, with what it has been sent of its data; where it is. The old one is a
    /// replica from then on, and keeps its connections. In a Cluster all know at once who has its slots now; Sentinels
    /// have to be [told](Network::call_primary).
    ///
    /// # Panics
    /// Where there is no replica.
    pub fn fail_over(&self, data: Data) -> usize {
        let from = self.number();
        let old = self.with_server(|state| {
            state.replica = true;
            state.identity.replid.clone()
        });
        let mut to = from;
        self.change(|inner| {
            to = inner.spare.replace(from).expect("there is a replica");
            inner.primaries.iter_mut().filter(|seat| **seat == from).for_each(|seat| *seat = to);
            inner.slots.values_mut().filter(|seat| **seat == from).for_each(|seat| *seat = to);
            // A part that was on its way from or to the old one is where the slot is.
            let slots = &inner.slots;
            inner.moving.retain(|tag, target| slots.get(tag) != Some(&to) && *target != from);
        });
        let there = self.at(to);
        there.replace(Identity { replid2: old, ..identity(&self.0.chance) }, data);
        there.close(|connection| connection.process.seat == to);
        let told = self.with_server(|state| state.unsubscribe(|_| !self.tags().is_empty()));
        self.publish(told);
        to
    }
}
