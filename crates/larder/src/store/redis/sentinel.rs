//! Asking Sentinels which server is the primary.
//!
//! Their word is where to look, never what to believe: whoever connects checks that the server there says so itself
//! (`role:master`), and its identity decides, as for any other server, whether what it holds may be used.

use super::{
    dial::{Address, Dialer, bounded},
    health::Life,
    reply::{self, nonsense},
    url::{Sentinels, shown},
    wire::{Wire, command},
};
use crate::store::{StoreError, StoreErrorKind};
use futures_util::stream::{FuturesUnordered, StreamExt};
use redis::{
    PushInfo, PushKind, Value,
    aio::{AsyncPushSender, SendError},
};
use std::{cmp::Reverse, sync::Arc, time::Duration};
use tokio::{sync::Notify, task::JoinSet, time::sleep};

/// Before a Sentinel that could not be listened to is tried again.
const LISTEN_AGAIN: Duration = Duration::from_secs(2);

/// Between two rounds of asking all, however much is announced.
const ASK_AGAIN: Duration = Duration::from_millis(100);

/// What a Sentinel publishes when it calls another server the primary.
const SWITCHED: &str = "+switch-master";

/// What Sentinels answered.
#[derive(Debug, Default)]
struct Votes {
    /// With how many name it, in the order in which they came.
    named: Vec<(Address, usize)>,
    failed: Vec<(Address, StoreError)>,
}

impl Votes {
    fn count(&mut self, sentinel: &Address, answer: Result<Address, StoreError>) {
        match answer {
            Err(error) => self.failed.push((sentinel.clone(), error)),
            Ok(address) => match self.named.iter_mut().find(|(named, _)| *named == address) {
                Some((_, votes)) => *votes += 1,
                None => self.named.push((address, 1)),
            },
        }
    }

    /// What more than half of all Sentinels name, whether they answer or not.
    fn majority(&self, of: usize) -> Option<&Address> {
        self.named.iter().find(|(_, votes)| *votes > of / 2).map(|(address, _)| address)
    }
}

/// Where the primary may be, likeliest first. All Sentinels are asked at once, each within the connect time-out. What more
/// than half of them name is the answer, and the rest is not waited for; a Sentinel that is cut off from the others does
/// not know of a failover, so it is believed only where no more are reached.
///
/// # Errors
/// When no Sentinel names a primary; with what each of them said.
pub(super) async fn find(dialer: &Dialer, sentinels: &Sentinels) -> Result<Vec<Address>, StoreError> {
    let mut votes = poll(dialer, sentinels).await;
    if let Some(address) = votes.majority(sentinels.hosts.len()) {
        return Ok(vec![address.clone()]);
    }
    votes.named.sort_by_key(|(_, votes)| Reverse(*votes));
    if votes.named.is_empty() {
        Err(nobody(&votes.failed))
    } else {
        Ok(votes.named.into_iter().map(|(named, _)| named).collect())
    }
}

/// Asks all, until more than half agree.
async fn poll(dialer: &Dialer, sentinels: &Sentinels) -> Votes {
    let ask = |host| async move { (host, ask(dialer, host, sentinels).await) };
    let mut answers: FuturesUnordered<_> = sentinels.hosts.iter().map(ask).collect();
    let mut votes = Votes::default();
    while let Some((host, answer)) = answers.next().await {
        votes.count(host, answer);
        if votes.majority(sentinels.hosts.len()).is_some() {
            break;
        }
    }
    votes
}

/// Asks one Sentinel, within the connect time-out.
pub(super) async fn ask(
    dialer: &Dialer,
    host: &Address,
    sentinels: &Sentinels,
) -> Result<Address, StoreError> {
    let within = dialer.connect_timeout();
    let answer = async {
        let (life, _pushes) = Life::new();
        let mut tasks = JoinSet::new();
        let wire = Wire::open(&dialer.to_sentinel(host, sentinels), &life, None, &mut tasks).await?;
        told(&wire, &sentinels.name, within).await
    };
    bounded(within, "no answer", answer).await
}

async fn told(wire: &Wire, name: &str, within: Duration) -> Result<Address, StoreError> {
    let ask = command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", name]);
    let answer = wire.ask_one(ask, within).await.map_err(|error| match error.kind {
        StoreErrorKind::Unsupported => StoreError::new(error.kind, "it is no Sentinel"),
        _ => error,
    })?;
    match &answer {
        Value::Nil => {
            Err(StoreError::new(StoreErrorKind::Unsupported, format!("it knows no primary named {name}")))
        }
        Value::Array(parts) => {
            let [host, port] = parts.as_slice() else { return Err(nonsense("it answered no address")) };
            let port = reply::text(port).and_then(|port| port.parse().ok());
            let host = reply::text(host).map(str::to_owned);
            host.zip(port).ok_or_else(|| nonsense("it answered no address"))
        }
        _ => Err(nonsense("it answered no address")),
    }
}

/// How an error begins that comes of asking all Sentinels.
pub(super) const NOBODY: &str = "no Sentinel names the primary";

