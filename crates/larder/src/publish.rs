//! Publishing an event: one cause, two effects. What it changes is dropped on every node; then it enters the tenant's log.

use crate::error::Error;
use crate::event::Event;
use crate::event_log::{Destination, Item, Logs, Place, Position, closed};
use crate::journal::Ticket;
use crate::recent::Draft;
use crate::scope::Selection;
use crate::simulation::{self, Mutant, is};
use crate::stamp::Stamp;
use crate::tenant::Tenant;
use futures_util::future::BoxFuture;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// The publication of an event, from [`Tenant::publish`]. Await it: nothing happens before.
#[must_use = "nothing is published until this is awaited"]
pub struct Publication {
    tenant: Tenant,
    event: Event,
    done: Option<oneshot::Sender<Result<Position, Error>>>,
}

impl Publication {
    pub(crate) fn new(tenant: Tenant, event: Event) -> Self {
        Self { tenant, event, done: None }
    }

    /// A future that ends when the event is in the tenant's log, with its place; that of the first, if its
    /// [key](Event::idempotency_key) was used before. The publication itself does not wait for that: the event enters the log
    /// when its invalidation is acknowledged by all nodes, or the lease of a silent one has run out, and Redis is in reach.
    ///
    /// Of several futures the last counts; the others end with `Closed`.
    pub fn logged(&mut self) -> Logged {
        let (done, outcome) = oneshot::channel();
        self.done = Some(done);
        Logged(outcome)
    }
}

/// When the event is in the log, from [`Publication::logged`]. It is independent of the publication, which has to be
/// awaited, or spawned, besides.
///
/// # Errors
/// What keeps the event from entering the log for good: the errors of the publication, but `Deferred`; `Unavailable` where
/// too many events waited and were dropped; `Closed` where the cache was shut down before, or the publication dropped.
///
/// # Cancel safety
/// Dropping it changes nothing.
#[derive(Debug)]
#[must_use = "it tells nothing until it is awaited"]
pub struct Logged(oneshot::Receiver<Result<Position, Error>>);

impl Future for Logged {
    type Output = Result<Position, Error>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context).map(|outcome| outcome.unwrap_or_else(|_| Err(closed())))
    }
}

impl IntoFuture for Publication {
    type Output = Result<Option<Stamp>, Error>;
    type IntoFuture = BoxFuture<'static, Self::Output>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.carry_out())
    }
}

impl Publication {
    async fn carry_out(self) -> Result<Option<Stamp>, Error> {
        let Self { tenant, mut event, done } = self;
        if let Err(error) = tenant.check().and_then(|()| tenant.home.any().check_open()) {
            tell(done, &error);
            return Err(error);
        }
        event.tenant = Arc::clone(&tenant.name);
        let engine = Arc::clone(tenant.home.any());
        let selection = event.take_selection();
        // Its place in the tenant's line is that of the first poll.
        let (alive, dropped) = oneshot::channel();
        let place = enter(&engine.logs, &tenant, &event, done, alive);
        let (place, refused) = match place {
            Ok(place) => (Some(place), None),
            Err(error) => (None, Some(error)),
        };
        let stamp = match selection {
            None => {
                let draft = Draft::published(&tenant.name, event.kind(), event.changed_id());
                engine.stats.recent.made(engine.now(), draft, Ok(()));
                tenant.tell_subscribers(event);
                if let Some(place) = place {
                    place.ready();
                }
                Ok(None)
            }
            // Nothing has to be waited for, and nothing can be cut off half-way.
            Some(selection) if engine.remote.is_none() => {
                let stamp = tenant.invalidate(selection).caused_by(event.kind(), event.changed_id()).await;
                finish(&tenant, event, place, &stamp);
                stamp.map(Some)
            }
            // In a task of its own: a caller that goes away half-way keeps nothing from following.
            Some(selection) => {
                let (told, stamp) = oneshot::channel();
                engine.tasks.spawn(simulation::task(shared(tenant, event, selection, place, dropped, told)));
                stamp.await.unwrap_or_else(|_| Err(closed())).map(Some)
            }
        };
        match refused {
            // What it invalidates is invalidated, whatever the log says.
            Some(error) if stamp.is_ok() => Err(error),
            _ => stamp,
        }
    }
}

/// A place in the tenant's line.
fn enter(
    logs: &Arc<Logs>,
    tenant: &Tenant,
    event: &Event,
    done: Option<oneshot::Sender<Result<Position, Error>>>,
    alive: oneshot::Sender<Infallible>,
) -> Result<Place, Error> {
    let item = match logs.item(event) {
        Ok(item) => Item { done, alive: Some(alive), ..item },
        Err(error) => {
            tell(done, &error);
            return Err(error);
        }
    };
    let bucket = usize::from(tenant.home.any().mirror.bucket);
    let to = Destination { tenant: Arc::clone(&tenant.name), bucket };
    Ok(logs.join(to, item))
}

