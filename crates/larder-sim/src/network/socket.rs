//! A node's end of a connection.

use super::connection::Connection;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// Closes the connection when dropped; what was sent by then may still arrive.
pub(crate) struct Socket(pub(super) Arc<Connection>);

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, out: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let mut wire = self.0.wire.lock();
        if wire.readable.is_empty() && !wire.server_closed {
            wire.reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let length = wire.readable.len().min(out.remaining());
        out.put_slice(&wire.readable[..length]);
        wire.readable.drain(..length);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, _cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let mut wire = self.0.wire.lock();
        if wire.server_closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        wire.inbound.extend(bytes);
        self.0.arrived.notify_one();
        Poll::Ready(Ok(bytes.len()))
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
        self.0.wire.lock().client_closed = true;
        self.0.arrived.notify_one();
        self.0.leaving.notify_one();
    }
}
