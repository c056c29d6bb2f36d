//! The socket, and the loop that serves its connections.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::header::CONNECTION;
use http::{HeaderValue, StatusCode, Version};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::{GracefulShutdown, Watcher};
use larder_live::{Hangup, StreamExecutor, Wire};
use tokio::net::{TcpListener, TcpSocket, TcpStream, lookup_host};
use tokio::sync::{Semaphore, watch};
use tower::ServiceExt;

use super::address::Peer;
use crate::limits::{BACKLOG, CONNECTIONS, HEAD_TIMEOUT, SEND_TIMEOUT, UNSENT};

/// An address that is ours while nobody can connect yet: the server seeds its database before the socket opens.
#[derive(Debug)]
pub struct Bound {
    socket: TcpSocket,
}

impl Bound {
    /// Takes `address`, a host and a port.
    ///
    /// # Errors
    /// Where the host is unknown, or the address is in use or not of this machine.
    ///
    /// # Cancel safety
    /// Dropping the future takes nothing.
    pub async fn to(address: &str) -> io::Result<Self> {
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
        for candidate in lookup_host(address).await? {
            match Self::to_one(candidate) {
                Ok(bound) => return Ok(bound),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    fn to_one(address: SocketAddr) -> io::Result<Self> {
        let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
        // A restarted server takes the place of its predecessor, whose connections may still linger.
        socket.set_reuseaddr(true)?;
        socket.bind(address)?;
        Ok(Self { socket })
    }

    /// The address, with the port that port 0 turned into.
    ///
    /// # Errors
    /// Where the system does not know it.
    pub fn address(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Opens the socket.
    pub(crate) fn listen(self) -> io::Result<TcpListener> {
        self.socket.listen(BACKLOG)
    }
}

/// How many connections are open.
#[derive(Clone, Debug, Default)]
pub(crate) struct Open(watch::Sender<u64>);

/// Counts one connection for as long as it lives.
struct Counted(watch::Sender<u64>);

impl Open {
    pub(crate) fn count(&self) -> u64 {
        *self.0.borrow()
    }

    fn one_more(&self) -> Counted {
        self.0.send_modify(|open| *open += 1);
        Counted(self.0.clone())
    }

    /// Waits until none is.
    async fn none(&self) {
        // The sender is ours.
        let _ = self.0.subscribe().wait_for(|open| *open == 0).await;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

/// How serving ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ending {
    /// How long connections that are idle stay open: whoever uses one meanwhile is answered, and told that it closes.
    /// A reverse proxy can't know which of its connections are about to be closed, and must not repeat a `POST` that was
    /// lost with one.
    pub(crate) linger: Duration,
    /// How long requests in flight may take after that.
    pub(crate) grace: Duration,
}

/// How long a client may keep a connection waiting.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// With the head of a request, the first one among them.
    pub(crate) head: Duration,
    /// With taking what was sent, where the system can tell.
    pub(crate) send: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: HEAD_TIMEOUT, send: SEND_TIMEOUT }
    }
}

/// Serves `routes` on `listener` until `shutdown`, then lets requests in flight finish.
///
/// Returns whether all of them did in the time that `ending` leaves them.
pub(crate) async fn serve(
    listener: TcpListener,
    routes: Router,
    open: &Open,
    shutdown: impl Future<Output = ()>,
    patience: Patience,
    ending: Ending,
) -> bool {
    let server = Arc::new(builder(patience));
    let graceful = GracefulShutdown::new();
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    let draining = Arc::new(AtomicBool::new(false));
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let (stream, peer, place) = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = accept(&listener, &places) => accepted,
        };
        set_up(&stream, peer, patience);
        let connection = Connection {
            server: Arc::clone(&server),
            routes: routes.clone(),
            closes: Arc::clone(&draining),
            peer,
            patience,
        };
        let (counted, watcher) = (open.one_more(), graceful.watcher());
        tokio::spawn(async move {
            connection.serve(stream, watcher).await;
            drop((counted, place));
        });
    }
    // From here on connecting is refused, which is what a load balancer needs to see.
    drop(listener);
    draining.store(true, Ordering::Relaxed);
    let _ = tokio::time::timeout(ending.linger, open.none()).await;
    tokio::time::timeout(ending.grace, graceful.shutdown()).await.is_ok()
}

/// What one connection is served with.
struct Connection {
    server: Arc<auto::Builder<StreamExecutor>>,
    routes: Router,
    /// The server is going away.
    closes: Arc<AtomicBool>,
    peer: SocketAddr,
    patience: Patience,
}

