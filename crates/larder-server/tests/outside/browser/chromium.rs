//! A real Chromium without a screen, steered over its DevTools protocol.

use futures_util::{SinkExt, StreamExt};
use larder_testkit::{Program, assert_eventually};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio_tungstenite::connect_async;
use tokio_tungstenite::tungstenite::Message;

/// What it is called by the distributions.
const NAMES: [&str; 4] = ["chromium", "chromium-browser", "google-chrome-stable", "google-chrome"];
const FLAGS: [&str; 17] = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-breakpad",
    "--disable-dev-shm-usage",
    "--disable-extensions",
    "--disable-default-apps",
    "--password-store=basic",
    // Several windows at once, none of which is in front: their timers run all the same.
    "--disable-background-timer-throttling",
    "--disable-backgrounding-occluded-windows",
    "--disable-renderer-backgrounding",
    "--remote-debugging-port=0",
];
/// Starting one takes a second; on a machine that runs all other tests, many.
const START: Duration = Duration::from_secs(100);
const ANSWER: Duration = Duration::from_secs(100);

/// A browser of its own, without anything from before.
pub(crate) struct Chromium {
    devtools: Arc<DevTools>,
    reader: JoinHandle<()>,
    _program: Program,
    // After the program: it ends before its files go.
    _dir: TempDir,
}

impl Drop for Chromium {
    fn drop(&mut self) {
        self.reader.abort();
    }
}

impl Chromium {
    pub(crate) async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let profile = dir.path().join("profile");
        let output = dir.path().join("output.txt");
        let program = Program::start(&binary(), &output, |command| {
            // It is killed in the end, and cleans nothing up.
            command.env("TMPDIR", dir.path());
            command.args(FLAGS).arg(format!("--user-data-dir={}", profile.display())).arg("about:blank");
        });
        let port = || {
            let text = std::fs::read_to_string(profile.join("DevToolsActivePort")).ok()?;
            let (port, path) = text.split_once('\n')?;
            path.starts_with("/devtools/").then(|| format!("ws://127.0.0.1:{port}{}", path.trim()))
        };
        assert_eventually!(
            port().is_some() || program.exited().is_some(),
            START,
            "Chromium listens: {}",
            program.output()
        );
        let url = port().unwrap_or_else(|| panic!("Chromium ended: {}", program.output()));
        let (devtools, reader) = DevTools::connect(&url).await;
        Self { devtools, reader, _program: program, _dir: dir }
    }

    /// A window that shares nothing with the others, not even its cookies.
    pub(crate) async fn window(&self) -> Tab {
        let context = self.devtools.call("", "Target.createBrowserContext", json!({})).await;
        let target = json!({
            "url": "about:blank",
            "newWindow": true,
            "browserContextId": context["browserContextId"],
        });
        let target = self.devtools.call("", "Target.createTarget", target).await;
        let attach = json!({"targetId": target["targetId"], "flatten": true});
        let session = self.devtools.call("", "Target.attachToTarget", attach).await["sessionId"].clone();
        let tab = Tab { devtools: Arc::clone(&self.devtools), session: session.as_str().unwrap().to_owned() };
        for domain in ["Page", "Runtime", "Log", "Network"] {
            tab.call(&format!("{domain}.enable"), json!({})).await;
        }
        tab
    }
}

fn binary() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = NAMES
        .iter()
        .find_map(|name| std::env::split_paths(&path).map(|dir| dir.join(name)).find(|file| file.is_file()));
    found.expect("Chromium is missing: apt-get install chromium")
}

/// One window of a browser.
pub(crate) struct Tab {
    devtools: Arc<DevTools>,
    session: String,
}

impl Tab {
    pub(crate) async fn call(&self, method: &str, params: Value) -> Value {
        self.devtools.call(&self.session, method, params).await
    }

    /// What the expression gives, awaited where it is a promise.
    pub(crate) async fn eval(&self, expression: &str) -> Value {
        let params = json!({"expression": expression, "awaitPromise": true, "returnByValue": true, "userGesture": true});
        let answer = self.call("Runtime.evaluate", params).await;
        assert!(answer["exceptionDetails"].is_null(), "{expression}: {answer}");
        answer["result"]["value"].clone()
    }

    /// What the page and the browser complained of: exceptions, errors of the console, broken rules of the content security policy.
    /// Connections that fail belong to these tests.
    pub(crate) fn complaints(&self) -> Vec<Value> {
        let events = self.devtools.events.lock().unwrap();
        let mine = events.iter().filter(|event| event["sessionId"] == self.session.as_str());
        mine.filter(|event| match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => true,
            Some("Runtime.consoleAPICalled") => event["params"]["type"] == "error",
            Some("Log.entryAdded") => {
                let entry = &event["params"]["entry"];
                entry["level"] == "error" && entry["source"] != "network"
            }
            _ => false,
        })
        .cloned()
        .collect()
    }

    /// The requests that the page has made by this method to this path.
    pub(crate) fn requests(&self, method: &str, path: &str) -> usize {
        let events = self.devtools.events.lock().unwrap();
        let asked = events.iter().filter(|event| {
            let request = &event["params"]["request"];
            event["sessionId"] == self.session.as_str()
                && event["method"] == "Network.requestWillBeSent"
                && request["method"] == method
                && request["url"].as_str().is_some_and(|url| url.split('?').next().unwrap().ends_with(path))
        });
        asked.count()
    }
}

