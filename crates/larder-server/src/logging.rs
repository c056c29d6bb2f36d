//! Log lines on standard error: for people in development, JSON in production.

use std::io::IsTerminal;

use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer};

use crate::config::Config;
use crate::config::value::Mode;
use crate::failure::Failure;
use crate::limits::LOG_BACKLOG;
use crate::telemetry::{self, AnyLayer, Export};

/// What writes the lines, and sends the spans. At its end it does so with those that wait, for a moment.
#[must_use = "without it nothing is written"]
pub(crate) struct Lines {
    writer: Option<(WorkerGuard, ErrorCounter)>,
    _export: Option<Export>,
}

/// Begins logging as `config` says. Only the first call of a process has an effect.
///
/// Where standard error is no file, a thread of its own writes: a request does not wait for whoever reads the other end,
/// and goes on where nobody does. Lines beyond [`LOG_BACKLOG`] are dropped then, and counted.
///
/// # Errors
/// Where spans are to be exported and can't be.
pub(crate) fn start(config: &Config) -> Result<Lines, Failure> {
    let (export, spans) = telemetry::start()?.unzip();
    if is_file(std::io::stderr()) {
        begin(config, std::io::stderr, spans);
        return Ok(Lines { writer: None, _export: export });
    }
    let (lines, guard) = NonBlockingBuilder::default()
        .buffered_lines_limit(LOG_BACKLOG)
        .thread_name("larder-log")
        .finish(std::io::stderr());
    let dropped = lines.error_counter();
    begin(config, lines, spans);
    Ok(Lines { writer: Some((guard, dropped)), _export: export })
}

fn begin<W>(config: &Config, to: W, spans: Option<AnyLayer>)
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(to);
    let lines: AnyLayer = match config.env {
        Mode::Development => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        Mode::Production => {
            lines.json().flatten_event(true).with_current_span(true).with_span_list(false).boxed()
        }
    };
    // One filter for all, and none of a layer's own: with those, a line is lost whenever somebody has asked just before it whether
    // another would be written (`log::log_enabled!`, which the SQL driver does).
    let more = if spans.is_some() { telemetry::SPANS } else { "" };
    let filter = EnvFilter::new(format!("{}{more}", config.log.0));
    let layers: Vec<AnyLayer> = std::iter::once(lines).chain(spans).collect();
    if tracing_subscriber::registry().with(layers).with(filter).try_init().is_err() {
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
        let dropped = self.writer.as_ref().map_or(0, |(_, dropped)| dropped.dropped_lines());
        if dropped > 0 {
            tracing::warn!(dropped, "log lines were dropped: nobody took them from standard error in time");
        }
    }
}
