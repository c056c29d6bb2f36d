//! The program `larder`: a cached multi-tenant backend, its command line and its cache operations.
//!
//! The binary calls [`main`]; tests call [`run`] with a configuration, a port and an end of their own.

mod cache_headers;
mod cli;
mod client;
mod commands;
pub mod config;
mod failure;
mod http;
mod limits;
mod logging;
mod pages;
mod telemetry;

use std::process::ExitCode;

use clap::Parser;

pub use commands::serve::{Bound, run};
pub use failure::Failure;

use cli::{Cli, Verb};

/// Does what the command line says.
///
/// Ends with 0 when that was done, with 2 for a wrong configuration or command line, and with 1 otherwise.
///
/// # Panics
/// Where a TLS provider of another kind was installed before.
#[must_use]
pub fn main() -> ExitCode {
    rustls::crypto::ring::default_provider()
        .install_default()
        .expect("nothing ran before that could have installed one");
    let done = match Cli::parse().command {
        Verb::Serve(flags) => commands::serve::start(flags),
        Verb::Bench(args) => commands::bench::run(&args),
        Verb::Check(flags) => commands::check::run(flags),
        Verb::Health(args) => commands::health::run(&args),
        Verb::Stats(args) => commands::stats::run(&args),
        Verb::Keys(args) => commands::keys::run(&args),
        Verb::Clear(args) => commands::clear::run(&args),
        Verb::Crawl(args) => commands::crawl::run(&args),
        Verb::Tail(args) => commands::tail::run(&args),
        Verb::Top(args) => commands::top::run(&args),
        Verb::User(verb) => commands::user::run(verb),
        Verb::Outbox(verb) => commands::outbox::run(&verb),
        Verb::Config(flags) => commands::config::run(flags),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("{failure}");
            failure.code()
        }
    }
}

/// Says what is odd about the configuration where no log is written.
fn warn(warnings: &[String]) {
    for warning in warnings {
        eprintln!("warning: {warning}");
    }
}
