//! Directing the network by hand: what is held up where.

use super::Network;
use super::connection::Connection;
use crate::redis::Command;
use std::sync::Arc;

/// A command of a node's that is held up, before it is run or before its answer is sent.
pub(super) struct Hold {
    node: usize,
    chosen: fn(&Command) -> bool,
    after: bool,
    /// How many of them pass first.
    skip: u32,
    reached: bool,
    /// Tells it from the one that takes its place.
    mark: Arc<()>,
}

/// Whether a command is a call of a script with an entry among its keys.
fn names_an_entry(command: &Command) -> bool {
    is(command, b"EVALSHA") && command.iter().any(|word| contains(word, b":e:"))
}

/// Whether a command is a call of a script on an entry and its lease: a lease, a fill, or the invalidation of a key.
pub fn of_an_entry(command: &Command) -> bool {
    names_an_entry(command) && command.iter().any(|word| contains(word, b":l:"))
}

/// The last of the three commands of a read: for the scopes that it names, or also for the tags that it finds.
pub fn reads_stamps(command: &Command) -> bool {
    is(command, b"ZMSCORE") && command.len() > 5 || reads_tags(command)
}

/// The same of a read that does not know all tags.
fn reads_tags(command: &Command) -> bool {
    names_an_entry(command) && !of_an_entry(command)
}

/// A call of a script on the state alone: a heartbeat, the invalidation of scopes.
pub fn of_the_state(command: &Command) -> bool {
    is(command, b"EVALSHA") && !names_an_entry(command)
}

/// The invalidation of scopes.
pub fn invalidates(command: &Command) -> bool {
    of_the_state(command) && says(command, b"}:w:0:")
}

/// The decision whether a server continues its history.
pub fn recovers(command: &Command) -> bool {
    of_the_state(command) && command.len() == 8 && says(command, b"}:c:0")
}

/// Events that enter a log.
pub fn appends(command: &Command) -> bool {
    // A read, which may tell of a beginning, has four keys.
    of_the_state(command) && says(command, b"}:v:0") && command.get(2).is_none_or(|keys| keys != b"4")
}

/// A read of a log.
pub fn reads_a_log(command: &Command) -> bool {
    of_the_state(command) && !appends(command) && command.iter().any(|word| contains(word, b"}:h:"))
}

fn says(command: &Command, ending: &[u8]) -> bool {
    command.iter().any(|word| word.ends_with(ending))
}

fn contains(word: &[u8], part: &[u8]) -> bool {
    word.windows(part.len()).any(|window| window == part)
}

fn is(command: &Command, name: &[u8]) -> bool {
    command[0].eq_ignore_ascii_case(name)
}

impl Network {
    /// Holds the next such command of a node up, before it is run, or after it, before its answer is sent. What was held up
    /// before is let go.
    pub fn hold(&self, node: usize, chosen: fn(&Command) -> bool, after: bool) {
        self.hold_later(node, chosen, after, 0);
    }

    /// The same of a later one: so many pass first.
    pub fn hold_later(&self, node: usize, chosen: fn(&Command) -> bool, after: bool, skip: u32) {
        self.change(|inner| {
            inner.hold = Some(Hold { node, chosen, after, skip, reached: false, mark: Arc::default() })
        });
    }

    /// Waits until that command is held up.
    pub async fn reached(&self) {
        self.until(|inner| inner.hold.as_ref().is_none_or(|hold| hold.reached)).await;
    }

    /// Lets it go.
    pub fn release(&self) {
        self.change(|inner| inner.hold = None);
    }

    /// Delivers to a node that hears nothing the next message on each connection.
    pub fn let_through(&self, node: usize) {
        let connections: Vec<_> = {
            let inner = self.0.inner.lock();
            inner.connections.values().filter(|one| one.node == node).cloned().collect()
        };
        connections.iter().for_each(|connection| {
            connection.let_through();
        });
    }

    /// Pushes to a node are kept back, and answers are not.
    pub fn keep_pushes(&self, node: usize) {
        self.change(|inner| {
            inner.kept.entry(node).or_default();
        });
    }

    /// What was kept back arrives.
    pub fn release_pushes(&self, node: usize) {
        let mut kept = None;
        self.change(|inner| kept = inner.kept.remove(&node));
        self.publish(kept.unwrap_or_default());
    }

    /// The next push does not reach a node, and nobody notices.
    pub fn miss_a_push(&self, node: usize) {
        self.miss_pushes(node, 1);
    }

    /// So many of the next pushes do not reach a node.
    pub fn miss_pushes(&self, node: usize, count: u32) {
        self.change(|inner| {
            inner.misses.insert(node, count);
        });
    }

    pub(super) async fn held(&self, connection: &Connection, command: &Command, after: bool) {
        let concerned = {
            let mut inner = self.0.inner.lock();
            let hold = inner.hold.as_mut().filter(|hold| !hold.reached && hold.after == after);
            let hold = hold.filter(|hold| hold.node == connection.node && (hold.chosen)(command));
            hold.and_then(|hold| {
                hold.reached = hold.skip == 0;
                hold.skip = hold.skip.saturating_sub(1);
                hold.reached.then(|| Arc::clone(&hold.mark))
            })
        };
        if let Some(mark) = concerned {
            self.0.changed.send_replace(());
            self.until(|inner| inner.hold.as_ref().is_none_or(|hold| !Arc::ptr_eq(&hold.mark, &mark))).await;
        }
    }
}
