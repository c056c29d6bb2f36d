//! Reading entries: the head, the values, then the stamps, in one write.

use super::{
    link::{RedisLink, with_scopes},
    reply::{self, nonsense},
    scripts::Script,
    wire::{Wire, command},
};
use crate::{
    scope::ScopeHash,
    store::{EntryName, ReadReply, StateReply, StoreError, Tags},
};
use bytes::Bytes;
use redis::{Cmd, Pipeline, Value, cmd};
use std::{iter, time::Duration};

impl RedisLink {
    pub(super) async fn read_all(
        &self,
        entries: &[EntryName<'_>],
        scopes: &[ScopeHash],
        wanted: Tags,
        within: Duration,
    ) -> Result<ReadReply, StoreError> {
        let mut commands = Pipeline::with_capacity(3);
        commands.add_command(command(&["ZSCORE", self.keys.state(), "!h"]));
        let names: Vec<String> = entries.iter().map(|entry| self.keys.entry(*entry)).collect();
        if !names.is_empty() {
            let mut get = cmd(if names.len() == 1 { "GET" } else { "MGET" });
            get.arg(&names);
            commands.add_command(get);
        }
        commands.add_command(self.stamps_call(&names, scopes, wanted));

        let wire = self.wire();
        let mut answers = wire.ask(&commands, within).await?;
        let stamps = answers.pop().ok_or_else(|| nonsense("answers are missing"))?;
        let values = answers.drain(1..).next();
        let head = answers.pop().ok_or_else(|| nonsense("answers are missing"))?;
        let values = match values {
            None => Vec::new(),
            // No bytes are the bytes of no entry: a key of another type is counted as corrupt. MGET calls it absent.
            Some(Value::ServerError(error)) if entries.len() == 1 && error.code() == "WRONGTYPE" => {
                vec![Some(Bytes::new())]
            }
            Some(value) if entries.len() == 1 => vec![reply::stored(wire.accept(value)?)],
            Some(values) => match wire.accept(values)? {
                Value::Array(values) if values.len() == entries.len() => {
                    values.into_iter().map(reply::stored).collect()
                }
                _ => return Err(nonsense("MGET answered no array of that length")),
            },
        };
        let head_before = reply::stamp(&or_absent(wire, head)?)?;
        let (state, stamps, tags) = stamps_reply(or_absent(wire, stamps)?, scopes.len(), wanted)?;
        Ok(ReadReply { head_before, values, state, stamps, tags })
    }

    /// The last command of a read.
    fn stamps_call(&self, names: &[String], scopes: &[ScopeHash], wanted: Tags) -> Cmd {
        let label = &self.generation.identity.label;
        if wanted == Tags::Named {
            let blessed = format!("!i{label}");
            let call = command(&["ZMSCORE", self.keys.state(), "!e", "!h", "!f", &blessed]);
            return with_scopes(call, scopes);
        }
        let keys: Vec<&str> = iter::once(self.keys.state()).chain(names.iter().map(String::as_str)).collect();
        let mut call = self.generation.scripts.call(Script::Stamps, &keys);
        call.arg(label);
        with_scopes(call, scopes)
    }
}

/// A value of another type under our key is as good as none; the engine then loads and overwrites it.
fn or_absent(wire: &Wire, answer: Value) -> Result<Value, StoreError> {
    match answer {
        Value::ServerError(error) if error.code() == "WRONGTYPE" => Ok(Value::Nil),
        answer => wire.accept(answer),
    }
}

/// From the scores of `!e`, `!h`, `!f` and `!i<label>`: nothing unless all are there.
fn state(scores: &[Value]) -> Result<Option<StateReply>, StoreError> {
    // The epoch's number is kept negated.
    let epoch = reply::score(&scores[0])?.map(|epoch| reply::exact(-epoch));
    let (head, floor) = (reply::stamp(&scores[1])?, reply::stamp(&scores[2])?);
    match (epoch, head, floor, &scores[3]) {
        (Some(None), ..) => Err(nonsense("the epoch is no exact integer")),
        (_, _, _, Value::Nil) => Ok(None),
        (Some(Some(epoch)), Some(head), Some(floor), _) => Ok(Some(StateReply { epoch, head, floor })),
        _ => Ok(None),
    }
}

/// What the last command of a read says: the state, the stamps of so many scopes, those of tags.
type Stamps = (Option<StateReply>, Vec<Option<u64>>, Vec<(ScopeHash, Option<u64>)>);

fn stamps_reply(answer: Value, scopes: usize, wanted: Tags) -> Result<Stamps, StoreError> {
    let wrong = || nonsense("a read of stamps answered no array of that length");
    let (all, tags) = match answer {
        Value::Nil => return Ok((None, vec![None; scopes], Vec::new())),
        Value::Array(parts) if wanted == Tags::Carried => match <[Value; 2]>::try_from(parts) {
            Ok([Value::Array(all), Value::Array(tags)]) => (all, tags),
            _ => return Err(wrong()),
        },
        Value::Array(all) => (all, Vec::new()),
        _ => return Err(wrong()),
    };
    if all.len() != 4 + scopes + 2 * tags.len() {
        return Err(wrong());
    }
    let (of_scopes, of_tags) = all[4..].split_at(scopes);
    let mut others = Vec::with_capacity(2 * tags.len());
    for (tag, stamps) in tags.into_iter().zip(of_tags.chunks_exact(2)) {
        // What is no tag is none of an entry of ours either.
        let Some(tag) = reply::stored(tag).and_then(|tag| ScopeHash::from_bytes(&tag)) else { continue };
        others.push((tag, reply::stamp(&stamps[0])?));
        others.push((tag.soft(), reply::stamp(&stamps[1])?));
    }
    Ok((state(&all)?, of_scopes.iter().map(reply::stamp).collect::<Result<_, _>>()?, others))
}

/// For fuzzing: reads an answer as that of a read, with and without tags.
#[cfg(feature = "simulation")]
pub(super) fn fuzz(value: &Value) {
    for scopes in 0..4 {
        let _ = stamps_reply(value.clone(), scopes, Tags::Named);
        let _ = stamps_reply(value.clone(), scopes, Tags::Carried);
    }
}
