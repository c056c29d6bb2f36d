//! A node's end of a connection. Only so much passes at once: large values arrive in parts, with pauses between them.

use super::Network;
use super::connection::Connection;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

/// What fits into a socket's buffer.
const BUFFER: usize = 32 << 10;

/// One direction of a connection.
#[derive(Default)]
struct Flow {
    passed: usize,
    resting: Option<Pin<Box<Sleep>>>,
}

impl Flow {
    /// How many bytes may pass now.
    fn poll_room(&mut self, network: &Network, cx: &mut Context<'_>) -> Poll<usize> {
        if self.passed >= BUFFER && self.resting.is_none() {
            let ms = network.0.chance.pick(network.weather().rests_ms);
            self.resting = Some(Box::pin(sleep(Duration::from_millis(ms))));
        }
        if let Some(resting) = &mut self.resting {
            ready!(resting.as_mut().poll(cx));
            (self.passed, self.resting) = (0, None);
        }
        Poll::Ready(BUFFER - self.passed)
    }
}

/// Closes the connection when dropped; what was sent by then may still arrive.
pub(crate) struct Socket {
    connection: Arc<Connection>,
    network: Network,
    inward: Flow,
    outward: Flow,
}

impl Socket {
    pub(super) fn new(connection: Arc<Connection>, network: Network) -> Self {
        Self { connection, network, inward: Flow::default(), outward: Flow::default() }
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let room = ready!(this.inward.poll_room(&this.network, cx));
        let mut wire = this.connection.wire.lock();
        if wire.readable.is_empty() && !wire.server_closed {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = wire.readable.len().min(out.remaining()).min(room);
        out.put_slice(&wire.readable[..length]);
        wire.readable.drain(..length);
        this.inward.passed += length;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let this = &mut *self;
        let room = ready!(this.outward.poll_room(&this.network, cx));
        let mut wire = this.connection.wire.lock();
        if wire.server_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let length = bytes.len().min(room);
        wire.inbound.extend(&bytes[..length]);
        this.outward.passed += length;
        this.connection.arrived.notify_one();
        Poll::Ready(Ok(length))
    }

    fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        self.connection.wire.lock().client_closed = true;
        self.connection.arrived.notify_one();
        self.connection.leaving.notify_one();
    }
}
