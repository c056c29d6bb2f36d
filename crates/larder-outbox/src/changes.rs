//! The events of one transaction: written with it, published after it.

use crate::ErrorKind;
use crate::emit::{Written, hand_over, older, write};
use crate::error::Error;
use crate::limits::{MAX_EVENTS, MAX_OLDER};
use crate::outbox::Outbox;
use crate::publish::{Publishing, publish};
use crate::row::Whose;
use crate::session::Session;
use crate::shared::{Claim, Predecessors};
use futures_util::FutureExt;
use larder::{Event, Tenant};

/// The events of one transaction for one tenant, from [`Outbox::changes`].
///
/// [Emit](Changes::emit) in the transaction, commit, then [publish](Changes::publish). Dropped without that (the transaction
/// was rolled back, the process died), the relay publishes what was committed.
#[derive(Debug)]
#[must_use = "publish it after the commit"]
pub struct Changes {
    outbox: Outbox,
    tenant: Tenant,
    written: Vec<(Written, Event, Option<Claim>)>,
    /// What was committed before, and is to be published before.
    predecessors: Predecessors,
}

impl Changes {
    pub(crate) fn new(outbox: &Outbox, tenant: &Tenant) -> Self {
        Self {
            outbox: outbox.clone(),
            tenant: tenant.clone(),
            written: Vec::new(),
            predecessors: Predecessors::default(),
        }
    }

    /// Writes an event into the outbox, as [`emit`](crate::emit()) does: call it after the statement that makes the change.
    ///
    /// # Errors
    /// As [`emit`](crate::emit()). One transaction has 1,000 events of a tenant at most.
    ///
    /// # Cancel safety
    /// Cancelled, the row may have been written: roll the transaction back.
    pub async fn emit(&mut self, connection: &mut dyn Session, event: Event) -> Result<(), Error> {
        self.emit_all(connection, [event]).await
    }

    /// The same for several, in their order, by one statement.
    ///
    /// # Errors
    /// As [`Changes::emit`].
    ///
    /// # Cancel safety
    /// As [`Changes::emit`].
    pub async fn emit_all(
        &mut self,
        connection: &mut dyn Session,
        events: impl IntoIterator<Item = Event> + Send,
    ) -> Result<(), Error> {
        let events: Vec<Event> = events.into_iter().take(MAX_EVENTS + 1).collect();
        if self.written.len() + events.len() > MAX_EVENTS {
            let why = format!("one transaction has {MAX_EVENTS} events of a tenant at most");
            return Err(Error::new(ErrorKind::InvalidEvent, why));
        }
        let whose = Whose::from(&self.tenant);
        let shared = &self.outbox.shared;
        // Written before anything is read: on SQLite, a transaction that has read can't always write any more.
        let is_direct = self.written.last().is_none_or(|(_, _, claim)| claim.is_some());
        let written = write(connection, &whose, &events, is_direct.then_some(shared.grace)).await?;
        let ids: Vec<i64> = written.iter().map(|written| written.id).collect();
        let followed = match is_direct {
            true => self
                .followed(&ids, older(connection, &whose, MAX_OLDER + self.written.len() + ids.len()).await?),
            false => None,
        };
        let claims = followed
            .as_ref()
            .and_then(|_| ids.iter().map(|id| shared.claim(*id)).collect::<Option<Vec<_>>>());
        if is_direct && claims.is_none() {
            hand_over(connection, &ids).await?;
        }
        let claims = claims.into_iter().flatten().map(Some).chain(std::iter::repeat_with(|| None));
        self.written.extend(written.into_iter().zip(events).zip(claims).map(|((w, e), c)| (w, e, c)));
        if let Some(followed) = followed {
            self.predecessors.and(followed);
        }
        Ok(())
    }

    /// Which rows come before those with these ids; `None` if they are to be left to the relay, which publishes something
    /// that they must not overtake.
    fn followed(&self, ids: &[i64], older: Option<Vec<i64>>) -> Option<Predecessors> {
        let own = |id: &i64| ids.contains(id) || self.written.iter().any(|(written, ..)| written.id == *id);
        self.outbox.shared.predecessors(older?.into_iter().filter(|id| !own(id)))
    }

    /// To be called after the commit: from its return on, this process serves nothing of what the events invalidate. They
    /// enter the tenant's log as soon as all nodes have acknowledged that, without anybody waiting for it here.
    ///
    /// Where an older event of the tenant waits in the outbox, of a process that has died or of a writer without a cache, these
    /// wait behind it for the relay; what they invalidate is invalidated here at once all the same.
    ///
    /// # Errors
    /// Those of [`Tenant::invalidate`](larder::Tenant::invalidate). [`larder::ErrorKind::Deferred`] is no reason to fail the
    /// write, and neither is any other: the rows are there, and the relay goes on with them.
    ///
    /// # Cancel safety
    /// Once it has been polled, it is carried through also where the future is dropped.
    pub async fn publish(self) -> Result<(), larder::Error> {
        let shared = self.outbox.shared.clone();
        match shared.tasks.spawn(self.go()).await {
            Ok(outcome) => outcome,
            // The runtime ends. The rows are there.
            Err(_) => Ok(()),
        }
    }

    async fn go(self) -> Result<(), larder::Error> {
        let Self { outbox, tenant, written, predecessors } = self;
        let is_turn = predecessors.have_come(outbox.shared.grace).await;
        let (mut outcome, mut is_left) = (Ok(()), false);
        for (written, event, claim) in written {
            let Some(claim) = claim.filter(|_| is_turn) else {
                is_left = true;
                let selectors = event.selectors().to_vec();
                if !selectors.is_empty() {
                    outcome = outcome.and(tenant.invalidate(selectors).await.map(drop));
                }
                continue;
            };
            let mut publishing = Box::pin(publish(&tenant, event.idempotency_key(written.key)));
            // The first poll gives it its place in the tenant's line.
            let at_once = (&mut publishing).now_or_never();
            claim.begun();
            let Publishing { told, logged } = match at_once {
                Some(published) => published,
                None => publishing.await,
            };
            outcome = outcome.and(told);
            let stop = outbox.shared.stop.clone();
            outbox.shared.tasks.spawn(async move {
                match stop.run_until_cancelled(logged).await {
                    Some(Ok(_)) => claim.done(),
                    // Left to the relay, of this process or another.
                    Some(Err(_)) | None => drop(claim),
                }
            });
        }
        if is_left {
            outbox.nudge();
        }
        outcome
    }
}
