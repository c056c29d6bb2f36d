//! Log lines on standard error: for people in development, JSON in production.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::MakeWriter;

use crate::config::Config;
use crate::config::value::Mode;
use crate::limits::LOG_BACKLOG;

/// What writes the lines. At its end it writes those that wait, for at most a second.
#[must_use = "without it nothing is written"]
pub(crate) struct Lines(Option<(WorkerGuard, ErrorCounter)>);

/// Begins logging as `config` says. Only the first call of a process has an effect.
///
/// Where standard error is no file, a thread of its own writes: a request does not wait for whoever reads the other end,
/// and goes on where nobody does. Lines beyond [`LOG_BACKLOG`] are dropped then, and counted.
pub(crate) fn start(config: &Config) -> Lines {
    if is_file(std::io::stderr()) {
        begin(config, std::io::stderr);
        return Lines(None);
    }
    let (lines, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_BACKLOG)
        .thread_name("larder-log")
        .finish(std::io::stderr());
    let dropped = lines.error_counter();
    begin(config, lines);
    Lines(Some((guard, dropped)))
}

fn begin<W: for<'a> MakeWriter<'a> + Send + Sync + 'static>(config: &Config, to: W) {
    let filter = EnvFilter::new(&config.log.0);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(to);
    let started = match config.env {
        Mode::Development => lines.with_ansi(std::io::stderr().is_terminal()).try_init(),
        Mode::Production => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).try_init()
        }
    };
    if started.is_err() {
        tracing::debug!("logging had been started already");
    }
}

/// Writing to a file waits for nobody.
#[cfg(unix)]
fn is_file(output: impl std::os::fd::AsFd) -> bool {
    let file = output.as_fd().try_clone_to_owned().map(std::fs::File::from);
    file.and_then(|file| file.metadata()).is_ok_and(|of| of.is_file())
}

#[cfg(not(unix))]
fn is_file<T>(_: T) -> bool {
    false
}

impl Drop for Lines {
    fn drop(&mut self) {
        let dropped = self.0.as_ref().map_or(0, |(_, dropped)| dropped.dropped_lines());
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: nobody took them from standard error in time");
        }
    }
}
