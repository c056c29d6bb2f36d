//! Those who publish, and those who follow the tenants' event logs.

use super::history::{Effect, Returned};
use super::log_history::{Broken, LogHistory, Place, Seen};
use super::universe::Write;
use super::world::World;
use crate::node::Node;
use crate::redis::Value;
use larder::{Error, ErrorKind, Event, LoggedEvent, Position, Replay, Selector, WatchNext};
use parking_lot::Mutex;
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// Tenants with a log.
pub(super) const LOGS: [&str; 3] = ["acme", "beta", ""];

/// What was changed and then published.
#[derive(Clone, Default)]
struct Published {
    rows: Vec<(usize, u64)>,
    /// When the publication began.
    began: u64,
}

/// What is published.
#[derive(Clone)]
struct Change {
    tenant: &'static str,
    selectors: Vec<Selector>,
    rows: Vec<(usize, u64)>,
    /// Its idempotency key.
    key: Option<String>,
}

/// Everything about the tenants' event logs.
#[derive(Default)]
pub(super) struct Logs {
    /// What was told.
    pub(super) history: LogHistory,
    published: Mutex<BTreeMap<(usize, u64), Published>>,
    /// How many each node has published.
    numbers: Mutex<BTreeMap<usize, u64>>,
    /// What was published of late under a key.
    keyed: Mutex<VecDeque<Change>>,
    /// Followers: of which node each is, and of which tenant.
    pub(super) followers: Mutex<Vec<(usize, &'static str, usize)>>,
}

fn place(position: &Position) -> Place {
    (position.epoch().to_owned(), position.offset())
}

/// Who published it, and as which of its events.
fn seen(event: &LoggedEvent) -> Option<Seen> {
    let (node, number) = event.from()?.split_once(':')?;
    Some(Seen { id: event.id().to_owned(), from: (node.parse().ok()?, number.parse().ok()?) })
}

impl World {
    fn hold_to(&self, outcome: Result<(), Broken>) {
        match outcome {
            Ok(()) => {}
            // At the end the log must be in another epoch, and all must have been told.
            Err(Broken::Twofold(_)) if self.has_regressed() => {
                self.count("places in a log that Redis had lost", "given again");
            }
            Err(Broken::Twofold(what) | Broken::Order(what)) => self.broke(format!("the event log: {what}")),
        }
    }

    /// A new publication of this node's: its number.
    fn number(&self, node: &Node, rows: &[(usize, u64)]) -> (usize, u64) {
        let mut numbers = self.logs.numbers.lock();
        let number = numbers.entry(node.host.id).or_default();
        *number += 1;
        let from = (node.host.id, *number);
        let published = Published { rows: rows.to_vec(), began: self.trace.now_ms() };
        self.logs.published.lock().insert(from, published);
        from
    }

    fn event(&self, node: &Node, rows: &[(usize, u64)], key: Option<&str>) -> Event {
        let (node, number) = self.number(node, rows);
        let event = Event::new("changed").from(format!("{node}:{number}"));
        match key {
            Some(key) => event.idempotency_key(key),
            None => event,
        }
    }

    /// Somebody changes something and publishes it; or publishes again what was published under a key, as who has got no
    /// answer does; or only says something.
    pub(super) async fn publish(&self, node: &Node) {
        match self.chance.below(8) {
            0 => {
                let (tenant, event) = (self.chance.pick(&LOGS), self.event(node, &[], None));
                self.count("publications", "appended");
                self.entered(tenant, node.cache.event_log().append(tenant, event).await, None);
            }
            1 => {
                let again = {
                    let keyed = self.logs.keyed.lock();
                    if keyed.is_empty() { None } else { keyed.get(self.chance.index(keyed.len())).cloned() }
                };
                if let Some(change) = again {
                    self.count("publications", "published again");
                    self.publish_change(node, change).await;
                }
            }
            _ => {
                let Write { tenant, selectors, rows, kind, .. } = self.universe.write_within(&self.chance);
                let tenant = tenant.expect("it is within a tenant");
                self.note(format_args!("n{} commits {rows:?} and publishes: {kind}", node.host.id));
                let key = (self.chance.below(3) == 0).then(|| format!("k{}", self.chance.below(1 << 30)));
                let change = Change { tenant, selectors, rows, key };
                if change.key.is_some() {
                    let mut keyed = self.logs.keyed.lock();
                    keyed.push_back(change.clone());
                    if keyed.len() > 4 {
                        keyed.pop_front();
                    }
                }
                self.count("publications", "published");
                self.publish_change(node, change).await;
            }
        }
    }

