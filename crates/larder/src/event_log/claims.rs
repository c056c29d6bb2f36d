//! Names that are taken once, on whichever node: what must not be done twice.

use super::EventLog;
use crate::clock::Moment;
use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_CLAIM_NAME_BYTES, MAX_CLAIM_TTL, MAX_CLAIMS};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// What was taken here, where there is no Redis: until when.
#[derive(Default)]
pub(crate) struct Claims(Mutex<HashMap<Name, Moment>>);

/// A tenant, and what it calls it.
type Name = (Arc<str>, Box<str>);

impl Claims {
    /// Whether the name was free. `None`: too many are taken.
    fn take(&self, tenant: &Arc<str>, name: &str, now: Moment, ttl: Duration) -> Option<bool> {
        let mut taken = self.0.lock();
        let whose = (Arc::clone(tenant), Box::from(name));
        if taken.get(&whose).is_some_and(|until| *until > now) {
            return Some(false);
        }
        if taken.len() >= MAX_CLAIMS {
            taken.retain(|_, until| *until > now);
            if taken.len() >= MAX_CLAIMS {
                return None;
            }
        }
        taken.insert(whose, now.plus(ttl));
        Some(true)
    }
}

impl EventLog {
    /// Takes a name of a tenant's for `ttl`: true for the first who asks, on whichever node, and for nobody else within that
    /// time. It is how something is done once that two nodes may be asked for: that a ticket is good once, say.
    ///
    /// A name has 1 to 128 bytes, `ttl` is 10 minutes at most. It is forgotten with Redis's data.
    ///
    /// # Errors
    /// `Unavailable` if Redis is configured and gives no answer: the name may be taken or not, so nothing may follow from it.
    /// `InvalidRequest` if name or time are too long; `InvalidTenant`, `Closed`.
    ///
    /// # Cancel safety
    /// If it is dropped, the name may or may not be taken.
    pub async fn claim(&self, tenant: &str, name: &str, ttl: Duration) -> Result<bool, Error> {
        let to = self.destination(tenant)?;
        if name.is_empty() || name.len() > MAX_CLAIM_NAME_BYTES || ttl > MAX_CLAIM_TTL {
            let why = format!(
                "a name has 1 to {MAX_CLAIM_NAME_BYTES} bytes, not {}, and is taken for {MAX_CLAIM_TTL:?} at most, not {ttl:?}",
                name.len()
            );
            return Err(Error::new(ErrorKind::InvalidRequest, why));
        }
        let Some(bus) = &self.logs.bus else {
            let full = || Error::new(ErrorKind::Unavailable, "too many names are taken on this node");
            return self.logs.claims.take(&to.tenant, name, self.logs.now(), ttl).ok_or_else(full);
        };
        bus.start(&self.logs)?;
        let link = bus.linked_soon(to.bucket).await.ok_or_else(super::unavailable)?;
        let reply = link.claim(&to.tenant, name, ttl, super::bus::ATTEMPT).await;
        bus.note(to.bucket, &link, &reply, &mut 0);
        reply.map_err(|_| super::unavailable())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_once_until_its_time_is_over() {
        let (claims, acme, globex) = (Claims::default(), Arc::from("acme"), Arc::from("globex"));
        let (now, ttl) = (Moment::from_nanos(1), Duration::from_secs(30));
        assert_eq!(claims.take(&acme, "x", now, ttl), Some(true));
        assert_eq!(claims.take(&acme, "x", now.plus(ttl - Duration::from_nanos(1)), ttl), Some(false));
        assert_eq!(claims.take(&globex, "x", now, ttl), Some(true), "names are of a tenant");
        assert_eq!(claims.take(&acme, "x", now.plus(ttl), ttl), Some(true));
    }

    #[test]
    fn one_name_too_many_is_refused_until_others_are_free_again() {
        let (claims, acme) = (Claims::default(), Arc::from("acme"));
        let (now, ttl) = (Moment::from_nanos(1), Duration::from_secs(30));
        for number in 0..MAX_CLAIMS {
            assert_eq!(claims.take(&acme, &number.to_string(), now, ttl), Some(true));
        }
        assert_eq!(claims.take(&acme, "one too many", now, ttl), None);
        assert_eq!(claims.take(&acme, "one too many", now.plus(ttl), ttl), Some(true));
    }
}
