//! A WebSocket: one task that reads, writes and keeps time, without ever waiting for one of them alone.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use futures_util::{Future, Sink, SinkExt, Stream, StreamExt};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Sleep;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error, ProtocolError};
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Bytes, Message};

use super::metered::Metered;
use crate::limits::{CLOSING, CLOSING_BYTES, MAX_WRITE_BUFFER, MESSAGE_BYTES, READ_BUFFER, WRITE_BUFFER};
use crate::link::{Link, Wanted};
use crate::protocol::CloseCode;
use crate::queue::Next;

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The peer has gone or closed; there is nobody to tell.
    Gone,
    /// We close.
    Close(CloseCode),
    /// We close, and the WebSocket layer reads nothing more: the peer has violated the protocol.
    Broken(CloseCode),
}

/// Serves a connection to its end; `read` is what was read of it already.
pub(super) async fn run<S>(io: S, read: Vec<u8>, link: Link)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let io = Metered::new(io);
    let socket = WebSocketStream::from_partially_read(io, read, Role::Server, Some(config())).await;
    let draining = link.shared().draining.clone();
    let timer = Box::pin(tokio::time::sleep_until(link.deadline().into()));
    let mut pump = Pump { socket, link, timer, dirty: false, blocked: None };
    let mut drained = std::pin::pin!(draining.cancelled());
    let end = poll_fn(|cx| {
        // Those who have signed in are told by the drain itself, one after the other.
        if !pump.link.is_signed_in() && drained.as_mut().poll(cx).is_ready() {
            return Poll::Ready(End::Close(CloseCode::Drain));
        }
        pump.poll(cx)
    })
    .await;
    let Pump { socket, link, .. } = pump;
    let metrics = std::sync::Arc::clone(&link.shared().metrics);
    // Out of everything before the last words: they may take seconds.
    drop(link);
    match end {
        End::Gone => {}
        End::Close(code) | End::Broken(code) => {
            metrics.closed(code);
            let broken = matches!(end, End::Broken(_));
            // Whoever takes longer is cut off.
            // In a box: what only the last seconds need is no part of every connection.
            let closing = Box::pin(close(socket, code, broken));
            let _ = tokio::time::timeout(CLOSING, closing).await;
        }
    }
}

/// Buffers and bounds; the defaults of the WebSocket library are 128 KiB for each connection, and none.
pub(super) fn config() -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .write_buffer_size(WRITE_BUFFER)
        .max_write_buffer_size(MAX_WRITE_BUFFER)
        .max_message_size(Some(MESSAGE_BYTES))
        .max_frame_size(Some(MESSAGE_BYTES))
}

struct Pump<S> {
    socket: WebSocketStream<Metered<S>>,
    link: Link,
    /// Fires no later than at the link's next deadline.
    timer: Pin<Box<Sleep>>,
    /// Something was given to the socket that was not flushed yet.
    dirty: bool,
    /// Since when the socket takes nothing.
    blocked: Option<Instant>,
}

