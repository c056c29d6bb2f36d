//! How much came in without becoming a message.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::limits::UNFINISHED_BYTES;

/// Of a control frame, besides its payload.
const CONTROL_HEAD: usize = 6;

/// Counts what is read, and refuses to read on where too much of it is no message: the parts of a message may be empty, and are read without end
/// before anybody hears of them.
#[derive(Debug)]
pub(super) struct Metered<S> {
    io: S,
    unfinished: usize,
    refused: bool,
}

impl<S> Metered<S> {
    pub(super) fn new(io: S) -> Self {
        Self { io, unfinished: 0, refused: false }
    }

    /// A message has come.
    pub(super) fn message(&mut self) {
        self.unfinished = 0;
    }

    /// A ping or a pong has come, which may come between the parts of a message and is none. They have a bound of their own.
    pub(super) fn control(&mut self, payload: usize) {
        self.unfinished = self.unfinished.saturating_sub(payload + CONTROL_HEAD);
    }

    /// Whether it refused to read on.
    pub(super) fn has_refused(&self) -> bool {
        self.refused
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        // Once: what comes afterwards is thrown away, and bounded by who does that.
        if self.unfinished > UNFINISHED_BYTES && !std::mem::replace(&mut self.refused, true) {
            return Poll::Ready(Err(io::Error::other("too much without a message")));
        }
        let before = into.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, into);
        self.unfinished += into.filled().len() - before;
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
