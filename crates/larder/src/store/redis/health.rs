//! Whether a link lives, and what it is told without asking.

use super::{keys::Keyspace, msgpack, reply, wire::Wire};
use crate::{
    scope::{Glob, ScopeHash},
    store::{AckTo, Push, StoreError, StoreErrorKind},
};
use redis::{
    PushInfo, PushKind, Value,
    aio::{AsyncPushSender, SendError},
};
use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
    time::{MissedTickBehavior, interval},
};

/// Most scopes that may be pushed between two heartbeats: 16 MiB of them. The queue of pushes has no bound of its own,
/// since the driver may not wait. Its bound is this: the task that makes the heartbeats is the one that drains it, so
/// when this many have come since the last heartbeat, nobody drains and the link is given up.
const MAX_PUSHED_BETWEEN_HEARTBEATS: usize = 1 << 20;

/// The state that all connections of a link share: alive, or dead and why.
pub(super) struct Life {
    ended: OnceLock<Arc<str>>,
    pushes: UnboundedSender<Push>,
    pushed: AtomicUsize,
}

impl Life {
    pub(super) fn new() -> (Arc<Self>, UnboundedReceiver<Push>) {
        let (pushes, queue) = unbounded_channel();
        (Arc::new(Self { ended: OnceLock::new(), pushes, pushed: AtomicUsize::new(0) }), queue)
    }

    /// Ends the link. The first reason counts; the coherence task is told once.
    pub(super) fn end(&self, reason: &str) {
        if self.ended.set(reason.into()).is_ok() {
            // Nobody listens any more when the link was dropped.
            let _ = self.pushes.send(Push::Lost);
        }
    }

    /// Fails when the link has ended.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.ended.get() {
            None => Ok(()),
            Some(reason) => Err(StoreError::new(StoreErrorKind::Disconnected, Arc::clone(reason))),
        }
    }

    /// Ends the link if it can't be used after this error.
    pub(super) fn judge(&self, error: StoreError) -> StoreError {
        if !error.kind.link_survives() {
            self.end(&error.to_string());
        }
        error
    }

    /// A heartbeat begins: what was pushed before it has been drained.
    pub(super) fn heartbeat_begins(&self) {
        self.pushed.store(0, Ordering::Relaxed);
    }

    fn push(&self, push: Push, weight: usize) {
        if self.pushed.fetch_add(weight, Ordering::Relaxed) > MAX_PUSHED_BETWEEN_HEARTBEATS {
            return self.end("more was pushed than this node drains");
        }
        let _ = self.pushes.send(push);
    }
}

/// Receives the frames that the server pushes on the coherence connection.
///
/// The driver calls it from the task that reads the connection, frame by frame in the order of the stream, and hands a
/// reply over only after the pushes that stand before it. So what was pushed before a heartbeat's reply is queued when
/// the heartbeat returns.
pub(super) struct PushSink {
    pub(super) life: Arc<Life>,
    pub(super) changes: String,
    pub(super) wakes: String,
}

impl PushSink {
    pub(super) fn new(life: &Arc<Life>, keys: &Keyspace, node: &str) -> Self {
        Self { life: Arc::clone(life), changes: keys.changes().into(), wakes: keys.wakes_of(node) }
    }

    fn message(&self, channel: &[u8], message: &[u8]) {
        let push = if channel == self.changes.as_bytes() {
            change(message)
        } else if channel == self.wakes.as_bytes() {
            wake(message)
        } else {
            return;
        };
        match push {
            Some(push) => {
                let weight = if let Push::Invalidated { scopes, .. } = &push { 1 + scopes.len() } else { 1 };
                self.life.push(push, weight);
            }
            // A change that we can't read may concern anything that we hold.
            None => self.life.end("a message that makes no sense came in"),
        }
    }
}

impl AsyncPushSender for PushSink {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        match (info.kind, info.data.as_slice()) {
            (PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(message)]) => {
                self.message(channel, message);
            }
            (PushKind::SMessage, _) => self.life.end("a message that makes no sense came in"),
            (PushKind::Disconnection, _) => self.life.end("the connection has ended"),
            // We never unsubscribe. The driver takes such a frame for the answer to whatever was asked last, so no
            // answer on this connection can be believed any more.
            (PushKind::SUnsubscribe, _) => self.life.end("the server ended the subscription"),
            _ => {}
        }
        Ok(())
    }
}