impl Connection {
    /// To its end, or to its first upgrade.
    async fn serve(self, stream: TcpStream, watcher: Watcher) {
        let Self { server, routes, closes, peer, patience } = self;
        let (hangup, begun) = (Hangup::default(), Arc::new(AtomicBool::new(false)));
        let (hung_up, has_begun) = (hangup.0.clone(), Arc::clone(&begun));
        let wire = Wire::new(stream, hangup.clone());
        let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            begun.store(true, Ordering::Relaxed);
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(Peer(peer));
            let (routes, closes, hangup) = (routes.clone(), Arc::clone(&closes), hangup.clone());
            async move {
                // Others share the connection over HTTP/2.
                request.extensions_mut().insert(Hangup::of_stream().unwrap_or(hangup));
                let mut response = routes.oneshot(request).await.unwrap_or_else(|never| match never {});
                if closes.load(Ordering::Relaxed) {
                    announce_close(&mut response);
                }
                Ok::<_, Infallible>(response)
            }
        });
        let connection = server.serve_connection_with_upgrades(TokioIo::new(wire), service);
        tokio::select! {
            ended = watcher.watch(connection.into_owned()) => {
                if let Err(error) = ended {
                    tracing::debug!(%peer, error, "a connection ended early");
                }
            }
            () = hung_up.cancelled() => tracing::debug!(%peer, "a connection was closed whose client reads nothing"),
            () = silence(patience.head, &has_begun) => tracing::debug!(%peer, "a connection was closed whose client asks nothing"),
        }
    }
}

/// Ends where no request has come in time. hyper begins to count when it knows the version of HTTP, which takes a byte, or 24.
async fn silence(patience: Duration, has_begun: &AtomicBool) {
    tokio::time::sleep(patience).await;
    if has_begun.load(Ordering::Relaxed) {
        std::future::pending::<()>().await;
    }
}

/// Options of a connection's socket.
fn set_up(stream: &TcpStream, peer: SocketAddr, patience: Patience) {
    // Answers are written whole; waiting for more to send would only delay them.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "TCP_NODELAY could not be set");
    }
    // A client that has gone without a word, or that takes nothing: the system would try for a quarter of an hour, or for ever.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    {
        let socket = socket2::SockRef::from(stream);
        if let Err(error) = socket.set_tcp_user_timeout(Some(patience.send)) {
            tracing::debug!(%peer, %error, "TCP_USER_TIMEOUT could not be set");
        }
        // Of what a client does not read the system would take megabytes, which nobody counts.
        if let Err(error) = socket.set_tcp_notsent_lowat(UNSENT) {
            tracing::debug!(%peer, %error, "TCP_NOTSENT_LOWAT could not be set");
        }
    }
    #[cfg(not(any(target_os = "linux", target_os = "android")))]
    let _ = patience;
}

