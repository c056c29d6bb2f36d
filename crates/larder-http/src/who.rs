//! Who is asking, as far as HTTP needs to know. How a token is verified is the application's business.

use std::net::IpAddr;

use http::HeaderMap;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::problem::Problem;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Everything in their own tenant.
    Owner,
    /// Everything in their own tenant but clearing its cache.
    Member,
    /// Operates the server: cache keys and metrics of all tenants.
    Admin,
    /// A crawler: writes what all tenants share.
    Ingest,
}

impl Role {
    /// The name in tokens and in the database.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Owner => "owner",
            Self::Member => "member",
            Self::Admin => "admin",
            Self::Ingest => "ingest",
        }
    }
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Role {
    type Err = UnknownRole;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "owner" => Ok(Self::Owner),
            "member" => Ok(Self::Member),
            "admin" => Ok(Self::Admin),
            "ingest" => Ok(Self::Ingest),
            _ => Err(UnknownRole),
        }
    }
}

/// The text names no role.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected owner, member, admin or ingest")]
pub struct UnknownRole;

/// Somebody whose token was verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The tenant, from the token and from nothing else.
    pub tenant: String,
    /// The user's id.
    pub user: String,
    /// What they may do.
    pub role: Role,
}

/// Tells who sent a request. Called on every request that wants to know, so it must not block.
pub trait Authenticate: Send + Sync + 'static {
    /// The sender, or `None` where no credentials were sent.
    ///
    /// # Errors
    /// [`Problem::unauthorized`] where credentials were sent that are not valid, whatever is wrong with them.
    fn identify(&self, headers: &HeaderMap) -> Result<Option<Identity>, Problem>;
}

/// The client's address after trusted proxies were taken into account.
///
/// A request extension that the outermost layer of the server sets; limits and log-in throttling use it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ClientAddr(pub IpAddr);
