//! The calls of [`LogLink`] on Redis.

use super::{
    generation::Generation,
    health::{self, Life},
    keys::Keyspace,
    reply::{self, Answer, nonsense},
    scripts::Script,
    wire::{Wire, command},
};
use crate::limits::{
    EVENT_HISTORY, EVENT_HISTORY_BYTES, EVENT_HISTORY_TTL, EVENT_LOG_TTL, IDEMPOTENCY_TTL,
    MAX_ROOM_CONNECTIONS, PRESENCE_TTL,
};
use crate::simulation::{Limit, limit};
use crate::store::{
    Push, StoreError, StoreFuture,
    log::{
        AppendReply, AppendRequest, LogLink, LogReadReply, LogReadRequest, PresenceReply, PresenceRequest,
        Room, SyncReply,
    },
};
use bytes::Bytes;
use parking_lot::Mutex;
use redis::{Cmd, Pipeline, Value, cmd};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc::UnboundedReceiver;

/// The event logs of one bucket over one generation of connections to one server process.
pub(super) struct RedisLogLink {
    pub(super) life: Arc<Life>,
    /// Subscribes, and asks whether every message has come.
    pub(super) bus: Wire,
    /// Everything else.
    pub(super) calls: Wire,
    pub(super) keys: Keyspace,
    pub(super) pushes: Mutex<Option<UnboundedReceiver<Push>>>,
    /// The connections live as long as some link does.
    pub(super) generation: Arc<Generation>,
}

impl RedisLogLink {
    fn append_call(&self, what: &AppendRequest<'_>) -> Cmd {
        let [meta, stream] = self.keys.log(what.tenant);
        let last = self.keys.batch(what.tenant, &self.generation.node);
        let mut names =
            vec![self.keys.state().to_owned(), self.keys.sequence().to_owned(), meta, stream, last];
        let keyed = what.events.iter().filter(|event| event.keyed);
        names.extend(keyed.map(|event| self.keys.event(what.tenant, event.id)));
        let mut call = self.generation.scripts.call(Script::LogAppend, &names);
        call.arg(&self.generation.identity.label).arg(self.keys.events()).arg(what.tenant);
        call.arg(what.new_epoch).arg(flag(what.renew)).arg(what.batch);
        call.arg(limit(Limit::EventHistory, EVENT_HISTORY))
            .arg(millis(EVENT_HISTORY_TTL))
            .arg(millis(EVENT_LOG_TTL));
        call.arg(millis(IDEMPOTENCY_TTL)).arg(EVENT_HISTORY_BYTES);
        for event in what.events {
            call.arg(event.id).arg(flag(event.keyed)).arg(&event.json[..]);
        }
        call
    }

    async fn append_all(&self, what: AppendRequest<'_>, within: Duration) -> Result<AppendReply, StoreError> {
        let answer = self.calls.ask_one(self.append_call(&what), within).await?;
        let answer = Answer::new(&answer)?;
        match answer.word() {
            "RECOVER" => Ok(AppendReply::Recover),
            "OK" => {
                let place = |place: usize| Ok((answer.text(place)?.to_owned(), answer.number(place + 1)?));
                (0..answer.len()).step_by(2).map(place).collect::<Result<_, _>>().map(AppendReply::Done)
            }
            _ => Err(nonsense("log_append answered an unknown word")),
        }
    }

    async fn read_some(
        &self,
        what: LogReadRequest<'_>,
        within: Duration,
    ) -> Result<LogReadReply, StoreError> {
        let [meta, stream] = self.keys.log(what.tenant);
        let names = [self.keys.state(), &meta, &stream, self.keys.sequence()];
        let mut call = self.generation.scripts.call(Script::LogRead, &names);
        call.arg(&self.generation.identity.label).arg(what.new_epoch).arg(millis(EVENT_LOG_TTL));
        // No offset of ours is larger; the script's numbers are doubles.
        call.arg(what.after.0).arg(what.after.1.min((1 << 53) - 1)).arg(what.max_events).arg(what.max_bytes);
        call.arg(self.keys.events()).arg(what.tenant);
        let answer = self.calls.ask_one(call, within).await?;
        log_reply(answer)
    }

    async fn presence_of(
        &self,
        room: Room<'_>,
        what: PresenceRequest<'_>,
        within: Duration,
    ) -> Result<PresenceReply, StoreError> {
        let names = self.keys.room(room.tenant, room.room);
        let mut call = self.generation.scripts.call(Script::Presence, &names);
        let ttl = millis(PRESENCE_TTL);
        match what {
            PresenceRequest::Here(present) => {
                call.arg("here").arg(ttl).arg(MAX_ROOM_CONNECTIONS);
                for one in present {
                    call.arg(one.conn).arg(one.user).arg(one.info);
                }
            }
            PresenceRequest::Gone(conns) => {
                call.arg("gone").arg(ttl).arg("0").arg(conns);
            }
            PresenceRequest::Who(limit) => {
                call.arg("who").arg(ttl).arg(limit);
            }
        }
        let answer = self.calls.ask_one(call, within).await?;
        presence_reply(answer)
    }

