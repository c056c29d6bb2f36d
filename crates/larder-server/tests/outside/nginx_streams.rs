//! Event streams through nginx: what holds an event back, what ends a quiet stream, and that neither happens here.
//!
//! nginx buffers a response whose end it does not know until 4 or 8 KB are there, or its end; an answer in chunks
//! (`proxy_http_version 1.1`) it passes on chunk by chunk also then, unless `gzip` gathers them.

use crate::client::Client;
use crate::nginx::{CONFIGURATION, Front, Pair};
use crate::routes::a_campaign;
use crate::stack::{Kind, Stack};
use larder_testkit::assert_eventually;
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

const PATIENCE: Duration = Duration::from_secs(60);
const NOTIFICATIONS: &str = "/sse/notifications/acme";
const OVERVIEW: &str = "/api/cache/live";

/// A stream that is read as fast as it comes.
struct Stream {
    /// Bytes of the body, from its beginning.
    body: Arc<Mutex<Vec<u8>>>,
    /// Ends with the stream: with its encoding.
    reader: JoinHandle<Option<String>>,
}

impl Stream {
    fn open(client: &Client, front: &str, path: &str) -> Self {
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let request = http.get(format!("{front}{path}")).bearer_auth(client.token.as_deref().unwrap());
        let request = request.header("accept-encoding", "gzip, br");
        let body = Arc::new(Mutex::new(Vec::new()));
        let came = Arc::clone(&body);
        let reader = tokio::spawn(async move {
            let mut response = request.send().await.unwrap();
            assert_eq!(response.status(), 200);
            assert_eq!(response.headers()["content-type"], "text/event-stream");
            let encoding =
                response.headers().get("content-encoding").map(|it| it.to_str().unwrap().to_owned());
            while let Ok(Some(chunk)) = response.chunk().await {
                came.lock().extend_from_slice(&chunk);
            }
            encoding
        });
        Self { body, reader }
    }

    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body.lock()).into_owned()
    }

    async fn until(&self, what: &str) {
        assert_eventually!(
            self.text().contains(what) || self.reader.is_finished(),
            PATIENCE,
            "{what:?} is held back after {:?}",
            self.text()
        );
        assert!(self.text().contains(what) && !self.reader.is_finished(), "ended after {:?}", self.text());
    }

    /// Waits for its end.
    async fn end(self) -> (Option<String>, Vec<u8>) {
        let encoding = tokio::time::timeout(PATIENCE, self.reader).await.expect("it ends").unwrap();
        (encoding, std::mem::take(&mut *self.body.lock()))
    }
}

#[tokio::test]
async fn an_event_comes_through_while_its_stream_is_open_and_uncompressed() {
    let pair = Pair::start().await;
    let acme = pair.front.client().sign_in("owner@acme.test").await;
    let (events, overviews) =
        (Stream::open(&acme, &pair.front.url, NOTIFICATIONS), Stream::open(&acme, &pair.front.url, OVERVIEW));
    events.until("event: synced").await;
    for name in ["one", "two"] {
        acme.post("/api/v1/campaigns", a_campaign(name)).await.expect(201);
        events.until(&format!("\"{name}\"")).await;
    }
    // Each second one; the third is behind the first as far as nothing gathers them.
    assert_eventually!(overviews.text().matches("event: overview").count() > 2, PATIENCE, "overviews come");
    for stream in [events, overviews] {
        stream.reader.abort();
    }
}

/// nginx with its own defaults, and then with each of two ways to gather that the server's header forbids.
#[tokio::test]
async fn without_the_header_that_the_server_sends_nginx_holds_events_back_until_the_stream_ends() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let (acme, admin, server) = (stack.acme().await, stack.admin().await, stack.server.url());
    let silenced = "proxy_ignore_headers X-Accel-Buffering;";
    let chunked = "proxy_http_version 1.1; proxy_set_header Connection '';";
    let gzip = format!("{silenced} {chunked} gzip on; gzip_types text/event-stream;");
    let fronts = [
        Front::plain(server, "").await,
        Front::plain(server, silenced).await,
        Front::plain(server, &gzip).await,
    ];
    let [passed, buffered, gathered] =
        fronts.each_ref().map(|front| Stream::open(&acme, &front.url, NOTIFICATIONS));
    let open = async || admin.get("/api/cache/overview").await.json()["connections"]["sse"].clone();
    assert_eventually!(open().await == 3, PATIENCE, "all three are open: {}", open().await);
    passed.until("event: synced").await;
    for number in 0..5 {
        let name = format!("number {number}");
        acme.post("/api/v1/campaigns", a_campaign(&name)).await.expect(201);
        passed.until(&name).await;
    }
    // They were told before the next was sent, as the first was; five have had time to come through.
    for held in [&buffered, &gathered] {
        assert!(held.body.lock().is_empty() && !held.reader.is_finished(), "{:?}", held.text());
    }
    tokio::task::spawn_blocking(move || stack.server.stop()).await.unwrap();
    let (encoding, body) = buffered.end().await;
    assert!(encoding.is_none() && String::from_utf8(body).unwrap().contains("number 4"), "nothing is lost");
    let (encoding, body) = gathered.end().await;
    assert!(encoding.as_deref() == Some("gzip") && !body.is_empty(), "{encoding:?}");
}

/// The time-outs of the repository's configuration, in seconds.
fn read_timeouts() -> Vec<u64> {
    let values = CONFIGURATION.lines().filter_map(|line| line.trim().strip_prefix("proxy_read_timeout "));
    let seconds = |value: &str| {
        let (number, unit) = value.split_at(value.len() - 1);
        number.parse::<u64>().unwrap() * if unit == "h" { 3600 } else { 1 }
    };
    values.map(|value| seconds(value.trim_end_matches(';'))).collect()
}

#[tokio::test]
async fn a_quiet_stream_outlives_a_read_timeout_that_is_longer_than_its_heartbeat() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let (acme, server) = (stack.acme().await, stack.server.url());
    let (longer, shorter) = (20, 1);
    let front = Front::plain(server, &format!("proxy_read_timeout {longer}s;")).await;
    let kept = Stream::open(&acme, &front.url, NOTIFICATIONS);
    let hasty = Front::plain(server, &format!("proxy_read_timeout {shorter}s;")).await;
    let cut = Stream::open(&acme, &hasty.url, NOTIFICATIONS);
    cut.end().await;
    // With the second the stream has been quiet for longer than the time-out, but for the first.
    assert_eventually!(kept.text().matches("\n: hb\n").count() > 1, PATIENCE, "{:?}", kept.text());
    assert!(!kept.reader.is_finished());
    kept.reader.abort();
    let configured = read_timeouts();
    assert!(configured.len() > 1 && configured.iter().all(|seconds| *seconds >= longer), "{configured:?}");
}
