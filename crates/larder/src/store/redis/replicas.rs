//! Whether a primary that is cut off has stopped taking writes by the time that another is put in its place.
//!
//! With `min-replicas-to-write` it takes none once its replicas have been silent for `min-replicas-max-lag`, which it looks at
//! once a second. If it is replaced before that, what it is told in between is lost with it, though it was answered.

use super::{
    dial::{Address, Dialer, bounded},
    health::Life,
    probe, reply,
    url::Sentinels,
    wire::{Wire, command},
};
use crate::store::StoreError;
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{Pipeline, Value};
use std::{collections::BTreeMap, time::Duration};
use tokio::task::JoinSet;

/// By how much the lag is to be shorter: replicas speak once a second, and the primary looks once a second.
const MARGIN: Duration = Duration::from_secs(2);

const MAX_LAG: &str = "min-replicas-max-lag";
const NODE_TIMEOUT: &str = "cluster-node-timeout";
const DOWN_AFTER: &str = "down-after-milliseconds";

/// What decides it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Timing {
    /// For how long replicas may be silent.
    lag: Duration,
    /// After how long the primary is replaced, and the setting that says so.
    replaced: (Duration, &'static str),
}

impl Timing {
    /// Of a primary that Sentinels watch.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub(super) async fn by_sentinels(
        wire: &Wire,
        dialer: &Dialer,
        sentinels: &Sentinels,
        within: Duration,
    ) -> Result<Self, String> {
        let told = config(wire, &[MAX_LAG], within).await?;
        let lag = seconds(&told, MAX_LAG)?;
        // All at once: one that stands still costs nothing where another answers.
        let ask = |host| {
            bounded(dialer.connect_timeout(), "no answer", down_after(dialer, host, sentinels, within))
        };
        let mut answers: FuturesUnordered<_> = sentinels.hosts.iter().map(ask).collect();
        let mut failed = format!("{DOWN_AFTER} (there is no Sentinel)");
        while let Some(answer) = answers.next().await {
            match answer {
                Ok(Some(after)) => return Ok(Self { lag, replaced: (after, DOWN_AFTER) }),
                Ok(None) => failed = format!("{DOWN_AFTER} (the Sentinel does not tell it)"),
                Err(error) => failed = format!("{DOWN_AFTER} ({error})"),
            }
        }
        Err(failed)
    }

    /// Of a primary of a Cluster.
    ///
    /// # Errors
    /// What can't be read, and why.
    pub(super) async fn in_cluster(wire: &Wire, within: Duration) -> Result<Self, String> {
        let told = config(wire, &[MAX_LAG, NODE_TIMEOUT], within).await?;
        let after = told.get(NODE_TIMEOUT).and_then(|ms| ms.parse().ok()).map(Duration::from_millis);
        let after = after.ok_or_else(|| format!("{NODE_TIMEOUT} (the server does not tell it)"))?;
        Ok(Self { lag: seconds(&told, MAX_LAG)?, replaced: (after, NODE_TIMEOUT) })
    }

    /// What an administrator should know, if it goes on for too long.
    pub(super) fn advice(&self) -> Option<String> {
        let (lag, (after, setting)) = (self.lag, self.replaced);
        (lag + MARGIN >= after).then(|| {
            format!(
                "{MAX_LAG} is {lag:?} and {setting} {after:?}: a primary that is cut off goes on taking invalidations until \
                 another has been put in its place, and they are lost with it though they were answered; {MAX_LAG} is to \
                 be more than {MARGIN:?} below {setting}"
            )
        })
    }
}

/// How it stands, for people.
pub(super) fn words(timing: &Result<Timing, String>) -> String {
    match timing {
        Err(unread) => format!(
            "this can't be read: {unread}; see to it that {MAX_LAG} is more than {MARGIN:?} below {DOWN_AFTER} of Sentinels, \
             or {NODE_TIMEOUT}"
        ),
        Ok(Timing { lag, replaced: (after, setting) }) => format!("{MAX_LAG} {lag:?}, {setting} {after:?}"),
    }
}

/// Some settings of the server. A server that is managed by others often tells none.
async fn config(wire: &Wire, names: &[&str], within: Duration) -> Result<BTreeMap<String, String>, String> {
    let mut commands = Pipeline::with_capacity(1);
    commands.add_command(command(&[&["CONFIG", "GET"], names].concat()));
    // Not `ask_one`: to be refused this is no reason to do without the server.
    let unread = |error: StoreError| format!("{} ({error})", names.join(" and "));
    let answers = wire.ask(&commands, within).await.map_err(unread)?;
    match answers.iter().find_map(probe::refusal) {
        Some(error) => Err(unread(error)),
        None => Ok(answers.first().map(fields).unwrap_or_default()),
    }
}

fn seconds(told: &BTreeMap<String, String>, name: &str) -> Result<Duration, String> {
    let seconds = told.get(name).and_then(|seconds| seconds.parse().ok());
    seconds.map(Duration::from_secs).ok_or_else(|| format!("{name} (the server does not tell it)"))
}

/// After how long without an answer this Sentinel takes the primary for dead.
async fn down_after(
    dialer: &Dialer,
    host: &Address,
    sentinels: &Sentinels,
    within: Duration,
) -> Result<Option<Duration>, StoreError> {
    let (life, _pushes) = Life::new();
    let mut tasks = JoinSet::new();
    let wire = Wire::open(&dialer.to_sentinel(host, sentinels), &life, None, &mut tasks).await?;
    let told = wire.ask_one(command(&["SENTINEL", "MASTER", &sentinels.name]), within).await?;
    Ok(fields(&told).get(DOWN_AFTER).and_then(|ms| ms.parse().ok()).map(Duration::from_millis))
}

/// Names and what they stand for, in either form in which servers send that.
fn fields(value: &Value) -> BTreeMap<String, String> {
    let text = |value: &Value| reply::text(value).unwrap_or_default().to_owned();
    match value {
        Value::Map(pairs) => pairs.iter().map(|(name, value)| (text(name), text(value))).collect(),
        Value::Array(items) => items.chunks_exact(2).map(|pair| (text(&pair[0]), text(&pair[1]))).collect(),
        _ => BTreeMap::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_advised_against_that_ends_less_than_two_seconds_before_the_replacement() {
        let advice = |lag: u64, after: u64| {
            let after = Duration::from_millis(after);
            Timing { lag: Duration::from_secs(lag), replaced: (after, DOWN_AFTER) }.advice()
        };
        assert_eq!(advice(10, 12_001), None);
        assert_eq!(advice(10, 30_000), None);
        for (lag, after) in [(10, 12_000), (10, 11_500), (10, 5_000), (0, 1_000)] {
            let words = advice(lag, after).expect("it is too long");
            assert!(words.contains(&format!("{MAX_LAG} is {lag}")) && words.contains(DOWN_AFTER), "{words}");
        }
    }

    #[test]
    fn settings_are_read_in_both_forms() {
        let word = |word: &str| Value::BulkString(word.into());
        let pairs = vec![(word("a"), word("1")), (word("b"), word("2"))];
        let flat = pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect();
        for value in [Value::Map(pairs), Value::Array(flat)] {
            assert_eq!(fields(&value).get("b").map(String::as_str), Some("2"));
        }
        assert!(fields(&Value::Nil).is_empty());
    }
}
