//! Where nodes report: the origin that they load from, and the ears of the judge.

use super::judge::Judge;
use super::wire::{Order, Said, name_of, versions};
use crate::chance::Chance;
use crate::simulation::history::Returned;
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::sync::Arc;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// Answers that a node has not taken yet: beyond it nothing more is read from it.
const BACKLOG: usize = 1024;
/// Stamps that are handed on.
const STAMPS: usize = 16;

/// The desk.
pub(super) struct Desk {
    pub(super) judge: Arc<Judge>,
    chance: Chance,
    /// Stamps that were given out lately, each with what was written before it.
    stamps: Mutex<VecDeque<String>>,
    nodes: Mutex<BTreeMap<usize, mpsc::Sender<Order>>>,
    checked: Mutex<BTreeSet<usize>>,
}

impl Desk {
    /// A desk of this judge.
    pub(super) fn new(judge: Arc<Judge>, chance: Chance) -> Arc<Self> {
        let (stamps, nodes, checked) = Default::default();
        Arc::new(Self { judge, chance, stamps, nodes, checked })
    }

    /// Serves nodes for ever.
    pub(super) async fn open(self: Arc<Self>, listener: TcpListener) {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(Arc::clone(&self).serve(stream));
        }
    }

    /// Tells a node something. False where it is not there.
    pub(super) async fn order(&self, node: usize, order: Order) -> bool {
        let Some(line) = self.nodes.lock().get(&node).cloned() else { return false };
        line.send(order).await.is_ok()
    }

    /// Whether a node has read everything once.
    pub(super) fn has_checked(&self, node: usize) -> bool {
        self.checked.lock().contains(&node)
    }

    async fn serve(self: Arc<Self>, stream: TcpStream) {
        let _ = stream.set_nodelay(true);
        let (incoming, outgoing) = stream.into_split();
        let mut lines = BufReader::new(incoming).lines();
        let Ok(Some(first)) = lines.next_line().await else { return };
        let Ok(Said::Hello { node }) = first.parse() else {
            return self.judge.broke(format!("the harness: a stranger says {first:?}"));
        };
        let (out, orders) = mpsc::channel(BACKLOG);
        tokio::spawn(send(orders, outgoing));
        self.nodes.lock().insert(node, out.clone());
        // A killed node may end in the middle of a line: that is no line.
        while let Ok(Some(line)) = lines.next_line().await {
            let Ok(said) = line.parse() else {
                if self.is_whole(&mut lines).await {
                    self.judge.broke(format!("the harness: node {node} stammers {line:?}"));
                }
                break;
            };
            if let Some(answer) = self.hear(node, said) {
                let _ = out.send(answer).await;
            }
        }
        self.nodes.lock().remove(&node);
        self.judge.gone(node);
    }

    /// Whether more follows.
    async fn is_whole<R: tokio::io::AsyncBufRead + Unpin>(&self, lines: &mut tokio::io::Lines<R>) -> bool {
        matches!(lines.next_line().await, Ok(Some(_)))
    }

    fn hear(&self, node: usize, said: Said) -> Option<Order> {
        match said {
            Said::Get { id, row } => {
                let words = self.judge.version(row)?.to_string();
                return Some(Order::Answer { id, words });
            }
            Said::Put { id, rows } => {
                let rows: Option<Vec<_>> =
                    rows.into_iter().map(|row| Some((row, self.judge.commit(row)?))).collect();
                return Some(Order::Answer { id, words: versions(&rows?) });
            }
            Said::Stamp { id } => {
                let stamps = self.stamps.lock();
                let some = (!stamps.is_empty()).then(|| stamps[self.chance.index(stamps.len())].clone());
                return Some(Order::Answer { id, words: some.unwrap_or_else(|| "-".to_owned()) });
            }
            Said::Read(read) => self.judge.read(node, read),
            Said::Told(told) => {
                if told.how != Returned::Deferred
                    && let Some(stamp) = &told.stamp
                {
                    let mut stamps = self.stamps.lock();
                    stamps.push_back(format!("{stamp} {} {}", name_of(told.effect), versions(&told.rows)));
                    if stamps.len() > STAMPS {
                        stamps.pop_front();
                    }
                }
                self.judge.told(node, told);
            }
            Said::State(state) => self.judge.stands(node, state),
            Said::Checked => {
                self.checked.lock().insert(node);
            }
            Said::Failed { why } => self.judge.broke(format!("node {node}: {why}")),
            Said::Hello { .. } => {}
        }
        None
    }
}

async fn send(mut orders: mpsc::Receiver<Order>, mut outgoing: OwnedWriteHalf) -> io::Result<()> {
    while let Some(order) = orders.recv().await {
        outgoing.write_all(format!("{order}\n").as_bytes()).await?;
    }
    Ok(())
}
