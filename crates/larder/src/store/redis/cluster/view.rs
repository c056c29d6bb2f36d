//! What the nodes of a Cluster say of who has what.

use super::{announced_address, slot::SLOTS};
use crate::store::redis::{
    dial::{Address, Dialer, bounded},
    generation::Generation,
    health::Life,
    reply::{self, nonsense},
    url::shown,
    wire::{Wire, command},
};
use crate::store::{StoreError, StoreErrorKind};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Cmd, Value};
use std::{collections::BTreeSet, fmt, ops::RangeInclusive, sync::Arc, time::Duration};
use tokio::{task::JoinSet, time::sleep};

/// How long the others are waited for when one has answered.
const PATIENCE: Duration = Duration::from_millis(300);

/// What one node says: which primary has which slots, and all nodes that it named.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(in crate::store::redis) struct Told {
    slots: Vec<(RangeInclusive<u16>, Address)>,
    nodes: Vec<Address>,
}

/// What most of those who answered say.
pub(in crate::store::redis) struct View {
    told: Vec<Told>,
    /// Primaries first.
    pub(super) nodes: Vec<Address>,
    /// Knows how to log in, and no address.
    pub(super) dialer: Dialer,
}

impl View {
    /// Asks all candidates at once, each within the connect time-out, until more than half have answered, or one has and
    /// the others take long. A node that is cut off from the others does not know of a failover: it is outvoted.
    ///
    /// # Errors
    /// When nobody answers; with what each of them said.
    pub(super) async fn look(
        dialer: Dialer,
        candidates: Vec<Address>,
        living: impl Fn(&Address) -> Option<Arc<Generation>>,
    ) -> Result<Self, StoreError> {
        let (mut told, mut failed) = (Vec::new(), Vec::new());
        {
            let ask_one = |address| {
                let (dialer, generation) = (&dialer, living(address));
                async move { (address, ask(dialer, address, generation).await) }
            };
            let mut answers: FuturesUnordered<_> = candidates.iter().map(ask_one).collect();
            let patience = sleep(dialer.connect_timeout() * 2);
            tokio::pin!(patience);
            while told.len() <= candidates.len() / 2 {
                let answer = tokio::select! {
                    biased;
                    answer = answers.next() => answer,
                    () = &mut patience => None,
                };
                match answer {
                    None => break,
                    Some((address, Err(error))) => failed.push((address.clone(), error)),
                    Some((_, Ok(answer))) => {
                        if told.is_empty() {
                            patience.as_mut().reset(tokio::time::Instant::now() + PATIENCE);
                        }
                        told.push(answer);
                    }
                }
            }
        }
        if told.is_empty() {
            return Err(nobody(&failed));
        }
        let mut nodes: Vec<Address> = told.iter().flat_map(Told::primaries).collect();
        nodes.extend(told.iter().flat_map(|told| told.nodes.clone()));
        let mut seen = BTreeSet::new();
        nodes.retain(|node| seen.insert(node.clone()));
        Ok(Self { told, nodes, dialer })
    }

    /// The primary of a slot, by most votes.
    ///
    /// # Errors
    /// Where nobody has it.
    pub(in crate::store::redis) fn primary(&self, slot: u16) -> Result<&Address, StoreError> {
        let votes = || self.told.iter().filter_map(|told| told.primary(slot));
        let most = votes().max_by_key(|address| votes().filter(|other| other == address).count());
        most.ok_or_else(|| {
            let detail = format!("no primary of the Cluster has slot {slot}");
            StoreError::new(StoreErrorKind::Moved, detail)
        })
    }

    /// The primaries, and how many slots each has.
    pub(in crate::store::redis) fn primaries(&self) -> Vec<(Address, usize)> {
        let mut found: Vec<(Address, usize)> = Vec::new();
        for address in (0..SLOTS).filter_map(|slot| self.primary(slot).ok()) {
            match found.iter_mut().find(|(known, _)| known == address) {
                Some((_, slots)) => *slots += 1,
                None => found.push((address.clone(), 1)),
            }
        }
        found
    }
}

impl Told {
    fn primary(&self, slot: u16) -> Option<&Address> {
        self.slots.iter().find(|(slots, _)| slots.contains(&slot)).map(|(_, primary)| primary)
    }

    /// All that have slots.
    pub(in crate::store::redis) fn primaries(&self) -> BTreeSet<Address> {
        self.slots.iter().map(|(_, primary)| primary.clone()).collect()
    }

