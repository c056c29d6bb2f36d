//! Publishing one event: what there is to wait for.

use larder::{Error, Event, Logged, Tenant};

/// An event that is being published.
pub(crate) struct Publishing {
    /// What it invalidates is in force on this node; `Deferred` if Redis does not know yet.
    pub(crate) told: Result<(), Error>,
    /// Done when it is in the tenant's log.
    pub(crate) logged: Logged,
}

pub(crate) async fn publish(tenant: &Tenant, event: Event) -> Publishing {
    let mut publication = tenant.publish(event);
    let logged = publication.logged();
    Publishing { told: publication.await.map(drop), logged }
}
