//! How large a request body may be.

use axum::body::Body;
use axum::extract::Request;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, Limited};
use larder_http::Problem;

use crate::limits::{DRAIN_BYTES, DRAIN_TIME};

/// Refuses a body that says it is larger than `limit`, and ends one that turns out to be so.
pub(super) async fn limit(request: Request, limit: usize) -> Result<Request, Problem> {
    let length =
        request.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    if length.is_some_and(|length| usize::try_from(length).map_or(true, |length| length > limit)) {
        drain(request.into_body()).await;
        return Err(Problem::too_large(limit));
    }
    Ok(request.map(|body| Body::new(Limited::new(body, limit))))
}

/// Reads on for a while: a client that is still sending when the connection closes would see a reset and not the answer.
async fn drain(body: Body) {
    let mut body = Limited::new(body, DRAIN_BYTES);
    let all = async { while let Some(Ok(_)) = body.frame().await {} };
    // Whoever needs longer gets the reset.
    let _ = tokio::time::timeout(DRAIN_TIME, all).await;
}
