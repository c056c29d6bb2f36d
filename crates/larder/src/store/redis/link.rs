//! The calls of [`Link`] on Redis.

use super::{
    connect::epoch_number,
    generation::Generation,
    health::{self, Life},
    keys::Keyspace,
    reply::{self, Answer, nonsense},
    scripts::Script,
    wire::{Wire, command},
};
use crate::{
    scope::ScopeHash,
    simulation::{Limit, limit},
    store::{
        AckTo, BarrierReply, BarrierRequest, EntryName, FillReply, FillRequest, HeartbeatReply, Holders,
        InvalidateReply, InvalidateRequest, LeaseReply, LeaseRequest, Link, Push, ReadReply, StateReply,
        StoreError, StoreErrorKind, StoreFuture, Tags,
    },
};
use bytes::Bytes;
use parking_lot::Mutex;
use redis::{Cmd, Pipeline, Value, cmd};
use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc::UnboundedReceiver, time::Instant};
use tracing::Instrument;

/// How long the server keeps the stamp of a scope: no entry lives longer.
const KEEP_STAMPS: Duration = Duration::from_secs(30 * 24 * 3600);

/// Most members of the coherence state (about 130 bytes each); beyond it the oldest stamps are forgotten and the floor
/// rises, which drops more than was asked and never less.
const MAX_STATE: usize = 200_000;

/// Most scopes, and most keys, in one run of the invalidation script: Lua passes them on its stack, and nobody else is
/// served meanwhile.
const MAX_BATCH: usize = 500;

/// "No deadline", in µs: the largest exact integer.
const NEVER_US: u64 = (1 << 53) - 1;

/// One bucket over one generation of connections to one server process.
pub(super) struct RedisLink {
    pub(super) life: Arc<Life>,
    /// Subscribes and makes heartbeats, nothing else: what publishes runs on a data connection.
    pub(super) coherence: Wire,
    /// Never empty.
    pub(super) data: Vec<Wire>,
    pub(super) next: AtomicUsize,
    pub(super) keys: Keyspace,
    pub(super) pushes: Mutex<Option<UnboundedReceiver<Push>>>,
    /// The connections live as long as some link does.
    pub(super) generation: Arc<Generation>,
}

impl RedisLink {
    pub(super) fn wire(&self) -> &Wire {
        &self.data[self.next.fetch_add(1, Ordering::Relaxed) % self.data.len()]
    }

    fn lease_call(&self, ask: &LeaseRequest<'_>) -> Cmd {
        let keys = [self.keys.state(), &self.keys.entry(ask.entry), &self.keys.lease(ask.entry)];
        let mut call = self.generation.scripts.call(Script::Lease, &keys);
        call.arg(&self.generation.identity.label)
            .arg(&self.generation.node)
            .arg(ask.token)
            .arg(millis(ask.lease));
        call.arg(micros(ask.refresh_below.unwrap_or_default()))
            .arg(ask.deadline_us.unwrap_or(NEVER_US).min(NEVER_US))
            .arg(ask.key_scope.as_bytes());
        with_scopes(call, ask.scopes)
    }

