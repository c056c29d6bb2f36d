//! What a server was asked.

use super::RedisServer;
use std::collections::BTreeMap;

impl RedisServer {
    /// A section of INFO: `memory`, `stats`, `clients`.
    #[must_use]
    #[track_caller]
    pub fn info(&self, section: &str) -> BTreeMap<String, String> {
        let text = self.command(&["INFO", section]).text();
        let pairs = text.lines().filter_map(|line| line.split_once(':'));
        pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
    }

    /// How often each command was called, by its lower-case name (`get`, `config|set`), since the start or
    /// [`reset_calls`](Self::reset_calls). What the kit itself calls counts too.
    #[must_use]
    #[track_caller]
    pub fn calls(&self) -> BTreeMap<String, u64> {
        let calls = |value: &str| value.strip_prefix("calls=")?.split(',').next()?.parse().ok();
        self.info("commandstats")
            .iter()
            .filter_map(|(name, value)| Some((name.strip_prefix("cmdstat_")?.to_owned(), calls(value)?)))
            .collect()
    }

    /// How often one command was called: [`calls`](Self::calls).
    #[must_use]
    #[track_caller]
    pub fn calls_of(&self, command: &str) -> u64 {
        self.calls().get(command).copied().unwrap_or(0)
    }

    /// Begins to count anew.
    #[track_caller]
    pub fn reset_calls(&self) {
        self.command(&["CONFIG", "RESETSTAT"]);
    }
}

/// How many replicas receive every write of this server at once. One that has just got the data does not yet, although
/// both say that it is in step: it has to have said so itself first, by the offset that it has.
pub(super) fn online(server: &RedisServer) -> usize {
    let replication =
        server.try_command(&["INFO", "replication"]).map(|answer| answer.text()).unwrap_or_default();
    let heard = |line: &&str| line.contains("state=online,offset=") && !line.contains(",offset=0,");
    replication.lines().filter(heard).count()
}
