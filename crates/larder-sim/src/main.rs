//! The command: `cargo run --release -p larder-sim -- simulate --seeds 1000`.

use clap::Parser;
use larder_sim::command::Command;
use std::process::ExitCode;

fn main() -> ExitCode {
    if Command::parse().run() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