    async fn sync_now(&self, within: Duration) -> Result<SyncReply, StoreError> {
        let mut commands = Pipeline::with_capacity(3);
        commands.add_command(command(&["INFO", "replication"]));
        let blessed = format!("!i{}", self.generation.identity.label);
        commands.add_command(command(&["ZMSCORE", self.keys.state(), "!e", &blessed]));
        commands.add_command(command(&["GET", self.keys.sequence()]));
        let answers = self.bus.ask(&commands, within).await?;
        // A subscription that ended has taken the place of an answer.
        self.life.check()?;
        let [replication, state, seq] =
            <[Value; 3]>::try_from(answers).map_err(|_| nonsense("answers are missing"))?;
        let replication = reply::info(&self.bus.accept(replication)?)?;
        self.generation.identity.still(&replication).map_err(|error| self.life.judge(error))?;
        let epoch = match self.bus.accept(state) {
            Ok(Value::Array(scores)) => {
                let [epoch, blessed] = &scores[..] else {
                    return Err(nonsense("ZMSCORE answered no array of that length"));
                };
                let blessed = reply::score(blessed)?.is_some();
                // Negated, as every number of the state that is no stamp.
                reply::score(epoch)?.and_then(|epoch| reply::exact(-epoch)).filter(|_| blessed)
            }
            // Another type lives there: the next recovery makes it new.
            _ => None,
        };
        let seq = match self.bus.accept(seq)? {
            Value::Nil => 0,
            seq => reply::text(&seq)
                .and_then(|seq| seq.parse().ok())
                .ok_or_else(|| nonsense("GET answered no number"))?,
        };
        Ok(SyncReply { epoch, seq })
    }
}

impl LogLink for RedisLogLink {
    fn append<'a>(&'a self, what: AppendRequest<'a>, within: Duration) -> StoreFuture<'a, AppendReply> {
        Box::pin(self.append_all(what, within))
    }

    fn read<'a>(&'a self, what: LogReadRequest<'a>, within: Duration) -> StoreFuture<'a, LogReadReply> {
        Box::pin(self.read_some(what, within))
    }

    fn signal<'a>(&'a self, tenant: &'a str, message: &'a Bytes, within: Duration) -> StoreFuture<'a, ()> {
        let mut publish = cmd("SPUBLISH");
        publish.arg(self.keys.events()).arg(health::signal(tenant, message));
        Box::pin(async move { self.calls.ask_one(publish, within).await.map(drop) })
    }

    fn presence<'a>(
        &'a self,
        room: Room<'a>,
        what: PresenceRequest<'a>,
        within: Duration,
    ) -> StoreFuture<'a, PresenceReply> {
        Box::pin(self.presence_of(room, what, within))
    }

    fn claim<'a>(
        &'a self,
        tenant: &'a str,
        name: &'a str,
        ttl: Duration,
        within: Duration,
    ) -> StoreFuture<'a, bool> {
        let mut claim = cmd("SET");
        claim.arg(self.keys.claimed(tenant, name)).arg("1").arg("NX").arg("PX").arg(millis(ttl).max(1));
        Box::pin(async move {
            match self.calls.ask_one(claim, within).await? {
                Value::Nil => Ok(false),
                Value::Okay => Ok(true),
                _ => Err(nonsense("SET answered neither OK nor nothing")),
            }
        })
    }

    fn sync<'a>(&'a self, within: Duration) -> StoreFuture<'a, SyncReply> {
        Box::pin(self.sync_now(within))
    }

    fn pushes(&self) -> Option<UnboundedReceiver<Push>> {
        self.pushes.lock().take()
    }

    fn drained(&self) {
        self.life.drained();
    }
}

/// `OK epoch head`, then offset and JSON of each event.
fn log_reply(answer: Value) -> Result<LogReadReply, StoreError> {
    let (epoch, head) = {
        let answer = Answer::new(&answer)?;
        match answer.word() {
            "RECOVER" => return Ok(LogReadReply::Recover),
            "OK" => (answer.text(0)?.to_owned(), answer.number(1)?),
            _ => return Err(nonsense("log_read answered an unknown word")),
        }
    };
    let Value::Array(parts) = answer else { return Err(nonsense("a script answered no array")) };
    let mut parts = parts.into_iter().skip(3);
    let mut events = Vec::new();
    while let Some(offset) = parts.next() {
        let offset = reply::text(&offset).and_then(|offset| reply::exact_text(offset.as_bytes()));
        let json = parts.next().and_then(reply::stored);
        events.push(offset.zip(json).ok_or_else(|| nonsense("log_read answered half an event"))?);
    }
    Ok(LogReadReply::Log { epoch, head, events })
}

/// `OK total changed`, those users, then name, number and bytes of each member.
fn presence_reply(answer: Value) -> Result<PresenceReply, StoreError> {
    let (total, changed) = {
        let answer = Answer::new(&answer)?;
        if answer.word() != "OK" {
            return Err(nonsense("presence answered an unknown word"));
        }
        (answer.number(0)?, answer.number(1)?)
    };
    let Value::Array(parts) = answer else { return Err(nonsense("a script answered no array")) };
    let mut parts = parts.into_iter().skip(3);
    let short = || nonsense("presence answered too little");
    let name = |value: Option<Value>| value.as_ref().and_then(reply::text).map(str::to_owned);
    let mut reply = PresenceReply { total, ..PresenceReply::default() };
    for _ in 0..changed {
        reply.changed.push(name(parts.next()).ok_or_else(short)?);
    }
    while let Some(user) = parts.next() {
        let user = name(Some(user)).ok_or_else(short)?;
        let conns = name(parts.next()).and_then(|conns| conns.parse().ok()).ok_or_else(short)?;
        let info = parts.next().and_then(reply::stored).ok_or_else(short)?;
        reply.members.push((user, conns, info));
    }
    Ok(reply)
}

fn flag(is: bool) -> &'static str {
    if is { "1" } else { "0" }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// For fuzzing: reads an answer as one of each script.
#[cfg(feature = "simulation")]
pub(super) fn fuzz(value: &Value) {
    let _ = (log_reply(value.clone()), presence_reply(value.clone()));
}
