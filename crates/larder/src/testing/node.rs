//! A node whose coherence task does nothing by itself.

use super::{Gate, Server};
use crate::announcer::Announcer;
use crate::cache::Cache;
use crate::coherence::Mirror;
use crate::engine::{Engine, Options};
use crate::error::Error;
use crate::key;
use crate::policy::Policy;
use crate::remote::{Remote, random_name};
use crate::stats::Stats;
use crate::store::StoreError;
use crate::supervise::{Followed, Supervisor};
use crate::tenant::Tenant;
use std::convert::Infallible;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const LEASE: Duration = Duration::from_secs(1);

/// One minute, exactly.
pub(crate) fn policy() -> Policy {
    Policy::ttl(Duration::from_secs(60)).jitter(0.0)
}

/// A node of a [`Server`].
pub(crate) struct Node {
    pub(crate) engine: Arc<Engine>,
    pub(crate) remote: Arc<Remote>,
    supervisor: Supervisor,
    followed: Option<Followed>,
}

impl Node {
    /// Not connected yet.
    pub(crate) fn new(server: &Server) -> Self {
        Self::with(server, |_| {})
    }

    pub(crate) fn with(server: &Server, set: impl FnOnce(&mut Options)) -> Self {
        let mut options = Options {
            enabled: true,
            memory: 16 << 20,
            tenant_memory: None,
            tenant_loads: crate::limits::TENANT_LOADS,
            audit: 0.0,
            max_value_size: 1 << 20,
            load_timeout: Duration::from_secs(10),
            outage_memory_ttl: Some(Duration::from_secs(5)),
            lease: LEASE,
            read_timeout: Duration::from_millis(200),
        };
        set(&mut options);
        let clock = server.clock.clone();
        let stats = Arc::new(Stats::default());
        let mirror = Arc::new(Mirror::following(clock.clone(), 0));
        let connector = Arc::new(server.clone());
        let remote = Arc::new(Remote::new(
            connector,
            random_name(),
            clock.clone(),
            Arc::clone(&mirror),
            Arc::clone(&stats),
            Arc::new(Announcer::new(1)),
        ));
        let engine = Arc::new(Engine::new(options, clock, mirror, stats, Some(Arc::clone(&remote))));
        let supervisor = Supervisor::new(Arc::clone(&engine), Arc::clone(&remote));
        Self { engine, remote, supervisor, followed: None }
    }

    /// Trusted, with a valid lease.
    pub(crate) async fn ready(server: &Server) -> Self {
        Self::new(server).made_ready().await
    }

    pub(crate) async fn made_ready(mut self) -> Self {
        self.connect().await.unwrap();
        self.beat().await;
        assert!(self.engine.mirror.is_good());
        self
    }

    /// Until everything that runs behind has ended.
    pub(crate) async fn settled(&self) {
        self.engine.tasks.close();
        self.engine.tasks.wait().await;
        self.engine.tasks.reopen();
    }

    /// One attempt to make a link that can be trusted.
    pub(crate) async fn connect(&mut self) -> Result<(), StoreError> {
        self.followed = None;
        self.followed = Some(self.supervisor.establish().await?);
        Ok(())
    }

    /// As [`Node::connect`], while time goes by: it may have to wait for other nodes.
    pub(crate) async fn connect_in_time(&mut self, server: &Server) -> Result<(), StoreError> {
        let time = async {
            loop {
                server.clock.advance(LEASE / 10);
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            connected = self.connect() => connected,
            () = time => unreachable!("time has no end"),
        }
    }

    /// One heartbeat, with all pushes before it. Returns whether the link is still followed.
    pub(crate) async fn beat(&mut self) -> bool {
        let Some(followed) = &mut self.followed else { return false };
        if let Err(ended) = self.supervisor.step(followed).await {
            self.remote.lose(&ended);
            self.followed = None;
        }
        self.followed.is_some()
    }

    /// What the coherence task does next: a heartbeat, or an attempt to connect.
    pub(crate) async fn go_on(&mut self) {
        if self.followed.is_some() && self.remote.link().is_none() {
            self.remote.lose("a call failed");
            self.followed = None;
        }
        if self.followed.is_some() {
            self.beat().await;
        } else {
            // It tries again at its next step.
            let _ = self.connect().await;
        }
    }

    /// What the coherence task does last.
    pub(crate) async fn shut_down(&self) {
        self.supervisor.end().await;
    }

    pub(crate) fn cut(&self, server: &Server) {
        server.cut(&self.remote.node);
    }

    pub(crate) fn acme(&self) -> Tenant {
        Cache::over(Arc::clone(&self.engine)).tenant("acme")
    }

    /// Reads the row through the cache, under key `k` and tag `t`.
    pub(crate) async fn read(&self, row: &Row) -> Result<u64, Error> {
        self.read_through(row, &Gate::opened()).await
    }

    /// As [`Node::read`]; the load waits at the gate after it has read the row.
    pub(crate) fn read_through(
        &self,
        row: &Row,
        gate: &Gate,
    ) -> impl Future<Output = Result<u64, Error>> + Send + 'static {
        let (acme, row, gate) = (self.acme(), row.clone(), gate.clone());
        let load = move || async move {
            let value = row.read();
            gate.pass().await;
            Ok::<_, Infallible>(value)
        };
        async move { Ok(*acme.get_or_load(key!("k"), policy().tag("t"), load).await?) }
    }
}

/// A row of the origin: a version, and how often it was read.
#[derive(Clone, Default)]
pub(crate) struct Row(Arc<(AtomicU64, AtomicU64)>);

impl Row {
    pub(crate) fn write(&self) {
        self.0.0.fetch_add(1, Ordering::SeqCst);
    }

    pub(crate) fn read(&self) -> u64 {
        self.0.1.fetch_add(1, Ordering::SeqCst);
        self.0.0.load(Ordering::SeqCst)
    }

    pub(crate) fn reads(&self) -> u64 {
        self.0.1.load(Ordering::SeqCst)
    }
}
