//! `larder clear`: entries that must not be served again.

use clap::Args;
use serde_json::{Value, json};

use super::out;
use crate::client::{Client, ClientArgs, block_on};
use crate::failure::Failure;

#[derive(Args, Clone, Debug)]
pub(crate) struct ClearArgs {
    /// What to clear, without the tenant: campaigns:* or dashboard_kpis:*; everything where it is left out
    pattern: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) fn run(args: &ClearArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let scope = block_on(clear(&client, args.pattern.as_deref()))?;
    out(&format!("cleared: {scope}\n"))
}

/// Clears what `pattern` covers and returns the scope that it turned into.
pub(crate) async fn clear(client: &Client, pattern: Option<&str>) -> Result<String, Failure> {
    let query: Vec<_> = pattern.map(|pattern| ("pattern", pattern)).into_iter().collect();
    let answer: Value = client.post("api/cache/clear", &query, &json!({})).await?;
    Ok(match &answer["scope"] {
        Value::String(scope) => scope.clone(),
        scope => scope.to_string(),
    })
}