/// What a window has loaded over the network.
pub(crate) struct Loaded {
    /// Whatever was asked for.
    pub(crate) urls: Vec<String>,
    /// The encoding of each answer, by its path.
    pub(crate) encodings: HashMap<String, String>,
    /// Bytes that were transferred, heads included; of what is still open, its data.
    pub(crate) bytes: u64,
}

impl Tab {
    /// What it has loaded since it was opened.
    pub(crate) fn loaded(&self) -> Loaded {
        let events = self.devtools.events.lock().unwrap();
        let mine: Vec<&Value> =
            events.iter().filter(|event| event["sessionId"] == self.session.as_str()).collect();
        let of = |method: &'static str| mine.iter().filter(move |event| event["method"] == method);
        let urls =
            of("Network.requestWillBeSent").map(|event| event["params"]["request"]["url"].as_str().unwrap());
        let path = |url: &str| format!("/{}", url.splitn(4, '/').nth(3).unwrap_or_default());
        let encodings = of("Network.responseReceived").map(|event| {
            let response = &event["params"]["response"];
            let headers = response["headers"].as_object().unwrap();
            let encoding = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-encoding"));
            let encoding = encoding.and_then(|(_, value)| value.as_str()).unwrap_or_default();
            (path(response["url"].as_str().unwrap()), encoding.to_owned())
        });
        let mut bytes: HashMap<&str, u64> = HashMap::new();
        for event in of("Network.dataReceived") {
            *bytes.entry(event["params"]["requestId"].as_str().unwrap()).or_default() +=
                event["params"]["dataLength"].as_u64().unwrap();
        }
        for event in of("Network.loadingFinished") {
            let length = event["params"]["encodedDataLength"].as_f64().unwrap().ceil();
            bytes
                .insert(event["params"]["requestId"].as_str().unwrap(), format!("{length}").parse().unwrap());
        }
        Loaded {
            urls: urls.map(str::to_owned).collect(),
            encodings: encodings.collect(),
            bytes: bytes.values().sum(),
        }
    }
}

/// The connection to the browser: calls with their answers, and all that it tells unasked.
struct DevTools {
    calls: mpsc::UnboundedSender<Message>,
    waiting: Mutex<HashMap<u64, oneshot::Sender<Value>>>,
    events: Mutex<Vec<Value>>,
    last: AtomicU64,
}

impl DevTools {
    async fn connect(url: &str) -> (Arc<Self>, JoinHandle<()>) {
        let (socket, _) = connect_async(url).await.unwrap();
        let (mut sink, mut stream) = socket.split();
        let (calls, mut outgoing) = mpsc::unbounded_channel();
        let devtools = Arc::new(Self {
            calls,
            waiting: Mutex::default(),
            events: Mutex::default(),
            last: AtomicU64::default(),
        });
        let heard = Arc::clone(&devtools);
        let driver = tokio::spawn(async move {
            loop {
                tokio::select! {
                    Some(call) = outgoing.recv() => if sink.send(call).await.is_err() { return },
                    message = stream.next() => match message {
                        Some(Ok(Message::Text(text))) => heard.hear(serde_json::from_str(&text).unwrap()),
                        Some(Ok(_)) => {}
                        _ => return,
                    },
                }
            }
        });
        (devtools, driver)
    }

    fn hear(&self, message: Value) {
        match message["id"].as_u64() {
            Some(id) => {
                if let Some(waiting) = self.waiting.lock().unwrap().remove(&id) {
                    let _ = waiting.send(message);
                }
            }
            None => self.events.lock().unwrap().push(message),
        }
    }

    async fn call(&self, session: &str, method: &str, params: Value) -> Value {
        let id = self.last.fetch_add(1, Ordering::Relaxed) + 1;
        let mut call = json!({"id": id, "method": method, "params": params});
        if !session.is_empty() {
            call["sessionId"] = session.into();
        }
        let (answer, answered) = oneshot::channel();
        self.waiting.lock().unwrap().insert(id, answer);
        self.calls
            .send(Message::text(call.to_string()))
            .expect("the connection lives as long as the browser");
        let answer = tokio::time::timeout(ANSWER, answered).await;
        let mut answer =
            answer.unwrap_or_else(|_| panic!("no answer to {method}")).expect("the browser lives");
        assert!(answer["error"].is_null(), "{method}: {answer}");
        answer["result"].take()
    }
}
