//! A JSON body.

use axum::extract::{FromRequest, Request};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::fields::{Body, Errors};
use crate::problem::Problem;

/// How long a body may be, in bytes: large enough for a thousand threats, small enough to be held in memory by every
/// one of the concurrent requests.
pub const BODY_LIMIT: usize = 1 << 20;

/// Reads the body as JSON and every field of it.
#[derive(Debug)]
pub struct Json<T>(pub T);

impl<T: Body, S: Send + Sync> FromRequest<S> for Json<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, _: &S) -> Result<Self, Problem> {
        if !is_json(request.headers()) {
            return Err(Problem::unsupported_media_type("application/json"));
        }
        if announced_length(request.headers()).is_some_and(|length| length > BODY_LIMIT) {
            return Err(Problem::too_large(BODY_LIMIT));
        }
        let bytes = axum::body::to_bytes(request.into_body(), BODY_LIMIT).await.map_err(read_problem)?;
        let value: Value = serde_json::from_slice(&bytes)
            .map_err(|e| Problem::bad_request(format!("the body is no JSON: {e}")))?;
        let mut errors = Errors::default();
        let body = T::read(value, "", &mut errors);
        errors.finish(body).map(Json)
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(text)) = headers.get(CONTENT_TYPE).map(HeaderValue::to_str) else { return false };
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    essence == "application/json" || (essence.starts_with("application/") && essence.ends_with("+json"))
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Too long, or the client went away in the middle.
fn read_problem(error: axum::Error) -> Problem {
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(e) = cause {
        if e.is::<http_body_util::LengthLimitError>() {
            return Problem::too_large(BODY_LIMIT);
        }
        cause = e.source();
    }
    Problem::bad_request("the body ended early")
}
