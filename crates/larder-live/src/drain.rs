//! Going away: everybody is asked to come back elsewhere, not all at the same moment.

use std::time::{Duration, Instant};

use crate::limits::CLOSING;
use crate::live::Shared;
use crate::protocol::{CloseCode, Frame};
use crate::random;

/// Connections that are asked at a time: other nodes verify some thousand tokens a second each.
const WAVE: usize = 100;
/// Between two waves: 1,000 connections a second, unless that would take too long.
const PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn drain(shared: &Shared) {
    shared.draining.cancel();
    shared.connections.close();
    let conns: Vec<_> = shared.hub.all().iter().flat_map(|audience| audience.everybody()).collect();
    if !conns.is_empty() {
        tracing::info!(connections = conns.len(), "asking the connections to come back elsewhere");
    }
    let begun = Instant::now();
    let waves = conns.len().div_ceil(WAVE).max(1);
    let pause = PAUSE.min(shared.config.drain / u32::try_from(waves).unwrap_or(u32::MAX));
    // Those of one wave come back spread over the pause, or over a second where there are few.
    let spread = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX).max(1000);
    for (number, wave) in conns.chunks(WAVE).enumerate() {
        for conn in wave {
            conn.queue.push_now(Frame::bye(CloseCode::Drain, random::below(spread)));
            conn.queue.close(CloseCode::Drain);
        }
        if number + 1 < waves {
            tokio::time::sleep(pause).await;
        }
    }
    // Those that have not signed in notice by themselves.
    if tokio::time::timeout(2 * CLOSING, shared.connections.wait()).await.is_err() {
        let left = shared.connections.len();
        tracing::warn!(left, seconds = begun.elapsed().as_secs(), "connections did not end and are cut off");
    }
}
