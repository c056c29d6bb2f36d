//! What happened, in numbers.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::http::Why;
use crate::protocol::{CloseCode, Reset};

const RESETS: [Reset; 4] = [Reset::Epoch, Reset::Window, Reset::Limit, Reset::Forced];

/// Counts, since the start.
#[derive(Debug, Default)]
pub(crate) struct Metrics {
    websockets: AtomicU64,
    streams: AtomicU64,
    delivered: AtomicU64,
    replayed: AtomicU64,
    dropped: AtomicU64,
    resets: [AtomicU64; 4],
    closes: [AtomicU64; CloseCode::ALL.len()],
    refused: [AtomicU64; Why::ALL.len()],
}

/// The transport of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Transport {
    WebSocket,
    Stream,
}

/// An open connection.
pub(crate) struct Opened {
    metrics: Arc<Metrics>,
    transport: Transport,
}

impl Drop for Opened {
    fn drop(&mut self) {
        self.metrics.gauge(self.transport).fetch_sub(1, Ordering::Relaxed);
    }
}

/// A moment's numbers of a [`Live`](crate::Live). Counts are since its start.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Numbers {
    /// Open WebSockets, those not signed in included.
    pub websockets: u64,
    /// Open event streams.
    pub streams: u64,
    /// Frames that were handed to sockets.
    pub delivered: u64,
    /// Events that were sent again to who had missed them.
    pub replayed: u64,
    /// Ephemeral frames that were dropped because too much waited.
    pub dropped: u64,
    /// Connections that had to begin anew, by reason.
    pub resets: Vec<(&'static str, u64)>,
    /// Connections that this side closed, by code.
    pub closes: Vec<(u16, u64)>,
    /// Connections that did not begin, by reason: the answer was a status, or the advice to come later.
    pub refused: Vec<(&'static str, u64)>,
}

impl Metrics {
    fn gauge(&self, transport: Transport) -> &AtomicU64 {
        match transport {
            Transport::WebSocket => &self.websockets,
            Transport::Stream => &self.streams,
        }
    }

    /// Counts a connection for as long as what it returns lives.
    pub(crate) fn open(self: &Arc<Self>, transport: Transport) -> Opened {
        self.gauge(transport).fetch_add(1, Ordering::Relaxed);
        Opened { metrics: Arc::clone(self), transport }
    }

    pub(crate) fn delivered(&self, frames: u64) {
        self.delivered.fetch_add(frames, Ordering::Relaxed);
    }

    pub(crate) fn replayed(&self, events: usize) {
        self.replayed.fetch_add(events as u64, Ordering::Relaxed);
    }

    pub(crate) fn dropped(&self, frames: u64) {
        if frames > 0 {
            self.dropped.fetch_add(frames, Ordering::Relaxed);
        }
    }

    pub(crate) fn reset(&self, why: Reset, connections: usize) {
        let index = RESETS.iter().position(|reset| *reset == why).expect("all are listed");
        self.resets[index].fetch_add(connections as u64, Ordering::Relaxed);
    }

    pub(crate) fn closed(&self, code: CloseCode) {
        self.closes[code.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn refused(&self, why: Why) {
        self.refused[why.index()].fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn numbers(&self) -> Numbers {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Numbers {
            websockets: read(&self.websockets),
            streams: read(&self.streams),
            delivered: read(&self.delivered),
            replayed: read(&self.replayed),
            dropped: read(&self.dropped),
            resets: RESETS.iter().zip(&self.resets).map(|(why, count)| (why.name(), read(count))).collect(),
            closes: CloseCode::ALL
                .iter()
                .zip(&self.closes)
                .map(|(code, count)| (code.number(), read(count)))
                .collect(),
            refused: Why::ALL
                .iter()
                .zip(&self.refused)
                .map(|(why, count)| (why.name(), read(count)))
                .collect(),
        }
    }
}