/// `[origin, ack, epoch, prev, stamp, floor, scope...]`, or `["", "E", epoch, head]`.
fn change(message: &[u8]) -> Option<Push> {
    let strings = msgpack::strings(message)?;
    if let [b"", b"E", epoch, head] = strings[..] {
        return Some(Push::Epoch { epoch: reply::exact_text(epoch)?, head: reply::exact_text(head)? });
    }
    let [origin, ack, epoch, prev, stamp, floor, ref rest @ ..] = strings[..] else { return None };
    let (patterns, scopes): (Vec<&[u8]>, Vec<&[u8]>) = rest.iter().partition(|one| one.starts_with(b"p"));
    reply::exact_text(floor)?;
    let ack = match reply::exact_text(ack)? {
        0 => None,
        ack => Some(AckTo { node: std::str::from_utf8(origin).ok()?.to_owned(), ack }),
    };
    Some(Push::Invalidated {
        epoch: reply::exact_text(epoch)?,
        prev: reply::exact_text(prev)?,
        stamp: reply::exact_text(stamp)?,
        scopes: scopes.into_iter().map(ScopeHash::from_bytes).collect::<Option<_>>()?,
        globs: patterns.into_iter().map(glob).collect::<Option<_>>()?,
        ack,
    })
}

/// How a pattern stands in a message: `p`, its scope, then the pattern.
pub(super) fn pattern(glob: &Glob) -> Vec<u8> {
    [b"p", &glob.scope.as_bytes()[..], glob.pattern.as_bytes()].concat()
}

fn glob(message: &[u8]) -> Option<Glob> {
    let (scope, pattern) = message.strip_prefix(b"p")?.split_at_checked(16)?;
    Some(Glob { scope: ScopeHash::from_bytes(scope)?, pattern: std::str::from_utf8(pattern).ok()?.into() })
}

/// What a node publishes on another's wake-up channel when it has applied its invalidation number `ack`.
pub(super) fn acknowledgement(ack: u64, node: &str) -> String {
    format!("A{ack}:{node}")
}

/// `F` (filled) or `X` (given up), then the key's own scope; or an [`acknowledgement`].
fn wake(message: &[u8]) -> Option<Push> {
    match message.split_first()? {
        (b'F' | b'X', scope) => ScopeHash::from_bytes(scope).map(Push::Wake),
        (b'A', rest) => {
            let (ack, node) = std::str::from_utf8(rest).ok()?.split_once(':')?;
            Some(Push::Acknowledged { ack: reply::exact_text(ack.as_bytes())?, node: node.to_owned() })
        }
        _ => None,
    }
}