    async fn lease_all(
        &self,
        asks: &[LeaseRequest<'_>],
        within: Duration,
    ) -> Result<Vec<LeaseReply>, StoreError> {
        if asks.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Pipeline::with_capacity(asks.len());
        for ask in asks {
            commands.add_command(self.lease_call(ask));
        }
        let wire = self.wire();
        let answers = wire.ask(&commands, within).await?;
        answers.into_iter().map(|answer| lease_reply(wire, answer)).collect()
    }

    fn fill_call(&self, fill: &FillRequest<'_>) -> Cmd {
        let keys = [self.keys.state(), &self.keys.entry(fill.entry), &self.keys.lease(fill.entry)];
        let mut call = self.generation.scripts.call(Script::Fill, &keys);
        call.arg(&self.generation.identity.label)
            .arg(fill.token)
            .arg(fill.epoch)
            .arg(fill.ver)
            .arg(millis(fill.keep));
        call.arg(&fill.envelope[..]).arg(self.keys.wakes()).arg(fill.key_scope.as_bytes());
        with_scopes(call, fill.scopes)
    }

    async fn fill_all(
        &self,
        fills: &[FillRequest<'_>],
        within: Duration,
    ) -> Result<Vec<Result<FillReply, StoreError>>, StoreError> {
        if fills.is_empty() {
            return Ok(Vec::new());
        }
        let mut commands = Pipeline::with_capacity(fills.len());
        for fill in fills {
            commands.add_command(self.fill_call(fill));
        }
        let wire = self.wire();
        let answers = wire.ask(&commands, within).await?;
        Ok(answers.into_iter().map(|answer| fill_reply(&wire.accept(answer)?)).collect())
    }

    async fn release_one(
        &self,
        entry: EntryName<'_>,
        key_scope: ScopeHash,
        token: &str,
        cooldown: Duration,
        within: Duration,
    ) -> Result<(), StoreError> {
        let mut call = self.generation.scripts.call(Script::Release, &[self.keys.lease(entry)]);
        let cooldown = if cooldown.is_zero() { 0 } else { millis(cooldown) };
        call.arg(token).arg(cooldown).arg(self.keys.wakes()).arg(key_scope.as_bytes());
        self.wire().ask_one(call, within).await.map(drop)
    }

    /// In batches, one after the other: each is atomic, and the last stamp is later than all before it. If one fails,
    /// the whole is to be done again.
    async fn invalidate_all(
        &self,
        what: InvalidateRequest<'_>,
        within: Duration,
    ) -> Result<InvalidateReply, StoreError> {
        let (mut scopes, mut keys) = (what.scopes, what.keys);
        let until = Instant::now() + within;
        let mut first = true;
        loop {
            let (now_scopes, more_scopes) = scopes.split_at(scopes.len().min(MAX_BATCH));
            let (now_keys, more_keys) = keys.split_at(keys.len().min(MAX_BATCH));
            let left = until.saturating_duration_since(Instant::now());
            // Whoever has applied the last batch has applied those before it.
            let last = more_scopes.is_empty() && more_keys.is_empty();
            let ack = what.ack.filter(|_| last);
            // With the first batch, in which their scopes are.
            let globs = if first { what.globs } else { &[] };
            first = false;
            let batch = InvalidateRequest { scopes: now_scopes, keys: now_keys, globs, ack };
            let reply = self.invalidate_batch(batch, left).await?;
            (scopes, keys) = (more_scopes, more_keys);
            if last || reply == InvalidateReply::Recover {
                return Ok(reply);
            }
        }
    }

    async fn invalidate_batch(
        &self,
        what: InvalidateRequest<'_>,
        within: Duration,
    ) -> Result<InvalidateReply, StoreError> {
        let InvalidateRequest { scopes, keys, globs, ack } = what;
        let mut names = Vec::with_capacity(1 + 2 * keys.len());
        names.push(self.keys.state().to_owned());
        for (entry, _) in keys {
            names.push(self.keys.entry(*entry));
            names.push(self.keys.lease(*entry));
        }
        let mut call = self.generation.scripts.call(Script::Invalidate, &names);
        call.arg(&self.generation.identity.label).arg(self.keys.changes()).arg(self.keys.wakes());
        call.arg(micros(KEEP_STAMPS)).arg(limit(Limit::State, MAX_STATE)).arg(&self.generation.node);
        call.arg(ack.unwrap_or(0)).arg(scopes.len());
        let mut call = with_scopes(call, scopes);
        for (_, scope) in keys {
            call.arg(scope.as_bytes());
        }
        for glob in globs {
            call.arg(health::pattern(glob));
        }
        let answer = self.wire().ask_one(call, within).await?;
        let answer = Answer::new(&answer)?;
        match answer.word() {
            "RECOVER" => Ok(InvalidateReply::Recover),
            "OK" => Ok(InvalidateReply::Done {
                epoch: answer.number(0)?,
                stamp: answer.number(1)?,
                holders: if ack.is_some() { holders(&answer)? } else { Holders::default() },
            }),
            _ => Err(nonsense("inv answered an unknown word")),
        }
    }

    async fn beat(
        &self,
        lease: Duration,
        roll_call: bool,
        within: Duration,
    ) -> Result<HeartbeatReply, StoreError> {
        self.life.drained();
        let mut call = self.generation.scripts.call(Script::Heartbeat, &[self.keys.state()]);
        call.arg(&self.generation.identity.label).arg(&self.generation.node).arg(micros(lease));
        call.arg(if roll_call { "1" } else { "0" });
        let mut commands = Pipeline::with_capacity(2);
        commands.add_command(command(&["INFO", "replication"]));
        commands.add_command(call);
        let mut answers = self.coherence.ask(&commands, within).await?;
        // A subscription that ended has taken the place of an answer.
        self.life.check()?;
        let beat = answers.pop().ok_or_else(|| nonsense("answers are missing"))?;
        let replication = answers.pop().ok_or_else(|| nonsense("answers are missing"))?;
        let replication = reply::info(&self.coherence.accept(replication)?)?;
        self.generation.identity.still(&replication).map_err(|error| self.life.judge(error))?;
        heartbeat_reply(&self.coherence.accept(beat)?)
    }

    async fn barrier_one(
        &self,
        what: BarrierRequest<'_>,
        within: Duration,
    ) -> Result<BarrierReply, StoreError> {
        let mut call = self.generation.scripts.call(Script::Barrier, &[self.keys.state()]);
        call.arg(&self.generation.identity.label).arg(&self.generation.node).arg(what.outage);
        call.arg(if what.evict { "1" } else { "0" }).arg(epoch_number()?).arg(self.keys.changes());
        for node in what.nodes {
            call.arg(node);
        }
        let answer = self.wire().ask_one(call, within).await?;
        let answer = Answer::new(&answer)?;
        Ok(match answer.word() {
            "RECOVER" => BarrierReply::Recover,
            "DONE" => BarrierReply::Done,
            "BUMPED" => BarrierReply::Bumped,
            "WAIT" => BarrierReply::Wait(answer.texts(0)?),
            _ => return Err(nonsense("barrier answered an unknown word")),
        })
    }

    async fn info_all(&self, within: Duration) -> Result<BTreeMap<String, String>, StoreError> {
        reply::info(&self.wire().ask_one(cmd("INFO"), within).await?)
    }

    async fn scan_page(
        &self,
        cursor: u64,
        count: usize,
        within: Duration,
    ) -> Result<(u64, Vec<Bytes>), StoreError> {
        let mut scan = cmd("SCAN");
        scan.arg(cursor).arg("MATCH").arg(self.keys.pattern()).arg("COUNT").arg(count.max(1));
        match self.wire().ask_one(scan, within).await? {
            Value::Array(parts) => match <[Value; 2]>::try_from(parts) {
                Ok([next, Value::Array(keys)]) => {
                    // A cursor uses all 64 bits.
                    let next = reply::text(&next).and_then(|next| next.parse().ok());
                    let next = next.ok_or_else(|| nonsense("SCAN answered no cursor"))?;
                    Ok((next, keys.into_iter().filter_map(reply::stored).collect()))
                }
                _ => Err(nonsense("SCAN answered no page")),
            },
            _ => Err(nonsense("SCAN answered no page")),
        }
    }
}

/// The span of one call that somebody may wait for. Heartbeats and the like have none.
macro_rules! call_span {
    ($name:literal, $count:expr) => {
        tracing::debug_span!(target: crate::log::CALL, $name, count = $count, db.system = "redis", otel.kind = "client")
    };
}

impl Link for RedisLink {
    fn read<'a>(
        &'a self,
        entries: &'a [EntryName<'a>],
        scopes: &'a [ScopeHash],
        tags: Tags,
        within: Duration,
    ) -> StoreFuture<'a, ReadReply> {
        let span = call_span!("redis read", entries.len());
        Box::pin(self.read_all(entries, scopes, tags, within).instrument(span))
    }

    fn lease<'a>(
        &'a self,
        asks: &'a [LeaseRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<LeaseReply>> {
        Box::pin(self.lease_all(asks, within).instrument(call_span!("redis lease", asks.len())))
    }

    fn fill<'a>(
        &'a self,
        fills: &'a [FillRequest<'a>],
        within: Duration,
    ) -> StoreFuture<'a, Vec<Result<FillReply, StoreError>>> {
        Box::pin(self.fill_all(fills, within).instrument(call_span!("redis fill", fills.len())))
    }

    fn release<'a>(
        &'a self,
        entry: EntryName<'a>,
        key_scope: ScopeHash,
        token: &'a str,
        cooldown: Duration,
        within: Duration,
    ) -> StoreFuture<'a, ()> {
        Box::pin(
            self.release_one(entry, key_scope, token, cooldown, within)
                .instrument(call_span!("redis release", 1)),
        )
    }

    fn invalidate<'a>(
        &'a self,
        what: InvalidateRequest<'a>,
        within: Duration,
    ) -> StoreFuture<'a, InvalidateReply> {
        let span = call_span!("redis invalidate", what.scopes.len());
        Box::pin(self.invalidate_all(what, within).instrument(span))
    }

    fn heartbeat<'a>(
        &'a self,
        lease: Duration,
        roll_call: bool,
        within: Duration,
    ) -> StoreFuture<'a, HeartbeatReply> {
        Box::pin(self.beat(lease, roll_call, within))
    }

    fn barrier<'a>(&'a self, what: BarrierRequest<'a>, within: Duration) -> StoreFuture<'a, BarrierReply> {
        Box::pin(self.barrier_one(what, within))
    }

    fn acknowledge<'a>(&'a self, to: &'a AckTo, within: Duration) -> StoreFuture<'a, ()> {
        let channel = format!("{}{}", self.keys.wakes(), to.node);
        let message = health::acknowledgement(to.ack, &self.generation.node);
        let publish = command(&["SPUBLISH", &channel, &message]);
        Box::pin(async move { self.wire().ask_one(publish, within).await.map(drop) })
    }

    fn pushes(&self) -> Option<UnboundedReceiver<Push>> {
        self.pushes.lock().take()
    }

    fn leave<'a>(&'a self, within: Duration) -> StoreFuture<'a, ()> {
        let registration = format!("!n{}", self.generation.node);
        let leave = command(&["ZREM", self.keys.state(), &registration]);
        Box::pin(async move { self.wire().ask_one(leave, within).await.map(drop) })
    }

    fn ping<'a>(&'a self, within: Duration) -> StoreFuture<'a, ()> {
        Box::pin(async move { self.wire().ask_one(cmd("PING"), within).await.map(drop) })
    }

    fn info<'a>(&'a self, within: Duration) -> StoreFuture<'a, BTreeMap<String, String>> {
        Box::pin(self.info_all(within))
    }

    fn scan<'a>(&'a self, cursor: u64, count: usize, within: Duration) -> StoreFuture<'a, (u64, Vec<Bytes>)> {
        Box::pin(self.scan_page(cursor, count, within))
    }

    fn server(&self) -> &str {
        &self.generation.identity.version
    }

    fn tls(&self) -> bool {
        self.generation.tls
    }

    fn advice(&self) -> &[String] {
        &self.generation.advice
    }
}