/// Says that the connection closes after this response, where the protocol has a word for it.
fn announce_close(response: &mut axum::response::Response) {
    if response.version() <= Version::HTTP_11 && response.status() != StatusCode::SWITCHING_PROTOCOLS {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
}

fn builder(patience: Patience) -> auto::Builder<StreamExecutor> {
    let mut builder = auto::Builder::new(StreamExecutor);
    builder.http1().timer(TokioTimer::new()).header_read_timeout(patience.head);
    builder.http2().timer(TokioTimer::new()).keep_alive_interval(patience.head).max_concurrent_streams(256);
    builder
}

/// The next connection, once there is a place for it.
async fn accept(
    listener: &TcpListener,
    places: &Arc<Semaphore>,
) -> (TcpStream, SocketAddr, tokio::sync::OwnedSemaphorePermit) {
    loop {
        let place = Arc::clone(places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, peer)) => return (stream, peer, place),
            Err(error) if is_of_one_connection(&error) => {}
            Err(error) => {
                tracing::error!(%error, "a connection could not be accepted");
                // Out of descriptors, most likely: at once it would fail again.
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

/// The client went away before we came to it.
fn is_of_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::{Notify, oneshot};

    struct Running {
        address: SocketAddr,
        stop: oneshot::Sender<()>,
        ended: tokio::task::JoinHandle<bool>,
        entered: Arc<Notify>,
        leave: Arc<Notify>,
        open: Open,
    }

    async fn running(linger: Duration, grace: Duration) -> Running {
        running_with(Patience::default(), linger, grace).await
    }

    /// A server whose `/slow` is answered when it is told to.
    async fn running_with(patience: Patience, linger: Duration, grace: Duration) -> Running {
        let bound = Bound::to("127.0.0.1:0").await.unwrap();
        let address = bound.address().unwrap();
        let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let (inside, may_go) = (Arc::clone(&entered), Arc::clone(&leave));
        let slow = get(|| async move {
            inside.notify_one();
            may_go.notified().await;
            "done"
        });
        let routes = Router::new()
            .route("/slow", slow)
            .route("/fast", get(|| async { "fast" }))
            .route("/large", get(|| async { vec![b'x'; 64 << 20] }));
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { drop(stopped.await) };
        let (open, listener) = (Open::default(), bound.listen().unwrap());
        let counter = open.clone();
        let ending = Ending { linger, grace };
        let ended =
            tokio::spawn(async move { serve(listener, routes, &open, shutdown, patience, ending).await });
        Running { address, stop, ended, entered, leave, open: counter }
    }

    async fn ask(address: SocketAddr, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        stream
    }

    async fn read(stream: &mut TcpStream) -> String {
        let mut text = String::new();
        stream.read_to_string(&mut text).await.unwrap();
        text
    }

    #[tokio::test]
    async fn a_request_in_flight_is_finished_after_the_signal_and_new_ones_are_refused() {
        let server = running(Duration::ZERO, GRACE).await;
        let mut idle = ask(server.address, "/fast").await;
        let mut waiting = ask(server.address, "/slow").await;
        server.entered.notified().await;
        assert_eq!(server.open.count(), 2);
        server.stop.send(()).unwrap();
        // The idle connection is closed at once, after its answer.
        assert!(read(&mut idle).await.ends_with("fast"));
        assert_eq!(
            TcpStream::connect(server.address).await.unwrap_err().kind(),
            io::ErrorKind::ConnectionRefused
        );
        assert!(!server.ended.is_finished());
        server.leave.notify_one();
        let answer = read(&mut waiting).await;
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("done"), "{answer}");
        assert!(server.ended.await.unwrap());
        assert_eq!(server.open.count(), 0);
    }

    #[tokio::test]
    async fn an_idle_connection_stays_for_one_more_request_where_it_lingers() {
        let server = running(GRACE, GRACE).await;
        let mut stream = ask(server.address, "/fast").await;
        let mut first = [0; 1024];
        while !String::from_utf8_lossy(&first).contains("fast") {
            assert!(stream.read(&mut first).await.unwrap() > 0);
        }
        server.stop.send(()).unwrap();
        let refused = || async { TcpStream::connect(server.address).await.is_err() };
        larder_testkit::assert_eventually!(refused().await, GRACE, "nobody connects any more");
        stream
            .write_all(b"POST /fast HTTP/1.1\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        let answer = read(&mut stream).await;
        assert!(answer.contains("connection: close"), "{answer}");
        // Nobody is left to linger for.
        assert!(server.ended.await.unwrap());
    }

    #[tokio::test]
    async fn a_request_that_does_not_end_is_cut_off_after_the_grace() {
        let server = running(Duration::ZERO, Duration::from_millis(50)).await;
        let _waiting = ask(server.address, "/slow").await;
        server.entered.notified().await;
        server.stop.send(()).unwrap();
        assert!(!server.ended.await.unwrap());
    }

    #[tokio::test]
    async fn a_client_that_asks_nothing_is_closed_and_one_that_is_answered_slowly_is_not() {
        let patience = Patience { head: Duration::from_millis(300), ..Patience::default() };
        let server = running_with(patience, Duration::ZERO, GRACE).await;
        let mut waiting = ask(server.address, "/slow").await;
        server.entered.notified().await;
        // Nothing, the beginning of what begins HTTP/2, and all of it.
        for said in ["", "PRI * HT", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"] {
            let mut silent = TcpStream::connect(server.address).await.unwrap();
            silent.write_all(said.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            let end = tokio::time::timeout(GRACE, silent.read_to_end(&mut answer)).await;
            end.expect("it is closed").unwrap();
        }
        assert_eq!(server.open.count(), 1);
        server.leave.notify_one();
        let mut first = [0; 1024];
        let length = waiting.read(&mut first).await.unwrap();
        assert!(String::from_utf8_lossy(&first[..length]).contains("200 OK"));
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[tokio::test]
    async fn a_client_that_reads_nothing_of_its_answer_is_closed() {
        let patience = Patience { send: Duration::from_secs(1), ..Patience::default() };
        let server = running_with(patience, Duration::ZERO, GRACE).await;
        let mut client = ask(server.address, "/large").await;
        larder_testkit::assert_eventually!(server.open.count() == 1, GRACE, "it is connected");
        larder_testkit::assert_eventually!(server.open.count() == 0, GRACE, "it is given up");
        let mut rest = Vec::new();
        let read = client.read_to_end(&mut rest).await;
        assert!(read.is_err() || rest.len() < 64 << 20, "{} bytes", rest.len());
    }

    #[tokio::test]
    async fn nobody_can_connect_before_the_socket_opens_but_the_address_is_taken() {
        let bound = Bound::to("127.0.0.1:0").await.unwrap();
        let address = bound.address().unwrap();
        assert_eq!(TcpStream::connect(address).await.unwrap_err().kind(), io::ErrorKind::ConnectionRefused);
        let _listener = bound.listen().unwrap();
        TcpStream::connect(address).await.unwrap();
        let taken = Bound::to(&address.to_string()).await.unwrap_err();
        assert_eq!(taken.kind(), io::ErrorKind::AddrInUse);
    }

    const GRACE: Duration = Duration::from_secs(30);
}
