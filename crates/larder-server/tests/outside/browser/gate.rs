//! A middlebox that lets HTTP pass and knows nothing of WebSockets, as they stand in some offices.

use std::net::SocketAddr;
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

const REFUSAL: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
/// The head of a request of a browser is far shorter.
const HEAD: usize = 64 << 10;

pub(crate) struct NoWebSockets {
    address: SocketAddr,
    acceptor: JoinHandle<()>,
}

impl NoWebSockets {
    pub(crate) async fn before(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let upstream = upstream.trim_start_matches("http://").to_owned();
        let acceptor = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(pass(client, upstream.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Self { address, acceptor }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for NoWebSockets {
    fn drop(&mut self) {
        self.acceptor.abort();
    }
}

/// A browser makes a connection of its own for a WebSocket, so the first request decides.
async fn pass(mut client: TcpStream, upstream: String) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.windows(4).any(|end| end == b"\r\n\r\n") && head.len() < HEAD {
        if client.read_buf(&mut head).await? == 0 {
            return Ok(());
        }
    }
    if String::from_utf8_lossy(&head).to_ascii_lowercase().contains("upgrade: websocket") {
        return client.write_all(REFUSAL).await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&head).await?;
    copy_bidirectional(&mut client, &mut server).await.map(drop)
}
