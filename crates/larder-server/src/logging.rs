//! Log lines on standard error: for people in development, JSON in production.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::config::value::Mode;
use crate::limits::LOG_BACKLOG;

/// What writes the lines. At its end it writes those that wait, for at most a second.
#[must_use = "without it nothing is written"]
pub(crate) struct Lines {
    _writer: WorkerGuard,
    dropped: ErrorCounter,
}

/// Begins logging as `config` says. Only the first call of a process has an effect.
///
/// A thread of its own writes: a request does not wait for whoever reads standard error, and goes on where nobody
/// does. Lines beyond [`LOG_BACKLOG`] are dropped then, and counted.
pub(crate) fn start(config: &Config) -> Lines {
    let filter = EnvFilter::new(&config.log.0);
    let (stderr, writer) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_BACKLOG)
        .thread_name("larder-log")
        .finish(std::io::stderr());
    let dropped = stderr.error_counter();
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    let started = match config.env {
        Mode::Development => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Mode::Production => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logging had been started already");
    }
    Lines { _writer: writer, dropped }
}

impl Drop for Lines {
    fn drop(&mut self) {
        let dropped = self.dropped.dropped_lines();
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: nobody took them from standard error in time");
        }
    }
}
