//! The server's own event stream, followed for as long as somebody looks.

use std::time::{Duration, Instant};

use reqwest::{Method, Response, StatusCode};
use tokio::sync::mpsc::Sender;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::overview::Overview;
use crate::client::Client;
use crate::failure::Failure;

/// Where the server tells it each second.
const LIVE: &str = "api/cache/live";
/// A stream that says nothing for so long has ended without saying so.
const SILENCE: Duration = Duration::from_secs(10);
/// Connecting and the head of the answer may take so long.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(15);
/// A stream may go on for ever; the client's time-out is meant for answers that end.
const FOR_EVER: Duration = Duration::from_secs(10 * 365 * 86_400);
/// One overview has some 30 KiB.
const EVENT_BYTES: usize = 4 << 20;

/// What has come.
pub(super) enum News {
    Overview(Box<Overview>),
    /// Nothing comes any more; it is tried again then.
    Lost {
        why: String,
        again: Instant,
    },
    /// The server does not talk to this person any more.
    Refused(Failure),
}

/// Follows in a task of its own, which ends with this.
pub(super) struct Feed(JoinHandle<()>);

impl Feed {
    pub(super) fn begin(client: Client, news: Sender<News>) -> Self {
        Self(tokio::spawn(follow(client, news)))
    }
}

impl Drop for Feed {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Follows until nobody listens or the server refuses.
async fn follow(client: Client, news: Sender<News>) {
    let mut pause = FIRST_PAUSE;
    loop {
        let why = match connect(&client).await {
            Ok(response) if response.status().is_success() => {
                let (came, why) = read(response, &news).await;
                if came {
                    pause = FIRST_PAUSE;
                }
                why
            }
            // Any other answer is one of a proxy whose server is away, or of a server that has no room now.
            Ok(response) if is_final(response.status()) => {
                let _ = news.send(News::Refused(client.refused(response).await)).await;
                return;
            }
            Ok(response) => format!("the server answers {}", response.status()),
            Err(why) => why,
        };
        if news.send(News::Lost { why, again: Instant::now() + pause }).await.is_err() {
            return;
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn is_final(status: StatusCode) -> bool {
    matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN | StatusCode::NOT_FOUND)
}

async fn connect(client: &Client) -> Result<Response, String> {
    let request = client.request(Method::GET, client.url(LIVE)).timeout(FOR_EVER);
    match timeout(PATIENCE, client.send(request)).await {
        Ok(Ok(response)) => Ok(response),
        Ok(Err(failure)) => Err(failure.message().to_owned()),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    }
}

/// Reads to the end of the stream. Returns whether anything has come, and why it ended.
async fn read(mut response: Response, news: &Sender<News>) -> (bool, String) {
    let (mut text, mut came) = (Vec::new(), false);
    loop {
        let chunk = match timeout(SILENCE, response.chunk()).await {
            Ok(Ok(Some(chunk))) => chunk,
            Ok(Ok(None)) => return (came, "the server has ended the stream".to_owned()),
            Ok(Err(_)) => return (came, "the connection has broken".to_owned()),
            Err(_) => return (came, format!("nothing has come for {} s", SILENCE.as_secs())),
        };
        text.extend_from_slice(&chunk);
        while let Some(end) = text.windows(2).position(|two| two == b"\n\n") {
            let block: Vec<u8> = text.drain(..end + 2).collect();
            match overview(&String::from_utf8_lossy(&block)) {
                Some(Ok(overview)) => {
                    came = true;
                    if news.send(News::Overview(Box::new(overview))).await.is_err() {
                        return (came, String::new());
                    }
                }
                Some(Err(why)) => return (came, format!("what has come can't be read: {why}")),
                None => {}
            }
        }
        if text.len() > EVENT_BYTES {
            return (came, "an event has no end".to_owned());
        }
    }
}

/// That of one event of the stream (WHATWG HTML §9.2.6, as our server writes it), if it is one of these.
fn overview(block: &str) -> Option<serde_json::Result<Overview>> {
    let field = |name: &str| block.lines().find_map(|line| line.strip_prefix(name));
    (field("event: ") == Some("overview")).then(|| serde_json::from_str(field("data: ").unwrap_or_default()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_taken_apart_and_comments_are_passed_over() {
        let event = "event: overview\nid: 7\ndata: {\"status\":\"healthy\",\"new\":1,\"now\":null}\n\n";
        assert_eq!(overview(event).unwrap().unwrap().status, "healthy");
        assert!(overview(": still here\n\n").is_none());
        assert!(overview("event: other\ndata: {}\n\n").is_none());
        assert!(overview("event: overview\ndata: {\n\n").unwrap().is_err());
    }
}