fn lease_reply(wire: &Wire, answer: Value) -> Result<LeaseReply, StoreError> {
    let answer = match wire.accept(answer) {
        Err(error) if error.kind == StoreErrorKind::OutOfMemory => return Ok(LeaseReply::Full),
        other => other?,
    };
    let answer = Answer::new(&answer)?;
    Ok(match answer.word() {
        "RECOVER" => LeaseReply::Recover,
        "RETRY" => LeaseReply::Retry,
        "LATE" => LeaseReply::Late,
        "FAILED" => LeaseReply::Failed(answer.micros(0)?),
        "WAIT" => LeaseReply::Wait(answer.micros(0)?),
        "LEASE" => LeaseReply::Granted { epoch: answer.number(0)?, head: answer.number(1)? },
        _ => return Err(nonsense("lease answered an unknown word")),
    })
}

fn fill_reply(answer: &Value) -> Result<FillReply, StoreError> {
    let answer = Answer::new(answer)?;
    Ok(match answer.word() {
        "RECOVER" => FillReply::Recover,
        "LOST" => FillReply::Lost,
        "INVALIDATED" => FillReply::Invalidated,
        "OK" => {
            let expired = Some(answer.number(1)?).filter(|stamp| *stamp > 0);
            FillReply::Stored { head: answer.number(0)?, expired }
        }
        _ => return Err(nonsense("fill answered an unknown word")),
    })
}

