//! `larder check`: every step of using Redis, tried one by one, with its latency and, where it fails, a hint.

mod cluster;

use super::{
    config::RedisConfig,
    connect::{RedisConnector, advice_on_policy, load_one, random_token, subscribe},
    dial::{Address, Dialer},
    health::Life,
    hint,
    identity::Identity,
    keys::Keyspace,
    probe,
    replicas::{self, Timing},
    reply::nonsense,
    sentinel,
    url::{Place, Sentinels, shown},
    wire::{Wire, command},
};
use crate::store::{StoreError, StoreErrorKind, hinted};
use redis::{PushInfo, PushKind, Value, cmd};
use std::{
    future::Future,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    sync::mpsc::{UnboundedReceiver, unbounded_channel},
    task::JoinSet,
};

/// The smallest script with flags.
const TINY_SCRIPT: &str = "#!lua\nreturn 'OK'";

/// How long the key that the check writes may live, should the check be cut off.
const KEY_LIVES_MS: &str = "10000";

/// One thing that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CheckStep {
    /// What: `sentinel host:port` …, `node host:port` … and `cluster`, `connect`, `authenticate`, `ping`, `server`,
    /// `command ZMSCORE` …, `script flags`, `set`, `get`, `delete`, `sharded pub/sub`, `eviction policy`, `replicas`; in a
    /// Cluster for each primary, after its address, with the commands that are allowed as one step `commands`.
    pub name: String,
    /// How long it took.
    pub took: Duration,
    /// What came of it, in words; on failure with a hint.
    pub result: Result<String, String>,
}

/// Tries all that larder needs of Redis. Writes one key under `namespace`, and deletes it.
///
/// Ends after the first step without which the following make no sense (configuration, connection, log-in).
///
/// # Panics
/// Never.
///
/// # Cancel safety
/// Dropping the future ends the check; the key it may have written expires within seconds.
pub async fn check(config: RedisConfig, namespace: &str) -> Vec<CheckStep> {
    let mut steps = Steps { tls: false, at: None, done: Vec::new() };
    let started = Instant::now();
    match RedisConnector::new(config, namespace) {
        Ok(connector) => {
            steps.tls = connector.resolved().target.tls();
            // What ends the check early is the last step.
            let _ = steps.run(&connector).await;
        }
        Err(problems) => {
            let result = Err(problems.join("; "));
            steps.done.push(CheckStep { name: "configuration".into(), took: started.elapsed(), result });
        }
    }
    steps.done
}

struct Steps {
    tls: bool,
    /// The server that is being checked, where there are several.
    at: Option<String>,
    done: Vec<CheckStep>,
}

/// The check has ended with the step before.
struct Ended;

