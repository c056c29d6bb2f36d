//! Tenants' event logs: what those who follow them are told, and when.

use super::stage::{LEASE, Seen, Stage};
use super::{Schedule, play};
use crate::network::{Weather, appends, invalidates, reads_a_log, recovers};
use crate::node::Node;
use crate::redis::{Data, Value};
use larder::{Error, Event, EventLog, Position, Replay, WatchNext, tag};
use parking_lot::Mutex;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;

pub(super) const ALL: &[Schedule] = &[
    Schedule::new(
        "an event is seen when who hears nothing has dropped what it tells of",
        play!(acknowledged),
    ),
    Schedule::new("an event is seen when what it tells of was delivered", play!(delivered)),
    Schedule::new("and who hears nothing has dropped that", play!(delivered_and_acknowledged)),
    Schedule::new("events enter the log as they were published", play!(in_line)),
    Schedule::small("who follows is told of events that were dropped", play!(dropped)),
    Schedule::small("also where all that follows them is known", play!(dropped_before_known)),
    Schedule::new("an event is told at once", play!(told)),
    Schedule::new("an event whose message was lost comes with the next", play!(lost_before_another)),
    Schedule::new("and with the next of another tenant", play!(lost_before_anothers)),
    Schedule::new("and without any, soon", play!(lost)),
    Schedule::new("messages are counted anew, and one is lost", play!(counted_anew)),
    Schedule::new("Redis begins anew, and who follows is told", play!(begun_anew)),
    Schedule::new("the coherence state is lost, and who follows is told", play!(state_lost)),
    Schedule::new(
        "a log is lost and begun by another's look, and who follows is told",
        play!(log_lost, false),
    ),
    Schedule::new("also if the message of that is lost", play!(log_lost, true)),
    Schedule::new("and of what it begins with", play!(begun_with)),
    Schedule::new("a message of a log that has ended comes late", play!(ended, 1)),
    Schedule::new("and one of a log that ended as soon as it began", play!(ended, 2)),
    Schedule::new("a server goes back to a log that has ended, and nobody follows", play!(gone_back)),
    Schedule::small("events that the log has no more are missed by nobody unawares", play!(forgotten)),
    Schedule::small("nor by who is slow", play!(slow)),
    Schedule::small("nor by who comes back", play!(replayed)),
    Schedule::new("an event is lost while those before it are read", play!(lost_in_a_read)),
    Schedule::new("a key has one event", play!(keyed)),
    Schedule::small("also when events were dropped", play!(keyed_and_dropped)),
    Schedule::new("an attempt without an answer is made again, and its event is there once", play!(again)),
    Schedule::new("also where the attempt is carried out after that", play!(late, 0)),
    Schedule::new("and after the node has gone on", play!(late, 1)),
    Schedule::new("and after the epoch that it has begun was lost", play!(again_in_another_epoch)),
    Schedule::new("an old snapshot's log goes on for nobody", play!(old_snapshot)),
    Schedule::new("nor before the server is blessed", play!(unblessed)),
    Schedule::new(
        "a server goes back within the epoch of a log, and nobody follows",
        play!(gone_back_within),
    ),
    Schedule::new("a log of the past is not asked for without a pause", play!(behind_what_was_told)),
    Schedule::new("the log's connections lead to a replaced server for a moment", play!(astray)),
    Schedule::new("all connections lead to another server for a moment", play!(back_unknowing)),
    Schedule::small(
        "who follows is told of events that were dropped for one that does not come",
        play!(in_vain),
    ),
    Schedule::new("a connection that is of no use is not made again without a pause", play!(no_number)),
    Schedule::new("a cache is shut down soon, however many events wait", play!(shut_down)),
];

/// What a follower was told: the name of each event's sender, and `reset`.
struct Follower(Arc<Mutex<Vec<String>>>);

impl Follower {
    fn told(&self) -> Vec<String> {
        self.0.lock().clone()
    }

    fn has(&self, what: &str) -> bool {
        self.0.lock().iter().any(|told| told == what)
    }

    fn resets(&self) -> usize {
        self.0.lock().iter().filter(|told| *told == "reset").count()
    }
}

fn log(node: &Node) -> EventLog {
    node.cache.event_log()
}

