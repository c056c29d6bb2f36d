//! `larder keys`: the keys in the running server's memory, one entry, or the raw keys in Redis.

use clap::Args;
use serde_json::Value;

use super::{out, table};
use crate::client::{Client, ClientArgs, block_on};
use crate::failure::Failure;

#[derive(Args, Clone, Debug)]
pub(crate) struct KeysArgs {
    /// Only keys like this one, with * for any text: campaigns:*
    pattern: Option<String>,
    /// Show one entry: size, TTL, age, tags, tier
    #[arg(long, value_name = "KEY", conflicts_with = "pattern")]
    show: Option<String>,
    /// Add TTL and size to each key
    #[arg(long, conflicts_with_all = ["show", "redis"])]
    long: bool,
    /// Print the raw keys in Redis (REDIS_URL) instead
    #[arg(long, conflicts_with = "show")]
    redis: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) fn run(args: &KeysArgs) -> Result<(), Failure> {
    if args.redis {
        return block_on(raw(args.pattern.as_deref()));
    }
    let client = Client::new(&args.client)?;
    match &args.show {
        Some(key) => block_on(show(&client, key)),
        None => block_on(list(&client, args.pattern.as_deref(), args.long)),
    }
}

async fn list(client: &Client, pattern: Option<&str>, long: bool) -> Result<(), Failure> {
    let mut cursor: Option<String> = None;
    loop {
        let mut query = Vec::new();
        query.extend(pattern.map(|pattern| ("pattern", pattern)));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Value = client.get("api/cache/keys", &query).await?;
        let rows = page["keys"].as_array().or_else(|| page["items"].as_array()).into_iter().flatten();
        let lines = rows.map(|row| {
            let key = row.as_str().or_else(|| row["key"].as_str()).unwrap_or_default().to_owned();
            if long { vec![key, text(&row["ttl"]), text(&row["size"])] } else { vec![key] }
        });
        out(&table::plain(lines))?;
        match next(&page) {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(()),
        }
    }
}

fn next(page: &Value) -> Option<String> {
    let cursor = ["next_cursor", "next", "cursor"].iter().map(|name| &page[*name]).find(|value| !value.is_null())?;
    Some(text(cursor)).filter(|text| !text.is_empty() && text != "0")
}

async fn show(client: &Client, key: &str) -> Result<(), Failure> {
    let mut url = client.url("api/cache/keys");
    // As one segment, whatever is in it.
    url.path_segments_mut().map_err(|()| Failure::new("the server's address can't have a path"))?.push(key);
    let response = client.send(client.request(reqwest::Method::GET, url)).await?;
    if response.status() == http::StatusCode::NOT_FOUND {
        return Err(Failure::new(format!("there is no entry {key:?} in this server's memory"))
            .hint("`larder keys` lists those there are; an entry may have expired or been invalidated"));
    }
    if !response.status().is_success() {
        return Err(client.refused(response).await);
    }
    let entry: Value = response.json().await.map_err(|error| Failure::new(format!("the answer can't be read: {error}")))?;
    let fields = entry.as_object().into_iter().flatten();
    out(&table::plain(fields.map(|(name, value)| vec![name.clone(), text(value)])))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

async fn raw(_pattern: Option<&str>) -> Result<(), Failure> {
    Err(Failure::new("not yet"))
}
