//! Server-sent events (WHATWG HTML §9.2): the same connection, one way.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use axum::body::{Body, Bytes};
use axum::extract::{FromRequestParts, Path, Query as UrlQuery, Request, State};
use axum::response::{IntoResponse, Response};
use futures_util::{Future, Stream};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::{HeaderMap, HeaderName};
use tokio::sync::mpsc;
use tokio::time::Sleep;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::client::ClientAddress;
use super::hangup::Hangup;
use super::origin::Origin;
use super::query::Query;
use super::refusal::{Why, refuse, refuse_page};
use super::tickets::Ticket;
use super::who::NotAllowed;
use super::{credentials, origin, who};
use crate::claims::{Claims, TokenError};
use crate::limits::{CLOSING, PENDING};
use crate::link::{Link, Opening, Pos, Timing};
use crate::live::Shared;
use crate::metrics::{Opened, Transport};
use crate::protocol::{CloseCode, Frame};
use crate::queue::{Next, Queue};
use crate::random;
use crate::seats::Seat;

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// A refusal for load: any status but 200 would end a browser's `EventSource` for good.
const COME_LATER_MS: u64 = 30_000;

pub(super) async fn open(
    State(shared): State<Arc<Shared>>,
    Path(tenant): Path<String>,
    request: Request,
) -> Response {
    let (mut parts, _) = request.into_parts();
    let from = origin::of(&parts.headers, &shared.allow_origin);
    if from == Origin::Refused {
        return refuse_page(&shared, &parts.headers);
    }
    let query = UrlQuery::<Query>::from_request_parts(&mut parts, &()).await.map(|query| query.0);
    let query = query.unwrap_or_default();
    // Before there is a place: who can't sign in takes none of those who can.
    let asker = match asker(&shared, &tenant, &parts.headers, &query, from) {
        Ok(Asker::Bearer(claims)) if claims.tenant != tenant => {
            return refuse(&shared, Why::Forbidden, NotAllowed::Tenant);
        }
        Ok(asker) => asker,
        Err(why) => return refuse(&shared, Why::Unauthorized, NotAllowed::Token(why)),
    };
    let seat = match shared.seat(ClientAddress::of(&parts.extensions)) {
        Ok(seat) => seat,
        Err(why) => return refuse(&shared, why.into(), later()),
    };
    let Some(claims) = asker.claims(&shared).await else {
        return refuse(&shared, Why::Unauthorized, NotAllowed::Token(TokenError::Invalid));
    };
    let last = parts.headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok()).filter(|id| !id.is_empty());
    let pos = last.map(Pos::parse).or_else(|| query.pos());
    let (inbox, commands) = mpsc::channel(PENDING);
    let opening = Opening { tenant, pos, rooms: query.rooms(), inbox: Some(inbox), stranger: None };
    let timing = Timing::one_way(&shared.config);
    let mut link = Link::new(Arc::clone(&shared), opening, timing);
    link.sign_in(None, claims);
    let gone = CancellationToken::new();
    let body = Events {
        queue: Arc::clone(link.queue()),
        first: Some(format!("retry: {}\n\n", 1000 + random::below(4000)).into()),
        heartbeat: Box::pin(tokio::time::sleep(shared.config.heartbeat)),
        every: shared.config.heartbeat,
        ended: false,
        shared: Arc::clone(&shared),
        _open: shared.metrics.open(Transport::Stream),
        _seat: seat,
        _gone: gone.clone().drop_guard(),
    };
    let hangup = Hangup::of(&parts.extensions);
    shared.connections.spawn(keep(link, commands, gone, hangup));
    answer(Body::from_stream(body))
}

