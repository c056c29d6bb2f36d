//! Names of rooms, and who may be in them.

use std::sync::Arc;

use crate::limits::{PATTERNS, ROOM_BYTES};

/// In which every connection is, and to which changes go.
pub(crate) const EVERYBODY: &str = "tenant";
/// What the room of one user's connections begins with.
pub(crate) const USER: &str = "user:";

/// Whether `name` can be a room: 1 to 200 bytes of printable ASCII without space, comma, quote and backslash.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=ROOM_BYTES).contains(&name.len())
        && name.bytes().all(|byte| byte.is_ascii_graphic() && !matches!(byte, b',' | b'"' | b'\\'))
}

/// The room of all connections of `user`.
pub(crate) fn of_user(user: &str) -> String {
    format!("{USER}{user}")
}

/// What a token allows (PROTOCOL.md §4).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Rights {
    own: Arc<str>,
    subscribe: Option<Arc<[String]>>,
    publish: Option<Arc<[String]>>,
}

impl Rights {
    pub(crate) fn new(user: &str, subscribe: Option<Vec<String>>, publish: Option<Vec<String>>) -> Self {
        let bounded = |mut patterns: Vec<String>| {
            patterns.truncate(PATTERNS);
            patterns.into()
        };
        Self { own: of_user(user).into(), subscribe: subscribe.map(bounded), publish: publish.map(bounded) }
    }

    pub(crate) fn may_subscribe(&self, room: &str) -> bool {
        if room == EVERYBODY || room == &*self.own {
            return true;
        }
        match &self.subscribe {
            None => !room.starts_with(USER),
            Some(patterns) => matches(patterns, room),
        }
    }

    pub(crate) fn may_publish(&self, room: &str) -> bool {
        match &self.publish {
            None => room != EVERYBODY && !room.starts_with(USER),
            Some(patterns) => matches(patterns, room),
        }
    }

    /// Messages to one user: what they are sent to is that user's room.
    pub(crate) fn may_write_to(&self, room: &str) -> bool {
        match &self.publish {
            None => true,
            Some(patterns) => matches(patterns, room),
        }
    }
}

fn matches(patterns: &[String], room: &str) -> bool {
    patterns.iter().any(|pattern| match pattern.strip_suffix('*') {
        Some(beginning) => room.starts_with(beginning),
        None => pattern == room,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_has_up_to_200_bytes_of_printable_ascii() {
        for good in ["a", "orders", "chat:1", "user:a@b.example", "x/y?z=1&*", &"r".repeat(200)] {
            assert!(is_name(good), "{good}");
        }
        for bad in ["", "two words", "a,b", "a\"b", "a\\b", "ä", "a\n", &"r".repeat(201)] {
            assert!(!is_name(bad), "{bad}");
        }
    }

    #[test]
    fn without_claims_all_rooms_are_open_but_those_of_other_users() {
        let rights = Rights::new("42", None, None);
        for (room, subscribe, publish) in [
            ("tenant", true, false),
            ("user:42", true, false),
            ("user:421", false, false),
            ("user:4", false, false),
            ("orders", true, true),
            ("users", true, true),
        ] {
            assert_eq!(rights.may_subscribe(room), subscribe, "{room}");
            assert_eq!(rights.may_publish(room), publish, "{room}");
        }
        assert!(rights.may_write_to("user:7"));
    }

    #[test]
    fn claims_open_what_their_patterns_match_and_nothing_else() {
        let rights = Rights::new(
            "42",
            Some(vec!["orders:*".into(), "lobby".into()]),
            Some(vec!["lobby".into(), "user:7".into()]),
        );
        for (room, subscribe, publish) in [
            ("tenant", true, false),
            ("user:42", true, false),
            ("orders:17", true, false),
            ("orders", false, false),
            ("lobby", true, true),
            ("lobby2", false, false),
        ] {
            assert_eq!(rights.may_subscribe(room), subscribe, "{room}");
            assert_eq!(rights.may_publish(room), publish, "{room}");
        }
        assert!(rights.may_write_to("user:7"));
        assert!(!rights.may_write_to("user:8"));
        let nothing = Rights::new("42", Some(vec![]), Some(vec![]));
        assert!(!nothing.may_subscribe("orders") && !nothing.may_publish("orders"));
        assert!(Rights::new("42", Some(vec!["*".into()]), None).may_subscribe("user:7"));
    }
}
