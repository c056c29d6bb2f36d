//! Who asks: by a token in the header or a cookie.

use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderMap, StatusCode};

use super::credentials;
use super::origin::{self, Origin};
use crate::claims::{Claims, TokenError};
use crate::live::Shared;

/// What the token of a request says.
pub(super) fn asks(shared: &Shared, headers: &HeaderMap, from: Origin) -> Result<Claims, TokenError> {
    let cookie = shared.config.cookie.as_deref();
    let token = credentials::header(headers).or_else(|| credentials::cookie(headers, cookie, from));
    shared.verify(&token.ok_or(TokenError::Invalid)?)
}

/// Why a request that concerns a tenant is refused.
pub(super) enum NotAllowed {
    Origin,
    Token(TokenError),
    Tenant,
}

/// The same of a request that concerns `tenant`.
pub(super) fn asks_of(shared: &Shared, headers: &HeaderMap, tenant: &str) -> Result<Claims, NotAllowed> {
    let from = origin::of(headers, &shared.allow_origin);
    if from == Origin::Refused {
        return Err(NotAllowed::Origin);
    }
    let claims = asks(shared, headers, from).map_err(NotAllowed::Token)?;
    if claims.tenant == tenant { Ok(claims) } else { Err(NotAllowed::Tenant) }
}

impl IntoResponse for NotAllowed {
    fn into_response(self) -> Response {
        match self {
            Self::Origin => (StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response(),
            Self::Token(why) => {
                let text = match why {
                    TokenError::Expired => "the token has run out",
                    TokenError::Invalid => "a valid token or ticket is needed",
                };
                (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response()
            }
            Self::Tenant => (StatusCode::FORBIDDEN, "the token is of another tenant").into_response(),
        }
    }
}
