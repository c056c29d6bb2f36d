//! Where the rows are: in the load generator, which knows what is new. Servers ask it over TCP.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};

/// So many rows there are.
pub(crate) const ROWS: usize = 16;

/// The versions of all rows.
#[derive(Default)]
pub(crate) struct Rows {
    versions: [AtomicU64; ROWS],
    reads: AtomicU64,
}

impl Rows {
    /// Answers `r N` and `w N` by the row's version, which a write raises.
    pub(crate) async fn serve(self: &Arc<Self>) -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let address = listener.local_addr().expect("it listens");
        let rows = Arc::clone(self);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let rows = Arc::clone(&rows);
                tokio::spawn(async move { rows.answer(stream).await });
            }
        });
        address
    }

    async fn answer(&self, stream: TcpStream) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut stream = BufReader::new(stream);
        let mut line = String::new();
        while stream.read_line(&mut line).await? > 0 {
            let (what, row) = line.trim().split_once(' ').unwrap_or_default();
            let row = &self.versions[row.parse::<usize>().unwrap_or(0) % ROWS];
            let version = if what == "w" {
                row.fetch_add(1, Ordering::SeqCst) + 1
            } else {
                self.reads.fetch_add(1, Ordering::Relaxed);
                row.load(Ordering::SeqCst)
            };
            stream.get_mut().write_all(format!("{version}\n").as_bytes()).await?;
            line.clear();
        }
        Ok(())
    }

    /// How often a server has asked for a row.
    pub(crate) fn reads(&self) -> u64 {
        self.reads.load(Ordering::Relaxed)
    }
}

/// The rows, as a server sees them.
#[derive(Clone)]
pub(crate) struct Origin {
    address: SocketAddr,
    idle: Arc<Mutex<Vec<BufReader<TcpStream>>>>,
}

impl Origin {
    pub(crate) fn at(address: SocketAddr) -> Self {
        Self { address, idle: Arc::default() }
    }

    pub(crate) async fn read(&self, row: usize) -> io::Result<u64> {
        self.ask("r", row).await
    }

    pub(crate) async fn write(&self, row: usize) -> io::Result<u64> {
        self.ask("w", row).await
    }

    async fn ask(&self, what: &str, row: usize) -> io::Result<u64> {
        let idle = self.idle.lock().expect("nobody panics with it").pop();
        let mut stream = match idle {
            Some(stream) => stream,
            None => {
                let stream = TcpStream::connect(self.address).await?;
                stream.set_nodelay(true)?;
                BufReader::new(stream)
            }
        };
        stream.get_mut().write_all(format!("{what} {row}\n").as_bytes()).await?;
        let mut line = String::new();
        stream.read_line(&mut line).await?;
        let version = line.trim().parse().map_err(|_| io::Error::from(io::ErrorKind::InvalidData))?;
        self.idle.lock().expect("nobody panics with it").push(stream);
        Ok(version)
    }
}
