//! `larder crawl`: feeds threats, one JSON object on each line, to the running server.

use std::fs::File;
use std::io::{self, BufRead, BufReader, IsTerminal};
use std::time::Duration;

use clap::Args;
use http::StatusCode;
use http::header::{CONTENT_TYPE, RETRY_AFTER};
use indicatif::ProgressBar;
use reqwest::{Method, Response};
use serde_json::Value;

use super::out;
use crate::client::{Client, ClientArgs, block_on};
use crate::failure::Failure;

/// The server takes no more at a time.
const BATCH_ITEMS: usize = 1000;
/// Stays below the server's limit of 1 MiB for a body.
const BATCH_BYTES: usize = 900 << 10;
/// One line longer than that is none that the server would take.
const LINE_BYTES: usize = 256 << 10;
/// How often a batch is sent that is refused for want of room or rate.
const TRIES: u32 = 20;

#[derive(Args, Clone, Debug)]
pub(crate) struct CrawlArgs {
    /// A file with one JSON object on each line; - is standard input
    #[arg(default_value = "-")]
    file: String,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) fn run(args: &CrawlArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    let inserted = if args.file == "-" {
        if io::stdin().is_terminal() {
            eprintln!("reading JSON lines from the terminal; Ctrl-D ends them");
        }
        block_on(feed(&client, BufReader::new(io::stdin())))?
    } else {
        let file = File::open(&args.file).map_err(|error| {
            Failure::new(format!("{} can't be read: {error}", args.file))
                .hint("name a file, or - for standard input")
        })?;
        block_on(feed(&client, BufReader::new(file)))?
    };
    out(&format!("inserted: {inserted}\n"))
}

/// Lines that were read but not yet sent.
#[derive(Default)]
struct Batch {
    /// A JSON array that still lacks its end.
    body: String,
    /// The line each item stands on.
    lines: Vec<usize>,
}

impl Batch {
    fn add(&mut self, line: usize, text: &str) {
        self.body.push(if self.lines.is_empty() { '[' } else { ',' });
        self.body.push_str(text);
        self.lines.push(line);
    }

    fn is_full_before(&self, text: &str) -> bool {
        self.lines.len() == BATCH_ITEMS || self.body.len() + text.len() + 2 > BATCH_BYTES
    }
}

async fn feed(client: &Client, mut input: impl BufRead) -> Result<u64, Failure> {
    let progress = ProgressBar::new_spinner().with_message("threats inserted");
    let (mut batch, mut inserted, mut number) = (Batch::default(), 0, 0);
    let mut line = String::new();
    loop {
        line.clear();
        number += 1;
        let read = input.read_line(&mut line);
        let read = read.map_err(|error| at(number, &format!("can't be read: {error}"), inserted))?;
        let text = line.trim();
        if read > 0 && text.is_empty() {
            continue;
        }
        if !batch.lines.is_empty() && (read == 0 || batch.is_full_before(text)) {
            inserted += send(client, std::mem::take(&mut batch), inserted).await?;
            progress.set_position(inserted);
        }
        if read == 0 {
            progress.finish_and_clear();
            return Ok(inserted);
        }
        if text.len() > LINE_BYTES {
            return Err(at(number, "is longer than 256kb", inserted));
        }
        match serde_json::from_str::<Value>(text) {
            Ok(Value::Object(_)) => batch.add(number, text),
            Ok(_) => return Err(at(number, "is JSON, but no object", inserted)),
            Err(error) => return Err(at(number, &format!("is no JSON: {error}"), inserted)),
        }
    }
}

fn at(line: usize, what: &str, inserted: u64) -> Failure {
    Failure::new(format!("line {line} {what}")).hint(format!(
        "{inserted} threats of the lines before were inserted; put the line right and go on from there"
    ))
}

async fn send(client: &Client, mut batch: Batch, before: u64) -> Result<u64, Failure> {
    batch.body.push(']');
    for _ in 1..TRIES {
        let request = client.request(Method::POST, client.url("api/threats"));
        let request = request.header(CONTENT_TYPE, "application/json").body(batch.body.clone());
        let response = client.send(request).await?;
        match response.status() {
            status if status.is_success() => {
                let answer: Value = response.json().await.unwrap_or_default();
                return Ok(answer["inserted"].as_u64().unwrap_or(0));
            }
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
                tokio::time::sleep(wait(&response)).await;
            }
            StatusCode::UNPROCESSABLE_ENTITY => return Err(invalid(response, &batch, before).await),
            _ => return Err(client.refused(response).await),
        }
    }
    Err(Failure::new(format!("the server refused the lines from {} on for want of room", batch.lines[0]))
        .hint(format!("{before} threats of the lines before were inserted")))
}

fn wait(response: &Response) -> Duration {
    let seconds = response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(1).clamp(1, 60))
}

/// The server names the item in the batch; the person knows lines.
async fn invalid(response: Response, batch: &Batch, inserted: u64) -> Failure {
    let problem: Value = response.json().await.unwrap_or_default();
    let errors = problem["errors"].as_array().into_iter().flatten();
    let named = errors.map(|error| {
        let (field, why) =
            (error["field"].as_str().unwrap_or("?"), error["message"].as_str().unwrap_or("not valid"));
        match item(field) {
            Some((index, rest)) => match batch.lines.get(index) {
                Some(line) => format!("\n  line {line}: {rest} {why}"),
                None => format!("\n  {field}: {why}"),
            },
            None => format!("\n  {field}: {why}"),
        }
    });
    let named: String = named.take(20).collect();
    let lines = format!("{} to {}", batch.lines[0], batch.lines[batch.lines.len() - 1]);
    Failure::new(format!("the server did not take lines {lines}:{named}"))
        .hint(format!("{inserted} threats of the lines before were inserted"))
}

/// The index in `[3].severity` or `items[3].severity`, and the field after it.
fn item(field: &str) -> Option<(usize, &str)> {
    let (_, rest) = field.split_once('[')?;
    let (index, rest) = rest.split_once(']')?;
    Some((index.parse().ok()?, rest.trim_start_matches('.')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_a_json_array_and_ends_at_its_limits() {
        let mut batch = Batch::default();
        for line in 0..BATCH_ITEMS {
            assert!(!batch.is_full_before("{}"));
            batch.add(line, "{}");
        }
        assert!(batch.is_full_before("{}"));
        let array: Vec<Value> = serde_json::from_str(&format!("{}]", batch.body)).unwrap();
        assert_eq!(array.len(), BATCH_ITEMS);

        let mut heavy = Batch::default();
        heavy.add(1, &"x".repeat(BATCH_BYTES - 10));
        assert!(heavy.is_full_before(&"x".repeat(20)));
    }

    #[test]
    fn the_index_of_an_item_is_read_out_of_a_field() {
        assert_eq!(item("[3].severity"), Some((3, "severity")));
        assert_eq!(item("items[12].title"), Some((12, "title")));
        assert_eq!(item("severity"), None);
        assert_eq!(item("[x]"), None);
    }
}
