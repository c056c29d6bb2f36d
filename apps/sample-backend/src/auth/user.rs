//! The signed-in user of a request.

use axum::extract::FromRequestParts;
use http::request::Parts;
use larder::Tenant;
use larder_http::{Audience, Authenticate, Identity, Problem, Role};
use uuid::Uuid;

use crate::app::App;

/// Somebody who is signed in. As an extractor it answers 401 to everybody else.
#[derive(Debug, Clone)]
pub struct User {
    /// The user's id.
    pub id: Uuid,
    /// The tenant, from the token and from nothing else.
    pub tenant: String,
    /// What they may do.
    pub role: Role,
    /// The tenant's part of the cache.
    pub cache: Tenant,
}

impl User {
    /// Where the cached answers for this user's tenant are, and who may see them.
    #[must_use]
    pub fn scope(&self) -> (&Tenant, Audience) {
        (&self.cache, Audience::Private)
    }

    /// Whether they may change their tenant's data. A crawler may not.
    ///
    /// # Errors
    /// 403 where they may not.
    pub fn may_write(&self) -> Result<(), Problem> {
        match self.role {
            Role::Owner | Role::Member | Role::Admin => Ok(()),
            Role::Ingest => Err(Problem::forbidden("the role ingest may not change a tenant's data")),
        }
    }
}

impl FromRequestParts<App> for User {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &App) -> Result<Self, Problem> {
        let who = app.tokens.identify(&parts.headers)?.ok_or_else(Problem::unauthorized)?;
        let Identity { tenant, user, role } = who;
        let id = Uuid::try_parse(&user).map_err(|_| Problem::unauthorized())?;
        let cache = app.cache.tenant(&tenant);
        Ok(Self { id, tenant, role, cache })
    }
}
