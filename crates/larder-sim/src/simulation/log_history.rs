//! What those who follow the tenants' event logs were told, and what they must have been told.
//!
//! * **One order.** A place in a log, which is an epoch and an offset, has one event, whoever sees it. Where a server has lost its
//!   last writes, and nobody has noticed yet, it may have two; then the log begins anew, and all are told.
//! * **Once.** An event, which has one id, has one place in an epoch.
//! * **No gap.** A follower is told the next offset, or that what it has seen is void; never anything else, and never of an
//!   epoch that it has left.
//! * **As published.** In an epoch the events of a node stand in the order in which they were published there.

use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};

/// Epoch and offset.
pub(super) type Place = (String, u64);

/// An event, as those who see it can tell it apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Seen {
    /// Its id.
    pub(super) id: String,
    /// Which node published it, and its number there.
    pub(super) from: (usize, u64),
}

/// One epoch of a tenant's log.
#[derive(Default)]
struct Epoch {
    events: BTreeMap<u64, Seen>,
    /// Which id is at each offset, also of events that nobody has seen yet.
    named: BTreeMap<u64, String>,
    /// Where each id is.
    ids: BTreeMap<String, u64>,
    /// What is known of each node's: the number of each event by its offset.
    nodes: BTreeMap<usize, BTreeMap<u64, u64>>,
}

/// Somebody who follows a tenant's log.
struct Follower {
    tenant: &'static str,
    at: Place,
    left: BTreeSet<String>,
}

/// What those who follow the logs were told.
#[derive(Default)]
pub(super) struct LogHistory(Mutex<Told>);

#[derive(Default)]
struct Told {
    epochs: BTreeMap<(&'static str, String), Epoch>,
    followers: Vec<Follower>,
    /// Epochs of tenants in which a place has had two events.
    twofold: BTreeSet<(&'static str, String)>,
}

/// What was told against the rules.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Broken {
    /// A place has two events, or an event two places.
    Twofold(String),
    /// Anything else.
    Order(String),
}

type Outcome = Result<(), Broken>;

impl LogHistory {
    /// Somebody begins to follow a log, behind this place. Its number.
    pub(super) fn follows(&self, tenant: &'static str, at: Place) -> usize {
        let mut told = self.0.lock();
        told.followers.push(Follower { tenant, at, left: BTreeSet::new() });
        told.followers.len() - 1
    }

    /// Somebody sees an event at a place.
    pub(super) fn is_at(&self, tenant: &'static str, at: &Place, seen: &Seen) -> Outcome {
        self.0.lock().is_at(tenant, at, seen)
    }

    /// A publisher is told where the event with its id is.
    pub(super) fn entered(&self, tenant: &'static str, at: &Place, id: &str) -> Outcome {
        self.0.lock().entered(tenant, at, id)
    }

    /// A follower is told the next event.
    pub(super) fn told(&self, follower: usize, at: &Place, seen: &Seen) -> Outcome {
        let mut told = self.0.lock();
        let of = &mut told.followers[follower];
        let (before, tenant) = (of.at.clone(), of.tenant);
        of.at = at.clone();
        if (before.0.as_str(), before.1 + 1) != (at.0.as_str(), at.1) {
            return Err(Broken::Order(format!("a follower of {tenant:?} at {before:?} is told {at:?} next")));
        }
        told.is_at(tenant, at, seen)
    }

    /// A follower is told that what it has seen is void.
    pub(super) fn reset(&self, follower: usize, at: &Place) -> Outcome {
        let mut told = self.0.lock();
        let of = &mut told.followers[follower];
        let before = std::mem::replace(&mut of.at, at.clone());
        if before.0 != at.0 {
            of.left.insert(before.0);
        }
        if of.left.contains(&at.0) {
            return Err(Broken::Order(format!("a follower of {:?} is sent back into {at:?}", of.tenant)));
        }
        Ok(())
    }

    /// Whether a place in this epoch has had two events.
    pub(super) fn is_twofold(&self, tenant: &'static str, epoch: &str) -> bool {
        self.0.lock().twofold.contains(&(tenant, epoch.to_owned()))
    }

