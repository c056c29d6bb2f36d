//! Who connects. How a token is verified is the application's business.

use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use crate::limits::{INFO_BYTES, USER_BYTES};

/// What a verified token says.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Claims {
    /// The tenant, from the token and from nothing else.
    pub tenant: String,
    /// The user's id: 1 to 128 bytes.
    pub user: String,
    /// From when on the token is not valid, in seconds since 1970.
    pub expires_at: u64,
    /// The token's own id, by which it can be revoked.
    pub token_id: Option<String>,
    /// Patterns of the rooms that may be subscribed to. `None`: all but those of other users.
    pub rooms: Option<Vec<String>>,
    /// Patterns of the rooms that may be published to. `None`: all but `tenant` and those of users.
    pub publish: Option<Vec<String>>,
    /// What others in a room are told of the user: at most 1 KiB of JSON, left out when it is more.
    pub info: Option<Value>,
}

impl Claims {
    /// A user of a tenant, who may do what is usual, until `expires_at` (in seconds since 1970).
    #[must_use]
    pub fn new(tenant: impl Into<String>, user: impl Into<String>, expires_at: u64) -> Self {
        Self {
            tenant: tenant.into(),
            user: user.into(),
            expires_at,
            token_id: None,
            rooms: None,
            publish: None,
            info: None,
        }
    }

    /// Whether such a user can be told apart and written to.
    pub(crate) fn is_sound(&self) -> bool {
        (1..=USER_BYTES).contains(&self.user.len())
            && crate::protocol::is_name(&self.user)
            && !self.tenant.is_empty()
    }

    pub(crate) fn info_json(&self) -> Option<Box<RawValue>> {
        let raw = to_raw_value(self.info.as_ref()?).ok()?;
        (raw.get().len() <= INFO_BYTES).then_some(raw)
    }
}

/// Why a token is not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenError {
    /// It was valid: its bearer shall get a new one.
    Expired,
    /// Whatever else is wrong with it.
    Invalid,
}

/// Verifies tokens. Called once for each connection and each new token, on a worker thread: it must not block.
pub trait Verify: Send + Sync + 'static {
    /// What `token` says.
    ///
    /// # Errors
    /// [`TokenError`], where it is not one that this server takes now.
    fn verify(&self, token: &str) -> Result<Claims, TokenError>;
}

impl<F> Verify for F
where
    F: Fn(&str) -> Result<Claims, TokenError> + Send + Sync + 'static,
{
    fn verify(&self, token: &str) -> Result<Claims, TokenError> {
        self(token)
    }
}