fn answer(body: Body) -> Response {
    let headers = [
        (CONTENT_TYPE, "text/event-stream"),
        (CACHE_CONTROL, "no-cache, no-transform"),
        // nginx would gather the stream otherwise.
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    (headers, body).into_response()
}

fn later() -> Response {
    let bye = Frame::bye(CloseCode::Drain, COME_LATER_MS);
    let mut text = format!("retry: {COME_LATER_MS}\n\n").into_bytes();
    text.extend_from_slice(&bye.sse());
    answer(text.into())
}

/// Who asks for a stream.
enum Asker {
    Bearer(Box<Claims>),
    /// By a ticket, which may have been taken.
    Holder(Box<Ticket>),
}

fn asker(
    shared: &Shared,
    tenant: &str,
    headers: &HeaderMap,
    query: &Query,
    from: Origin,
) -> Result<Asker, TokenError> {
    if let (None, Some(ticket)) = (credentials::header(headers), &query.ticket) {
        let ticket = shared.tickets.read(tenant, ticket).ok_or(TokenError::Invalid)?;
        return Ok(Asker::Holder(Box::new(ticket)));
    }
    who::asks(shared, headers, from).map(|claims| Asker::Bearer(Box::new(claims)))
}

impl Asker {
    async fn claims(self, shared: &Shared) -> Option<Claims> {
        match self {
            Self::Bearer(claims) => Some(*claims),
            Self::Holder(ticket) => shared.tickets.take(*ticket).await,
        }
    }
}

/// What the client reads. Dropped when it has gone, with everything that belongs to the connection.
struct Events {
    queue: Arc<Queue>,
    first: Option<Bytes>,
    heartbeat: Pin<Box<Sleep>>,
    every: std::time::Duration,
    ended: bool,
    shared: Arc<Shared>,
    _open: Opened,
    _seat: Seat,
    _gone: DropGuard,
}

impl Stream for Events {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        if let Some(first) = this.first.take() {
            return Poll::Ready(Some(Ok(first)));
        }
        match this.queue.poll(cx) {
            Next::Frame(frame) => {
                this.heartbeat.as_mut().reset((Instant::now() + this.every).into());
                this.shared.metrics.delivered(1);
                Poll::Ready(Some(Ok(frame.sse())))
            }
            Next::Close(_) => {
                this.ended = true;
                count_end(&this.shared, &this.queue);
                Poll::Ready(None)
            }
            Next::Nothing => match this.heartbeat.as_mut().poll(cx) {
                Poll::Pending => Poll::Pending,
                Poll::Ready(()) => {
                    this.heartbeat.as_mut().reset((Instant::now() + this.every).into());
                    Poll::Ready(Some(Ok(Bytes::from_static(b": hb\n\n"))))
                }
            },
        }
    }
}

fn count_end(shared: &Shared, queue: &Queue) {
    if let Some(code) = queue.take_end() {
        shared.metrics.closed(code);
    }
}

/// Keeps an event stream's side of the protocol until its client has gone.
async fn keep(
    mut link: Link,
    mut commands: mpsc::Receiver<String>,
    gone: CancellationToken,
    hangup: Option<Hangup>,
) {
    let mut closed = None;
    let stall = link.shared().config.write_stall;
    let first = link.deadline().min(Instant::now() + stall);
    let mut timer = Box::pin(tokio::time::sleep_until(first.into()));
    let mut gone = std::pin::pin!(gone.cancelled_owned());
    poll_fn(|cx| {
        if gone.as_mut().poll(cx).is_ready() {
            return Poll::Ready(());
        }
        while let Poll::Ready(Some(text)) = commands.poll_recv(cx) {
            link.text(&text);
        }
        link.poll_work(cx);
        // Signing in may have brought the next deadline nearer.
        if link.deadline() < timer.deadline().into_std() {
            timer.as_mut().reset(link.deadline().into());
        }
        if timer.as_mut().poll(cx).is_ready() {
            link.tick();
            link.poll_work(cx);
            if link.queue().stalled() >= stall {
                link.queue().abort(CloseCode::Slow);
            }
            if link.queue().is_closed() {
                count_end(link.shared(), link.queue());
                let since = *closed.get_or_insert_with(Instant::now);
                // Who reads has come to the end of the stream by now.
                if since.elapsed() >= CLOSING
                    && let Some(hangup) = &hangup
                {
                    hangup.now();
                    return Poll::Ready(());
                }
            }
            let wait = if closed.is_some() { CLOSING.min(stall) } else { stall };
            let next = link.deadline().min(Instant::now() + wait);
            let next = next.max(Instant::now() + std::time::Duration::from_millis(1));
            timer.as_mut().reset(next.into());
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
}
