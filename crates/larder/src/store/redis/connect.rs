//! Making a link: connections, checks, scripts, subscription, recovery; in this order.

use super::{
    cluster::{Caller, Cluster},
    config::{RedisConfig, Resolved},
    dial::{Address, Dialer},
    generation::{Generation, Make, MakeLink, MakeLog, Purpose},
    hint,
    identity::Identity,
    keys::{self, Keyspace},
    probe,
    replicas::Timing,
    reply,
    scripts::{Loaded, Script},
    sentinel,
    url::{Place, Sentinels, shown},
    wire::{Wire, command},
};
use crate::simulation;
use crate::store::{Connector, Link, Recovered, StoreError, StoreErrorKind, StoreFuture, log::LogLink};
use futures_util::future::try_join_all;
use redis::{Pipeline, Value};
use std::{sync::Arc, time::Duration};

/// Registrations that ended so long before anybody was last heard are forgotten: a lease before it would do. A node that
/// crashes and is started again, over and over, leaves one each time.
const FORGET_NODES_AFTER: Duration = Duration::from_secs(3600);

/// Makes links to one Redis or Valkey server, to whichever Sentinels call the primary, or to the primaries of a Cluster.
#[derive(Debug)]
pub struct RedisConnector {
    config: RedisConfig,
    resolved: Resolved,
    /// By bucket; a single server has one.
    keys: Vec<Keyspace>,
    cluster: Cluster,
}

impl RedisConnector {
    /// A connector for this server; everything it stores is named with `namespace`. Connects to nothing yet.
    ///
    /// # Errors
    /// Every problem with the configuration and the namespace.
    pub fn new(config: RedisConfig, namespace: &str) -> Result<Self, Vec<String>> {
        match (config.resolve(), keys::check_namespace(namespace)) {
            (Ok(resolved), Ok(())) => {
                let keys = match &resolved.target.place {
                    Place::Cluster(_) => Keyspace::in_cluster(namespace),
                    _ => Keyspace::new(namespace, resolved.target.database).map(|keys| vec![keys]),
                };
                let keys = keys.map_err(|problem| vec![problem])?;
                Ok(Self { config, resolved, keys, cluster: Cluster::default() })
            }
            (resolved, namespace) => {
                let mut problems = resolved.err().unwrap_or_default();
                problems.extend(namespace.err());
                Err(problems)
            }
        }
    }

    /// The configuration.
    pub fn config(&self) -> &RedisConfig {
        &self.config
    }

    pub(super) fn resolved(&self) -> &Resolved {
        &self.resolved
    }

    pub(super) fn cluster(&self) -> &Cluster {
        &self.cluster
    }

    /// The keys of each bucket.
    pub(super) fn keys(&self) -> &[Keyspace] {
        &self.keys
    }

    async fn open<M: Make>(&self, node: &str, bucket: u16, make: &M) -> Result<M::Made, StoreError> {
        let keys =
            self.keys.get(usize::from(bucket)).ok_or_else(|| reply::nonsense("there is no such bucket"))?;
        match &self.resolved.target.place {
            Place::Cluster(seeds) => {
                let caller = Caller { config: &self.config, resolved: &self.resolved, seeds, node };
                self.cluster.connect(caller, keys, make).await
            }
            Place::Sentinels(sentinels) => self.open_named(sentinels, keys, node, make).await,
            _ => {
                let dialer = Dialer::new(&self.config, &self.resolved).await?;
                self.open_with(dialer, None, keys, node, make).await
            }
        }
    }

    /// A link to the server that Sentinels name.
    async fn open_named<M: Make>(
        &self,
        sentinels: &Sentinels,
        keys: &Keyspace,
        node: &str,
        make: &M,
    ) -> Result<M::Made, StoreError> {
        let dialer = Dialer::new(&self.config, &self.resolved).await?;
        let mut failure = None;
        for address in sentinel::find(&dialer, sentinels).await? {
            let there = dialer.to_server(&address);
            match self.open_with(there, Some((sentinels, &address)), keys, node, make).await {
                Ok(opened) => {
                    let primary = shown(&address);
                    tracing::info!(target: "larder::redis", %primary, "the primary was found by its Sentinels");
                    return Ok(opened);
                }
                Err(StoreError { kind, detail }) => {
                    let words = format!("{detail} (the primary at {}, by its Sentinels)", shown(&address));
                    failure.get_or_insert_with(|| StoreError::new(kind, words));
                }
            }
        }
        Err(failure.unwrap_or_else(|| reply::nonsense("the Sentinels name nobody")))
    }

