//! A network with faults, in front of any TCP address.

mod pushes;

use pushes::Pushes;
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
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
    /// Answers pass, requests do not: the request that is executed late. They pass when the fault ends.
    HoldRequests,
    /// What comes in either direction is thrown away and never delivered; connections stay open and are of no use
    /// afterwards. They are to be [`cut`](TcpProxy::cut) before the fault ends, or their streams have a hole.
    Drop,
    /// Each connection is reset when so many bytes of answers have passed since the fault began: a reply that ends in
    /// its middle.
    CutReplies {
        /// So many bytes pass.
        after: usize,
    },
    /// Answers pass a few bytes at a time.
    Trickle {
        /// So many bytes…
        bytes: usize,
        /// …each time this has passed.
        every: Duration,
    },
    /// Requests pass a few bytes at a time: a command arrives in pieces.
    TrickleRequests {
        /// So many bytes…
        bytes: usize,
        /// …each time this has passed.
        every: Duration,
    },
    /// Redis only, without TLS: what is published does not reach subscribers that speak RESP3, everything else passes. A
    /// message is lost, and the connection does not show it. [`TcpProxy::lost_pushes`] counts them.
    LosePushes,
    /// Connections are accepted and reset at once; existing ones are reset.
    Reset,
    /// New connections are refused; existing ones go on.
    Refuse,
}

#[derive(Clone, Debug, Default)]
struct State {
    fault: Fault,
    /// Raised by `cut`: connections that began under a lower one are reset.
    cuts: u64,
    /// Clients of these addresses are cut off.
    severed: Arc<[IpAddr]>,
}

impl State {
    /// What holds for the connection of a client at `source`.
    fn fault_of(&self, source: IpAddr) -> Fault {
        if self.severed.contains(&source) { Fault::Stall } else { self.fault }
    }
}

