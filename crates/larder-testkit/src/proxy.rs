//! A network with faults, in front of any TCP address.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// What the network does, to connections that exist and to new ones.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing: bytes pass.
    #[default]
    None,
    /// Every piece passes this much later, in each direction.
    Delay(Duration),
    /// Half open: connections are accepted, nothing passes in either direction. What was held passes when the fault ends.
    Stall,
    /// Requests pass, answers do not: the lost reply. They pass when the fault ends.
    HoldReplies,
    /// Answers pass a few bytes at a time.
    Trickle {
        /// So many bytes…
        bytes: usize,
        /// …each time this has passed.
        every: Duration,
    },
    /// Connections are accepted and reset at once; existing ones are reset.
    Reset,
    /// New connections are refused; existing ones go on.
    Refuse,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct State {
    fault: Fault,
    /// Raised by `cut`: connections that began under a lower one are reset.
    cuts: u64,
}

/// A proxy on a free loopback port, whose [`Fault`] can be changed while connections run. Dropping it resets them.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    listening: watch::Receiver<bool>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    acceptor: JoinHandle<()>,
}

impl TcpProxy {
    /// Stands in front of `upstream` (`host:port`), which need not be up yet.
    ///
    /// # Panics
    /// Where no port is free; outside a Tokio runtime.
    ///
    /// # Cancel safety
    /// Nothing stays when dropped.
    pub async fn start(upstream: impl Into<String>) -> Self {
        let upstream = upstream.into();
        let listener = loop {
            match TcpListener::bind((Ipv4Addr::LOCALHOST, crate::ports::free())).await {
                Ok(listener) => break listener,
                Err(e) if e.kind() == io::ErrorKind::AddrInUse => {}
                Err(e) => panic!("the proxy cannot listen: {e}"),
            }
        };
        let address = listener.local_addr().expect("a bound listener has an address");
        let (state, watched) = watch::channel(State::default());
        let (announce, listening) = watch::channel(true);
        let (open, accepted) = (Arc::default(), Arc::default());
        let acceptor = Acceptor {
            upstream,
            address,
            state: watched,
            announce,
            open: Arc::clone(&open),
            accepted: Arc::clone(&accepted),
        };
        Self { address, state, listening, open, accepted, acceptor: tokio::spawn(acceptor.run(listener)) }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The port of [`address`](Self::address).
    #[must_use]
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Sets the fault, and returns when new connections meet it.
    ///
    /// # Cancel safety
    /// The fault is set at the first poll.
    pub async fn set(&self, fault: Fault) {
        self.state.send_modify(|state| state.fault = fault);
        let wanted = fault != Fault::Refuse;
        let mut listening = self.listening.clone();
        listening
            .wait_for(|listening| *listening == wanted)
            .await
            .expect("the acceptor runs while the proxy lives");
    }

    /// Ends the fault: [`Fault::None`].
    ///
    /// # Cancel safety
    /// As [`set`](Self::set).
    pub async fn heal(&self) {
        self.set(Fault::None).await;
    }

    /// Resets every connection that exists; new ones are served.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.cuts += 1);
    }

    /// How many connections are open.
    #[must_use]
    pub fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    /// How many connections there ever were.
    #[must_use]
    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        // Its JoinSet goes with it, and with that every connection.
        self.acceptor.abort();
    }
}

struct Acceptor {
    upstream: String,
    address: SocketAddr,
    state: watch::Receiver<State>,
    announce: watch::Sender<bool>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
}

impl Acceptor {
    async fn run(mut self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        let mut listener = Some(listener);
        loop {
            let refuse = self.state.borrow_and_update().fault == Fault::Refuse;
            if refuse {
                listener = None;
            } else if listener.is_none() {
                // A client may hold the port for a moment: its own half-closed connection.
                match TcpListener::bind(self.address).await {
                    Ok(bound) => listener = Some(bound),
                    Err(_) => tokio::time::sleep(Duration::from_millis(5)).await,
                }
            }
            self.announce.send_replace(listener.is_some());
            let Some(bound) = &listener else {
                if refuse && self.state.changed().await.is_err() {
                    return;
                }
                continue;
            };
            tokio::select! {
                changed = self.state.changed() => if changed.is_err() { return },
                Ok((client, _)) = bound.accept() => {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                    let open = Open::new(&self.open);
                    let (upstream, state) = (self.upstream.clone(), self.state.clone());
                    connections.spawn(async move {
                        let _open = open;
                        serve(client, &upstream, state).await;
                    });
                }
                Some(_) = connections.join_next(), if !connections.is_empty() => {}
            }
        }
    }
}

/// Counts a connection for as long as it lives.
struct Open(Arc<AtomicUsize>);

impl Open {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(client: TcpStream, upstream: &str, mut state: watch::Receiver<State>) {
    let born = *state.borrow_and_update();
    if born.fault == Fault::Reset {
        let _ = client.set_zero_linger();
        return;
    }
    // An upstream that is down looks as it would without the proxy: the connection breaks.
    let Ok(server) = TcpStream::connect(upstream).await else {
        let _ = client.set_zero_linger();
        return;
    };
    let (mut client, mut server) = (client, server);
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = pump(from_client, to_server, state.clone(), Direction::Request);
        let replies = pump(from_server, to_client, state.clone(), Direction::Reply);
        tokio::select! {
            // An error of one direction resets both.
            done = async { tokio::try_join!(requests, replies) } => done.is_err(),
            () = until_reset(state, born.cuts) => true,
        }
    };
    if reset {
        let _ = client.set_zero_linger();
        let _ = server.set_zero_linger();
    }
}

async fn until_reset(mut state: watch::Receiver<State>, born: u64) {
    let reset = |state: &State| state.fault == Fault::Reset || state.cuts > born;
    let _ = state.wait_for(reset).await;
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Direction {
    Request,
    Reply,
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    direction: Direction,
) -> io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    loop {
        let length = from.read(&mut buffer).await?;
        let piece = &buffer[..length];
        let now = state.borrow().fault;
        if let Fault::Delay(delay) = now {
            tokio::time::sleep(delay).await;
        }
        let passes = |state: &State| match state.fault {
            Fault::Stall => false,
            Fault::HoldReplies => direction == Direction::Request,
            _ => true,
        };
        let fault = state.wait_for(passes).await.map_err(io::Error::other)?.fault;
        if length == 0 {
            return to.shutdown().await;
        }
        match fault {
            Fault::Trickle { bytes, every } if direction == Direction::Reply => {
                for crumb in piece.chunks(bytes.max(1)) {
                    to.write_all(crumb).await?;
                    tokio::time::sleep(every).await;
                }
            }
            _ => to.write_all(piece).await?,
        }
    }
}
