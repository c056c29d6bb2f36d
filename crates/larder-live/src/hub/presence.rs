//! Who is in a room, as far as those are told who want to know: changes, gathered for a while and numbered.
//!
//! The log knows who is there. What is told of it may get lost; so every node compares numbers now and then, and leaves one out where
//! they differ: a client that sees a gap asks anew.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::value::RawValue;

use super::Conn;
use crate::limits::PRESENCE_MEMBERS;
use crate::protocol::{Frame, json};

/// Somebody has come to a room or gone.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) user: String,
    /// What is told of them.
    pub(crate) info: Option<Box<RawValue>>,
    pub(crate) here: bool,
    /// How many users are there now.
    pub(crate) total: u64,
}

/// A room whose presence somebody here wants to know.
#[derive(Debug)]
pub(super) struct Watched {
    /// The user who wanted to know first, to whom it is counted.
    pub(super) first: Arc<str>,
    pub(super) watchers: HashMap<u64, Arc<Conn>, ahash::RandomState>,
    /// Of the last diff.
    pub(super) seq: u64,
    /// Not told yet; the last change of each user.
    changes: BTreeMap<String, Change>,
    /// More has changed than is told in one diff.
    too_many: bool,
    total: Option<u64>,
    /// When to tell.
    pub(super) due: Option<Instant>,
}

impl Watched {
    pub(super) fn begun_by(first: Arc<str>) -> Self {
        Self {
            first,
            watchers: HashMap::default(),
            seq: 0,
            changes: BTreeMap::new(),
            too_many: false,
            total: None,
            due: None,
        }
    }

    /// Takes note of a change, which is told after `batch` with what comes until then.
    pub(super) fn note(&mut self, change: Change, batch: Duration) {
        self.total = Some(change.total);
        self.due.get_or_insert_with(|| Instant::now() + batch);
        if self.changes.len() < PRESENCE_MEMBERS || self.changes.contains_key(&change.user) {
            self.changes.insert(change.user.clone(), change);
        } else {
            self.too_many = true;
        }
    }

    /// So many are there. Where that is not what was told, those who are told see a gap.
    pub(super) fn compare(&mut self, room: &str, total: u64) -> Option<Frame> {
        if self.due.is_some() || self.total.is_none_or(|told| told == total) {
            self.total = Some(total);
            return None;
        }
        self.total = Some(total);
        self.too_many = true;
        Some(self.diff(room))
    }

    /// What is to be told now.
    pub(super) fn diff(&mut self, room: &str) -> Frame {
        self.due = None;
        // A gap: whoever keeps a list asks for all of it.
        self.seq += if std::mem::take(&mut self.too_many) { 2 } else { 1 };
        let (mut join, mut leave) = (String::new(), String::new());
        for change in std::mem::take(&mut self.changes).into_values() {
            let list = if change.here { &mut join } else { &mut leave };
            if !list.is_empty() {
                list.push(',');
            }
            let conns = u64::from(change.here);
            list.push_str(&member(&change.user, conns, change.info.as_deref().map(RawValue::get)));
        }
        let total = self.total.unwrap_or_default();
        Frame::presence_diff(room, self.seq, &join, &leave, total)
    }
}

/// A member as JSON. `info` is JSON already.
pub(crate) fn member(user: &str, conns: u64, info: Option<&str>) -> String {
    let user = json(user);
    match info {
        Some(info) => format!(r#"{{"user":{user},"conns":{conns},"info":{info}}}"#),
        None => format!(r#"{{"user":{user},"conns":{conns}}}"#),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn change(user: &str, here: bool, total: u64) -> Change {
        let info = here.then(|| RawValue::from_string(r#"{"name":"Ada"}"#.to_owned()).unwrap());
        Change { user: user.to_owned(), info, here, total }
    }

    fn told(frame: &Frame) -> Value {
        serde_json::from_str(frame.as_str()).unwrap()
    }

    #[test]
    fn changes_are_gathered_and_the_last_of_each_user_counts() {
        let mut watched = Watched::begun_by("1".into());
        watched.note(change("1", true, 1), Duration::ZERO);
        watched.note(change("2", true, 2), Duration::ZERO);
        watched.note(change("1", false, 1), Duration::ZERO);
        assert!(watched.due.is_some());
        assert_eq!(
            told(&watched.diff("r")),
            json!({"type": "presence_diff", "room": "r", "seq": 1, "total": 1,
                   "join": [{"user": "2", "conns": 1, "info": {"name": "Ada"}}],
                   "leave": [{"user": "1", "conns": 0}]})
        );
        assert_eq!(watched.due, None);
        watched.note(change("3", true, 2), Duration::ZERO);
        assert_eq!(told(&watched.diff("r"))["seq"], 2);
    }

    #[test]
    fn more_than_a_hundred_changes_at_once_are_a_gap() {
        let mut watched = Watched::begun_by("1".into());
        for user in 0..=PRESENCE_MEMBERS {
            watched.note(change(&user.to_string(), true, 1), Duration::ZERO);
        }
        let diff = told(&watched.diff("r"));
        assert_eq!(
            (diff["seq"].as_u64(), diff["join"].as_array().unwrap().len()),
            (Some(2), PRESENCE_MEMBERS)
        );
        watched.note(change("x", true, 1), Duration::ZERO);
        assert_eq!(told(&watched.diff("r"))["seq"], 3);
    }

    #[test]
    fn a_number_that_is_not_as_it_was_told_is_a_gap() {
        let mut watched = Watched::begun_by("1".into());
        assert!(watched.compare("r", 5).is_none(), "nothing was told yet");
        assert!(watched.compare("r", 5).is_none());
        let diff = told(&watched.compare("r", 4).unwrap());
        assert_eq!((diff["seq"].as_u64(), diff["total"].as_u64()), (Some(2), Some(4)));
        assert!(watched.compare("r", 4).is_none());
        watched.note(change("x", true, 9), Duration::ZERO);
        assert!(watched.compare("r", 4).is_none(), "a change is about to be told");
    }
}