/// Nobody names a primary.
fn nobody(failed: &[(Address, StoreError)]) -> StoreError {
    let words: Vec<String> = failed.iter().map(|(host, error)| format!("{}: {error}", shown(host))).collect();
    // Where all say the same, that is what is wrong: a password, TLS, a name.
    let kind = match failed {
        [(_, first), rest @ ..] if rest.iter().all(|(_, other)| other.kind == first.kind) => first.kind,
        _ => StoreErrorKind::Disconnected,
    };
    StoreError::new(kind, format!("{NOBODY} ({})", words.join("; ")))
}

/// Ends the link when more than half of the Sentinels name another server than `here`. A node that still reaches an old
/// primary which the others have replaced would otherwise not notice before that primary does. A Sentinel that announces a
/// change is a reason to ask them all, at once; they are asked now and then anyway. Runs until dropped.
pub(super) async fn watch(
    dialer: Dialer,
    sentinels: Sentinels,
    here: Address,
    life: Arc<Life>,
    every: Duration,
) {
    let hint = Arc::new(Notify::new());
    let mut listeners = JoinSet::new();
    for host in &sentinels.hosts {
        let (dialer, name) = (dialer.to_sentinel(host, &sentinels), sentinels.name.clone());
        let hint = Arc::clone(&hint);
        listeners.spawn(crate::simulation::task(listen(dialer, name, hint)));
    }
    while life.check().is_ok() {
        tokio::select! {
            () = hint.notified() => {}
            () = sleep(every) => {}
        }
        let votes = poll(&dialer, &sentinels).await;
        if votes.majority(sentinels.hosts.len()).is_some_and(|named| *named != here) {
            life.end("the Sentinels name another primary");
        }
        sleep(ASK_AGAIN).await;
    }
}

/// Passes the announcements of one Sentinel on.
async fn listen(dialer: Dialer, name: String, hint: Arc<Notify>) {
    let sink = Arc::new(Announcements { name, hint });
    loop {
        let (life, mut ended) = Life::new();
        let mut tasks = JoinSet::new();
        let listening = async {
            let wire = Wire::open(&dialer, &life, Some(sink.clone()), &mut tasks).await?;
            wire.ask_one(command(&["SUBSCRIBE", SWITCHED]), dialer.connect_timeout()).await?;
            Ok::<_, StoreError>(wire)
        };
        // The connection lasts as long as the wire.
        if let Ok(_wire) = listening.await {
            // What was announced before is known to whoever asks now.
            sink.hint.notify_one();
            ended.recv().await;
        }
        sleep(LISTEN_AGAIN).await;
    }
}

struct Announcements {
    name: String,
    hint: Arc<Notify>,
}

impl AsyncPushSender for Announcements {
    fn send(&self, info: PushInfo) -> Result<(), SendError> {
        if let (PushKind::Message, [_, Value::BulkString(message)]) = (info.kind, info.data.as_slice())
            // `name old-host old-port new-host new-port`; hosts and ports are not believed.
            && message.strip_prefix(self.name.as_bytes()).is_some_and(|rest| rest.first() == Some(&b' '))
        {
            self.hint.notify_one();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(port: u16) -> Address {
        ("h".to_owned(), port)
    }

    #[test]
    fn more_than_half_of_all_sentinels_are_a_majority_not_of_those_that_answer() {
        let mut votes = Votes::default();
        let refused = || StoreError::new(StoreErrorKind::Disconnected, "connection refused");
        votes.count(&address(1), Ok(address(7)));
        assert_eq!(votes.majority(1), Some(&address(7)));
        assert_eq!(votes.majority(3), None);
        votes.count(&address(2), Err(refused()));
        votes.count(&address(3), Ok(address(8)));
        assert_eq!(votes.majority(3), None);
        votes.count(&address(4), Ok(address(7)));
        assert_eq!((votes.majority(3), votes.majority(4)), (Some(&address(7)), None));
    }

    #[test]
    fn what_all_sentinels_complain_of_is_what_is_wrong() {
        let failed = |kinds: &[StoreErrorKind]| {
            let error = |kind: &StoreErrorKind| (address(1), StoreError::new(*kind, "words"));
            nobody(&kinds.iter().map(error).collect::<Vec<_>>())
        };
        assert_eq!(failed(&[StoreErrorKind::Denied, StoreErrorKind::Denied]).kind, StoreErrorKind::Denied);
        let mixed = failed(&[StoreErrorKind::Denied, StoreErrorKind::Timeout]);
        assert_eq!(mixed.kind, StoreErrorKind::Disconnected);
        assert!(mixed.detail.contains("h:1: access denied: words; h:1: time-out"), "{mixed}");
    }

    #[test]
    fn only_announcements_of_the_own_name_are_hints() {
        let hint = Arc::new(Notify::new());
        let sink = Announcements { name: "main".into(), hint: Arc::clone(&hint) };
        let hinted = |message: &str| {
            let data = [SWITCHED, message].map(|text| Value::BulkString(text.into())).to_vec();
            sink.send(PushInfo { kind: PushKind::Message, data }).unwrap();
            let mut notified = Box::pin(hint.notified());
            notified.as_mut().enable()
        };
        assert!(hinted("main 10.0.0.1 6379 10.0.0.2 6379"));
        assert!(!hinted("mainland 10.0.0.1 6379 10.0.0.2 6379"));
        assert!(!hinted("other 10.0.0.1 6379 10.0.0.2 6379"));
    }
}