/// Somebody who follows acme's log on a node.
async fn follow(node: &Node) -> Follower {
    let (log, told) = (log(node), Arc::new(Mutex::new(Vec::new())));
    let mut watch = node.host.run(async move { log.watch("acme").await }).await.expect("there is room");
    let telling = Arc::clone(&told);
    tokio::spawn(node.host.run(async move {
        while let Some(next) = watch.next().await {
            telling.lock().push(match next {
                WatchNext::Event(event) => event.from().unwrap_or_default().to_owned(),
                WatchNext::Reset { .. } => "reset".to_owned(),
                _ => continue,
            });
        }
    }));
    Follower(told)
}

fn event(name: &str) -> Event {
    Event::new("changed").from(name)
}

/// A publication under way, until the event is in the log.
fn publishing(node: &Node, event: Event) -> Publishing {
    let acme = node.cache.tenant("acme");
    tokio::spawn(node.host.run(async move {
        let mut publication = acme.publish(event);
        let logged = publication.logged();
        let _ = publication.await;
        logged.await
    }))
}

/// Publishes what invalidates nothing; its place.
async fn say(node: &Node, name: &str) -> Position {
    publishing(node, event(name)).await.expect("it runs to its end").expect("it enters the log")
}

/// Says something to another tenant.
async fn say_to_another(node: &Node) {
    let log = log(node);
    let said = node.host.run(async move { log.append("beta", event("another")).await });
    said.await.expect("it enters the log");
}

/// Waits a while until a follower was told something; whether it was.
async fn until(stage: &Stage, follower: &Follower, what: &str, ms: u64) -> bool {
    for _ in 0..ms {
        if follower.has(what) {
            return true;
        }
        stage.pass(1).await;
    }
    false
}

/// Two nodes, the second of which is followed and has told of a first event of the other.
async fn followed(stage: &Stage) -> (Node, Node, Follower) {
    let (a, b) = stage.two().await;
    let follower = follow(&b).await;
    say(&a, "first").await;
    (a, b, follower)
}

/// The first node comes back after a while; what it wants to invalidate is held up.
async fn back_but_held(stage: &Stage) {
    stage.pass(3 * LEASE).await;
    stage.network.hold(0, invalidates, false);
    stage.network.disconnect(Some(0));
    stage.network.join(0);
    stage.network.reached().await;
}

/// What a node serves when somebody is told of "it".
async fn on_being_told(stage: &Arc<Stage>, follower: &Follower, node: &Node) -> u64 {
    until(stage, follower, "it", 4 * LEASE).await;
    stage.read(node).await
}

type Publishing = JoinHandle<Result<Position, Error>>;

async fn is_logged(publishing: Publishing) -> bool {
    publishing.await.expect("it runs to its end").is_ok()
}

/// How many of these did not enter the log.
async fn refused(all: Vec<Publishing>) -> u64 {
    let mut refused = 0;
    for publishing in all {
        refused += u64::from(!is_logged(publishing).await);
    }
    refused
}

async fn acknowledged(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let follower = follow(&a).await;
    stage.warm(&b).await;
    stage.network.cut(1, false, true);
    let needed = stage.commit();
    let publishing = publishing(&a, event("it").invalidates([tag("one")]));
    let seen = on_being_told(&stage, &follower, &b).await;
    (if is_logged(publishing).await { seen } else { 0 }, needed)
}

/// One is cut off, and changes something: to the others it is told when it is back.
async fn delivered(stage: Arc<Stage>) -> Seen {
    let (a, b, follower) = followed(&stage).await;
    stage.warm(&b).await;
    stage.cut(&a).await;
    let needed = stage.commit();
    let publishing = publishing(&a, event("it").invalidates([tag("one")]));
    back_but_held(&stage).await;
    let early = if until(&stage, &follower, "it", 3 * LEASE).await { stage.read(&b).await } else { needed };
    stage.network.release();
    (if is_logged(publishing).await { early.min(stage.read(&b).await) } else { 0 }, needed)
}

async fn delivered_and_acknowledged(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let third = stage.node(2).await;
    let follower = follow(&third).await;
    say(&a, "first").await;
    stage.warm(&b).await;
    stage.cut(&a).await;
    let needed = stage.commit();
    let publishing = publishing(&a, event("it").invalidates([tag("one")]));
    back_but_held(&stage).await;
    // Its log comes into reach as well; who is told later than half a second tries again.
    stage.pass(300).await;
    stage.network.cut(1, false, true);
    stage.network.release();
    let seen = on_being_told(&stage, &follower, &b).await;
    (if is_logged(publishing).await { seen } else { 0 }, needed)
}

