//! `larder stats`: what the running server's cache has done.

use clap::Args;
use serde_json::{Map, Value};

use super::{out, table};
use crate::client::{Client, ClientArgs, block_on};
use crate::failure::Failure;

#[derive(Args, Clone, Debug)]
pub(crate) struct StatsArgs {
    #[command(flatten)]
    client: ClientArgs,
    /// Print the server's answer as it is
    #[arg(long)]
    json: bool,
}

pub(crate) fn run(args: &StatsArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let stats: Value = block_on(client.get("api/cache/stats", &[]))?;
    if args.json {
        return out(&format!("{stats:#}\n"));
    }
    out(&for_people(&stats))
}

fn for_people(stats: &Value) -> String {
    let empty = Map::new();
    let totals = stats.as_object().unwrap_or(&empty);
    let rows = totals.iter().filter(|(_, value)| !value.is_object() && !value.is_array());
    let mut text = table::plain(rows.map(|(name, value)| vec![name.clone(), cell(value)]));
    let endpoints = stats["by_endpoint"].as_object().unwrap_or(&empty);
    let asked = |numbers: &&Value| {
        numbers.as_object().is_some_and(|row| row.values().any(|n| n.as_f64() > Some(0.0)))
    };
    let Some(first) = endpoints.values().find(asked).and_then(Value::as_object) else { return text };
    let columns: Vec<&String> = first.keys().collect();
    let head =
        ["endpoint".to_owned()].into_iter().chain(columns.iter().map(|name| (*name).clone())).collect();
    let body = endpoints.iter().filter(|(_, numbers)| asked(numbers)).map(|(name, numbers)| {
        let cells = columns.iter().map(|column| cell(&numbers[column.as_str()]));
        [name.clone()].into_iter().chain(cells).collect()
    });
    text.push('\n');
    text.push_str(&table::plain([head].into_iter().chain(body)));
    text
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "-".to_owned(),
        Value::Number(number) if number.is_f64() => format!("{:.2}", number.as_f64().unwrap_or_default()),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn endpoints_that_nobody_asked_are_left_out() {
        let stats = serde_json::json!({
            "status": "healthy", "hits": 3, "hit_rate": 0.75,
            "by_endpoint": {"campaigns": {"hits": 3, "misses": 1}, "leads": {"hits": 0, "misses": 0}},
        });
        let text = for_people(&stats);
        assert!(text.contains("hit_rate  0.75\n"), "{text}");
        assert!(text.contains("endpoint   hits  misses\ncampaigns  3     1\n"), "{text}");
        assert!(!text.contains("leads"), "{text}");
    }
}
