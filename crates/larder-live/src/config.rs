//! What may be set.

use std::time::Duration;

use crate::limits;

/// Bounds and times of a [`Live`](crate::Live), each with its default in [`limits`].
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// Connections of this node.
    pub node_connections: usize,
    /// Connections of one tenant on this node.
    pub tenant_connections: usize,
    /// Connections of one user on this node.
    pub user_connections: usize,
    /// Connections that this node takes a second.
    pub connects_per_second: u32,
    /// Connections that this node takes a second from one address: of IPv6 from one /64.
    pub address_connects_per_second: u32,
    /// WebSockets of this node that have not signed in yet. They are among its connections, and their rate is beside that of the others.
    pub unsigned_connections: usize,
    /// The same of one address.
    pub address_unsigned_connections: usize,
    /// Bytes that may wait for one connection: at least 128 KiB, for the largest event and what comes with it.
    pub queue_bytes: usize,
    /// Frames that may wait for one connection.
    pub queue_frames: usize,
    /// How long nothing may be written to a connection for which something waits.
    pub write_stall: Duration,
    /// How long a connection may take to sign in.
    pub sign_in: Duration,
    /// Silence after which the server pings, give or take a fifth.
    pub ping: Duration,
    /// Silence after which a peer counts as dead. Longer than the longest wait for a ping.
    pub silence: Duration,
    /// Silence after which a comment goes out on an event stream.
    pub heartbeat: Duration,
    /// How long a connection may live on after its token has run out.
    pub token_grace: Duration,
    /// Over how long [`Live::drain`](crate::Live::drain) spreads the ends of the connections at most.
    pub drain: Duration,
    /// How long changes of presence are gathered before they are sent.
    pub presence_batch: Duration,
    /// How long somebody who left counts as present.
    pub presence_leave: Duration,
    /// How long a tenant's log is followed on after its last connection has gone.
    pub linger: Duration,
    /// The cookie that may hold a token. `None`: no cookie does.
    pub cookie: Option<String>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            node_connections: limits::NODE_CONNECTIONS,
            tenant_connections: limits::TENANT_CONNECTIONS,
            user_connections: limits::USER_CONNECTIONS,
            connects_per_second: limits::CONNECTS_PER_SECOND,
            address_connects_per_second: limits::ADDRESS_CONNECTS_PER_SECOND,
            unsigned_connections: limits::UNSIGNED_CONNECTIONS,
            address_unsigned_connections: limits::ADDRESS_UNSIGNED_CONNECTIONS,
            queue_bytes: limits::QUEUE_BYTES,
            queue_frames: limits::QUEUE_FRAMES,
            write_stall: limits::WRITE_STALL,
            sign_in: limits::SIGN_IN,
            ping: limits::PING,
            silence: limits::SILENCE,
            heartbeat: limits::HEARTBEAT,
            token_grace: limits::TOKEN_GRACE,
            drain: limits::DRAIN,
            presence_batch: limits::PRESENCE_BATCH,
            presence_leave: limits::PRESENCE_LEAVE,
            linger: limits::LINGER,
            cookie: None,
        }
    }
}

/// The configuration contradicts itself: all that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(Vec<String>);

impl std::fmt::Display for ConfigError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0.join("; "))
    }
}

impl std::error::Error for ConfigError {}

impl Config {
    /// `alone`: there is no other node. `secrets` are those that nodes share.
    pub(crate) fn check(&self, alone: bool, secrets: &[Vec<u8>]) -> Result<(), ConfigError> {
        let mut wrong = Vec::new();
        let longest = self.ping.mul_f64(1.2);
        if longest >= self.silence {
            wrong.push(format!(
                "silence {:?} has to be longer than the longest wait for a ping, 1.2 times {:?}",
                self.silence, self.ping
            ));
        }
        let least = 2 * limits::MESSAGE_BYTES;
        if self.queue_bytes < least {
            wrong.push(format!("queue_bytes {} has to be at least {least}", self.queue_bytes));
        }
        if !alone && secrets.is_empty() {
            let why = "the cache has a Redis, so there may be other nodes, and Builder::secret was not given: \
                       nodes could not believe each other's tickets";
            wrong.push(why.to_owned());
        }
        if let Some(short) = secrets.iter().map(Vec::len).find(|bytes| *bytes < limits::SECRET_BYTES) {
            wrong.push(format!(
                "a secret of {short} bytes could be guessed: at least {}",
                limits::SECRET_BYTES
            ));
        }
        for (name, value) in [
            ("node_connections", self.node_connections),
            ("tenant_connections", self.tenant_connections),
            ("user_connections", self.user_connections),
            ("queue_frames", self.queue_frames),
        ] {
            if value == 0 {
                wrong.push(format!("{name} is 0: nobody could connect"));
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(ConfigError(wrong)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_agree_with_each_other() {
        assert_eq!(Config::default().check(true, &[]), Ok(()));
    }

    #[test]
    fn all_contradictions_are_told_at_once() {
        let config = Config {
            silence: Duration::from_secs(30),
            queue_bytes: 1000,
            user_connections: 0,
            ..Config::default()
        };
        let told = config.check(false, &[vec![0; 15]]).unwrap_err().to_string();
        for name in ["silence 30s", "queue_bytes 1000", "user_connections is 0", "a secret of 15 bytes"] {
            assert!(told.contains(name), "{told}");
        }
    }

    #[test]
    fn nodes_that_may_be_several_share_a_secret() {
        let told = Config::default().check(false, &[]).unwrap_err().to_string();
        assert!(told.contains("Builder::secret"), "{told}");
        assert_eq!(Config::default().check(false, &[vec![0; 16]]), Ok(()));
    }
}
