//! An HTTP service that answers by script and counts what it is asked.

mod answer;

pub use answer::{Answer, Gate};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::TokioIo;
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// A request as it arrived.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// `GET`, `POST`, …
    pub method: String,
    /// The path, without the query.
    pub path: String,
    /// The query, empty where there is none.
    pub query: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

impl Recorded {
    /// The body as JSON.
    ///
    /// # Panics
    /// Where it is none.
    #[must_use]
    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{} {}: no JSON: {e}", self.method, self.path))
    }
}

/// A local HTTP/1.1 server. A path without a script answers 404; the last answer of a script repeats.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")] async fn main() {
/// use larder_testkit::{Answer, StubHttp};
/// let upstream = StubHttp::start().await;
/// upstream.on("/v1/chat/completions", [Answer::chat("hello")]);
/// assert_eq!(upstream.calls("/v1/chat/completions"), 0);
/// # }
/// ```
#[derive(Debug)]
pub struct StubHttp {
    address: SocketAddr,
    shared: Arc<Shared>,
    acceptor: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    scripts: Mutex<HashMap<String, VecDeque<Answer>>>,
    otherwise: Mutex<Answer>,
    /// A watch, so that tests can wait for a request to arrive.
    seen: watch::Sender<Vec<Recorded>>,
}

impl StubHttp {
    /// Listens on a free port of 127.0.0.1.
    ///
    /// # Panics
    /// Where it cannot listen; outside a Tokio runtime.
    ///
    /// # Cancel safety
    /// Nothing stays when dropped.
    pub async fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await;
        let listener = listener.unwrap_or_else(|e| panic!("the stub cannot listen: {e}"));
        let address = listener.local_addr().expect("a bound listener has an address");
        let otherwise = Mutex::new(Answer::status(404));
        let shared =
            Arc::new(Shared { scripts: Mutex::default(), otherwise, seen: watch::Sender::default() });
        Self { address, acceptor: tokio::spawn(accept(listener, Arc::clone(&shared))), shared }
    }

    /// `http://127.0.0.1:port`, without a slash.
    #[must_use]
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Sets the answers of a path, whatever the method, in place of what it had: each is given once, the last one for ever.
    ///
    /// # Panics
    /// Without any answer.
    pub fn on(&self, path: &str, answers: impl IntoIterator<Item = Answer>) {
        let answers: VecDeque<Answer> = answers.into_iter().collect();
        assert!(!answers.is_empty(), "a script needs an answer");
        lock(&self.shared.scripts).insert(path.to_owned(), answers);
    }

    /// The answer of every path without a script, 404 at first.
    pub fn otherwise(&self, answer: Answer) {
        *lock(&self.shared.otherwise) = answer;
    }

    /// How many requests a path has had, answered or not.
    #[must_use]
    pub fn calls(&self, path: &str) -> usize {
        self.shared.seen.borrow().iter().filter(|request| request.path == path).count()
    }

    /// Every request so far, in order of arrival.
    #[must_use]
    pub fn requests(&self) -> Vec<Recorded> {
        self.shared.seen.borrow().clone()
    }

    /// Waits until a path has had `count` requests.
    ///
    /// # Cancel safety
    /// Safe: it only looks.
    pub async fn called(&self, path: &str, count: usize) {
        let enough =
            |seen: &Vec<Recorded>| seen.iter().filter(|request| request.path == path).count() >= count;
        let mut seen = self.shared.seen.subscribe();
        seen.wait_for(enough).await.expect("the stub holds the sender");
    }
}

impl Drop for StubHttp {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            Ok((stream, _)) = listener.accept() => {
                let shared = Arc::clone(&shared);
                connections.spawn(async move {
                    let service = service_fn(move |request| answer(request, Arc::clone(&shared)));
                    // A client that goes away is its own business.
                    let _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn answer(
    request: Request<Incoming>,
    shared: Arc<Shared>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let path = head.uri.path().to_owned();
    let answer = shared.next(&path);
    let query = head.uri.query().unwrap_or_default().to_owned();
    let recorded = Recorded { method: head.method.to_string(), path, query, headers: head.headers, body };
    shared.seen.send_modify(|seen| seen.push(recorded));
    Ok(answer.give().await)
}

impl Shared {
    fn next(&self, path: &str) -> Answer {
        let mut scripts = lock(&self.scripts);
        match scripts.get_mut(path) {
            Some(script) if script.len() > 1 => script.pop_front().expect("two are left"),
            Some(script) => script.front().expect("a script is never empty").clone(),
            None => lock(&self.otherwise).clone(),
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