async fn in_line(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.network.hold(0, invalidates, false);
    let one = publishing(&a, event("one").invalidates([tag("one")]));
    stage.network.reached().await;
    let two = publishing(&a, event("two"));
    stage.pass(100).await;
    stage.network.release();
    let _ = (one.await, two.await);
    until(&stage, &follower, "two", LEASE).await;
    (u64::from(follower.told() == ["first", "one", "two"]), 1)
}

async fn dropped(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.cut(&a).await;
    // More than may wait, and one of them is on its way.
    let publishing: Vec<_> = (0..6).map(|_| publishing(&a, event("it"))).collect();
    stage.pass(10).await;
    stage.back(&a).await;
    let refused = refused(publishing).await;
    say(&a, "last").await;
    until(&stage, &follower, "last", LEASE).await;
    (u64::from(refused > 0 && follower.has("last") && follower.resets() > 0), 1)
}

/// The epoch that tells of it begins with no event.
async fn dropped_before_known(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let follower = follow(&b).await;
    let keyed = |node: &Node| publishing(node, event("it").idempotency_key("one"));
    let _ = keyed(&b).await;
    stage.cut(&a).await;
    // One is on its way, two wait, and there is no room for more.
    let mut all = vec![publishing(&a, event("other"))];
    stage.pass(5).await;
    all.extend([publishing(&a, event("other")), publishing(&a, event("other"))]);
    stage.pass(5).await;
    all.push(keyed(&a));
    stage.pass(5).await;
    stage.back(&a).await;
    let refused = refused(all).await;
    (u64::from(refused > 0 && until(&stage, &follower, "reset", 12_000).await), 1)
}

async fn told(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let follower = follow(&b).await;
    say(&a, "it").await;
    (u64::from(until(&stage, &follower, "it", 100).await), 1)
}

async fn lost_before_another(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.network.miss_a_push(1);
    say(&a, "lost").await;
    say(&a, "next").await;
    until(&stage, &follower, "next", LEASE).await;
    (u64::from(follower.told() == ["first", "lost", "next"]), 1)
}

async fn lost_before_anothers(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.network.miss_a_push(1);
    say(&a, "lost").await;
    say_to_another(&a).await;
    (u64::from(until(&stage, &follower, "lost", 500).await), 1)
}

async fn lost(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.network.miss_a_push(1);
    say(&a, "lost").await;
    (u64::from(until(&stage, &follower, "lost", 12_000).await), 1)
}

async fn counted_anew(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let follower = follow(&b).await;
    for _ in 0..5 {
        say(&a, "first").await;
    }
    stage.evict("}:q");
    stage.network.miss_a_push(1);
    say(&a, "lost").await;
    (u64::from(until(&stage, &follower, "lost", 12_000).await), 1)
}

async fn begun_anew(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.pass(LEASE).await;
    stage.network.restart(Data::default());
    let is_told = until(&stage, &follower, "reset", 12_000).await;
    say(&a, "next").await;
    (u64::from(is_told && until(&stage, &follower, "next", LEASE).await), 1)
}

async fn state_lost(stage: Arc<Stage>) -> Seen {
    let (_a, _b, follower) = followed(&stage).await;
    stage.evict("}:i");
    (u64::from(until(&stage, &follower, "reset", 12_000).await), 1)
}

async fn log_lost(stage: Arc<Stage>, untold: bool) -> Seen {
    let (_a, _b, follower) = followed(&stage).await;
    stage.pass(LEASE).await;
    stage.evict(":h:4:acme:");
    if untold {
        stage.network.miss_a_push(1);
    }
    let third = stage.node(2).await;
    let _other = follow(&third).await;
    let within = if untold { 12_000 } else { LEASE };
    (u64::from(until(&stage, &follower, "reset", within).await), 1)
}

async fn begun_with(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.evict(":h:4:acme:");
    say(&a, "second").await;
    say(&a, "third").await;
    until(&stage, &follower, "third", LEASE).await;
    (u64::from(follower.told() == ["first", "reset", "second", "third"]), 1)
}

