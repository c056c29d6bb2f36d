//! The scripts that run inside Redis, and the names it knows them by.
//!
//! They are loaded once per link and called by hash. That hash is also a canary: a server that does not know it is not
//! the process that it was loaded into (`NOSCRIPT`), so nothing here ever loads a script again behind the caller's
//! back.

use redis::Cmd;

/// One of the scripts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Script {
    Lease,
    Fill,
    Release,
    Invalidate,
    Heartbeat,
    Recover,
    Barrier,
    Stamps,
    LogAppend,
    LogRead,
    Presence,
}

impl Script {
    /// Those of the cache, in the order of their variants.
    pub(super) const CACHE: &[Self] = &[
        Self::Lease,
        Self::Fill,
        Self::Release,
        Self::Invalidate,
        Self::Heartbeat,
        Self::Recover,
        Self::Barrier,
        Self::Stamps,
    ];

    /// Those of the event logs, in the order of their variants.
    pub(super) const LOGS: &[Self] = &[Self::LogAppend, Self::LogRead, Self::Presence];

    /// The Lua text.
    pub(super) const fn source(self) -> &'static str {
        match self {
            Self::Lease => include_str!("scripts/lease.lua"),
            Self::Fill => include_str!("scripts/fill.lua"),
            Self::Release => include_str!("scripts/release.lua"),
            Self::Invalidate => include_str!("scripts/inv.lua"),
            Self::Heartbeat => include_str!("scripts/hb.lua"),
            Self::Recover => include_str!("scripts/recover.lua"),
            Self::Barrier => include_str!("scripts/barrier.lua"),
            Self::Stamps => include_str!("scripts/stamps.lua"),
            Self::LogAppend => include_str!("scripts/log_append.lua"),
            Self::LogRead => include_str!("scripts/log_read.lua"),
            Self::Presence => include_str!("scripts/presence.lua"),
        }
    }
}

/// What the server calls our scripts.
#[derive(Clone, Debug)]
pub(super) struct Loaded {
    /// The first of those that were loaded.
    first: usize,
    hashes: Vec<String>,
}

impl Loaded {
    /// From the answers to `SCRIPT LOAD` of these scripts, in their order.
    pub(super) fn new(scripts: &[Script], hashes: Vec<String>) -> Self {
        Self { first: scripts.first().map_or(0, |first| *first as usize), hashes }
    }

    /// A call of `script` with these keys. Arguments are appended by the caller.
    pub(super) fn call(&self, script: Script, keys: &[impl AsRef<str>]) -> Cmd {
        let mut cmd = redis::cmd("EVALSHA");
        cmd.arg(&self.hashes[script as usize - self.first]).arg(keys.len());
        for key in keys {
            cmd.arg(key.as_ref());
        }
        cmd
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_server_runs_only_what_grows_nothing_much() {
        for script in [Script::CACHE, Script::LOGS].concat() {
            let first = script.source().lines().next().unwrap();
            let needed = match script {
                Script::Lease | Script::Fill | Script::LogAppend => "#!lua",
                // What only reads is also answered where nothing may be written, as a plain read is.
                Script::Stamps => "#!lua flags=no-writes,allow-oom",
                _ => "#!lua flags=allow-oom",
            };
            assert_eq!(first, needed, "{script:?}");
        }
    }

    #[test]
    fn scripts_stand_at_the_place_of_their_variant() {
        for (place, script) in [Script::CACHE, Script::LOGS].concat().into_iter().enumerate() {
            assert_eq!(script as usize, place);
        }
    }
}
