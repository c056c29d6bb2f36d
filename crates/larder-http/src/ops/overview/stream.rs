//! The overview as it changes: server-sent events (WHATWG HTML §9.2), each with all of it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::stream::unfold;
use http::HeaderName;
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::super::Ops;
use super::view::Viewer;
use super::{ENDED, Looking};
use crate::problem::Problem;

/// When to come back to a server that has no place.
const LATER: Duration = Duration::from_secs(5);

/// Sends the overview at once, and then every second. Who reads slowly gets the newest.
pub(in super::super) async fn live(State(ops): State<Ops>, looking: Looking) -> Result<Response, Problem> {
    let Ok(place) = std::sync::Arc::clone(&ops.overviews.places).try_acquire_owned() else {
        let full = Problem::unavailable("as many follow this overview as this server takes");
        return Err(full.retry_after(LATER));
    };
    let news = ops.overviews.news.subscribe();
    ops.tick();
    let watcher = Watcher { ops, looking, news, first: true, _place: place };
    let body = Body::from_stream(unfold(watcher, |mut watcher| async move {
        let event = watcher.next().await?;
        Some((Ok::<_, Infallible>(event), watcher))
    }));
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        // nginx would gather the stream otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((headers, body).into_response())
}

/// Somebody who follows the overview.
struct Watcher {
    ops: Ops,
    looking: Looking,
    news: watch::Receiver<u64>,
    first: bool,
    _place: OwnedSemaphorePermit,
}

impl Watcher {
    /// The next event; `None` when the server ends, or the viewer may see this no more.
    async fn next(&mut self) -> Option<Bytes> {
        if !std::mem::replace(&mut self.first, false) {
            self.news.changed().await.ok()?;
        }
        if *self.news.borrow_and_update() == ENDED {
            return None;
        }
        // Tokens run out, and people are given other roles.
        let Looking { headers, here, viewer } = &self.looking;
        let same = Viewer::of(&self.ops, headers, *here).is_ok_and(|now| now == *viewer);
        let json = if same { self.ops.overview(viewer).await.ok()? } else { return None };
        let mut event = Vec::with_capacity(json.len() + 32);
        event.extend_from_slice(b"event: overview\ndata: ");
        event.extend_from_slice(&json);
        event.extend_from_slice(b"\n\n");
        Some(event.into())
    }
}