    async fn publish_change(&self, node: &Node, change: Change) {
        let Change { tenant, selectors, rows, key } = change;
        let event = self.event(node, &rows, key.as_deref()).invalidates(selectors);
        let mut publication = node.tenant(tenant).publish(event);
        let logged = publication.logged();
        let told = async {
            let _telling = self.telling(node, &rows);
            let stamp = publication.await.map(|stamp| stamp.expect("it invalidates something"));
            self.told(node, "event", (rows, Effect::Invalidated), stamp, Returned::Ok).await;
        };
        let entered = async { self.entered(tenant, logged.await, key.as_deref()) };
        futures_util::join!(told, entered);
    }

    /// A publication has come to its end.
    fn entered(&self, tenant: &'static str, outcome: Result<Position, Error>, key: Option<&str>) {
        match outcome {
            Ok(position) => {
                self.count("logged", "entered");
                if let Some(key) = key {
                    self.hold_to(self.logs.history.entered(tenant, &place(&position), key));
                }
            }
            // Too many waited.
            Err(error) if error.kind() == ErrorKind::Unavailable => self.count("logged", "dropped"),
            Err(error) => self.broke(format!("an event did not enter the log: {error:?}")),
        }
    }

    /// Somebody follows a tenant's log for as long as the node lives, and takes his time.
    pub(super) async fn follow(self: Arc<Self>, node: Node, tenant: &'static str) {
        let id = node.host.id;
        let mut watch = match node.cache.event_log().watch(tenant).await {
            Ok(watch) => watch,
            Err(error) => return self.broke(format!("node {id} can't follow {tenant:?}: {error:?}")),
        };
        let follower = self.logs.history.follows(tenant, place(&watch.head()));
        self.logs.followers.lock().push((id, tenant, follower));
        while let Some(next) = watch.next().await {
            match next {
                WatchNext::Event(event) => {
                    self.count("followers", "events");
                    self.sees(tenant, Some(follower), &event);
                }
                WatchNext::Reset { head, gap } => {
                    self.count("followers", gap.as_str());
                    self.note(format_args!("n{id} follows {tenant:?}: reset to {head} ({})", gap.as_str()));
                    self.hold_to(self.logs.history.reset(follower, &place(&head)));
                }
                _ => {}
            }
            if self.chance.below(10) == 0 {
                self.dawdle().await;
            }
        }
    }

    /// Somebody sees an event: from now on nobody is served what is older than what it tells of.
    fn sees(&self, tenant: &'static str, follower: Option<usize>, event: &LoggedEvent) {
        let (at, Some(seen)) = (place(event.position()), seen(event)) else {
            return self.broke(format!("nobody has published {event:?}"));
        };
        self.note(format_args!("{follower:?} of {tenant:?} sees {at:?}: {:?}", seen.from));
        self.hold_to(match follower {
            Some(follower) => self.logs.history.told(follower, &at, &seen),
            None => self.logs.history.is_at(tenant, &at, &seen),
        });
        let published = self.logs.published.lock().get(&seen.from).cloned();
        let Some(Published { rows, began }) = published else {
            return self.broke(format!("nobody has published {seen:?}"));
        };
        let leapt = began <= self.leapt_until_ms.load(Ordering::SeqCst);
        self.history.seen(self.trace.now_ms(), &rows, !leapt, "an event");
    }