impl<S> Pump<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let read = match self.poll_read(cx) {
                Poll::Ready(Some(end)) => return Poll::Ready(end),
                Poll::Ready(None) => true,
                Poll::Pending => false,
            };
            self.link.poll_work(cx);
            if let Poll::Ready(end) = self.poll_write(cx) {
                return Poll::Ready(end);
            }
            // What is read is bounded by the rate of commands, and by tokio's budget for one turn.
            if !read && !self.poll_timer(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Takes one message in. Ready with nothing: there may be more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Option<End>> {
        if self.link.queue().is_closed() {
            // Whatever comes now comes too late; the last words wait to be written.
            return Poll::Pending;
        }
        let Poll::Ready(message) = Pin::new(&mut self.socket).poll_next(cx) else { return Poll::Pending };
        let wanted = match message {
            Some(Ok(Message::Text(text))) => {
                self.socket.get_mut().message();
                self.link.text(&text)
            }
            Some(Ok(Message::Binary(_))) => self.link.binary(),
            Some(Ok(Message::Ping(payload))) => {
                self.socket.get_mut().control(payload.len());
                // The answer was put together by the WebSocket layer; it has to be flushed.
                self.dirty = true;
                self.link.control()
            }
            Some(Ok(Message::Pong(payload))) => {
                self.socket.get_mut().control(payload.len());
                self.link.pong()
            }
            Some(Ok(Message::Close(_) | Message::Frame(_))) => Wanted::Nothing,
            Some(Err(_)) if self.socket.get_ref().has_refused() => {
                return Poll::Ready(Some(End::Broken(CloseCode::TooLarge)));
            }
            Some(Err(error)) => return Poll::Ready(Some(violation(&error).map_or(End::Gone, End::Broken))),
            None => return Poll::Ready(Some(End::Gone)),
        };
        self.do_wanted(wanted);
        Poll::Ready(None)
    }

    /// Gives the socket what waits, as long as it takes it.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        let mut sent = 0;
        let end = loop {
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => self.blocked = None,
                Poll::Ready(Err(_)) => break Poll::Ready(End::Gone),
                Poll::Pending => break self.stalled(cx),
            }
            match self.link.queue().poll(cx) {
                Next::Frame(frame) => {
                    if Pin::new(&mut self.socket).start_send(Message::Text(frame.text())).is_err() {
                        break Poll::Ready(End::Gone);
                    }
                    self.dirty = true;
                    sent += 1;
                }
                Next::Close(code) => break Poll::Ready(End::Close(code)),
                Next::Nothing => break self.poll_flush(cx),
            }
        };
        if sent > 0 {
            self.link.spoke(Instant::now());
            self.link.shared().metrics.delivered(sent);
        }
        end
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        if !self.dirty {
            return Poll::Pending;
        }
        match Pin::new(&mut self.socket).poll_flush(cx) {
            Poll::Ready(Ok(())) => {
                (self.dirty, self.blocked) = (false, None);
                Poll::Pending
            }
            Poll::Ready(Err(_)) => Poll::Ready(End::Gone),
            Poll::Pending => self.stalled(cx),
        }
    }

    /// The socket takes nothing for the moment: is it over?
    fn stalled(&mut self, cx: &Context<'_>) -> Poll<End> {
        if let Some(code) = self.link.queue().poll_aborted(cx) {
            return Poll::Ready(End::Close(code));
        }
        let since = *self.blocked.get_or_insert_with(Instant::now);
        if since.elapsed() >= self.link.shared().config.write_stall {
            return Poll::Ready(End::Close(CloseCode::Slow));
        }
        Poll::Pending
    }

    /// Does what the time asks for. Returns whether there was anything.
    fn poll_timer(&mut self, cx: &mut Context<'_>) -> bool {
        let due = self.deadline();
        if due < self.timer.deadline().into_std() {
            self.timer.as_mut().reset(due.into());
        }
        if self.timer.as_mut().poll(cx).is_pending() {
            return false;
        }
        let wanted = self.link.tick();
        self.do_wanted(wanted);
        // Not at once again where the deadline is this very moment.
        let next = self.deadline().max(Instant::now() + Duration::from_millis(1));
        self.timer.as_mut().reset(next.into());
        true
    }

    fn deadline(&self) -> Instant {
        let stall = self.blocked.map(|since| since + self.link.shared().config.write_stall);
        stall.map_or(self.link.deadline(), |stall| stall.min(self.link.deadline()))
    }

    fn do_wanted(&mut self, wanted: Wanted) {
        if wanted == Wanted::Probe && self.blocked.is_none() {
            // A socket that refuses is found out when it is written to.
            let _ = Pin::new(&mut self.socket).start_send(Message::Ping(Bytes::new()));
            self.dirty = true;
        }
    }
}

/// With which code a violation is answered; nothing where the connection just ended.
pub(super) fn violation(error: &Error) -> Option<CloseCode> {
    match error {
        Error::Capacity(CapacityError::MessageTooLong { .. }) => Some(CloseCode::TooLarge),
        Error::Utf8(_) => Some(CloseCode::Encoding),
        Error::Protocol(ProtocolError::ResetWithoutClosingHandshake) | Error::Io(_) => None,
        Error::Protocol(_) | Error::Capacity(_) => Some(CloseCode::Protocol),
        _ => None,
    }
}

/// Says why, and waits for the peer to take it: a connection that is closed while data of the peer is unread is reset, and the
/// peer would see that instead of the code.
pub(super) async fn close<S>(mut socket: WebSocketStream<S>, code: CloseCode, broken: bool)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let frame = CloseFrame { code: code.number().into(), reason: code.reason().into() };
    if socket.send(Message::Close(Some(frame))).await.is_err() {
        return;
    }
    let mut read = 0;
    if !broken {
        while let Some(Ok(message)) = socket.next().await {
            read += message.len();
            if read > CLOSING_BYTES {
                return;
            }
        }
        return;
    }
    let io = socket.get_mut();
    // The server ends the connection (RFC 6455 §7.1.1), but reads on: see above.
    if io.shutdown().await.is_err() {
        return;
    }
    let mut scrap = [0_u8; 1024];
    while read <= CLOSING_BYTES {
        match io.read(&mut scrap).await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => read += bytes,
        }
    }
}
