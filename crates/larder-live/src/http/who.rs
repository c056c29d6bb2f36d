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

/// The same of a request that concerns `tenant`, or how it is refused.
pub(super) fn asks_of(shared: &Shared, headers: &HeaderMap, tenant: &str) -> Result<Claims, Response> {
    let from = origin::of(headers, &shared.allow_origin);
    if from == Origin::Refused {
        return Err((StatusCode::FORBIDDEN, "pages of this origin may not connect").into_response());
    }
    let claims = asks(shared, headers, from).map_err(unauthorized)?;
    if claims.tenant != tenant {
        return Err((StatusCode::FORBIDDEN, "the token is of another tenant").into_response());
    }
    Ok(claims)
}

pub(super) fn unauthorized(why: TokenError) -> Response {
    let text = match why {
        TokenError::Expired => "the token has run out",
        TokenError::Invalid => "a valid token or ticket is needed",
    };
    (StatusCode::UNAUTHORIZED, [(WWW_AUTHENTICATE, "Bearer")], text).into_response()
}
