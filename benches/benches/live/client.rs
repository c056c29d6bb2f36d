//! The load generator: WebSocket clients that check what they get.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use super::rereads::Rereads;
use super::server::{TENANT, now};

/// Delays are counted by 50 us up to 10 s.
const SLOT_US: u64 = 50;
const SLOTS: usize = 200_000;

/// What all clients have got.
pub(crate) struct Tally {
    events: AtomicU64,
    resets: AtomicU64,
    faults: AtomicU64,
    dials: AtomicU64,
    delays: Vec<AtomicU64>,
    /// Of each client: the offset where it is.
    at: Vec<AtomicU64>,
    /// Of the log, as the last client has heard it.
    epoch: Mutex<String>,
    next: AtomicU64,
    stop: AtomicBool,
    /// Who reads again on events.
    rereads: Option<Arc<Rereads>>,
}

impl Tally {
    pub(crate) fn new(clients: u64) -> Self {
        let zeros = |count: usize| std::iter::repeat_with(AtomicU64::default).take(count).collect();
        Self {
            events: AtomicU64::new(0),
            resets: AtomicU64::new(0),
            faults: AtomicU64::new(0),
            dials: AtomicU64::new(0),
            delays: zeros(SLOTS),
            at: zeros(usize::try_from(clients).unwrap_or(0)),
            epoch: Mutex::default(),
            next: AtomicU64::new(0),
            stop: AtomicBool::new(false),
            rereads: None,
        }
    }

    /// Of clients that read again on every event.
    pub(crate) fn hearing(clients: u64, rereads: Arc<Rereads>) -> Self {
        Self { rereads: Some(rereads), ..Self::new(clients) }
    }

    pub(crate) fn clear(&self) {
        self.events.store(0, Ordering::SeqCst);
        self.delays.iter().for_each(|slot| slot.store(0, Ordering::SeqCst));
    }

    pub(crate) fn stop(&self) {
        self.stop.store(true, Ordering::SeqCst);
    }

    pub(crate) fn events(&self) -> u64 {
        self.events.load(Ordering::SeqCst)
    }

    pub(crate) fn resets(&self) -> u64 {
        self.resets.load(Ordering::SeqCst)
    }

    /// Gaps, duplicates, and positions that do not agree.
    pub(crate) fn faults(&self) -> u64 {
        self.faults.load(Ordering::SeqCst)
    }

    pub(crate) fn dials(&self) -> u64 {
        self.dials.load(Ordering::SeqCst)
    }

    /// How many clients are that far.
    pub(crate) fn at_or_after(&self, offset: u64) -> u64 {
        self.at.iter().filter(|at| at.load(Ordering::Relaxed) >= offset).count() as u64
    }

    /// The delay in milliseconds below which this part of the events came.
    #[expect(clippy::cast_precision_loss, reason = "for a report")]
    pub(crate) fn delay(&self, part: f64) -> f64 {
        let all: u64 = self.delays.iter().map(|slot| slot.load(Ordering::Relaxed)).sum();
        let mut seen = 0;
        for (slot, count) in self.delays.iter().enumerate() {
            seen += count.load(Ordering::Relaxed);
            if seen > 0 && seen as f64 >= all as f64 * part {
                return (slot as u64 * SLOT_US) as f64 / 1000.0;
            }
        }
        f64::NAN
    }

    fn note(&self, sent: u64) {
        let slot = usize::try_from(now().saturating_sub(sent) / SLOT_US).unwrap_or(SLOTS).min(SLOTS - 1);
        self.delays[slot].fetch_add(1, Ordering::Relaxed);
    }
}

/// Where a client is.
#[derive(Clone, Debug, Default)]
pub(crate) struct Place {
    number: usize,
    epoch: String,
    offset: u64,
}

/// Clients.
pub(crate) struct Crowd(JoinSet<Client>);

impl Crowd {
    /// Connects new ones, and returns when all are in.
    pub(crate) async fn connect(servers: &[SocketAddr], clients: u64, tally: &Arc<Tally>) -> Self {
        Self::connect_then(servers, servers, clients, tally).await
    }

