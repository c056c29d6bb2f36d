//! Publishing the rows of one tenant, in their order.

use crate::limits::{REST, SLOW};
use crate::publish::publish;
use crate::row::{Row, Whose};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all, ready};
use larder::{Cache, Error, ErrorKind, Tenant, all};

/// What becomes of a row.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// It is in the log.
    Done,
    /// It can't be published. Nothing stale is served for it: if need be its whole tenant has been invalidated.
    Dead(String),
    /// To be tried again.
    Left,
}

/// What became of the rows of a tenant.
pub(super) struct Delivered {
    pub(super) whose: Whose,
    pub(super) fates: Vec<(i64, Fate)>,
    /// Some of them wait: for Redis, for a node that does not answer, or for a while after a failure. The tenant's next rows
    /// wait for this.
    pub(super) rest: Option<BoxFuture<'static, Delivered>>,
}

/// A row that is being published.
struct Begun {
    id: i64,
    fate: BoxFuture<'static, Fate>,
    /// It waits for Redis, or failed.
    is_held_up: bool,
}

/// Publishes rows one after the other, and waits until they are in the log. Must not be dropped before its end: the rows
/// would be published again.
pub(super) async fn deliver(cache: Cache, whose: Whose, rows: Vec<Row>) -> Delivered {
    let tenant = whose.in_cache(&cache);
    let (mut waited, mut is_held_up) = (Vec::new(), false);
    for row in rows {
        let Begun { id, fate, is_held_up: stop } = begin(&tenant, row).await;
        waited.push(fate.map(move |fate| (id, fate)));
        is_held_up = stop;
        if stop {
            // The rest would only add to what waits for Redis.
            break;
        }
    }
    let mut waited = join_all(waited).boxed();
    let patience = if is_held_up { std::time::Duration::ZERO } else { SLOW };
    match tokio::time::timeout(patience, &mut waited).await {
        Ok(fates) => settled(whose, fates),
        Err(_) => {
            let of = whose.clone();
            let rest = waited.map(|fates| settled(of, fates)).boxed();
            Delivered { whose, fates: Vec::new(), rest: Some(rest) }
        }
    }
}

fn settled(whose: Whose, fates: Vec<(i64, Fate)>) -> Delivered {
    let rest = fates.iter().any(|(_, fate)| *fate == Fate::Left).then(|| {
        let whose = whose.clone();
        tokio::time::sleep(REST).map(|()| Delivered { whose, fates: Vec::new(), rest: None }).boxed()
    });
    Delivered { whose, fates, rest }
}

async fn begin(tenant: &Tenant, row: Row) -> Begun {
    let Row { id, content, .. } = row;
    let content = match content {
        Ok(content) => content,
        Err(why) => return set_aside(tenant, id, why).await,
    };
    let publishing = publish(tenant, content.event(id)).await;
    match publishing.told {
        Err(error) if is_invalid(&error) => set_aside(tenant, id, error.to_string()).await,
        told => {
            let fate = publishing.logged.map(move |logged| match logged {
                Ok(_) => Fate::Done,
                // It has invalidated what it names; only the log refuses it.
                Err(error) if is_invalid(&error) => Fate::Dead(error.to_string()),
                Err(error) => {
                    tracing::debug!(target: "larder::outbox", id, %error, "not published yet");
                    Fate::Left
                }
            });
            Begun { id, fate: fate.boxed(), is_held_up: told.is_err() }
        }
    }
}

/// What the row invalidates is not known, so it is everything of its tenant.
async fn set_aside(tenant: &Tenant, id: i64, why: String) -> Begun {
    let (fate, is_held_up): (BoxFuture<'static, Fate>, bool) = match tenant.invalidate(all()).await {
        Ok(_) => (ready(Fate::Dead(why)).boxed(), false),
        Err(error) => match error.ticket().cloned() {
            Some(ticket) => {
                let told = async move { ticket.delivered().await.map_or(Fate::Left, |_| Fate::Dead(why)) };
                (told.boxed(), true)
            }
            None => (ready(Fate::Left).boxed(), true),
        },
    };
    Begun { id, fate, is_held_up }
}

/// It will be refused however often it is tried.
fn is_invalid(error: &Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::InvalidKey | ErrorKind::InvalidTenant | ErrorKind::InvalidTag | ErrorKind::InvalidRequest
    )
}