fn tell(done: Option<oneshot::Sender<Result<Position, Error>>>, error: &Error) {
    if let Some(done) = done {
        let _ = done.send(Err(error.clone()));
    }
}

/// Tells the subscribers of this process, and lets the event into the log; or neither.
fn finish(tenant: &Tenant, event: Event, place: Option<Place>, outcome: &Result<Stamp, Error>) {
    match outcome {
        Ok(_) => {
            tenant.tell_subscribers(event);
            if let Some(place) = place {
                place.ready();
            }
        }
        Err(error) => {
            if let Some(place) = place {
                place.leave(error);
            }
        }
    }
}

/// Where others have to be told: the caller as soon as Redis has been, the log when all have applied it.
async fn shared(
    tenant: Tenant,
    event: Event,
    selection: Selection,
    place: Option<Place>,
    dropped: oneshot::Receiver<Infallible>,
    told: oneshot::Sender<Result<Stamp, Error>>,
) {
    let logs = Arc::clone(&tenant.home.any().logs);
    let again = selection.clone();
    let everywhere =
        match tenant.invalidate(selection).caused_by(event.kind(), event.changed_id()).watched().await {
            Ok((stamp, applied)) => {
                tenant.tell_subscribers(event);
                // The caller may have gone away.
                let _ = told.send(Ok(stamp));
                if !is(Mutant::LoggedUnacknowledged) {
                    applied.everywhere().await;
                }
                Ok(())
            }
            Err(error) => {
                let _ = told.send(Err(error.clone()));
                match error.ticket() {
                    None => Err(error),
                    Some(_) if is(Mutant::LoggedUndelivered) => Ok(()),
                    Some(ticket) => {
                        tenant.tell_subscribers(event);
                        tokio::select! {
                            delivered = delivered(&tenant, again, ticket) => delivered,
                            // Nobody needs to know any more: not many wait, however long an outage is.
                            _ = dropped => return,
                            () = logs.gives_up() => Err(closed()),
                        }
                    }
                }
            }
        };
    match (place, everywhere) {
        (None, _) => {}
        (Some(place), Ok(())) => place.ready(),
        (Some(place), Err(error)) => place.leave(&error),
    }
}

/// Waits until an invalidation that was deferred is in force on all nodes. That it was delivered does not tell who has
/// applied it: it is made once more, which changes nothing but that.
async fn delivered(tenant: &Tenant, selection: Selection, ticket: &Ticket) -> Result<(), Error> {
    let mut delivered = ticket.delivered().await;
    loop {
        delivered?;
        if is(Mutant::LoggedAsDelivered) {
            return Ok(());
        }
        match tenant.invalidate(selection.clone()).again().watched().await {
            Ok((_, applied)) => {
                applied.everywhere().await;
                return Ok(());
            }
            Err(error) => match error.ticket() {
                Some(ticket) => delivered = ticket.delivered().await,
                None => return Err(error),
            },
        }
    }
}

impl Tenant {
    /// Tells everybody who [subscribed](crate::Cache::subscribe) in this process.
    fn tell_subscribers(&self, event: Event) {
        // Nobody listening is no error.
        let _ = self.home.any().events.send(Arc::new(event));
    }

    /// Invalidates what the event touches, then tells everybody who [subscribed](crate::Cache::subscribe) in this process.
    /// Behind that, when all nodes have dropped what it touches, the event enters the tenant's
    /// [log](crate::Cache::event_log): whoever sees it there reads the new value, on any node. Events enter the log in the
    /// order in which their publications were first polled on this node; a node that does not answer delays them for the
    /// rest of its lease (1 s by default).
    ///
    /// Costs what the invalidation costs; one round trip behind, where there is Redis.
    ///
    /// # Errors
    /// As [`Tenant::invalidate`]; on `Deferred` the subscribers of this process are told all the same, and the event enters
    /// the log when Redis is back. `InvalidRequest` where the event can't stand in a log (its data are beyond
    /// 64 KiB, its kind is empty): what it touches is invalidated, and subscribers are told.
    ///
    /// # Cancel safety
    /// Once it has been polled, it is carried through also where the future is dropped. The process may end in between: what
    /// must survive that belongs into an outbox in the database.
    pub fn publish(&self, event: Event) -> Publication {
        Publication::new(self.clone(), event)
    }
}