    /// Where a follower is.
    pub(super) fn place(&self, follower: usize) -> Place {
        self.0.lock().followers[follower].at.clone()
    }
}

impl Told {
    fn entered(&mut self, tenant: &'static str, (name, offset): &Place, id: &str) -> Outcome {
        let epoch = self.epochs.entry((tenant, name.clone())).or_default();
        let named = epoch.named.entry(*offset).or_insert_with(|| id.to_owned());
        let at = *epoch.ids.entry(id.to_owned()).or_insert(*offset);
        if named != id || at != *offset {
            let what = format!("log of {tenant:?}, {name}:{offset}: {id} is at {at}, and {named} here");
            return Err(self.is_twofold(tenant, name, what));
        }
        Ok(())
    }

    fn is_at(&mut self, tenant: &'static str, at: &Place, seen: &Seen) -> Outcome {
        self.entered(tenant, at, &seen.id)?;
        let (name, offset) = at;
        let epoch = self.epochs.entry((tenant, name.clone())).or_default();
        let known = epoch.events.entry(*offset).or_insert_with(|| seen.clone());
        if known != seen {
            let what = format!("log of {tenant:?}, {name}:{offset}: {seen:?}, and {known:?}");
            return Err(self.is_twofold(tenant, name, what));
        }
        let (node, number) = seen.from;
        let of_node = epoch.nodes.entry(node).or_default();
        let before = of_node.range(..offset).next_back().is_none_or(|(_, before)| *before < number);
        let after = of_node.range(offset + 1..).next().is_none_or(|(_, after)| number < *after);
        if !before || !after {
            let order = format!("the node's own order {of_node:?}");
            let what = format!("log of {tenant:?}, {name}:{offset}: {seen:?} is not in {order}");
            return Err(Broken::Order(what));
        }
        of_node.insert(*offset, number);
        Ok(())
    }

    fn is_twofold(&mut self, tenant: &'static str, epoch: &str, what: String) -> Broken {
        self.twofold.insert((tenant, epoch.to_owned()));
        Broken::Twofold(what)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(id: &str, node: usize, number: u64) -> Seen {
        Seen { id: id.to_owned(), from: (node, number) }
    }

    fn at(epoch: &str, offset: u64) -> Place {
        (epoch.to_owned(), offset)
    }

    #[test]
    fn a_follower_is_told_the_next_or_that_it_begins_anew_in_an_epoch_that_it_has_not_left() {
        let history = LogHistory::default();
        let one = history.follows("acme", at("e", 3));
        assert!(history.told(one, &at("e", 4), &seen("a", 0, 1)).is_ok());
        assert!(history.told(one, &at("e", 6), &seen("c", 0, 3)).is_err(), "a gap");
        assert!(history.reset(one, &at("e", 8)).is_ok(), "it may go on in the same");
        assert!(history.reset(one, &at("f", 0)).is_ok());
        assert!(history.told(one, &at("f", 1), &seen("a", 0, 1)).is_ok());
        assert!(history.told(one, &at("f", 1), &seen("a", 0, 1)).is_err(), "twice");
        assert!(history.reset(one, &at("e", 9)).is_err(), "back");
    }

    #[test]
    fn a_place_has_one_event_and_an_event_one_place() {
        let history = LogHistory::default();
        let is_at = |place: Place, event: Seen| history.is_at("acme", &place, &event).is_ok();
        assert!(is_at(at("e", 1), seen("a", 0, 1)));
        assert!(is_at(at("e", 1), seen("a", 0, 1)), "whoever sees it");
        assert!(!is_at(at("e", 1), seen("b", 1, 1)));
        assert!(!is_at(at("e", 2), seen("a", 0, 2)));
        assert!(history.entered("acme", &at("e", 7), "g").is_ok());
        assert!(!is_at(at("e", 7), seen("h", 0, 7)) && !is_at(at("e", 8), seen("g", 0, 7)));
        assert!(is_at(at("e", 7), seen("g", 0, 7)));
        assert!(history.is_twofold("acme", "e") && !history.is_twofold("beta", "e"));
        assert!(is_at(at("f", 2), seen("a", 0, 1)), "another epoch");
        assert!(!history.is_twofold("acme", "f"));
        assert!(history.is_at("beta", &at("e", 2), &seen("a", 0, 1)).is_ok(), "another log");
    }

    #[test]
    fn events_of_a_node_stand_as_they_were_published() {
        let history = LogHistory::default();
        let is_at = |offset, number, node| {
            history.is_at("acme", &at("e", offset), &seen(&format!("{node} {number}"), node, number)).is_ok()
        };
        assert!(is_at(5, 5, 0) && is_at(3, 2, 0) && is_at(4, 9, 1));
        assert!(!is_at(6, 4, 0) && !is_at(2, 3, 0));
        assert!(is_at(7, 7, 0));
    }
}
