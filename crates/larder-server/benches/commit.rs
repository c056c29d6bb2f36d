//! How long from the commit of a change to a browser that shows it?
//!
//! Two `larder serve` on one PostgreSQL and one Redis. Campaigns are made over HTTP at the first; a real Chromium has a window open on each
//! server, and a WebSocket client written in Rust listens to each. The commit's time is PostgreSQL's own
//! (`pg_xact_commit_timestamp`), taken before the commit is flushed and before the server hears of it; all clocks are this machine's.
//!
//! `cargo bench -p larder-server --bench commit [-- COUNT]`: 300 changes, 20 a second, unless told otherwise; `LARDER` may name another build of the program. Ends with an error if an event is
//! missing, comes twice, or the median of any of the four is 20 ms or more.

#![expect(clippy::unwrap_used, reason = "a benchmark fails where it cannot go on")]
#![expect(clippy::print_stdout, reason = "it is what it is for")]

#[path = "../tests/outside/browser/chromium.rs"]
#[expect(dead_code, reason = "tests ask it more")]
mod chromium;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chromium::{Chromium, Tab};
use futures_util::StreamExt;
use larder_testkit::{PostgresServer, Program, RedisServer, assert_eventually};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const COUNT: usize = 300;
const EVERY: Duration = Duration::from_millis(50);
const START: Duration = Duration::from_secs(60);

