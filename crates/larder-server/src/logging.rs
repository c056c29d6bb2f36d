//! Log lines on standard error: for people in development, JSON in production.

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;

use crate::config::Config;
use crate::config::value::Mode;

/// Begins logging as `config` says. Only the first call of a process has an effect.
pub(crate) fn start(config: &Config) {
    let filter = EnvFilter::new(&config.log.0);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
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
