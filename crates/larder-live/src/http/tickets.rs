//! Tickets: what an `EventSource`, which can't send headers, connects with instead of a token.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use larder::{Cache, Policy, RedisState, key};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::claims::Claims;
use crate::limits::{TICKET, TICKETS};
use crate::random;

/// The tickets that this node has given out. Those of others it finds in the cache, if nodes share one.
///
/// A ticket is good once. On two nodes at the same moment it might be taken twice: the cache knows no "take out".
pub(crate) struct Tickets {
    cache: Cache,
    own: Mutex<HashMap<String, (Instant, Claims)>>,
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

impl Tickets {
    pub(crate) fn new(cache: Cache) -> Self {
        Self { cache, own: Mutex::default() }
    }

    /// A ticket for the bearer of a token. `None` if too many have been given out in the last seconds.
    pub(super) async fn give(&self, claims: Claims) -> Option<String> {
        let ticket = random::secret();
        {
            let now = Instant::now();
            let mut own = self.own.lock();
            if own.len() >= TICKETS {
                own.retain(|_, (until, _)| *until > now);
            }
            if own.len() >= TICKETS {
                return None;
            }
            own.insert(ticket.clone(), (now + TICKET, claims.clone()));
        }
        let kept = Kept {
            user: claims.user,
            expires_at: claims.expires_at,
            token_id: claims.token_id,
            rooms: claims.rooms,
            publish: claims.publish,
            info: claims.info,
        };
        let tenant = self.cache.tenant(&claims.tenant);
        // Without the shared tier the ticket is good on this node only, which is the only one then.
        if let Err(error) = tenant.set(key!("live_ticket", ticket.as_str()), kept, Policy::ttl(TICKET)).await
        {
            tracing::debug!(%error, "a ticket is good on this node only");
        }
        Some(ticket)
    }

    /// What a ticket is good for; it is good for nothing afterwards.
    pub(super) async fn take(&self, tenant: &str, ticket: &str) -> Option<Claims> {
        if !(16..=64).contains(&ticket.len()) {
            return None;
        }
        let own = self.own.lock().remove(ticket);
        if !matches!(self.cache.redis_state(), RedisState::Connected { .. }) {
            return own
                .filter(|(until, claims)| *until > Instant::now() && claims.tenant == tenant)
                .map(|(_, c)| c);
        }
        // Another node may have taken it: what all share decides.
        let here = self.cache.tenant(tenant);
        let kept = here.get::<Kept>(key!("live_ticket", ticket)).await.ok().flatten()?;
        drop(here.delete(key!("live_ticket", ticket)).await);
        let kept = (*kept.value).clone();
        Some(Claims {
            token_id: kept.token_id,
            rooms: kept.rooms,
            publish: kept.publish,
            info: kept.info,
            ..Claims::new(tenant, kept.user, kept.expires_at)
        })
    }

    /// How long a ticket is good.
    pub(super) const LIFE: Duration = TICKET;
}