/// When each campaign was heard of, by id, in milliseconds since 1970.
type Heard = HashMap<String, f64>;

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> ExitCode {
    let count = std::env::args().find_map(|number| number.parse().ok()).unwrap_or(COUNT);
    if measure(count).await { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn measure(count: usize) -> bool {
    rustls::crypto::ring::default_provider().install_default().unwrap();
    let (redis, postgres) = (RedisServer::start(), PostgresServer::start());
    postgres.execute(&postgres.url("postgres"), "ALTER SYSTEM SET track_commit_timestamp = on");
    postgres.restart();
    let database = postgres.fresh_database();
    let dir = tempfile::tempdir().unwrap();
    let one = Server::start(&dir.path().join("one"), &redis, &database).await;
    let two = Server::start(&dir.path().join("two"), &redis, &database).await;
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let login = json!({"email": "owner@acme.test", "password": "larder-demo"});
    let answer = http.post(format!("{}/api/v1/auth/login", one.url)).json(&login).send().await.unwrap();
    let token = answer.json::<Value>().await.unwrap()["access_token"].as_str().unwrap().to_owned();

    let browser = Chromium::start().await;
    let windows = [window(&browser, &one).await, window(&browser, &two).await];
    let sockets = [listen(&one, &token).await, listen(&two, &token).await];
    let mut every = tokio::time::interval(EVERY);
    for number in 0..count {
        every.tick().await;
        let campaign = json!({"name": format!("number {number}"), "channel": "email", "status": "draft", "budget_cents": 1});
        let url = format!("{}/api/v1/campaigns", one.url);
        let made = http.post(url).bearer_auth(&token).json(&campaign).send().await.unwrap();
        assert_eq!(made.status(), 201);
    }
    let committed = committed(&postgres, &database);
    let mut fine = committed.len() == count;
    let names = ["a Chromium at the writer's server", "a Chromium at the other server"];
    for (window, name) in windows.iter().zip(names) {
        assert_eventually!(
            window.eval("Object.keys(heard).length").await == count,
            START,
            "{name} hears of all"
        );
        let heard: Heard = serde_json::from_value(window.eval("heard").await).unwrap();
        fine &= window.eval("twice").await == 0;
        fine &= report(name, &committed, &heard);
    }
    let names = ["a Rust client at the writer's server", "a Rust client at the other server"];
    for (heard, name) in sockets.iter().zip(names) {
        assert_eventually!(heard.lock().unwrap().len() == count, START, "{name} hears of all");
        fine &= report(name, &committed, &heard.lock().unwrap());
    }
    fine
}

/// Prints the delays; whether nothing is missing and the median is below 20 ms.
fn report(name: &str, committed: &Heard, heard: &Heard) -> bool {
    let mut delays: Vec<f64> = committed.iter().filter_map(|(id, at)| Some(heard.get(id)? - at)).collect();
    delays.sort_by(f64::total_cmp);
    let at = |percent: usize| delays.get(delays.len() * percent / 100).copied().unwrap_or(f64::NAN);
    println!(
        "commit to {name}: p50 {:.2} ms, p90 {:.2} ms, p99 {:.2} ms, at most {:.2} ms; {} of {} events",
        at(50),
        at(90),
        at(99),
        delays.last().copied().unwrap_or(f64::NAN),
        delays.len(),
        committed.len()
    );
    delays.len() == committed.len() && at(50) < 20.0
}

/// When each campaign of this run was committed, as PostgreSQL says.
fn committed(postgres: &PostgresServer, database: &str) -> Heard {
    let rows = postgres.execute(
        database,
        "SELECT id, extract(epoch FROM pg_xact_commit_timestamp(xmin)) * 1000 FROM campaigns WHERE name LIKE 'number %'",
    );
    let row = |line: &str| {
        let (id, at) = line.split_once('|').unwrap();
        (id.to_owned(), at.parse().unwrap())
    };
    rows.lines().map(row).collect()
}

/// A `larder serve`.
struct Server {
    url: String,
    _program: Program,
}

impl Server {
    async fn start(dir: &Path, redis: &RedisServer, database: &str) -> Self {
        std::fs::create_dir_all(dir).unwrap();
        let log = std::fs::File::create(dir.join("log.txt")).unwrap();
        let program = Program::start(&binary(), &dir.join("output.txt"), |command| {
            command.stderr(log).arg("serve").current_dir(dir).env_clear();
            command.envs([("LISTEN", "127.0.0.1:0"), ("SELLER_API_PORT", "0"), ("SAMPLE_DATA", "small")]);
            command.envs([("LOG", "info"), ("REDIS_URL", &redis.url()), ("DATABASE_URL", database)]);
        });
        let url = || {
            let printed = program.output();
            let (_, rest) = printed.split_once("Listening on ")?;
            Some(rest.split_once('\n')?.0.trim().to_owned())
        };
        assert_eventually!(url().is_some() || program.exited().is_some(), START, "it listens");
        let log = || std::fs::read_to_string(dir.join("log.txt")).unwrap_or_default();
        let url = url().unwrap_or_else(|| panic!("the server ended: {}", log()));
        Self { url, _program: program }
    }
}

/// The program of this build, unless `LARDER` names another.
fn binary() -> PathBuf {
    std::env::var_os("LARDER").map_or_else(|| env!("CARGO_BIN_EXE_larder").into(), PathBuf::from)
}

/// A window that notes when it hears of each campaign.
async fn window(browser: &Chromium, server: &Server) -> Tab {
    let tab = browser.window().await;
    tab.call("Page.navigate", json!({"url": format!("{}/demo", server.url)})).await;
    let ready = "document.readyState === 'complete' && location.pathname === '/demo'";
    assert_eventually!(tab.eval(ready).await == true, START, "the page is there");
    tab.eval(
        "(async () => {
            const { LarderLive } = await import('/larder-live.js');
            const headers = { 'content-type': 'application/json' };
            const body = JSON.stringify({ email: 'owner@acme.test', password: 'larder-demo' });
            const me = await (await fetch('/api/v1/auth/login', { method: 'POST', headers, body })).json();
            // The page's fine clock began with the wall clock, and may have left it since.
            const fine = () => performance.timeOrigin + performance.now();
            let behind = -Infinity;
            for (const end = fine() + 50; fine() < end;) behind = Math.max(behind, Date.now() - fine());
            window.heard = {};
            window.twice = 0;
            const live = new LarderLive({ tenant: me.tenant_id, token: () => me.access_token });
            live.onKind('campaign.created', ({ data }) => {
                window.twice += data.id in window.heard;
                window.heard[data.id] = fine() + behind;
            });
            live.connect();
            await new Promise((done) => live.on('state', ({ name }) => name === 'live' && done()));
        })()",
    )
    .await;
    tab
}

/// A WebSocket that notes the same.
async fn listen(server: &Server, token: &str) -> Arc<Mutex<Heard>> {
    let url = format!("{}/ws/notifications/acme", server.url.replace("http://", "ws://"));
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    let heard: Arc<Mutex<Heard>> = Arc::default();
    let notes = Arc::clone(&heard);
    let (synced, is_synced) = tokio::sync::oneshot::channel();
    tokio::spawn(async move {
        let mut synced = Some(synced);
        while let Some(Ok(message)) = socket.next().await {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64() * 1000.0;
            let Message::Text(text) = message else { continue };
            let said: Value = serde_json::from_str(&text).unwrap();
            if said["type"] == "synced" {
                let _ = synced.take().unwrap().send(());
            }
            if said["kind"] == "campaign.created" {
                let twice = notes.lock().unwrap().insert(said["data"]["id"].as_str().unwrap().to_owned(), at);
                assert!(twice.is_none(), "{said}");
            }
        }
    });
    is_synced.await.unwrap();
    heard
}