    /// Somebody comes back, and reads what he has missed.
    pub(super) async fn replay(&self, node: &Node) {
        let some = {
            let followers = self.logs.followers.lock();
            if followers.is_empty() {
                None
            } else {
                followers.get(self.chance.index(followers.len())).copied()
            }
        };
        let Some((_, tenant, follower)) = some else { return };
        let (epoch, last) = self.logs.history.place(follower);
        let mut offset = last.saturating_sub(self.chance.below(6));
        let Ok(from) = format!("{epoch}:{offset}").parse::<Position>() else { return };
        let most = self.chance.pick(&[1, 3, 100]);
        match node.cache.event_log().after(tenant, &from, most, 1 << 20).await {
            Ok(Replay::Events { events, head, more }) => {
                self.count("replays", "events");
                for event in &events {
                    offset += 1;
                    if *event.position() != at(&epoch, offset) {
                        self.broke(format!("after {from} comes {:?}", event.position()));
                    }
                    self.sees(tenant, None, event);
                }
                if head.epoch() != epoch || more != (offset < head.offset()) {
                    self.broke(format!("after {from} up to {offset} of {head}: more is {more}"));
                }
            }
            Ok(_) => self.count("replays", "unrecoverable"),
            Err(error) if error.kind() == ErrorKind::Unavailable => self.count("replays", "out of reach"),
            Err(error) => self.broke(format!("a replay failed: {error:?}")),
        }
    }

    /// Followers on these nodes who are not where the log ends: on which node, of whose log, where they and it are.
    pub(super) fn behind(&self, alive: impl Fn(usize) -> bool) -> Vec<String> {
        let followers = self.logs.followers.lock().clone();
        let behind = |(node, tenant, follower): (usize, &'static str, usize)| {
            let (at, end) = (self.logs.history.place(follower), self.log_ends(tenant)?);
            let is_at_rest = at == end && !self.logs.history.is_twofold(tenant, &end.0);
            (!is_at_rest)
                .then(|| format!("node {node} follows {tenant:?} up to {at:?}, and it goes to {end:?}"))
        };
        followers.into_iter().filter(|(node, ..)| alive(*node)).filter_map(behind).collect()
    }

    /// Where the tenant's log ends, if Redis has one; nowhere, if it is of another epoch of the coherence state.
    fn log_ends(&self, tenant: &str) -> Option<Place> {
        let ending = format!("}}:h:{}:{tenant}:", tenant.len());
        (0..self.network.servers()).find_map(|server| {
            self.network
                .at(server)
                .with_server(|state| {
                    let now = state.now_ms();
                    let name = state.data.keys(now).find(|name| name.ends_with(ending.as_bytes()))?.to_vec();
                    let tag = &name[..name.len() - ending.len()];
                    let tag = std::str::from_utf8(tag).ok()?.rsplit_once('{')?.1.to_owned();
                    let Some(Value::Hash(log)) = state.data.get(&name, now) else { return None };
                    let text = |field: &[u8]| Some(String::from_utf8_lossy(log.get(field)?).into_owned());
                    let coherence = [&name[..name.len() - ending.len()], b"}:i"].concat();
                    let Some(Value::ZSet(members)) = state.data.get(&coherence, now) else { return None };
                    let current = members.score(b"!e").map(|epoch| format!("{:.0}", -epoch));
                    let end = (text(b"e")?, text(b"o")?.parse().ok()?);
                    let end = if text(b"c") == current { end } else { (String::new(), u64::MAX) };
                    Some((tag, end))
                })
                .filter(|(tag, _)| self.network.owner(tag) == server)
                .map(|(_, end)| end)
        })
    }
}

fn at(epoch: &str, offset: u64) -> Position {
    format!("{epoch}:{offset}").parse().expect("it is one")
}