/// Asks an idle connection now and then whether it still works; ends the link when it does not. Runs until dropped.
pub(super) async fn watch(wire: Wire, life: Arc<Life>, every: Duration, within: Duration) {
    let mut ticks = interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks.tick().await;
    while life.check().is_ok() {
        ticks.tick().await;
        if let Err(error) = wire.ask_one(redis::cmd("PING"), within).await {
            life.end(&format!("a health check failed: {error}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn scope(n: u8) -> [u8; 16] {
        let mut scope = [n; 16];
        scope[0] = b's';
        scope
    }

    fn packed(strings: &[&[u8]]) -> Vec<u8> {
        let mut out = vec![0x90 | u8::try_from(strings.len()).unwrap()];
        for string in strings {
            out.push(0xa0 | u8::try_from(string.len()).unwrap());
            out.extend(*string);
        }
        out
    }

    fn sink() -> (PushSink, UnboundedReceiver<Push>) {
        let (life, queue) = Life::new();
        (PushSink::new(&life, &Keyspace::new("ns", 0).unwrap(), "n1"), queue)
    }

    fn frame(kind: PushKind, data: &[&[u8]]) -> PushInfo {
        PushInfo { kind, data: data.iter().map(|bytes| Value::BulkString(bytes.to_vec())).collect() }
    }

    #[test]
    fn a_change_and_a_new_epoch_are_read() {
        let (sink, mut queue) = sink();
        let message = packed(&[b"n2", b"0", b"7", b"10", b"11", b"3", &scope(1), &scope(2)]);
        sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:c:0", &message])).unwrap();
        sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:c:0", &packed(&[b"", b"E", b"9", b"12"])]))
            .unwrap();
        let scopes = [1, 2].map(|n| ScopeHash::from_bytes(&scope(n)).unwrap()).to_vec();
        let invalidated =
            Push::Invalidated { epoch: 7, prev: 10, stamp: 11, scopes, globs: Vec::new(), ack: None };
        assert_eq!(queue.try_recv().unwrap(), invalidated);
        assert_eq!(queue.try_recv().unwrap(), Push::Epoch { epoch: 9, head: 12 });
        assert!(sink.life.check().is_ok());
    }

    #[test]
    fn who_asks_for_an_acknowledgement_and_who_gives_it_is_read() {
        let (sink, mut queue) = sink();
        let message = packed(&[b"n2", b"42", b"7", b"10", b"11", b"3", &scope(1)]);
        sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:c:0", &message])).unwrap();
        let Push::Invalidated { ack, .. } = queue.try_recv().unwrap() else { panic!("it is one") };
        assert_eq!(ack, Some(AckTo { node: "n2".to_owned(), ack: 42 }));
        let message = acknowledgement(42, "n2");
        sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:w:0:n1", message.as_bytes()])).unwrap();
        let acknowledged = Push::Acknowledged { ack: 42, node: "n2".to_owned() };
        assert_eq!(queue.try_recv().unwrap(), acknowledged);
    }

    #[test]
    fn only_the_own_wake_channel_wakes() {
        let (sink, mut queue) = sink();
        let message = [b"F".as_slice(), &scope(1)].concat();
        sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:w:0:n2", &message])).unwrap();
        assert!(queue.try_recv().is_err());
        sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:w:0:n1", &message])).unwrap();
        assert_eq!(queue.try_recv().unwrap(), Push::Wake(ScopeHash::from_bytes(&scope(1)).unwrap()));
    }

    #[test]
    fn a_message_that_cannot_be_read_ends_the_link() {
        for message in [
            b"".to_vec(),
            b"garbage".to_vec(),
            packed(&[b"n2", b"0", b"7", b"10"]),
            packed(&[b"n2", b"0", b"7", b"x", b"11", b"3"]),
            packed(&[b"n2", b"0", b"7", b"10", b"11", b"3", b"not a scope"]),
        ] {
            let (sink, mut queue) = sink();
            sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:c:0", &message])).unwrap();
            assert_eq!(queue.try_recv().unwrap(), Push::Lost, "{message:?}");
            assert!(sink.life.check().is_err());
        }
    }

    #[test]
    fn lost_is_told_once_and_the_first_reason_is_kept() {
        let (sink, mut queue) = sink();
        sink.send(frame(PushKind::SUnsubscribe, &[b"ld1:ns:{0}:c:0"])).unwrap();
        sink.send(frame(PushKind::Disconnection, &[])).unwrap();
        assert_eq!(queue.try_recv().unwrap(), Push::Lost);
        assert!(queue.try_recv().is_err());
        let error = sink.life.check().unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Disconnected);
        assert!(error.detail.contains("subscription"), "{error}");
    }

    #[test]
    fn a_node_that_does_not_drain_loses_the_link_and_not_its_memory() {
        let (life, _queue) = Life::new();
        life.push(Push::Lost, MAX_PUSHED_BETWEEN_HEARTBEATS);
        life.push(Push::Lost, 1);
        assert!(life.check().is_ok());
        life.push(Push::Lost, 1);
        assert!(life.check().is_err());
        let (life, _queue) = Life::new();
        life.push(Push::Lost, MAX_PUSHED_BETWEEN_HEARTBEATS);
        life.heartbeat_begins();
        life.push(Push::Lost, MAX_PUSHED_BETWEEN_HEARTBEATS);
        life.push(Push::Lost, 1);
        assert!(life.check().is_ok());
    }

    proptest! {
        #[test]
        fn no_message_makes_it_panic(message in proptest::collection::vec(any::<u8>(), 0..200)) {
            let (sink, _queue) = sink();
            let _ = sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:c:0", &message]));
            let _ = sink.send(frame(PushKind::SMessage, &[b"ld1:ns:{0}:w:0:n1", &message]));
        }
    }
}
