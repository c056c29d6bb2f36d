//! Tickets: what an `EventSource`, which can't send headers, connects with instead of a token.
//!
//! A ticket says itself whose it is, sealed so that only nodes of the application can read or make one: nothing is kept until it is
//! taken. That it has been taken is told to all nodes, beside the cache: neither its size nor a clear has to do with it.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::{Cache, RedisState};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claims::Claims;
use crate::keys::Keys;
use crate::limits::{
    TENANT_TICKETS, TENANT_TICKETS_PER_SECOND, TICKET, TICKET_BYTES, TICKET_TAKEN, TICKETS_TAKEN,
    USER_TICKETS, USER_TICKETS_PER_SECOND,
};
use crate::link::now_seconds;
use crate::quota::Quota;
use crate::random;

/// Gives tickets and takes them.
pub(crate) struct Tickets {
    cache: Cache,
    keys: Arc<Keys>,
    /// Tells this process from all others.
    here: String,
    started: Instant,
    /// Those that were good here only, each until it would have run out.
    taken: Mutex<HashMap<String, Instant>>,
    quota: Quota,
}

/// Why there is no ticket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoTicket {
    /// There will be one after this time.
    TooMany(Duration),
    /// What the token says does not fit into a URL.
    TooLarge,
}

/// A ticket that was read.
pub(super) struct Ticket {
    name: String,
    good: Good,
    claims: Claims,
}

/// Where a ticket is good, and how long.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Good {
    /// On every node, until then in seconds since 1970.
    Everywhere(u64),
    /// On the node that gave it, which could ask no other; until then in milliseconds since it started.
    Here(String, u64),
}

/// What is sealed. Short names: it stands in a URL.
#[derive(Serialize, Deserialize)]
struct Sealed {
    #[serde(rename = "g")]
    good: Good,
    #[serde(rename = "u")]
    user: String,
    #[serde(rename = "e")]
    expires_at: u64,
    #[serde(rename = "j", default, skip_serializing_if = "Option::is_none")]
    token_id: Option<String>,
    #[serde(rename = "r", default, skip_serializing_if = "Option::is_none")]
    rooms: Option<Vec<String>>,
    #[serde(rename = "p", default, skip_serializing_if = "Option::is_none")]
    publish: Option<Vec<String>>,
    #[serde(rename = "i", default, skip_serializing_if = "Option::is_none")]
    info: Option<Value>,
}

impl Sealed {
    fn of(claims: Claims, good: Good) -> Self {
        Self {
            good,
            user: claims.user,
            expires_at: claims.expires_at,
            token_id: claims.token_id,
            rooms: claims.rooms,
            publish: claims.publish,
            info: claims.info,
        }
    }

    fn claims(self, tenant: &str) -> (Good, Claims) {
        let claims = Claims {
            token_id: self.token_id,
            rooms: self.rooms,
            publish: self.publish,
            info: self.info,
            ..Claims::new(tenant, self.user, self.expires_at)
        };
        (self.good, claims)
    }
}

impl Tickets {
    pub(crate) fn new(cache: Cache, keys: Arc<Keys>) -> Self {
        Self {
            cache,
            keys,
            here: random::secret(),
            started: Instant::now(),
            taken: Mutex::default(),
            quota: Quota::new(
                (USER_TICKETS, USER_TICKETS_PER_SECOND),
                (TENANT_TICKETS, TENANT_TICKETS_PER_SECOND),
            ),
        }
    }

    /// A ticket for the bearer of a token.
    pub(super) fn give(&self, claims: Claims) -> Result<String, NoTicket> {
        self.quota.take(&claims).map_err(NoTicket::TooMany)?;
        let tenant = claims.tenant.clone();
        let good = if matches!(self.cache.redis_state(), RedisState::Connected { .. }) {
            Good::Everywhere(now_seconds() + TICKET.as_secs())
        } else {
            Good::Here(self.here.clone(), self.age() + millis(TICKET))
        };
        let sealed = serde_json::to_vec(&Sealed::of(claims, good)).expect("plain data is JSON");
        let text = self.keys.seal(&tenant, sealed);
        if text.len() <= TICKET_BYTES { Ok(text) } else { Err(NoTicket::TooLarge) }
    }

    /// What a ticket says. It is one that was given out, and may have been taken.
    pub(super) fn read(&self, tenant: &str, text: &str) -> Option<Ticket> {
        if text.len() > TICKET_BYTES {
            return None;
        }
        let opened = self.keys.open(tenant, text)?;
        let (good, claims) = serde_json::from_slice::<Sealed>(&opened.bytes).ok()?.claims(tenant);
        self.is_good(&good).then_some(Ticket { name: opened.name, good, claims })
    }

    fn is_good(&self, good: &Good) -> bool {
        match good {
            // One from further in the future is of a clock by which it would outlive the memory of its taking.
            Good::Everywhere(until) => {
                let now = now_seconds();
                (now..=now + 2 * TICKET.as_secs()).contains(until)
            }
            Good::Here(node, until) => *node == self.here && self.age() <= *until,
        }
    }

    /// What a ticket is good for; it is good for nothing afterwards.
    pub(super) async fn take(&self, ticket: Ticket) -> Option<Claims> {
        let first = match ticket.good {
            Good::Here(_, until) => self.take_here(ticket.name, self.started + Duration::from_millis(until)),
            Good::Everywhere(_) => {
                let name = format!("live_ticket:{}", ticket.name);
                let log = self.cache.event_log();
                // Without an answer it may have been taken: then a new ticket has to be fetched.
                log.claim(&ticket.claims.tenant, &name, TICKET_TAKEN).await.unwrap_or(false)
            }
        };
        first.then_some(ticket.claims)
    }

    fn take_here(&self, name: String, until: Instant) -> bool {
        let mut taken = self.taken.lock();
        if taken.len() >= TICKETS_TAKEN {
            let now = Instant::now();
            taken.retain(|_, until| *until >= now);
        }
        taken.len() < TICKETS_TAKEN && taken.insert(name, until).is_none()
    }

    /// Milliseconds since the start.
    fn age(&self) -> u64 {
        millis(self.started.elapsed())
    }

    /// How long a ticket is good.
    pub(super) const LIFE: Duration = TICKET;
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
