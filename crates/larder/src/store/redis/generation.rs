//! One generation of connections to one server process, shared by the links of all buckets that live there.
//!
//! One connection subscribes and makes heartbeats, the others carry data. When any of them ends, so do all, and with them
//! all links: what each link relies on is the order of one stream and the identity of one process.

use super::{
    config::RedisConfig,
    connect::{advice_on_policy, apply_memory_limit, load_scripts, recover, subscribe},
    dial::Dialer,
    health::{self, Life, PushSink},
    identity::Identity,
    keys::Keyspace,
    link::RedisLink,
    log_link::RedisLogLink,
    probe,
    scripts::{Loaded, Script},
    wire::Wire,
};
use crate::simulation;
use crate::store::{Link, Recovered, StoreError, StoreErrorKind, log::LogLink};
use futures_util::future::{try_join, try_join_all};
use redis::{Cmd, Pipeline, Value, cmd};
use std::{future::Future, sync::Arc, time::Duration};
use tokio::task::JoinSet;

/// What connections are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Entries and invalidations.
    Cache,
    /// Event logs: what they carry must not delay an invalidation.
    Logs,
}

/// Makes what is wanted over connections to the server that has it.
pub(super) trait Make: Sync {
    /// What is wanted.
    type Made: Send;
    const PURPOSE: Purpose;
    fn make(
        &self,
        generation: &Arc<Generation>,
        keys: &Keyspace,
    ) -> impl Future<Output = Result<Self::Made, StoreError>> + Send;
}

/// Makes the link of a bucket.
pub(super) struct MakeLink {
    pub(super) force_epoch: bool,
}

impl Make for MakeLink {
    type Made = (Arc<dyn Link>, Recovered);
    const PURPOSE: Purpose = Purpose::Cache;

    async fn make(&self, generation: &Arc<Generation>, keys: &Keyspace) -> Result<Self::Made, StoreError> {
        generation.link(keys, self.force_epoch).await
    }
}

/// Makes the link to a bucket's event logs.
pub(super) struct MakeLog;

impl Make for MakeLog {
    type Made = Arc<dyn LogLink>;
    const PURPOSE: Purpose = Purpose::Logs;

    async fn make(&self, generation: &Arc<Generation>, keys: &Keyspace) -> Result<Self::Made, StoreError> {
        generation.log_link(keys).await
    }
}

/// Connections to one server process, who it is, and the scripts loaded into it.
pub(super) struct Generation {
    pub(super) life: Arc<Life>,
    pub(super) identity: Identity,
    pub(super) scripts: Loaded,
    pub(super) node: String,
    pub(super) tls: bool,
    /// What an administrator should know of the server.
    pub(super) advice: Vec<String>,
    sink: Arc<PushSink>,
    coherence: Wire,
    /// Never empty.
    data: Vec<Wire>,
    within: Duration,
    /// Drivers and health checks: they end with the last link, and so do the connections.
    tasks: JoinSet<()>,
}

impl Generation {
    /// Connects, checks who is there, and loads the scripts. Subscribes to nothing yet.
    pub(super) async fn open(
        dialer: &Dialer,
        config: &RedisConfig,
        cluster: bool,
        node: &str,
        purpose: Purpose,
    ) -> Result<Self, StoreError> {
        let within = config.command_timeout;
        let (life, _nobody_reads_them) = Life::new();
        let mut tasks = JoinSet::new();
        let sink = Arc::new(PushSink::new(&life));
        let coherence = Wire::open(dialer, &life, Some(sink.clone()), &mut tasks).await?;
        let (connections, set_up, all) = match purpose {
            Purpose::Cache => (config.data_connections, config.maxmemory, Script::CACHE),
            Purpose::Logs => (1, None, Script::LOGS),
        };
        let mut data = Vec::with_capacity(connections);
        for _ in 0..connections {
            data.push(Wire::open(dialer, &life, None, &mut tasks).await?);
        }
        let name = format!("larder:{node}");
        let mut identity = Identity::ask(&coherence, &name, within).await?;
        identity.expect(cluster)?;
        for other in try_join_all(data.iter().map(|wire| Identity::ask(wire, &name, within))).await? {
            if other.label != identity.label {
                return Err(StoreError::new(
                    StoreErrorKind::Changed,
                    "connections reached different servers",
                ));
            }
        }
        let mut advice = Vec::new();
        if let Some(bytes) = set_up {
            advice = apply_memory_limit(&data[0], bytes, &config.maxmemory_policy, within).await?;
            identity = Identity::ask(&coherence, &name, within).await?;
        }
        advice.extend(advice_on_policy(identity.policy.as_deref()));
        let scripts = load_scripts(&data[0], all, within).await?;
        for wire in &data {
            let watch = health::watch(wire.clone(), Arc::clone(&life), config.health_interval, within);
            tasks.spawn(simulation::task(watch));
        }
        let (node, tls) = (node.to_owned(), dialer.tls());
        Ok(Self { life, identity, scripts, node, tls, advice, sink, coherence, data, within, tasks })
    }