/// A proxy on a free loopback port, whose [`Fault`] can be changed while connections run. Dropping it resets them.
#[derive(Debug)]
pub struct TcpProxy {
    address: SocketAddr,
    state: watch::Sender<State>,
    listening: watch::Receiver<bool>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    lost_pushes: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
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
        Self::start_before(Arc::new(OnceLock::from(upstream.into()))).await
    }

    /// [`start`](Self::start) before it is known what stands behind: connections that come before are reset.
    pub(crate) async fn start_before(upstream: Arc<OnceLock<String>>) -> Self {
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
        let (lost_pushes, turns) = (Arc::default(), Arc::default());
        let acceptor = Acceptor {
            upstream,
            address,
            state: watched,
            announce,
            open: Arc::clone(&open),
            accepted: Arc::clone(&accepted),
            lost_pushes: Arc::clone(&lost_pushes),
            turns: Arc::clone(&turns),
        };
        let acceptor = tokio::spawn(acceptor.run(listener));
        Self { address, state, listening, open, accepted, lost_pushes, turns, acceptor }
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

    /// Parts the clients at these addresses from what is behind the proxy, in both directions, until it is called
    /// again without them: a network partition. Connections stay open, new ones are accepted, and what was sent
    /// meanwhile is delivered after the partition. Other clients notice nothing.
    ///
    /// A client of this host gets an address of its own by binding to it before it connects (Linux: all of 127.0.0.0/8).
    pub fn sever(&self, sources: &[IpAddr]) {
        self.state.send_modify(|state| state.severed = sources.into());
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

    /// How many messages [`Fault::LosePushes`] has thrown away.
    #[must_use]
    pub fn lost_pushes(&self) -> usize {
        self.lost_pushes.load(Ordering::SeqCst)
    }

    /// How often a client has spoken after its server had, of all connections together; the first word of each counts. For
    /// clients that ask and wait for the answer: how many round trips there were, however much was asked in each.
    #[must_use]
    pub fn turns(&self) -> usize {
        self.turns.load(Ordering::SeqCst)
    }
}

impl Drop for TcpProxy {
    fn drop(&mut self) {
        // Its JoinSet goes with it, and with that every connection.
        self.acceptor.abort();
    }
}

struct Acceptor {
    upstream: Arc<OnceLock<String>>,
    address: SocketAddr,
    state: watch::Receiver<State>,
    announce: watch::Sender<bool>,
    open: Arc<AtomicUsize>,
    accepted: Arc<AtomicUsize>,
    lost_pushes: Arc<AtomicUsize>,
    turns: Arc<AtomicUsize>,
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
                Ok((client, from)) = bound.accept() => {
                    self.accepted.fetch_add(1, Ordering::SeqCst);
                    let open = Open::new(&self.open);
                    let (upstream, state) = (self.upstream.clone(), self.state.clone());
                    let (lost_pushes, turns) = (Arc::clone(&self.lost_pushes), Arc::clone(&self.turns));
                    connections.spawn(async move {
                        let _open = open;
                        let counts = Counts { lost_pushes: &lost_pushes, turns: &turns, is_asked: AtomicBool::new(false) };
                        serve(client, from.ip(), &upstream, state, &counts).await;
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

async fn serve(
    client: TcpStream,
    source: IpAddr,
    upstream: &OnceLock<String>,
    mut state: watch::Receiver<State>,
    counts: &Counts<'_>,
) {
    let cuts = state.borrow().cuts;
    // Nothing passes a partition, not even the wish to connect.
    let parted = |state: &State| state.severed.contains(&source) && state.cuts == cuts;
    let Ok(born) = state.wait_for(|state| !parted(state)).await.map(|state| state.clone()) else { return };
    if born.fault == Fault::Reset || born.cuts > cuts {
        let _ = client.set_zero_linger();
        return;
    }
    // An upstream that is down looks as it would without the proxy: the connection breaks.
    let connected = match upstream.get() {
        Some(upstream) => TcpStream::connect(upstream).await.ok(),
        None => None,
    };
    let Some(mut server) = connected else {
        let _ = client.set_zero_linger();
        return;
    };
    let mut client = client;
    for stream in [&client, &server] {
        let _ = stream.set_nodelay(true);
    }
    let reset = {
        let (from_client, to_client) = client.split();
        let (from_server, to_server) = server.split();
        let requests = pump(from_client, to_server, state.clone(), Direction::Request(counts), source);
        let replies = pump(from_server, to_client, state.clone(), Direction::Reply(counts), source);
        tokio::select! {
            // An error of one direction resets both.
            done = async { tokio::try_join!(requests, replies) } => done.is_err(),
            () = until_reset(state, cuts) => true,
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

/// What is counted of one connection.
struct Counts<'a> {
    /// Messages that are lost.
    lost_pushes: &'a AtomicUsize,
    turns: &'a AtomicUsize,
    /// The client was the last to speak.
    is_asked: AtomicBool,
}

#[derive(Clone, Copy)]
enum Direction<'a> {
    Request(&'a Counts<'a>),
    Reply(&'a Counts<'a>),
}

/// Waits until another fault holds.
async fn is_over(state: &mut watch::Receiver<State>, fault: Fault, source: IpAddr) {
    let _ = state.wait_for(|state| state.fault_of(source) != fault).await;
}

/// Writes so many bytes at a time, each time this has passed; what is left when it is over, at once.
async fn trickle(
    to: &mut WriteHalf<'_>,
    piece: &[u8],
    (bytes, every): (usize, Duration),
    over: impl Future<Output = ()>,
) -> io::Result<()> {
    let mut over = std::pin::pin!(over);
    let mut rest = piece;
    while !rest.is_empty() {
        let (crumb, left) = rest.split_at(bytes.clamp(1, rest.len()));
        to.write_all(crumb).await?;
        rest = left;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = &mut over => return to.write_all(rest).await,
        }
    }
    Ok(())
}

async fn pump(
    mut from: ReadHalf<'_>,
    mut to: WriteHalf<'_>,
    mut state: watch::Receiver<State>,
    direction: Direction<'_>,
    source: IpAddr,
) -> io::Result<()> {
    let replies = matches!(direction, Direction::Reply(_));
    let mut pushes = Pushes::default();
    let mut buffer = vec![0; 16 << 10];
    // Answers that have passed since `Fault::CutReplies` began.
    let mut passed = 0;
    loop {
        let length = from.read(&mut buffer).await?;
        let now = state.borrow().fault_of(source);
        if let Fault::Delay(delay) = now {
            tokio::time::sleep(delay).await;
        }
        let passes = |state: &State| match state.fault_of(source) {
            Fault::Stall => false,
            Fault::HoldReplies => !replies,
            Fault::HoldRequests => replies,
            _ => true,
        };
        let fault = state.wait_for(passes).await.map_err(io::Error::other)?.fault_of(source);
        if length == 0 {
            return to.shutdown().await;
        }
        let mut piece = Cow::from(&buffer[..length]);
        match direction {
            Direction::Request(counts) => {
                let turn = !counts.is_asked.swap(true, Ordering::SeqCst);
                counts.turns.fetch_add(usize::from(turn), Ordering::SeqCst);
            }
            Direction::Reply(counts) => {
                counts.is_asked.store(false, Ordering::SeqCst);
                piece = pushes.pass(&buffer[..length], fault == Fault::LosePushes);
                counts.lost_pushes.fetch_add(pushes.take_lost(), Ordering::SeqCst);
            }
        }
        match fault {
            Fault::Drop => {}
            Fault::CutReplies { after } if replies => {
                let left = after.saturating_sub(passed).min(piece.len());
                to.write_all(&piece[..left]).await?;
                passed += left;
                if passed >= after {
                    // What was written is delivered before the reset.
                    to.flush().await?;
                    return Err(io::ErrorKind::ConnectionReset.into());
                }
                continue;
            }
            Fault::Trickle { bytes, every } if replies => {
                trickle(&mut to, &piece, (bytes, every), is_over(&mut state, fault, source)).await?;
            }
            Fault::TrickleRequests { bytes, every } if !replies => {
                trickle(&mut to, &piece, (bytes, every), is_over(&mut state, fault, source)).await?;
            }
            _ => to.write_all(&piece).await?,
        }
        passed = 0;
    }
}
