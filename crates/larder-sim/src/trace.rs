//! What happened, as lines; and one number that stands for all of them.

use parking_lot::Mutex;
use std::fmt::Arguments;
use std::sync::Arc;
use tokio::time::Instant;

/// Takes note of everything that happens. Clones share it.
#[derive(Clone)]
pub struct Trace(Arc<Inner>);

struct Inner {
    start: Instant,
    hash: Mutex<u64>,
    lines: Option<Mutex<Vec<String>>>,
}

impl Trace {
    /// From now on; keeps the lines if they shall be shown.
    pub fn new(keep: bool) -> Self {
        let (hash, lines) = (Mutex::new(0xcbf2_9ce4_8422_2325), keep.then(Mutex::default));
        Self(Arc::new(Inner { start: Instant::now(), hash, lines }))
    }

    /// Simulated time since the start, in ms.
    pub fn now_ms(&self) -> u64 {
        u64::try_from(self.0.start.elapsed().as_millis()).expect("less than 584 million years")
    }

    /// Something happened.
    pub fn note(&self, what: Arguments<'_>) {
        let line = format!("{:>8} {what}", self.now_ms());
        {
            // FNV-1a
            let mut hash = self.0.hash.lock();
            for byte in line.bytes() {
                *hash = (*hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
            }
        }
        if let Some(lines) = &self.0.lines {
            lines.lock().push(line);
        }
    }

    /// Stands for everything that has happened.
    pub fn hash(&self) -> u64 {
        *self.0.hash.lock()
    }

    /// The lines, if they were kept.
    pub fn lines(&self) -> Vec<String> {
        self.0.lines.as_ref().map(|lines| lines.lock().clone()).unwrap_or_default()
    }
}