    /// A data connection.
    pub(super) fn wire(&self) -> &Wire {
        &self.data[0]
    }

    /// Runs until the connections end.
    pub(super) fn spawn(&mut self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(simulation::task(task));
    }

    /// A link to one bucket: subscribes, and blesses the server's identity or begins a new epoch of this bucket.
    pub(super) async fn link(
        self: &Arc<Self>,
        keys: &Keyspace,
        force_epoch: bool,
    ) -> Result<(Arc<dyn Link>, Recovered), StoreError> {
        let (life, pushes) = Life::of_link(&self.life);
        let coherence = self.coherence.of_link(&life);
        let data: Vec<Wire> = self.data.iter().map(|wire| wire.of_link(&life)).collect();
        probe::check_commands(&data[0], keys, &self.node, probe::needed, self.within).await?;
        self.sink.route(keys, &self.node, &life);
        // Before the recovery: what others change from there on must not be missed.
        subscribe(&coherence, &[keys.changes(), &keys.wakes_of(&self.node)], self.within).await?;
        let recovered = recover(&data[0], keys, &self.scripts, &self.identity, force_epoch, self.within);
        let recovered = recovered.await.map_err(|error| life.judge(error))?;
        let link = RedisLink {
            life,
            coherence,
            data,
            next: Default::default(),
            keys: keys.clone(),
            pushes: parking_lot::Mutex::new(Some(pushes)),
            generation: Arc::clone(self),
        };
        Ok((Arc::new(link), recovered))
    }

    /// A link to the event logs of one bucket: subscribes, and changes nothing.
    pub(super) async fn log_link(self: &Arc<Self>, keys: &Keyspace) -> Result<Arc<dyn LogLink>, StoreError> {
        let (life, pushes) = Life::of_link(&self.life);
        let (bus, calls) = (self.coherence.of_link(&life), self.data[0].of_link(&life));
        probe::check_commands(&calls, keys, &self.node, probe::needed_by_logs, self.within).await?;
        self.sink.route_events(keys, &life);
        subscribe(&bus, &[keys.events()], self.within).await?;
        let link = RedisLogLink {
            life,
            bus,
            calls,
            keys: keys.clone(),
            pushes: parking_lot::Mutex::new(Some(pushes)),
            generation: Arc::clone(self),
        };
        Ok(Arc::new(link))
    }

    /// Whether they live and answer. If not, they have ended.
    pub(super) async fn answers(&self) -> bool {
        let ping = |wire: &Wire| {
            let wire = wire.clone();
            async move { wire.ask_one(cmd("PING"), self.within).await }
        };
        // The first data connection speaks for the others: those are watched.
        let answered = try_join(ping(&self.coherence), ping(&self.data[0])).await.is_ok();
        if !answered {
            self.life.end("it does not answer");
        }
        answered
    }

    /// Asks on a data connection. An answer that is an error is an answer.
    pub(super) async fn ask(&self, command: Cmd, within: Duration) -> Result<Value, StoreError> {
        let mut commands = Pipeline::with_capacity(1);
        commands.add_command(command);
        let answer = self.data[0].ask(&commands, within).await?.pop();
        answer.ok_or_else(|| super::reply::nonsense("answers are missing"))
    }
}