/// Age of the epoch, then nodes in turn with how long each holds its lease.
fn holders(answer: &Answer<'_>) -> Result<Holders, StoreError> {
    let epoch_age = answer.micros(2)?;
    let mut nodes = Vec::new();
    for place in (3..answer.len()).step_by(2) {
        nodes.push((answer.text(place)?.to_owned(), answer.micros(place + 1)?));
    }
    Ok(Holders { nodes, epoch_age })
}

fn heartbeat_reply(answer: &Value) -> Result<HeartbeatReply, StoreError> {
    let answer = Answer::new(answer)?;
    Ok(match answer.word() {
        "RECOVER" => HeartbeatReply::Recover,
        "OK" => HeartbeatReply::Alive {
            state: StateReply { epoch: answer.number(0)?, head: answer.number(1)?, floor: answer.number(2)? },
            outage: if answer.text(3)?.is_empty() { None } else { Some(answer.number(3)?) },
            now_us: answer.number(4)?,
            nodes: answer.texts(5)?,
        },
        _ => return Err(nonsense("hb answered an unknown word")),
    })
}

/// For fuzzing: reads an answer as that of each script.
#[cfg(feature = "simulation")]
pub(crate) fn fuzz(bytes: &[u8]) {
    let Ok(value) = redis::parse_redis_value(bytes) else { return };
    let _ = fill_reply(&value);
    let _ = heartbeat_reply(&value);
    let _ = Answer::new(&value).and_then(|answer| holders(&answer));
    let _ = reply::info(&value);
    super::read::fuzz(&value);
    super::log_link::fuzz(&value);
}

pub(super) fn with_scopes(mut call: Cmd, scopes: &[ScopeHash]) -> Cmd {
    for scope in scopes {
        call.arg(scope.as_bytes());
    }
    call
}

/// In whole milliseconds, at least one: Redis takes no expiry of 0.
fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX).clamp(1, NEVER_US / 1000)
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX).min(NEVER_US)
}
