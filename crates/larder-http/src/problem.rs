//! The one error of every route: `application/problem+json` (RFC 9457).
//!
//! A [`Problem`] holds nothing that its status does not allow people to see: no SQL, no cache key, no URL. What went
//! wrong inside is logged where it happened and answered as [`Problem::internal`].

use std::borrow::Cow;
use std::time::Duration;

use axum::response::{IntoResponse, Response};
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderName, HeaderValue, StatusCode};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The media type of every error.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// One field of a request that is not as it must be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldError {
    /// The field's path in the body (`items[3].severity`), or the name of the query parameter.
    pub field: String,
    /// What it must be.
    pub message: String,
}

/// An error as the client sees it.
///
/// Made with one of the constructors named after a status, or from the errors of this crate with `?`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem(Box<Inner>);

/// Behind a box, so that a `Result` is not as large as its rare error.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Inner {
    status: StatusCode,
    kind: &'static str,
    detail: Cow<'static, str>,
    errors: Vec<FieldError>,
    header: Option<(HeaderName, HeaderValue)>,
}

/// What a [`Problem`] looks like on the wire.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// Identifies the kind of problem; `about:blank` where the status says it all (RFC 9457 §4.2.1).
    #[serde(rename = "type")]
    pub kind: String,
    /// The name of the status.
    pub title: String,
    /// The HTTP status.
    #[schema(minimum = 400, maximum = 599)]
    pub status: u16,
    /// What went wrong in this request.
    pub detail: String,
    /// Which fields are at fault (only where input was not valid).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub errors: Vec<FieldError>,
}

impl Problem {
    /// A problem of this status, told in words for the client.
    pub fn new(status: StatusCode, detail: impl Into<Cow<'static, str>>) -> Self {
        let (detail, errors) = (detail.into(), Vec::new());
        Self(Box::new(Inner { status, kind: "about:blank", detail, errors, header: None }))
    }

    /// 400: what was sent can't be read at all.
    pub fn bad_request(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, detail)
    }

    /// 401: not signed in. The answer is the same whatever was wrong with the token.
    #[must_use]
    pub fn unauthorized() -> Self {
        Self::new(StatusCode::UNAUTHORIZED, "a valid bearer token is needed")
            .with_header(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))
    }

    /// 403: signed in, but this is not theirs to do.
    pub fn forbidden(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::FORBIDDEN, detail)
    }

    /// 404: there is no such thing, or it belongs to another tenant, which must look the same.
    #[must_use]
    pub fn not_found() -> Self {
        Self::new(StatusCode::NOT_FOUND, "there is nothing here")
    }

    /// 405, naming the methods that the path has where they are known.
    #[must_use]
    pub fn method_not_allowed(allow: Option<HeaderValue>) -> Self {
        let problem = Self::new(StatusCode::METHOD_NOT_ALLOWED, "this path does not take that method");
        match allow {
            Some(methods) => problem.with_header(ALLOW, methods),
            None => problem,
        }
    }

    /// 409: it would contradict what is there.
    pub fn conflict(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::CONFLICT, detail)
    }

    /// 413: the body is larger than `limit` bytes.
    #[must_use]
    pub fn too_large(limit: usize) -> Self {
        Self::new(StatusCode::PAYLOAD_TOO_LARGE, format!("the body may be {limit} bytes long at most"))
    }

    /// 415: the body is not of the type that this route takes.
    #[must_use]
    pub fn unsupported_media_type(expected: &'static str) -> Self {
        Self::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, format!("the body must be sent as {expected}"))
    }

    /// 422: readable, but not valid; every fault at once.
    #[must_use]
    pub fn invalid(errors: Vec<FieldError>) -> Self {
        let detail = match errors.as_slice() {
            [one] => format!("{}: {}", one.field, one.message),
            more => format!("{} fields are not valid", more.len()),
        };
        let mut problem = Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail);
        problem.0.kind = "urn:larder:problem:validation";
        problem.0.errors = errors;
        problem
    }

    /// 422 for a single field.
    pub fn invalid_field(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self::invalid(vec![FieldError { field: field.into(), message: message.into() }])
    }

    /// 429: too often; try again after this long.
    pub fn too_many_requests(detail: impl Into<Cow<'static, str>>, after: Duration) -> Self {
        Self::new(StatusCode::TOO_MANY_REQUESTS, detail).retry_after(after)
    }

    /// 500. Says nothing about what happened: that is in the log.
    #[must_use]
    pub fn internal() -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "something went wrong on our side")
    }

    /// 502: a server that this route needs failed.
    pub fn bad_gateway(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::BAD_GATEWAY, detail)
    }

    /// 503: not now.
    pub fn unavailable(detail: impl Into<Cow<'static, str>>) -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
    }

    /// Adds `Retry-After`, in whole seconds and at least one.
    #[must_use]
    pub fn retry_after(self, after: Duration) -> Self {
        let seconds = after.as_secs() + u64::from(after.subsec_nanos() > 0);
        self.with_header(RETRY_AFTER, HeaderValue::from(seconds.max(1)))
    }

    /// The HTTP status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// What is said to the client.
    #[must_use]
    pub fn detail(&self) -> &str {
        &self.0.detail
    }

    /// The fields at fault.
    #[must_use]
    pub fn errors(&self) -> &[FieldError] {
        &self.0.errors
    }

    fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.header = Some((name, value));
        self
    }

    fn body(&self) -> ProblemBody {
        ProblemBody {
            kind: self.0.kind.to_owned(),
            title: self.0.status.canonical_reason().unwrap_or("Error").to_owned(),
            status: self.0.status.as_u16(),
            detail: self.0.detail.clone().into_owned(),
            errors: self.0.errors.clone(),
        }
    }
}

impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.0.status.as_u16(), self.0.detail)
    }
}

impl std::error::Error for Problem {}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let body = serde_json::to_vec(&self.body()).expect("strings and numbers always serialise");
        let mut response = (self.0.status, body).into_response();
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if let Some((name, value)) = self.0.header {
            headers.insert(name, value);
        }
        response
    }
}

/// Answers paths and methods that a router does not have with problems.
pub fn with_fallbacks<S: Clone + Send + Sync + 'static>(router: axum::Router<S>) -> axum::Router<S> {
    router
        .fallback(|| async { Problem::not_found() })
        .method_not_allowed_fallback(|| async { Problem::method_not_allowed(None) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    async fn json(problem: Problem) -> (Response<()>, serde_json::Value) {
        let (parts, body) = problem.into_response().into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        (Response::from_parts(parts, ()), serde_json::from_slice(&bytes).unwrap())
    }

    #[tokio::test]
    async fn every_field_of_rfc_9457_is_there_and_the_type_says_problem() {
        let (head, body) = json(Problem::not_found()).await;
        assert_eq!(head.headers()[CONTENT_TYPE], PROBLEM_JSON);
        assert_eq!(body["type"], "about:blank");
        assert_eq!(body["title"], "Not Found");
        assert_eq!(body["status"], 404);
        assert!(body.get("errors").is_none());
    }

    #[tokio::test]
    async fn validation_lists_each_field() {
        let errors = vec![
            FieldError { field: "name".into(), message: "is required".into() },
            FieldError { field: "budget_cents".into(), message: "must be a whole number".into() },
        ];
        let (head, body) = json(Problem::invalid(errors)).await;
        assert_eq!(head.status(), 422);
        assert_eq!(body["errors"][1]["field"], "budget_cents");
        assert_eq!(body["errors"].as_array().unwrap().len(), 2);
    }

    #[tokio::test]
    async fn retry_after_is_rounded_up_to_whole_seconds() {
        let (head, _) = json(Problem::too_many_requests("slow down", Duration::from_millis(1200))).await;
        assert_eq!(head.headers()[RETRY_AFTER], "2");
        let (head, _) = json(Problem::unavailable("busy").retry_after(Duration::ZERO)).await;
        assert_eq!(head.headers()[RETRY_AFTER], "1");
    }
}
