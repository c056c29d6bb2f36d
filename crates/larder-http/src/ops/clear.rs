//! Clearing: nothing that a pattern covers is served again. Costs the same, however much that is.

use axum::Json;
use axum::extract::{FromRequest, Request, State};
use larder::{ErrorKind, Stamp, all, first_segment};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Ops;
use super::gate::SignedIn;
use super::pattern::{Covers, Prefix};
use crate::input::{Fields, FromQuery, Query};
use crate::problem::Problem;
use crate::who::Role;

/// The longest pattern: a key.
const LONGEST: usize = 1024;

/// What to clear.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct What {
    /// Keys like this one, without the tenant and with `*` for any text; everything where it is left out. For an admin what
    /// is no first segment is widened to one, and so is what holds `?`, `[` or a backslash, to whole segments: `scope` says
    /// what was cleared.
    #[param(min_length = 1, max_length = 1024)]
    pattern: Option<String>,
}

impl FromQuery for What {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        // An empty one is more likely a mistake than the wish to clear everything.
        Some(Self { pattern: f.optional_text("pattern", 1..=LONGEST)? })
    }
}

/// An empty body, or `{}`: who sends a pattern in the body would have everything cleared.
pub(super) struct NoPattern;

impl<S: Send + Sync> FromRequest<S> for NoPattern {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        let body = axum::body::to_bytes(request.into_body(), LONGEST).await;
        match body.as_deref().map(<[u8]>::trim_ascii) {
            Ok(b"" | b"{}") => Ok(Self),
            _ => Err(Problem::bad_request(
                "the pattern goes into the query: /api/cache/clear?pattern=campaigns:*",
            )),
        }
    }
}

/// What was cleared.
#[derive(Serialize, ToSchema)]
pub(super) struct Cleared {
    /// Always true.
    cleared: bool,
    /// Whose entries, and which of them: `tenant acme: campaigns:*`.
    scope: String,
}

/// Clears what a pattern covers: of their own tenant for an owner, of shared entries for ingest, of all for an admin.
#[utoipa::path(
    post, path = "/api/cache/clear", tag = "operations", operation_id = "clear_cache", params(What),
    security(("bearer" = [])), responses((status = 200, description = "It is cleared", body = Cleared))
)]
pub(super) async fn clear(
    State(ops): State<Ops>,
    SignedIn(who): SignedIn,
    Query(what): Query<What>,
    _: NoPattern,
) -> Result<Json<Cleared>, Problem> {
    let pattern = what.pattern.as_deref().unwrap_or("*");
    let (whose, covers, result) = match who.role {
        Role::Owner => {
            let covers = Covers::of(pattern);
            let result = ops.cache.tenant(&who.tenant).invalidate(covers.selector()).await;
            (format!("tenant {}", who.tenant), covers, result)
        }
        Role::Ingest => {
            let covers = Covers::of(pattern);
            let result = ops.cache.shared().invalidate(covers.selector()).await;
            ("shared entries".to_owned(), covers, result)
        }
        Role::Admin => {
            // Across tenants there is no scope narrower than the first segment.
            let prefix = Prefix::of(pattern).widened();
            let selector = prefix.first().map_or_else(all, first_segment);
            ("all tenants".to_owned(), Covers::Prefix(prefix), ops.cache.invalidate(selector).await)
        }
        Role::Member => return Err(Problem::forbidden("this needs the role owner, ingest or admin")),
    };
    judge(result)?;
    let scope = format!("{whose}: {covers}");
    tracing::info!(scope, "cache cleared");
    Ok(Json(Cleared { cleared: true, scope }))
}

/// An invalidation that waits for Redis is in force here, and other nodes follow.
fn judge(result: Result<Stamp, larder::Error>) -> Result<(), Problem> {
    match result {
        Ok(_) => Ok(()),
        Err(error) if error.kind() == ErrorKind::Deferred => Ok(()),
        Err(error) if error.kind() == ErrorKind::InvalidKey => {
            Err(Problem::invalid_field("pattern", "is longer than any key"))
        }
        Err(error) if error.kind() == ErrorKind::Closed => {
            Err(Problem::unavailable("the server is shutting down"))
        }
        Err(error) => {
            tracing::error!(%error, "the cache could not be cleared");
            Err(Problem::internal())
        }
    }
}