/// Messages were on their way when a read told of the epoch after so many more.
async fn ended(stage: Arc<Stage>, epochs: usize) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.pass(100).await;
    stage.network.hold(1, reads_a_log, false);
    stage.network.miss_a_push(1);
    say(&a, "lost").await;
    say(&a, "second").await;
    stage.network.reached().await;
    stage.network.keep_pushes(1);
    say(&a, "third").await;
    for _ in 0..epochs {
        // The log's own state is lost: it begins anew.
        stage.evict(":h:4:acme:");
        say(&a, "of another epoch").await;
    }
    stage.network.release();
    until(&stage, &follower, "reset", LEASE).await;
    stage.network.release_pushes(1);
    stage.pass(100).await;
    say(&a, "last").await;
    (u64::from(until(&stage, &follower, "last", LEASE).await && follower.resets() == 1), 1)
}

/// What enters it stands where something else stood; with the next heartbeat it begins anew.
async fn gone_back(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.pass(LEASE).await;
    let old = stage.snapshot();
    stage.evict(":h:4:acme:");
    say(&a, "of another epoch").await;
    until(&stage, &follower, "reset", LEASE).await;
    stage.network.ping_pong(old);
    say(&a, "of the past").await;
    stage.until(|| follower.resets() > 1).await;
    stage.pass(2 * LEASE).await;
    say(&a, "last").await;
    (u64::from(until(&stage, &follower, "last", LEASE).await && follower.resets() == 2), 1)
}

async fn forgotten(stage: Arc<Stage>) -> Seen {
    let (a, b, follower) = followed(&stage).await;
    stage.cut(&b).await;
    for _ in 0..6 {
        say(&a, "missed").await;
    }
    stage.back(&b).await;
    stage.pass(2 * LEASE).await;
    say(&a, "last").await;
    let is_told = until(&stage, &follower, "last", 12_000).await;
    (u64::from(is_told && follower.resets() > 0), 1)
}

async fn slow(stage: Arc<Stage>) -> Seen {
    let (a, _) = stage.two().await;
    let log = log(&a);
    let mut watch = a.host.run(async move { log.watch("acme").await }).await.expect("there is room");
    for _ in 0..6 {
        say(&a, "it").await;
    }
    stage.pass(100).await;
    let next = a.host.run(async move { watch.try_next() }).await;
    (u64::from(matches!(next, Some(WatchNext::Reset { .. }))), 1)
}

async fn replayed(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let first = say(&a, "first").await;
    for _ in 0..6 {
        say(&a, "it").await;
    }
    let log = log(&b);
    let replay = b.host.run(async move { log.after("acme", &first, 100, 1 << 20).await });
    (u64::from(matches!(replay.await, Ok(Replay::Unrecoverable { .. }))), 1)
}

async fn lost_in_a_read(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.pass(100).await;
    stage.network.hold(1, reads_a_log, true);
    stage.network.miss_a_push(1);
    say(&a, "one").await;
    say_to_another(&a).await;
    stage.network.reached().await;
    stage.network.miss_a_push(1);
    say(&a, "two").await;
    say_to_another(&a).await;
    stage.pass(20).await;
    stage.network.release();
    (u64::from(until(&stage, &follower, "two", LEASE).await), 1)
}

async fn keyed(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let follower = follow(&b).await;
    let keyed = |node: &Node| publishing(node, event("it").idempotency_key("one"));
    let first = keyed(&a).await.expect("it runs to its end").expect("it enters the log");
    let second = keyed(&b).await.expect("it runs to its end").expect("it has");
    say(&a, "last").await;
    until(&stage, &follower, "last", LEASE).await;
    (u64::from(first == second && follower.told() == ["it", "last"]), 1)
}

async fn keyed_and_dropped(stage: Arc<Stage>) -> Seen {
    let (a, b) = stage.two().await;
    let follower = follow(&b).await;
    let keyed = |node: &Node| publishing(node, event("it").idempotency_key("one"));
    let first = keyed(&a).await.expect("it runs to its end").expect("it enters the log");
    stage.cut(&a).await;
    let publishing: Vec<_> = (0..6).map(|_| publishing(&a, event("other"))).collect();
    stage.pass(10).await;
    stage.back(&a).await;
    for publishing in publishing {
        let _ = publishing.await;
    }
    let second = keyed(&b).await.expect("it runs to its end").expect("it has");
    say(&a, "last").await;
    until(&stage, &follower, "last", LEASE).await;
    let times = follower.told().iter().filter(|told| *told == "it").count();
    (u64::from(first == second && times == 1), 1)
}