    /// A link to the server of `dialer`, which is watched for as long as `named` by Sentinels.
    async fn open_with<M: Make>(
        &self,
        dialer: Dialer,
        named: Option<(&Sentinels, &Address)>,
        keys: &Keyspace,
        node: &str,
        make: &M,
    ) -> Result<M::Made, StoreError> {
        let mut generation = Generation::open(&dialer, &self.config, false, node, M::PURPOSE).await?;
        generation.advice.extend(generation.identity.advice_on_replicas(named.is_some()));
        if let Some((sentinels, _)) =
            named.filter(|_| generation.identity.guarded && M::PURPOSE == Purpose::Cache)
        {
            let timing =
                Timing::by_sentinels(generation.wire(), &dialer, sentinels, self.config.command_timeout);
            generation.advice.extend(timing.await.ok().and_then(|timing| timing.advice()));
        }
        if let Some((sentinels, address)) = named {
            let every = self.config.health_interval;
            let (sentinels, address, life) =
                (sentinels.clone(), address.clone(), Arc::clone(&generation.life));
            generation.spawn(sentinel::watch(dialer, sentinels, address, life, every));
        }
        make.make(&Arc::new(generation), keys).await
    }
}

impl Connector for RedisConnector {
    fn connect<'a>(
        &'a self,
        node: &'a str,
        bucket: u16,
        force_epoch: bool,
    ) -> StoreFuture<'a, (Arc<dyn Link>, Recovered)> {
        Box::pin(async move { self.open(node, bucket, &MakeLink { force_epoch }).await })
    }

    fn buckets(&self) -> u16 {
        u16::try_from(self.keys.len()).expect("there are few buckets")
    }

    fn keeps_logs(&self) -> bool {
        true
    }

    fn connect_log<'a>(&'a self, node: &'a str, bucket: u16) -> StoreFuture<'a, Arc<dyn LogLink>> {
        // Its connections are its own: in a Cluster they are found by this name.
        Box::pin(async move { self.open(&format!("{node}:events"), bucket, &MakeLog).await })
    }

    fn default_lease(&self) -> Duration {
        // A failover takes longer, and there are as many heartbeats as buckets.
        Duration::from_secs(if matches!(self.resolved.target.place, Place::Cluster(_)) { 2 } else { 1 })
    }

    fn address(&self) -> String {
        self.resolved.target.to_string()
    }

    fn hint(&self, error: &StoreError) -> Option<&'static str> {
        hint::on(error, self.resolved.target.tls())
    }
}

/// Asks whether the server continues the history that it holds; begins a new epoch if not.
pub(super) async fn recover(
    wire: &Wire,
    keys: &Keyspace,
    scripts: &Loaded,
    identity: &Identity,
    force: bool,
    within: Duration,
) -> Result<Recovered, StoreError> {
    let mut call = scripts.call(Script::Recover, &[keys.state()]);
    call.arg(epoch_number()?).arg(keys.changes()).arg(if force { "1" } else { "0" });
    call.arg(u64::try_from(FORGET_NODES_AFTER.as_micros()).expect("an hour in µs fits"));
    let answer = wire.ask_one(call, within).await?;
    let answer = reply::Answer::new(&answer)?;
    let bumped = match answer.word() {
        "OK" => false,
        "BUMPED" => true,
        _ => return Err(reply::nonsense("recover answered an unknown word")),
    };
    if answer.text(0)? != identity.label {
        return Err(StoreError::new(StoreErrorKind::Changed, "the server changed while connecting"));
    }
    Ok(Recovered { epoch: answer.number(1)?, bumped })
}