    /// The same; who loses its connection goes on to one of `then`.
    pub(crate) async fn connect_then(
        servers: &[SocketAddr],
        then: &[SocketAddr],
        clients: u64,
        tally: &Arc<Tally>,
    ) -> Self {
        let mut ready = JoinSet::new();
        for _ in 0..clients {
            let number = usize::try_from(tally.next.fetch_add(1, Ordering::SeqCst)).unwrap_or(0);
            let place = Place { number, ..Place::default() };
            let mut client =
                Client { servers: servers.to_vec(), place, tally: Arc::clone(tally), stream: None };
            ready.spawn(async move {
                client.dial().await;
                client
            });
            // Below the rate at which a node takes connections.
            if number % 15 == 14 {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        }
        let mut crowd = JoinSet::new();
        while let Some(client) = ready.join_next().await {
            let mut client = client.expect("a client does not panic");
            client.servers = then.to_vec();
            crowd.spawn(client.run());
        }
        Self(crowd)
    }

    /// Ends all connections; returns where the clients were.
    pub(crate) async fn cut(mut self, tally: &Tally) -> Vec<Place> {
        self.0.shutdown().await;
        let epoch = tally.epoch.lock().expect("nobody panics with it").clone();
        let offset = |at: &AtomicU64| at.load(Ordering::SeqCst);
        let places = tally.at.iter().enumerate();
        places.map(|(number, at)| Place { number, epoch: epoch.clone(), offset: offset(at) }).collect()
    }

    /// Clients that come back, all at once.
    pub(crate) fn resume(servers: &[SocketAddr], places: Vec<Place>, tally: &Arc<Tally>) -> Self {
        let mut crowd = JoinSet::new();
        for place in places {
            let client = Client { servers: servers.to_vec(), place, tally: Arc::clone(tally), stream: None };
            crowd.spawn(client.run());
        }
        Self(crowd)
    }
}

struct Client {
    servers: Vec<SocketAddr>,
    place: Place,
    tally: Arc<Tally>,
    stream: Option<Stream>,
}

struct Stream {
    tcp: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Connects to one of the servers, as often as it takes.
    async fn dial(&mut self) {
        for attempt in 0.. {
            let server = self.servers[(self.place.number + attempt) % self.servers.len()];
            if let Ok(Some(stream)) =
                tokio::time::timeout(Duration::from_secs(10), self.dial_one(server)).await
            {
                self.stream = Some(stream);
                self.tally.dials.fetch_add(1, Ordering::Relaxed);
                return;
            }
            if self.tally.stop.load(Ordering::Relaxed) {
                return;
            }
            // Not all at the same moment again.
            let wait = 100 + (self.place.number as u64 * 7919) % 900;
            tokio::time::sleep(Duration::from_millis(wait)).await;
        }
    }

    async fn dial_one(&self, server: SocketAddr) -> Option<Stream> {
        let mut tcp = TcpStream::connect(server).await.ok()?;
        tcp.set_nodelay(true).ok()?;
        let Place { number, epoch, offset } = &self.place;
        let pos = if epoch.is_empty() { String::new() } else { format!("?pos={epoch}:{offset}") };
        let request = format!(
            "GET /ws/notifications/{TENANT}{pos} HTTP/1.1\r\nHost: bench\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nAuthorization: Bearer bench-{number}\r\n\r\n"
        );
        tcp.write_all(request.as_bytes()).await.ok()?;
        let mut buffer = Vec::with_capacity(1024);
        loop {
            if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                if !buffer.starts_with(b"HTTP/1.1 101") {
                    return None;
                }
                buffer.drain(..end + 4);
                return Some(Stream { tcp, buffer });
            }
            if tcp.read_buf(&mut buffer).await.ok()? == 0 {
                return None;
            }
        }
    }

