//! Whether a link lives, and what it is told without asking.

use super::{keys::Keyspace, msgpack, reply, wire::Wire};
use crate::{
    scope::{Glob, ScopeHash},
    store::{AckTo, Push, StoreError, StoreErrorKind, log::Appended},
};
use bytes::Bytes;
use parking_lot::Mutex;
use redis::{
    PushInfo, PushKind, Value,
    aio::{AsyncPushSender, SendError},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, OnceLock, Weak,
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

/// Alive, or dead and why: of connections, or of one link among those that share connections. With the connections
/// everything that shares them ends.
pub(super) struct Life {
    ended: OnceLock<Arc<str>>,
    pushes: UnboundedSender<Push>,
    pushed: AtomicUsize,
    /// Of a link: its connections.
    connections: Option<Arc<Self>>,
    /// Of connections: the links that share them.
    links: Mutex<Vec<Weak<Self>>>,
}

impl Life {
    /// The life of connections.
    pub(super) fn new() -> (Arc<Self>, UnboundedReceiver<Push>) {
        Self::over(None)
    }

    /// The life of a link over these connections.
    pub(super) fn of_link(connections: &Arc<Self>) -> (Arc<Self>, UnboundedReceiver<Push>) {
        let (link, queue) = Self::over(Some(Arc::clone(connections)));
        {
            let mut links = connections.links.lock();
            links.retain(|link| link.strong_count() > 0);
            links.push(Arc::downgrade(&link));
        }
        // They may have ended before it was among their links.
        if let Err(error) = connections.check() {
            link.end(&error.detail);
        }
        (link, queue)
    }

    fn over(connections: Option<Arc<Self>>) -> (Arc<Self>, UnboundedReceiver<Push>) {
        let (pushes, queue) = unbounded_channel();
        let life = Self {
            ended: OnceLock::new(),
            pushes,
            pushed: AtomicUsize::new(0),
            connections,
            links: Mutex::default(),
        };
        (Arc::new(life), queue)
    }

    /// Ends it. The first reason counts; whoever takes the pushes is told once.
    pub(super) fn end(&self, reason: &str) {
        if self.ended.set(reason.into()).is_err() {
            return;
        }
        // Nobody listens any more when the link was dropped.
        let _ = self.pushes.send(Push::Lost);
        let links = std::mem::take(&mut *self.links.lock());
        links.iter().filter_map(Weak::upgrade).for_each(|link| link.end(reason));
    }

    /// Fails when it has ended.
    pub(super) fn check(&self) -> Result<(), StoreError> {
        match self.ended.get() {
            // Its connections first: what they deliver after their end is not to be believed, and they may be about to tell.
            None => self.connections.as_ref().map_or(Ok(()), |connections| connections.check()),
            Some(reason) => Err(StoreError::new(StoreErrorKind::Disconnected, Arc::clone(reason))),
        }
    }

    /// Ends what can't be used after this error: a part of the data that has moved concerns its link alone.
    pub(super) fn judge(&self, error: StoreError) -> StoreError {
        match &self.connections {
            _ if error.kind.link_survives() => {}
            Some(connections) if error.kind != StoreErrorKind::Moved => connections.end(&error.to_string()),
            _ => self.end(&error.to_string()),
        }
        error
    }

    /// What was pushed has been drained: a heartbeat begins, or the queue was empty.
    pub(super) fn drained(&self) {
        self.pushed.store(0, Ordering::Relaxed);
    }

    fn push(&self, push: Push, weight: usize) {
        if self.pushed.fetch_add(weight, Ordering::Relaxed) > MAX_PUSHED_BETWEEN_HEARTBEATS {
            return self.end("more was pushed than this node drains");
        }
        let _ = self.pushes.send(push);
    }
}

/// Receives the frames that the server pushes on the coherence connection, and hands them to the links by channel.
///
/// The driver calls it from the task that reads the connection, frame by frame in the order of the stream, and hands a
/// reply over only after the pushes that stand before it. So what was pushed before a heartbeat's reply is queued when
/// the heartbeat returns.
pub(super) struct PushSink {
    connections: Arc<Life>,
    channels: Mutex<HashMap<Vec<u8>, Route>>,
}

/// What a channel carries, and the link that it concerns.
type Route = (Channel, Arc<Life>);

#[derive(Clone, Copy)]
enum Channel {
    Changes,
    Wakes,
    Events,
}

impl PushSink {
    pub(super) fn new(connections: &Arc<Life>) -> Self {
        Self { connections: Arc::clone(connections), channels: Mutex::default() }
    }

    /// From now on `link` is told what comes for `node` in this part of the data. A link that was told before has ended.
    pub(super) fn route(&self, keys: &Keyspace, node: &str, link: &Arc<Life>) {
        self.route_all(
            [(keys.changes().to_owned(), Channel::Changes), (keys.wakes_of(node), Channel::Wakes)],
            link,
        );
    }

    /// The same for what enters the event logs.
    pub(super) fn route_events(&self, keys: &Keyspace, link: &Arc<Life>) {
        self.route_all([(keys.events().to_owned(), Channel::Events)], link);
    }

    fn route_all(&self, names: impl IntoIterator<Item = (String, Channel)>, link: &Arc<Life>) {
        let mut channels = self.channels.lock();
        for (name, channel) in names {
            let before = channels.insert(name.into_bytes(), (channel, Arc::clone(link)));
            if let Some((_, before)) = before {
                before.end("another link has taken its place");
            }
        }
    }

    fn message(&self, channel: &[u8], message: &[u8]) {
        let Some((channel, link)) = self.channels.lock().get(channel).cloned() else { return };
        let push = match channel {
            Channel::Changes => change(message),
            Channel::Wakes => wake(message),
            Channel::Events => event(message),
        };
        match push {
            Some(push) => {
                let weight = match &push {
                    Push::Invalidated { scopes, .. } => 1 + scopes.len(),
                    // At most 64 MiB of them.
                    Push::Appended(_) | Push::Signal { .. } => 1 + message.len() / 64,
                    _ => 1,
                };
                link.push(push, weight);
            }
            // A change that we can't read may concern anything that we hold.
            None => link.end("a message that makes no sense came in"),
        }
    }
}

impl AsyncPushSender for PushSink {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        match (info.kind, info.data.as_slice()) {
            (PushKind::SMessage, [Value::BulkString(channel), Value::BulkString(message)]) => {
                self.message(channel, message);
            }
            (PushKind::SMessage, _) => self.connections.end("a message that makes no sense came in"),
            (PushKind::Disconnection, _) => self.connections.end("the connection has ended"),
            // We never unsubscribe; a server of a Cluster does when a slot leaves it. The driver takes such a frame for
            // the answer to whatever was asked first, so no answer on this connection can be believed any more, whichever
            // link asked.
            (PushKind::SUnsubscribe, _) => self.connections.end("the server ended a subscription"),
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

/// What precedes the tenant's length in a message that has no place in a log.
const SIGNAL: u8 = b'S';

/// `["E", seq, tenant, epoch, first offset, JSON...]`; or `S`, the length of the tenant, `:`, the tenant, the message.
fn event(message: &[u8]) -> Option<Push> {
    if let Some((&SIGNAL, rest)) = message.split_first() {
        let colon = rest.iter().take(4).position(|byte| *byte == b':')?;
        let length: usize = std::str::from_utf8(&rest[..colon]).ok()?.parse().ok()?;
        let (tenant, message) = rest[colon + 1..].split_at_checked(length)?;
        let tenant = std::str::from_utf8(tenant).ok()?.into();
        return Some(Push::Signal { tenant, message: Bytes::copy_from_slice(message) });
    }
    let strings = msgpack::strings(message)?;
    let [b"E", seq, tenant, epoch, first, ref events @ ..] = strings[..] else { return None };
    // One allocation, whatever their number.
    let whole = Bytes::copy_from_slice(message);
    let start = message.as_ptr() as usize;
    let part = |event: &&[u8]| {
        let at = event.as_ptr() as usize - start;
        whole.slice(at..at + event.len())
    };
    let text = |bytes| std::str::from_utf8(bytes).ok().map(Box::<str>::from);
    Some(Push::Appended(Appended {
        seq: reply::exact_text(seq)?,
        tenant: text(tenant)?,
        epoch: text(epoch).filter(|epoch| !epoch.is_empty())?,
        first: reply::exact_text(first).filter(|first| *first > 0)?,
        events: events.iter().map(part).collect(),
    }))
}

/// A message that has no place in a log.
pub(super) fn signal(tenant: &str, message: &[u8]) -> Vec<u8> {
    [&[SIGNAL], tenant.len().to_string().as_bytes(), b":", tenant.as_bytes(), message].concat()
}

/// For fuzzing: reads a message as a change and as a wake-up.
#[cfg(feature = "simulation")]
pub(crate) fn fuzz(bytes: &[u8]) {
    if let Some(Push::Invalidated { globs, .. }) = change(bytes) {
        // Written again it is the same.
        globs.iter().for_each(|one| assert_eq!(glob(&pattern(one)).as_ref(), Some(one)));
    }
    let _ = wake(bytes);
    if let Some(Push::Signal { tenant, message }) = event(bytes) {
        assert_eq!(event(&signal(&tenant, &message)), Some(Push::Signal { tenant, message }));
    }
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
        let sink = PushSink::new(&Life::new().0);
        let queue = link_of(&sink, &Keyspace::new("ns", 0).unwrap()).1;
        (sink, queue)
    }

    fn link_of(sink: &PushSink, keys: &Keyspace) -> (Arc<Life>, UnboundedReceiver<Push>) {
        let (link, queue) = Life::of_link(&sink.connections);
        sink.route(keys, "n1", &link);
        (link, queue)
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
        assert!(sink.connections.check().is_ok());
    }

    #[test]
    fn each_link_is_told_what_comes_on_its_channels() {
        let sink = PushSink::new(&Life::new().0);
        let buckets = Keyspace::in_cluster("ns").unwrap();
        let (_one, mut of_one) = link_of(&sink, &buckets[0]);
        let (_two, mut of_two) = link_of(&sink, &buckets[1]);
        let message = packed(&[b"", b"E", b"9", b"12"]);
        sink.send(frame(PushKind::SMessage, &[buckets[1].changes().as_bytes(), &message])).unwrap();
        assert!(of_one.try_recv().is_err());
        assert_eq!(of_two.try_recv().unwrap(), Push::Epoch { epoch: 9, head: 12 });
        // What can't be read ends the link that it was for.
        sink.send(frame(PushKind::SMessage, &[buckets[0].changes().as_bytes(), b"garbage"])).unwrap();
        assert_eq!(of_one.try_recv().unwrap(), Push::Lost);
        assert!(of_two.try_recv().is_err());
        assert!(sink.connections.check().is_ok());
    }

    #[test]
    fn a_link_made_again_takes_the_place_of_the_one_before() {
        let sink = PushSink::new(&Life::new().0);
        let keys = Keyspace::new("ns", 0).unwrap();
        let (before, mut of_before) = link_of(&sink, &keys);
        let (_after, mut of_after) = link_of(&sink, &keys);
        assert!(before.check().is_err());
        assert_eq!(of_before.try_recv().unwrap(), Push::Lost);
        assert!(of_after.try_recv().is_err());
    }

    #[test]
    fn a_part_that_moved_ends_its_link_and_any_other_end_concerns_all() {
        let sink = PushSink::new(&Life::new().0);
        let buckets = Keyspace::in_cluster("ns").unwrap();
        let (one, mut of_one) = link_of(&sink, &buckets[0]);
        let (two, mut of_two) = link_of(&sink, &buckets[1]);
        one.judge(StoreError::new(StoreErrorKind::Timeout, "slow"));
        assert!(one.check().is_ok());
        one.judge(StoreError::new(StoreErrorKind::Moved, "MOVED 1 h:1"));
        assert!(one.check().is_err() && two.check().is_ok());
        assert_eq!(of_one.try_recv().unwrap(), Push::Lost);
        two.judge(StoreError::new(StoreErrorKind::NotWritable, "READONLY"));
        assert!(two.check().is_err() && sink.connections.check().is_err());
        assert_eq!(of_two.try_recv().unwrap(), Push::Lost);
        assert!(of_one.try_recv().is_err(), "it is told once");
        let (late, mut of_late) = link_of(&sink, &buckets[2]);
        assert!(late.check().is_err());
        assert_eq!(of_late.try_recv().unwrap(), Push::Lost);
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
            let (_, link) = &sink.channels.lock()[b"ld1:ns:{0}:c:0".as_slice()];
            assert!(link.check().is_err());
        }
    }

    #[test]
    fn lost_is_told_once_and_the_first_reason_is_kept() {
        let (sink, mut queue) = sink();
        sink.send(frame(PushKind::SUnsubscribe, &[b"ld1:ns:{0}:c:0"])).unwrap();
        sink.send(frame(PushKind::Disconnection, &[])).unwrap();
        assert_eq!(queue.try_recv().unwrap(), Push::Lost);
        assert!(queue.try_recv().is_err());
        let error = sink.connections.check().unwrap_err();
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
        life.drained();
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