async fn again(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.network.hold(0, appends, true);
    let publishing = publishing(&a, event("it"));
    stage.network.reached().await;
    // It is given up, and made again.
    stage.pass(700).await;
    stage.network.release();
    let _ = publishing.await;
    say(&a, "last").await;
    until(&stage, &follower, "last", LEASE).await;
    (u64::from(follower.told() == ["first", "it", "last"]), 1)
}

/// `more`: so many events later.
async fn late(stage: Arc<Stage>, more: usize) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.network.hold(0, appends, false);
    let publishing = publishing(&a, event("it"));
    stage.network.reached().await;
    // Twice without an answer: another connection is made, and the attempt is still on its way over the old one.
    let _ = publishing.await;
    for _ in 0..more {
        say(&a, "more").await;
    }
    stage.network.release();
    stage.pass(100).await;
    say(&a, "last").await;
    until(&stage, &follower, "last", LEASE).await;
    let expected: &[&str] =
        if more > 0 { &["first", "it", "more", "last"] } else { &["first", "it", "last"] };
    (u64::from(follower.told() == expected), 1)
}

/// A name that an epoch has had is never given again: who has left that epoch looks at it no more.
async fn again_in_another_epoch(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.pass(LEASE).await;
    let old = stage.snapshot();
    stage.evict(":h:4:acme:");
    stage.network.hold(0, appends, true);
    let publishing = publishing(&a, event("it"));
    stage.network.reached().await;
    until(&stage, &follower, "reset", LEASE).await;
    stage.network.cut(0, true, true);
    stage.network.restart(old);
    stage.until(|| follower.resets() > 1).await;
    stage.evict(":h:4:acme:");
    stage.network.release();
    stage.network.join(0);
    let _ = publishing.await;
    say(&a, "last").await;
    (u64::from(until(&stage, &follower, "last", LEASE).await), 1)
}

/// The only one that is there follows nothing, so that nobody reads the log.
async fn old_snapshot(stage: Arc<Stage>) -> Seen {
    let a = stage.node(0).await;
    stage.pass(3 * LEASE).await;
    say(&a, "first").await;
    let old = stage.snapshot();
    let lost = say(&a, "lost").await;
    stage.network.restart(old);
    stage.pass(20).await;
    stage.good(&a).await;
    (u64::from(say(&a, "next").await.epoch() != lost.epoch()), 1)
}

async fn unblessed(stage: Arc<Stage>) -> Seen {
    let a = stage.node(0).await;
    stage.pass(3 * LEASE).await;
    say(&a, "first").await;
    let old = stage.snapshot();
    let lost = say(&a, "lost").await;
    stage.network.hold(0, recovers, false);
    stage.network.restart(old);
    let next = publishing(&a, event("next"));
    stage.network.reached().await;
    stage.pass(LEASE + LEASE / 2).await;
    stage.network.release();
    let next = next.await.expect("it runs to its end").expect("it enters the log");
    (u64::from(next.epoch() != lost.epoch()), 1)
}

/// A millisecond each way: where nothing takes time, a loop without a pause has no end.
fn far(stage: &Stage) {
    stage.network.set_weather(Weather { late: 10_000, late_ms: &[1], ..Weather::still() });
}

/// What enters it stands where something else stood that was seen.
async fn gone_back_within(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.pass(LEASE).await;
    let old = stage.snapshot();
    let seen = say(&a, "seen").await;
    until(&stage, &follower, "seen", LEASE).await;
    stage.network.ping_pong(old);
    say_to_another(&a).await;
    stage.pass(5).await;
    let other = say(&a, "other").await;
    stage.pass(5).await;
    (u64::from(seen == other && !follower.has("other")), 1)
}

async fn behind_what_was_told(stage: Arc<Stage>) -> Seen {
    let (a, _b, _follower) = followed(&stage).await;
    stage.pass(LEASE).await;
    let old = stage.snapshot();
    far(&stage);
    stage.network.hold(1, reads_a_log, false);
    stage.network.miss_a_push(1);
    say(&a, "lost").await;
    say(&a, "second").await;
    stage.network.reached().await;
    stage.network.ping_pong(old);
    let before = stage.network.commands();
    stage.network.release();
    // Before a heartbeat has noticed.
    stage.pass(100).await;
    (u64::from(stage.network.commands() - before < 20), 1)
}