/// Names what a check leaves nowhere.
pub(super) fn random_token() -> Result<String, StoreError> {
    random().map(|number| format!("{number:016x}"))
}

/// A number for a new epoch: random and below 2^52, so that it is exact as a double, and never 0.
pub(super) fn epoch_number() -> Result<u64, StoreError> {
    random().map(|number| (number >> 12).max(1))
}

/// From the system's generator: an epoch's number must never come twice, whatever was copied or restored.
fn random() -> Result<u64, StoreError> {
    if let Some(number) = simulation::random() {
        return Ok(number);
    }
    getrandom::u64().map_err(|_| reply::nonsense("the system gives no random numbers"))
}

/// Loads these scripts.
pub(super) async fn load_scripts(
    wire: &Wire,
    scripts: &[Script],
    within: Duration,
) -> Result<Loaded, StoreError> {
    let loads = scripts.iter().map(|script| load_one(wire, script.source(), within));
    Ok(Loaded::new(scripts, try_join_all(loads).await?))
}

/// Loads a script; its name.
///
/// # Errors
/// [`StoreErrorKind::Unsupported`] where the server does not understand script flags.
pub(super) async fn load_one(wire: &Wire, source: &str, within: Duration) -> Result<String, StoreError> {
    let hash = wire.ask_one(command(&["SCRIPT", "LOAD", source]), within).await.map_err(|error| {
        match error.kind {
            // Ours compile: one that does not is one whose first line is not understood.
            StoreErrorKind::Protocol => {
                let detail = error.detail;
                StoreError::new(
                    StoreErrorKind::Unsupported,
                    format!("the server lacks script flags (#!lua): {detail}"),
                )
            }
            _ => error,
        }
    })?;
    reply::text(&hash).map(str::to_owned).ok_or_else(|| reply::nonsense("SCRIPT LOAD answered no hash"))
}

/// Subscribes to what concerns this node.
pub(super) async fn subscribe(wire: &Wire, channels: &[&str], within: Duration) -> Result<(), StoreError> {
    // One channel a command: the driver expects one confirmation for each.
    let mut commands = Pipeline::with_capacity(channels.len());
    for channel in channels {
        commands.add_command(command(&["SSUBSCRIBE", channel]));
    }
    for answer in wire.ask(&commands, within).await? {
        match wire.accept(answer)? {
            Value::Push { kind: redis::PushKind::SSubscribe, .. } => {}
            _ => return Err(reply::nonsense("SSUBSCRIBE was not confirmed")),
        }
    }
    Ok(())
}

/// What an administrator should know of the eviction policy.
pub(super) fn advice_on_policy(policy: Option<&str>) -> Option<String> {
    policy.filter(|policy| policy.starts_with("allkeys-")).map(|policy| {
        format!(
            "the server's maxmemory-policy is {policy}: it may evict the coherence state, after which the cache in \
             Redis starts cold; volatile-lru evicts the same entries and never that"
        )
    })
}

/// Sets `maxmemory` and the policy. What the server refuses becomes advice.
pub(super) async fn apply_memory_limit(
    wire: &Wire,
    bytes: u64,
    policy: &str,
    within: Duration,
) -> Result<Vec<String>, StoreError> {
    let bytes = bytes.to_string();
    let settings = [("maxmemory-policy", policy), ("maxmemory", bytes.as_str())];
    let mut commands = Pipeline::with_capacity(settings.len());
    for (name, value) in settings {
        commands.add_command(command(&["CONFIG", "SET", name, value]));
    }
    let answers = wire.ask(&commands, within).await?;
    let refused = settings.iter().zip(&answers).filter_map(|((name, value), answer)| {
        let error = probe::refusal(answer)?;
        Some(format!("the server refused to set {name} to {value} ({}): set it yourself", error.detail))
    });
    Ok(refused.collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_policies_that_may_evict_the_state_are_advised_against() {
        assert!(advice_on_policy(Some("allkeys-lru")).is_some());
        for fine in [Some("volatile-lru"), Some("noeviction"), None] {
            assert_eq!(advice_on_policy(fine), None);
        }
    }
}
