//! `larder tail`: what is published for a tenant, as it comes.

use std::time::Duration;

use clap::Args;
use reqwest::{Method, Response};
use serde_json::Value;
use tokio::time::timeout;

use super::out;
use crate::client::{Client, ClientArgs, block_on};
use crate::failure::Failure;

/// A stream that says nothing for so long has ended without saying so: the server sends a comment every 15 s.
const SILENCE: Duration = Duration::from_secs(40);
/// The longest wait before it connects again.
const PAUSE: Duration = Duration::from_secs(20);
/// The first.
const FIRST_PAUSE: Duration = Duration::from_millis(500);
/// A stream may go on for ever; the client's time-out is meant for answers that end.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);
/// One event has 64 KiB and a frame around it.
const EVENT_BYTES: usize = 1 << 20;

#[derive(Args, Clone, Debug)]
pub(crate) struct TailArgs {
    /// The tenant; the token has to be of the same
    tenant: String,
    /// Rooms to listen to besides `tenant` and the user's own, with commas
    #[arg(long, value_name = "ROOMS", default_value = "")]
    rooms: String,
    /// Begin after this position, such as k3JxQ0aZ:1017, as far as the server keeps what came since
    #[arg(long, value_name = "POSITION")]
    since: Option<String>,
    /// End after so many events
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Print each event as the JSON object that it is, one on a line
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    client: ClientArgs,
}

pub(crate) fn run(args: &TailArgs) -> Result<(), Failure> {
    let client = Client::new(&args.client)?;
    block_on(Tail { client, args, last: args.since.clone(), left: args.count.unwrap_or(u64::MAX) }.run())
}

/// How far it is.
struct Tail<'a> {
    client: Client,
    args: &'a TailArgs,
    /// The position of the last that was told.
    last: Option<String>,
    /// Events until it ends.
    left: u64,
}

impl Tail<'_> {
    /// Follows, and connects again with the position where it was.
    async fn run(&mut self) -> Result<(), Failure> {
        let mut pause = FIRST_PAUSE;
        let mut ever = false;
        while self.left > 0 {
            match self.connect().await {
                Ok(response) if response.status().is_success() => {
                    (pause, ever) = (FIRST_PAUSE, true);
                    let why = self.follow(response).await?;
                    if self.left > 0 {
                        eprintln!("{why}; connecting again");
                    }
                }
                Ok(response) => return Err(self.client.refused(response).await),
                // A server that was there comes back; one that never was is a mistake.
                Err(failure) if !ever => return Err(failure),
                Err(_) => {}
            }
            if self.left > 0 {
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(PAUSE);
            }
        }
        Ok(())
    }

    async fn connect(&self) -> Result<Response, Failure> {
        let path = format!("sse/notifications/{}", self.args.tenant);
        let mut query = vec![("rooms", self.args.rooms.as_str())];
        query.extend(self.last.as_deref().map(|last| ("last_event_id", last)));
        let request = self.client.request(Method::GET, self.client.url(&path)).query(&query);
        self.client.send(request.timeout(FOR_EVER)).await
    }

    /// Prints until the stream ends. Returns why it did.
    async fn follow(&mut self, mut response: Response) -> Result<&'static str, Failure> {
        let mut text = Vec::new();
        while self.left > 0 {
            let chunk = match timeout(SILENCE, response.chunk()).await {
                Ok(Ok(Some(chunk))) => chunk,
                Ok(Ok(None)) => return Ok("the server has ended the stream"),
                Ok(Err(_)) => return Ok("the connection has broken"),
                Err(_) => return Ok("nothing has come for 40 s"),
            };
            text.extend_from_slice(&chunk);
            while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
                let block: Vec<u8> = text.drain(..end + 2).collect();
                self.take(&String::from_utf8_lossy(&block))?;
                if self.left == 0 {
                    break;
                }
            }
            if text.len() > EVENT_BYTES {
                return Ok("an event has no end");
            }
        }
        Ok("done")
    }

    /// One event of the stream (WHATWG HTML §9.2.6, as our server writes it).
    fn take(&mut self, block: &str) -> Result<(), Failure> {
        let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
        if let Some(id) = field("id: ") {
            self.last = Some(id.to_owned());
        }
        let Some(data) = field("data: ") else { return Ok(()) };
        match field("event: ") {
            Some("event" | "message") => {
                self.left -= 1;
                out(&if self.args.json { format!("{data}\n") } else { for_people(data) })
            }
            Some("reset") => {
                eprintln!("events are missing: what came before is not the whole of it");
                if self.args.json { out(&format!("{data}\n")) } else { Ok(()) }
            }
            Some("error") => {
                let said: Value = serde_json::from_str(data).unwrap_or_default();
                eprintln!("the server says: {}", said["msg"].as_str().unwrap_or(data));
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// `12:03:04.123  1018  campaign.created  tenant  {"id":…}`; the time is UTC.
fn for_people(data: &str) -> String {
    let event: Value = serde_json::from_str(data).unwrap_or_default();
    let text = |name: &str| event[name].as_str().unwrap_or("-").to_owned();
    let time = event["ts"].as_u64().map_or_else(|| "-".to_owned(), of_day);
    let offset = event["offset"].as_u64().map_or_else(|| "-".to_owned(), |offset| offset.to_string());
    let from = event["from"].as_str().map(|from| format!("  from {from}")).unwrap_or_default();
    format!("{time}  {offset}  {}  {}{from}  {}\n", text("kind"), text("room"), event["data"])
}

pub(super) fn of_day(ms: u64) -> String {
    let (seconds, ms) = (ms / 1000 % 86_400, ms % 1000);
    format!("{:02}:{:02}:{:02}.{ms:03}", seconds / 3600, seconds / 60 % 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_line_for_people() {
        let data = r#"{"type":"event","epoch":"k","offset":1018,"room":"tenant","eid":"e","kind":"campaign.created",
            "ts":1790000000123,"data":{"id":17}}"#;
        assert_eq!(for_people(data), "14:13:20.123  1018  campaign.created  tenant  {\"id\":17}\n");
        let message = r#"{"type":"message","room":"chat:1","kind":"message","from":"42","data":"hi"}"#;
        assert_eq!(for_people(message), "-  -  message  chat:1  from 42  \"hi\"\n");
    }
}
