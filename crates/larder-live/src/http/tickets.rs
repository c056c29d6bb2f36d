//! Tickets: what an `EventSource`, which can't send headers, connects with instead of a token.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use larder::{Cache, EventLog, Key, Policy, RedisState, key};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claims::Claims;
use crate::limits::{TICKET, TICKETS};
use crate::random;

/// The tickets that this node has given out. Those of others it finds in the cache, if nodes share one.
///
/// A ticket is good once, on whichever node: whoever takes it has to be the first to [claim](EventLog::claim) its name.
pub(crate) struct Tickets {
    cache: Cache,
    log: EventLog,
    own: Mutex<HashMap<String, Own>>,
}

/// A ticket that this node has given out.
struct Own {
    until: Instant,
    /// What it is good for, if no other node knows of it: then nobody has to be asked.
    alone: Option<Claims>,
}

/// Claims as they lie in the cache.
#[derive(Clone, Serialize, Deserialize)]
struct Kept {
    user: String,
    expires_at: u64,
    token_id: Option<String>,
    rooms: Option<Vec<String>>,
    publish: Option<Vec<String>>,
    info: Option<Value>,
}

impl Kept {
    fn of(claims: Claims) -> Self {
        Self {
            user: claims.user,
            expires_at: claims.expires_at,
            token_id: claims.token_id,
            rooms: claims.rooms,
            publish: claims.publish,
            info: claims.info,
        }
    }

    fn claims(self, tenant: &str) -> Claims {
        Claims {
            token_id: self.token_id,
            rooms: self.rooms,
            publish: self.publish,
            info: self.info,
            ..Claims::new(tenant, self.user, self.expires_at)
        }
    }
}

fn name(ticket: &str) -> Key {
    key!("live_ticket", ticket)
}

impl Tickets {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { log: cache.event_log(), cache, own: Mutex::default() }
    }

    /// A ticket for the bearer of a token. `None` if too many have been given out in the last seconds.
    pub(super) async fn give(&self, claims: Claims) -> Option<String> {
        let shared = matches!(self.cache.redis_state(), RedisState::Connected { .. });
        let ticket = random::secret();
        if !self.keep(&ticket, (!shared).then(|| claims.clone())) {
            return None;
        }
        if !shared {
            return Some(ticket);
        }
        let tenant = self.cache.tenant(&claims.tenant);
        let kept = tenant.set(name(&ticket), Kept::of(claims.clone()), Policy::ttl(TICKET)).await;
        let Err(error) = kept else { return Some(ticket) };
        // The others may know of it all the same, if only the answer was lost: so it is another one, of which they don't.
        tracing::debug!(%error, "a ticket is good on this node only");
        let ticket = random::secret();
        self.keep(&ticket, Some(claims)).then_some(ticket)
    }

    /// Whether there was room for it.
    fn keep(&self, ticket: &str, alone: Option<Claims>) -> bool {
        let now = Instant::now();
        let mut own = self.own.lock();
        if own.len() >= TICKETS {
            own.retain(|_, own| own.until > now);
        }
        let fits = own.len() < TICKETS;
        if fits {
            own.insert(ticket.to_owned(), Own { until: now + TICKET, alone });
        }
        fits
    }

    /// What a ticket is good for; it is good for nothing afterwards.
    pub(super) async fn take(&self, tenant: &str, ticket: &str) -> Option<Claims> {
        if !(16..=64).contains(&ticket.len()) {
            return None;
        }
        let own = self.own.lock().remove(ticket);
        if let Some(Own { until, alone: Some(claims) }) = own {
            return (until > Instant::now() && claims.tenant == tenant).then_some(claims);
        }
        let here = self.cache.tenant(tenant);
        let kept = here.get::<Kept>(name(ticket)).await.ok().flatten()?;
        // Longer than the ticket is good, by whichever clock.
        let first = self.log.claim(tenant, &format!("live_ticket:{ticket}"), 2 * TICKET).await;
        // Without an answer it may have been taken: then a new ticket has to be fetched.
        if !first.unwrap_or(false) {
            return None;
        }
        Some((*kept.value).clone().claims(tenant))
    }

    /// How long a ticket is good.
    pub(super) const LIFE: Duration = TICKET;
}