    /// Reads until it is told to stop; comes back where the connection ends.
    async fn run(mut self) -> Self {
        loop {
            if self.tally.stop.load(Ordering::Relaxed) {
                return self;
            }
            match self.stream.take() {
                Some(mut stream) => {
                    self.read(&mut stream).await;
                    self.stream = None;
                }
                None => self.dial().await,
            }
        }
    }

    async fn read(&mut self, stream: &mut Stream) {
        loop {
            while let Some((opcode, start, end)) = frame(&stream.buffer) {
                match opcode {
                    1 => self.take(&stream.buffer[start..end]),
                    8 => return,
                    // An empty pong, masked by zeros.
                    9 if stream.tcp.write_all(&[0x8a, 0x80, 0, 0, 0, 0]).await.is_err() => return,
                    _ => {}
                }
                stream.buffer.drain(..end);
            }
            if self.tally.stop.load(Ordering::Relaxed) {
                return;
            }
            match tokio::time::timeout(Duration::from_secs(45), stream.tcp.read_buf(&mut stream.buffer)).await
            {
                Ok(Ok(read)) if read > 0 => {}
                _ => return,
            }
        }
    }

    /// One message.
    fn take(&mut self, message: &[u8]) {
        let text = std::str::from_utf8(message).unwrap_or_default();
        let after = |name: &str| text.find(name).map(|at| &text[at + name.len()..]);
        let number = |name: &str| {
            let rest = after(name)?;
            let end = rest.find(|letter: char| !letter.is_ascii_digit()).unwrap_or(rest.len());
            rest[..end].parse::<u64>().ok()
        };
        let Some(offset) = number("\"offset\":") else { return };
        let epoch = after("\"epoch\":\"").and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let kind = after("{\"type\":\"").and_then(|rest| rest.split('"').next()).unwrap_or_default();
        let same = self.place.epoch == epoch;
        match kind {
            "event" => {
                if !same || offset != self.place.offset + 1 {
                    self.tally.faults.fetch_add(1, Ordering::SeqCst);
                    eprintln!(
                        "client {} was at {}:{} and got {text}",
                        self.place.number, self.place.epoch, self.place.offset
                    );
                }
                self.tally.events.fetch_add(1, Ordering::Relaxed);
                if let Some(sent) = number("\"t\":") {
                    self.tally.note(sent);
                }
                if let (Some(rereads), Some(row), Some(version)) =
                    (&self.tally.rereads, number("\"row\":"), number("\"v\":"))
                {
                    rereads.heard(self.place.number, usize::try_from(row).unwrap_or(0), version);
                }
            }
            "synced" => {
                if !self.place.epoch.is_empty() && (!same || offset != self.place.offset) {
                    self.tally.faults.fetch_add(1, Ordering::SeqCst);
                    eprintln!(
                        "client {} was at {}:{} and got {text}",
                        self.place.number, self.place.epoch, self.place.offset
                    );
                }
            }
            "reset" => {
                self.tally.resets.fetch_add(1, Ordering::SeqCst);
            }
            "ping" => {}
            _ => return,
        }
        if !same {
            epoch.clone_into(&mut self.place.epoch);
            epoch.clone_into(&mut self.tally.epoch.lock().expect("nobody panics with it"));
        }
        self.place.offset = offset;
        self.tally.at[self.place.number].store(offset, Ordering::Relaxed);
    }
}

/// The first whole frame (RFC 6455 §5.2, unmasked): opcode, where its payload begins and ends.
fn frame(buffer: &[u8]) -> Option<(u8, usize, usize)> {
    let (opcode, short) = (buffer.first()? & 0x0f, *buffer.get(1)? & 0x7f);
    let (start, length) = match short {
        126 => (4, usize::from(u16::from_be_bytes([*buffer.get(2)?, *buffer.get(3)?]))),
        127 => {
            let bytes: [u8; 8] = buffer.get(2..10)?.try_into().ok()?;
            (10, usize::try_from(u64::from_be_bytes(bytes)).ok()?)
        }
        _ => (2, usize::from(short)),
    };
    (buffer.len() >= start + length).then_some((opcode, start, start + length))
}
