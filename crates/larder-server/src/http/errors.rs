//! Every error leaves as `application/problem+json`, whoever made it.

use std::any::Any;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE};
use http_body_util::{BodyExt, Limited};
use larder_http::Problem;

use crate::limits::DETAIL_BYTES;

/// A handler panicked: the client learns that something went wrong, the log what.
pub(super) fn of_panic(panic: Box<dyn Any + Send>) -> Response {
    let text = panic.downcast_ref::<&str>().copied();
    let text = text
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a text");
    tracing::error!(panic = text, "a request handler panicked");
    Problem::internal().into_response()
}

/// Makes a problem of an error in plain text, as axum's own rejections are, and of one without a body.
pub(super) async fn as_problem(response: Response) -> Response {
    let status = response.status();
    let kind = response.headers().get(CONTENT_TYPE).map(|value| value.as_bytes());
    let plain = kind.is_none_or(|kind| kind.starts_with(b"text/plain"));
    if !(status.is_client_error() || status.is_server_error()) || !plain {
        return response;
    }
    let (mut parts, body) = response.into_parts();
    let problem = match problem(status, body).await {
        Ok(problem) => problem.into_response(),
        Err(()) => Problem::new(status, "no more is known").into_response(),
    };
    for stale in [CONTENT_TYPE, CONTENT_LENGTH, CONTENT_ENCODING] {
        parts.headers.remove(stale);
    }
    let (own, body) = problem.into_parts();
    parts.headers.extend(own.headers);
    Response::from_parts(parts, body)
}

async fn problem(status: StatusCode, body: Body) -> Result<Problem, ()> {
    match status {
        StatusCode::NOT_FOUND => return Ok(Problem::not_found()),
        StatusCode::METHOD_NOT_ALLOWED => return Ok(Problem::method_not_allowed(None)),
        // What went wrong inside is nobody's business outside.
        status if status.is_server_error() && status != StatusCode::SERVICE_UNAVAILABLE => {
            return Ok(Problem::new(status, Problem::internal().detail().to_owned()));
        }
        _ => {}
    }
    let bytes = Limited::new(body, DETAIL_BYTES).collect().await.map_err(drop)?.to_bytes();
    let text = std::str::from_utf8(&bytes).map_err(drop)?.trim();
    let reason = if text.is_empty() { status.canonical_reason().unwrap_or("Error") } else { text };
    Ok(Problem::new(status, reason.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    async fn body(response: Response) -> serde_json::Value {
        assert_eq!(response.headers()[CONTENT_TYPE], "application/problem+json");
        serde_json::from_slice(&response.into_body().collect().await.unwrap().to_bytes()).unwrap()
    }

    #[tokio::test]
    async fn plain_text_becomes_the_detail_and_other_headers_stay() {
        let mut plain = (StatusCode::BAD_REQUEST, "what was that?").into_response();
        plain.headers_mut().insert("retry-after", HeaderValue::from_static("1"));
        let response = as_problem(plain).await;
        assert_eq!(response.headers()["retry-after"], "1");
        let body = body(response).await;
        assert_eq!(body["status"], 400);
        assert_eq!(body["detail"], "what was that?");
    }

    #[tokio::test]
    async fn the_text_of_an_internal_error_stays_inside() {
        let inside = (StatusCode::INTERNAL_SERVER_ERROR, "SELECT * FROM secrets").into_response();
        let body = body(as_problem(inside).await).await;
        assert!(!body.to_string().contains("SELECT"));
    }

    #[tokio::test]
    async fn successes_and_problems_pass_untouched() {
        let fine = as_problem((StatusCode::OK, "fine").into_response()).await;
        assert_eq!(fine.into_body().collect().await.unwrap().to_bytes(), "fine");
        let conflict = as_problem(Problem::conflict("taken").into_response()).await;
        assert_eq!(body(conflict).await["detail"], "taken");
    }

    #[tokio::test]
    async fn a_panic_says_nothing_of_itself() {
        let body = body(of_panic(Box::new("the password is hunter2"))).await;
        assert_eq!(body["status"], 500);
        assert!(!body.to_string().contains("hunter2"));
    }
}
