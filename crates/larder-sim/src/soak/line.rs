//! A node's connection to the coordinator: the origin's rows, and the ears of the checker.

use super::wire::{Order, Said};
use parking_lot::Mutex;
use std::collections::HashMap;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::sync::{mpsc, oneshot};

/// What was said and is not sent yet: beyond it whoever says something waits.
const BACKLOG: usize = 1024;

/// The connection. It is the process's reason to live: where it ends, the process does.
pub(super) struct Line {
    out: mpsc::Sender<Said>,
    asked: Mutex<HashMap<u64, oneshot::Sender<String>>>,
    ids: AtomicU64,
}

impl Line {
    /// Connects, says who it is, and hands out what is ordered.
    pub(super) async fn connect(
        to: SocketAddr,
        node: usize,
    ) -> io::Result<(Arc<Self>, mpsc::Receiver<Order>)> {
        let stream = TcpStream::connect(to).await?;
        stream.set_nodelay(true)?;
        let (incoming, outgoing) = stream.into_split();
        let (out, said) = mpsc::channel(BACKLOG);
        let line = Arc::new(Self { out, asked: Mutex::default(), ids: AtomicU64::new(0) });
        let (order, orders) = mpsc::channel(8);
        tokio::spawn(send(said, outgoing));
        tokio::spawn(Arc::clone(&line).listen(incoming, order));
        line.say(Said::Hello { node }).await;
        Ok((line, orders))
    }

    /// Says something.
    pub(super) async fn say(&self, what: Said) {
        // Where nobody listens any more the process ends.
        let _ = self.out.send(what).await;
    }

    /// Asks something, and waits for the answer.
    pub(super) async fn ask(&self, what: impl FnOnce(u64) -> Said) -> io::Result<String> {
        let id = self.ids.fetch_add(1, Ordering::Relaxed);
        let (answer, answered) = oneshot::channel();
        self.asked.lock().insert(id, answer);
        self.say(what(id)).await;
        answered.await.map_err(|_| io::ErrorKind::ConnectionAborted.into())
    }

    async fn listen(self: Arc<Self>, incoming: OwnedReadHalf, order: mpsc::Sender<Order>) {
        let mut lines = BufReader::new(incoming).lines();
        while let Ok(Some(line)) = lines.next_line().await {
            match line.parse() {
                Ok(Order::Answer { id, words }) => {
                    if let Some(answer) = self.asked.lock().remove(&id) {
                        // Whoever asked may be gone.
                        let _ = answer.send(words);
                    }
                }
                Ok(other) => {
                    let _ = order.send(other).await;
                }
                Err(_) => break,
            }
        }
    }
}

/// Sends what is said, as much as there is at once.
async fn send(mut said: mpsc::Receiver<Said>, mut outgoing: OwnedWriteHalf) {
    let mut lines = String::new();
    while let Some(first) = said.recv().await {
        lines.clear();
        let more = std::iter::from_fn(|| said.try_recv().ok());
        for one in std::iter::once(first).chain(more) {
            lines += &one.to_string();
            lines.push('\n');
        }
        if outgoing.write_all(lines.as_bytes()).await.is_err() {
            return;
        }
    }
}