/// The node was not there before the server was replaced: it can't know it to be of old. Nothing but its log is led there, so
/// the coherence state begins no new epoch.
async fn astray(stage: Arc<Stage>) -> Seen {
    let a = stage.node(0).await;
    stage.pass(3 * LEASE).await;
    say(&a, "old").await;
    let (identity, old) = stage.network.with_server(|server| (server.identity.clone(), server.data.clone()));
    stage.network.promote(old.clone());
    stage.network.disconnect(None);
    stage.pass(20).await;
    stage.good(&a).await;
    say(&a, "of the new server").await;
    let b = stage.node(1).await;
    let follower = follow(&b).await;
    say(&a, "first").await;
    stage.pass(LEASE).await;
    let lead_back = stage.network.lead_to(identity, old);
    stage.network.disconnect_last(1, 2);
    stage.until(|| follower.resets() > 0).await;
    lead_back();
    stage.network.disconnect_last(1, 2);
    stage.pass(20_000).await;
    say(&a, "last").await;
    (u64::from(until(&stage, &follower, "last", LEASE).await), 1)
}

/// The node begins an epoch there, whose name it learns of by the log alone; the server that it comes back to knows of nothing.
async fn back_unknowing(stage: Arc<Stage>) -> Seen {
    let a = stage.node(0).await;
    stage.pass(3 * LEASE).await;
    let follower = follow(&a).await;
    say(&a, "first").await;
    stage.pass(LEASE).await;
    let (identity, old) = stage.network.with_server(|server| (server.identity.clone(), server.data.clone()));
    stage.network.hold(0, recovers, true);
    stage.network.promote(old.clone());
    stage.network.disconnect(None);
    stage.until(|| follower.resets() > 0).await;
    stage.network.with_server(|server| {
        server.identity = identity;
        server.data = old;
    });
    stage.network.disconnect(None);
    stage.network.release();
    stage.good(&a).await;
    stage.pass(20_000).await;
    say(&a, "last").await;
    (u64::from(until(&stage, &follower, "last", LEASE).await), 1)
}

/// There is no room for one that then does not come.
async fn in_vain(stage: Arc<Stage>) -> Seen {
    let (a, _b, follower) = followed(&stage).await;
    stage.cut(&a).await;
    let mut all = Vec::new();
    for _ in 0..3 {
        // One is on its way, two wait.
        all.push(publishing(&a, event("it")));
        stage.pass(5).await;
    }
    all.push(publishing(&a, event("bad").invalidates([tag("x".repeat(10_000))])));
    stage.pass(5).await;
    stage.back(&a).await;
    let refused = refused(all).await;
    (u64::from(refused == 3 && until(&stage, &follower, "reset", 12_000).await), 1)
}

/// The number of the messages can't be read.
async fn no_number(stage: Arc<Stage>) -> Seen {
    let (_a, b, _follower) = followed(&stage).await;
    far(&stage);
    stage.network.with_server(|server| {
        let now = server.now_ms();
        let name = server.data.keys(now).find(|name| name.ends_with(b"}:q")).expect("it is there").to_vec();
        server.data.set(&name, Value::Hash([(b"f".to_vec(), b"v".to_vec())].into()), None);
    });
    let before = b.cache.stats().events.reconnects;
    stage.pass(10_000).await;
    (u64::from(b.cache.stats().events.reconnects - before < 60), 1)
}

/// Sixteen batches of them.
async fn shut_down(stage: Arc<Stage>) -> Seen {
    let (a, _b, _follower) = followed(&stage).await;
    stage.cut(&a).await;
    let append = |_| {
        let log = log(&a);
        tokio::spawn(a.host.run(async move { log.append("acme", event("it")).await }))
    };
    let all: Vec<_> = (0..1000).map(append).collect();
    stage.pass(100).await;
    let (cache, begun) = (a.cache.clone(), Instant::now());
    a.host.run(async move { cache.shutdown().await }).await;
    let took = begun.elapsed();
    for one in all {
        let _ = one.await;
    }
    (u64::from(took < Duration::from_secs(5)), 1)
}