    /// Reads the answer of the node at `asked` to CLUSTER SLOTS.
    fn parse(answer: &Value, asked: &Address) -> Result<Self, StoreError> {
        let Value::Array(ranges) = answer else { return Err(nonsense("CLUSTER SLOTS answered no array")) };
        let mut told = Self::default();
        for range in ranges {
            let Value::Array(parts) = range else { return Err(nonsense("CLUSTER SLOTS answered no ranges")) };
            let [Value::Int(first), Value::Int(last), nodes @ ..] = parts.as_slice() else {
                return Err(nonsense("CLUSTER SLOTS answered no ranges"));
            };
            let slot = |number: &i64| u16::try_from(*number).ok().filter(|slot| *slot < SLOTS);
            let slots = slot(first).zip(slot(last)).ok_or_else(|| nonsense("there is no such slot"))?;
            let nodes = nodes.iter().map(|node| Self::node(node, asked));
            let nodes = nodes.collect::<Result<Vec<_>, _>>()?;
            let primary = nodes.first().ok_or_else(|| nonsense("a slot has no primary"))?.clone();
            told.slots.push((slots.0..=slots.1, primary));
            told.nodes.extend(nodes);
        }
        if told.slots.is_empty() {
            return Err(StoreError::new(
                StoreErrorKind::Moved,
                "it knows of no slots: the Cluster is not formed",
            ));
        }
        Ok(told)
    }

    /// `[host or nil, port, id, ...]`
    fn node(node: &Value, asked: &Address) -> Result<Address, StoreError> {
        match node {
            Value::Array(parts) => match parts.as_slice() {
                [host, Value::Int(port), ..] => announced_address(reply::text(host), *port, asked),
                _ => Err(nonsense("CLUSTER SLOTS answered no node")),
            },
            _ => Err(nonsense("CLUSTER SLOTS answered no node")),
        }
    }
}

fn cluster_slots() -> Cmd {
    command(&["CLUSTER", "SLOTS"])
}

/// Asks one node, over connections that are there or a new one, within the connect time-out.
pub(in crate::store::redis) async fn ask(
    dialer: &Dialer,
    address: &Address,
    generation: Option<Arc<Generation>>,
) -> Result<Told, StoreError> {
    let within = dialer.connect_timeout();
    let answer = async {
        if let Some(generation) = generation {
            return generation.ask(cluster_slots(), within).await;
        }
        let (life, _pushes) = Life::new();
        let mut tasks = JoinSet::new();
        let wire = Wire::open(&dialer.to_server(address), &life, None, &mut tasks).await?;
        wire.ask_one(cluster_slots(), within).await
    };
    let answer = bounded(within, "no answer", answer).await.and_then(|answer| match answer {
        Value::ServerError(error) => Err(crate::store::redis::error::from_server(&error)),
        answer => Ok(answer),
    });
    match answer {
        Ok(answer) => Told::parse(&answer, address),
        Err(error) if error.detail.contains("cluster support disabled") => Err(StoreError::new(
            StoreErrorKind::Unsupported,
            "it is not part of a Cluster: write redis:// instead of redis+cluster://",
        )),
        Err(error) => Err(error),
    }
}

/// Nobody answers.
fn nobody(failed: &[(Address, StoreError)]) -> StoreError {
    let words: Vec<String> = failed.iter().map(|(host, error)| format!("{}: {error}", shown(host))).collect();
    // Where all say the same, that is what is wrong: a password, TLS, a server that is none of a Cluster.
    let kind = match failed {
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other.kind == first.kind) => first.kind,
        _ => StoreErrorKind::Disconnected,
    };
    let words = if words.is_empty() { "in time".to_owned() } else { format!("({})", words.join("; ")) };
    StoreError::new(kind, format!("no node tells how the Cluster stands {words}"))
}

impl fmt::Debug for View {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("View").field("told", &self.told).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked() -> Address {
        ("asked".to_owned(), 1)
    }

    fn node(host: Option<&str>, port: i64) -> Value {
        let host = host.map_or(Value::Nil, |host| Value::BulkString(host.into()));
        Value::Array(vec![
            host,
            Value::Int(port),
            Value::BulkString(b"id".to_vec()),
            Value::Array(Vec::new()),
        ])
    }

    fn range(first: i64, last: i64, nodes: Vec<Value>) -> Value {
        Value::Array([Value::Int(first), Value::Int(last)].into_iter().chain(nodes).collect())
    }

    #[test]
    fn who_has_a_slot_is_read_and_a_node_without_a_host_is_where_it_was_asked() {
        let answer = Value::Array(vec![
            range(0, 99, vec![node(Some("10.0.0.1"), 7), node(Some("10.0.0.2"), 7)]),
            range(100, 16_383, vec![node(None, 8)]),
        ]);
        let told = Told::parse(&answer, &asked()).unwrap();
        assert_eq!(told.primary(99), Some(&("10.0.0.1".into(), 7)));
        assert_eq!(told.primary(100), Some(&("asked".into(), 8)));
        assert_eq!(told.nodes.len(), 3);
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        for bad in [
            Value::Nil,
            Value::Array(vec![]),
            Value::Array(vec![Value::Nil]),
            Value::Array(vec![range(0, 16_384, vec![node(Some("h"), 1)])]),
            Value::Array(vec![range(-1, 5, vec![node(Some("h"), 1)])]),
            Value::Array(vec![range(0, 5, vec![])]),
            Value::Array(vec![range(0, 5, vec![node(Some("h"), 0)])]),
            Value::Array(vec![range(0, 5, vec![Value::Nil])]),
        ] {
            assert!(Told::parse(&bad, &asked()).is_err(), "{bad:?}");
        }
    }
}