impl Steps {
    /// Makes a step; its value if it succeeded.
    async fn step<T>(
        &mut self,
        name: &str,
        words: impl FnOnce(&T) -> String,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Ended> {
        let started = Instant::now();
        let outcome = work.await;
        let took = started.elapsed();
        let result = match &outcome {
            Ok(value) => Ok(words(value)),
            Err(error) if name.starts_with("sentinel") => Err(hinted(error, hint::on_sentinel(error))),
            Err(error) => Err(hinted(error, hint::on(error, self.tls))),
        };
        let name = self.at.as_ref().map_or_else(|| name.to_owned(), |at| format!("{at} {name}"));
        self.done.push(CheckStep { name, took, result });
        outcome.map_err(|_| Ended)
    }

    async fn run(&mut self, connector: &RedisConnector) -> Result<(), Ended> {
        let place = &connector.resolved().target.place;
        if let Place::Cluster(seeds) = place {
            return self.run_cluster(connector, seeds).await;
        }
        let dialer = Dialer::new(connector.config(), connector.resolved());
        let mut dialer = self.quietly("connect", dialer).await?;
        if let Place::Sentinels(sentinels) = place {
            let primary = self.ask_sentinels(&dialer, sentinels).await?;
            dialer = dialer.to_server(&primary);
        }
        self.server(connector, &dialer, connector.keys().first()).await
    }

    /// All steps of one server. Without `keys` it has no part of the cache, and nothing can be tried on it.
    async fn server(
        &mut self,
        connector: &RedisConnector,
        dialer: &Dialer,
        keys: Option<&Keyspace>,
    ) -> Result<(), Ended> {
        let within = connector.config().command_timeout;
        let place = &connector.resolved().target.place;
        let tls = if self.tls { " (TLS)" } else { "" };
        // They end with this function, and with them the connections.
        let mut tasks = JoinSet::new();
        let (life, _pushes) = Life::new();

        let address = match (place, dialer.address()) {
            (Place::Sentinels(_) | Place::Cluster(_), Some(at)) => shown(&at),
            _ => connector.resolved().target.to_string(),
        };
        let socket = self.step("connect", |_| format!("{address}{tls}"), dialer.socket()).await?;
        let user = connector.resolved().target.user.as_deref().unwrap_or("default");
        let login = Wire::login(dialer, socket, &life, None, &mut tasks);
        let wire = self.step("authenticate", |_| format!("as {user}"), login).await?;
        let ping = wire.ask_one(cmd("PING"), within);
        self.step("ping", |_| "answered".into(), ping).await?;
        let identity = async {
            let identity = Identity::ask(&wire, "larder:check", within).await?;
            identity.expect(matches!(place, Place::Cluster(_))).map(|()| identity)
        };
        let identity = self.step("server", |found| found.version.clone(), identity).await?;
        if let Some(keys) = keys {
            self.use_of(&wire, dialer, keys, within).await?;
        }
        let words = |policy: &Option<String>| match advice_on_policy(policy.as_deref()) {
            Some(advice) => format!("warning: {advice}"),
            None => policy.clone().unwrap_or_else(|| "not told by the server".into()),
        };
        let replicas = async { Ok(replicas_of(&identity, place, &wire, dialer, within).await) };
        let _ = self.step("replicas", Clone::clone, replicas).await;
        self.step("eviction policy", words, async { Ok(identity.policy) }).await.map(drop)
    }

    /// What larder does there.
    async fn use_of(
        &mut self,
        wire: &Wire,
        dialer: &Dialer,
        keys: &Keyspace,
        within: Duration,
    ) -> Result<(), Ended> {
        // These don't depend on each other: all are tried.
        let Ok(token) = random_token() else { return Err(Ended) };
        let first = self.done.len();
        let needed = probe::needed(keys, &token).into_iter().chain(probe::needed_by_logs(keys, &token));
        for (name, tried) in needed {
            let try_it = async {
                // Not `ask_one`: a refused command must not end the check.
                let mut commands = redis::Pipeline::with_capacity(1);
                commands.add_command(tried);
                let answers = wire.ask(&commands, within).await?;
                answers.iter().find_map(probe::refusal).map_or(Ok(()), Err)
            };
            let _ = self.step(&format!("command {name}"), |()| "allowed".into(), try_it).await;
        }
        if self.at.is_some() {
            self.fold(first);
        }
        let script = load_one(wire, TINY_SCRIPT, within);
        let _ = self.step("script flags", |_| "understood".into(), script).await;
        let channel = keys.probe(&token);
        let _ = self.set_get_delete(wire, &channel, within).await;
        let published = publish(dialer, wire, &channel, &token, within);
        let _ = self.step("sharded pub/sub", |()| "a message came back".into(), published).await;
        Ok(())
    }

    /// Of the commands from `first` on, those that are allowed become one step: there are several servers to read about.
    fn fold(&mut self, first: usize) {
        let (allowed, refused): (Vec<_>, Vec<_>) =
            self.done.drain(first..).partition(|step| step.result.is_ok());
        let name = self.at.as_ref().map_or_else(|| "commands".to_owned(), |at| format!("{at} commands"));
        let (took, count) = (allowed.iter().map(|step| step.took).sum(), allowed.len());
        self.done.push(CheckStep { name, took, result: Ok(format!("{count} allowed")) });
        self.done.extend(refused);
    }

    /// A step that is told of only when it fails.
    async fn quietly<T>(
        &mut self,
        name: &str,
        work: impl Future<Output = Result<T, StoreError>>,
    ) -> Result<T, Ended> {
        let value = self.step(name, |_| String::new(), work).await?;
        self.done.pop();
        Ok(value)
    }

    /// A step for each Sentinel; the primary that most of them name.
    async fn ask_sentinels(&mut self, dialer: &Dialer, sentinels: &Sentinels) -> Result<Address, Ended> {
        for host in &sentinels.hosts {
            let ask = sentinel::ask(dialer, host, sentinels);
            let words = |named: &Address| format!("names {} as {}", shown(named), sentinels.name);
            let _ = self.step(&format!("sentinel {}", shown(host)), words, ask).await;
        }
        self.forgive(self.done.len() - sentinels.hosts.len());
        let first = async {
            let found = sentinel::find(dialer, sentinels).await?;
            found.into_iter().next().ok_or_else(|| nonsense("the Sentinels name nobody"))
        };
        self.quietly("primary", first).await
    }

    /// Of the steps from `first` on, each the same at another server, one is enough: one that is down is what the others
    /// are for.
    fn forgive(&mut self, first: usize) {
        if self.done[first..].iter().any(|step| step.result.is_ok()) {
            for step in &mut self.done[first..] {
                step.result = Ok(std::mem::replace(&mut step.result, Ok(String::new()))
                    .unwrap_or_else(|words| format!("warning: {words}")));
            }
        }
    }

    async fn set_get_delete(&mut self, wire: &Wire, key: &str, within: Duration) -> Result<(), Ended> {
        let set = wire.ask_one(command(&["SET", key, "larder", "PX", KEY_LIVES_MS]), within);
        self.step("set", |_| "stored".into(), set).await?;
        let get = async {
            match wire.ask_one(command(&["GET", key]), within).await? {
                Value::BulkString(value) if value == b"larder" => Ok(()),
                _ => Err(nonsense("GET does not answer what SET stored")),
            }
        };
        let _ = self.step("get", |()| "the stored value came back".into(), get).await;
        let delete = async {
            match wire.ask_one(command(&["DEL", key]), within).await? {
                Value::Int(1) => Ok(()),
                _ => Err(nonsense("DEL did not find what SET stored")),
            }
        };
        self.step("delete", |()| "deleted".into(), delete).await
    }
}

/// What becomes of writes where this server is replaced.
async fn replicas_of(
    identity: &Identity,
    place: &Place,
    wire: &Wire,
    dialer: &Dialer,
    within: Duration,
) -> String {
    let count = identity.replicas;
    let timing = match place {
        _ if !identity.guarded => None,
        Place::Sentinels(sentinels) => Some(Timing::by_sentinels(wire, dialer, sentinels, within).await),
        Place::Cluster(_) => Some(Timing::in_cluster(wire, within).await),
        _ => None,
    };
    if let Some(timing) = timing {
        return match timing.as_ref().ok().and_then(Timing::advice) {
            Some(advice) => format!("warning: {advice}"),
            None => format!("{count}, and writes are refused without; {}", replicas::words(&timing)),
        };
    }
    let advice = match place {
        Place::Cluster(_) => identity.advice_in_cluster(),
        _ => identity.advice_on_replicas(matches!(place, Place::Sentinels(_))),
    };
    match advice {
        Some(advice) => format!("warning: {advice}"),
        None if count == 0 => "none".to_owned(),
        None => format!("{count}, and writes are refused without"),
    }
}

/// Subscribes on a second connection and publishes on the first.
async fn publish(
    dialer: &Dialer,
    wire: &Wire,
    channel: &str,
    token: &str,
    within: Duration,
) -> Result<(), StoreError> {
    let (pushes, mut pushed) = unbounded_channel::<PushInfo>();
    let mut tasks = JoinSet::new();
    let (life, _pushes) = Life::new();
    let subscriber = Wire::open(dialer, &life, Some(Arc::new(pushes)), &mut tasks).await?;
    subscribe(&subscriber, &[channel], within).await?;
    wire.ask_one(command(&["SPUBLISH", channel, token]), within).await?;
    super::dial::bounded(within, "the message did not come back", arrival(&mut pushed)).await
}

async fn arrival(pushed: &mut UnboundedReceiver<PushInfo>) -> Result<(), StoreError> {
    while let Some(push) = pushed.recv().await {
        if push.kind == PushKind::SMessage {
            return Ok(());
        }
    }
    Err(StoreError::new(StoreErrorKind::Disconnected, "the subscription has ended"))
}
