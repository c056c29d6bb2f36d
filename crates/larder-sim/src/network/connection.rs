//! A connection: what has been sent arrives in order, or not at all.

use super::{Network, Process, pass, yields};
use crate::redis::{Client, Command, request};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::task::Waker;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

#[derive(Default)]
pub(super) struct Wire {
    /// Sent by the node, not yet run.
    pub(super) inbound: Vec<u8>,
    /// Arrived at the node, not yet read.
    pub(super) readable: Vec<u8>,
    pub(super) reader: Option<Waker>,
    /// Sent by the server, and when it arrives.
    outbox: VecDeque<(Instant, Vec<u8>)>,
    pub(super) client_closed: bool,
    pub(super) server_closed: bool,
}

impl Wire {
    fn arrive(&mut self, bytes: &[u8]) {
        self.readable.extend(bytes);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

pub(super) struct Connection {
    pub(super) id: Client,
    pub(super) node: usize,
    pub(super) process: Arc<Process>,
    pub(super) wire: Mutex<Wire>,
    /// Told when the node has sent something or has gone.
    pub(super) arrived: Notify,
    /// Told when there is something to deliver.
    pub(super) leaving: Notify,
}

impl Connection {
    pub(super) fn new(id: Client, node: usize, process: Arc<Process>) -> Self {
        let (arrived, leaving) = (Notify::new(), Notify::new());
        Self { id, node, process, wire: Mutex::default(), arrived, leaving }
    }

    /// Sends something to the node, which arrives after all that was sent before.
    pub(super) fn send(&self, bytes: Vec<u8>, delay: Duration, held: bool) {
        let mut wire = self.wire.lock();
        if wire.outbox.is_empty() && delay.is_zero() && !held {
            return wire.arrive(&bytes);
        }
        let at = Instant::now() + delay;
        let at = wire.outbox.back().map_or(at, |(last, _)| at.max(*last));
        wire.outbox.push_back((at, bytes));
        self.leaving.notify_one();
    }

    /// The server's end is closed: nothing more arrives.
    pub(super) fn close(&self) {
        let mut wire = self.wire.lock();
        wire.server_closed = true;
        wire.outbox.clear();
        wire.arrive(&[]);
        self.arrived.notify_one();
        self.leaving.notify_one();
    }

    fn next(&self) -> Next {
        let mut wire = self.wire.lock();
        if wire.server_closed {
            return Next::End;
        }
        match request::next(&mut wire.inbound) {
            Some(command) => Next::Run(command),
            None if wire.client_closed => Next::End,
            None => Next::Wait,
        }
    }
}

enum Next {
    Run(Command),
    Wait,
    End,
}

impl Connection {
    /// Delivers the next that is on its way, now. Whether there was anything.
    pub(super) fn let_through(&self) -> bool {
        let mut wire = self.wire.lock();
        let next = wire.outbox.pop_front();
        if let Some((_, bytes)) = &next {
            wire.arrive(bytes);
        }
        next.is_some()
    }
}

/// Runs what arrives, in order.
pub(super) async fn serve(network: Network, connection: Arc<Connection>) {
    let chance = network.0.chance.clone();
    let mut at_once = false;
    loop {
        match connection.next() {
            Next::Wait => {
                connection.arrived.notified().await;
                at_once = false;
                continue;
            }
            Next::End => break,
            Next::Run(command) => {
                let weather = network.weather();
                if !at_once {
                    weather.travel(&chance).await;
                    at_once = true;
                } else if chance.in_10_000(weather.split) {
                    yields(1 + chance.below(3)).await;
                    pass(weather.delay(&chance)).await;
                }
                network.until(|inner| !inner.mute.contains(&connection.node)).await;
                network.until(|_| !connection.process.stalled.load(Ordering::SeqCst)).await;
                let gone =
                    connection.process.ended.load(Ordering::SeqCst) || connection.wire.lock().server_closed;
                if gone || chance.in_10_000(weather.lost_before) {
                    break;
                }
                network.held(&connection, &command, false).await;
                let reply = network.run(&connection, &command);
                network.held(&connection, &command, true).await;
                if chance.in_10_000(weather.lost_after) {
                    break;
                }
                if command[0].eq_ignore_ascii_case(b"EVALSHA") && chance.in_10_000(weather.repeated) {
                    network.0.executor.detach(again(network.clone(), Arc::clone(&connection), command));
                }
                let mut bytes = Vec::new();
                reply.write(&mut bytes);
                network.send(&connection, bytes);
            }
        }
    }
    network.forget(&connection);
    connection.close();
}

/// Runs once more what was run already, as if it had come twice.
async fn again(network: Network, connection: Arc<Connection>, command: Command) {
    pass(Duration::from_millis(network.0.chance.pick(&[0, 3, 50, 900, 1500]))).await;
    if !connection.process.ended.load(Ordering::SeqCst) {
        network.run(&connection, &command);
    }
}

/// Brings to the node what is on its way.
pub(super) async fn deliver(network: Network, connection: Arc<Connection>) {
    loop {
        let next = {
            let wire = connection.wire.lock();
            if wire.server_closed || wire.client_closed {
                return;
            }
            wire.outbox.front().map(|(at, _)| *at)
        };
        let Some(at) = next else {
            connection.leaving.notified().await;
            continue;
        };
        tokio::time::sleep_until(at).await;
        network.until(|inner| !inner.deaf.contains(&connection.node)).await;
        connection.let_through();
    }
}
