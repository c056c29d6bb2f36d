//! `larder health`: whether a running server is well, by the exit code. For containers, which have no shell and no curl.

use std::time::Duration;

use clap::Args;
use serde_json::Value;

use super::out;
use crate::client::{Client, ClientArgs, block_on};
use crate::failure::Failure;

/// Whoever asks every few seconds does not wait for longer.
const PATIENCE: Duration = Duration::from_secs(3);

#[derive(Args, Clone, Debug)]
pub(crate) struct HealthArgs {
    /// Ask whether requests should be sent there (/health/ready), and not only whether it runs (/health/live)
    #[arg(long)]
    ready: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) fn run(args: &HealthArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let word = if args.ready { "ready" } else { "live" };
    block_on(well(&client, &format!("health/{word}")))?;
    out(&format!("{} is {word}\n", client.url("")))
}

/// Neither route counts against any limit, so that an answer comes however busy the server is.
async fn well(client: &Client, path: &str) -> Result<(), Failure> {
    let answer = tokio::time::timeout(PATIENCE, client.get::<Value>(path, &[])).await;
    let late =
        |_| Failure::new(format!("{} did not answer within {} s", client.url(path), PATIENCE.as_secs()));
    answer.map_err(late)?.map(drop)
}
