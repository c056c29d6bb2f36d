//! Whether the server can do, and lets this user do, what the scripts and the read path need: by trying it.
//!
//! `COMMAND INFO` would not do: it does not know access lists, and access lists often refuse it. Every command is tried
//! on a key of our namespace that nobody uses, in such a way that it leaves nothing behind.

use super::{error, keys::Keyspace, wire::Wire};
use crate::store::{StoreError, StoreErrorKind};
use redis::{Cmd, Value, cmd};
use std::time::Duration;

/// A command in a harmless form.
pub(super) type Harmless = (&'static str, Cmd);

fn on<'a>(key: &'a str, all: &'a mut Vec<Harmless>) -> impl FnMut(&'static str, &[&str]) + 'a {
    move |name, arguments| {
        let mut command = cmd(name);
        command.arg(key);
        for argument in arguments {
            command.arg(*argument);
        }
        all.push((name, command));
    }
}

/// The commands that are needed, by name, each in a harmless form.
pub(super) fn needed(keys: &Keyspace, token: &str) -> Vec<Harmless> {
    let key = keys.probe(token);
    let mut all = Vec::new();
    let mut need = on(&key, &mut all);
    // On a key that is not there, reads find nothing and these writes do nothing.
    need("GET", &[]);
    need("MGET", &[]);
    need("GETRANGE", &["0", "0"]);
    need("ZSCORE", &["m"]);
    need("ZMSCORE", &["m"]);
    need("ZRANGE", &["0", "0"]);
    need("ZCARD", &[]);
    need("ZADD", &["XX", "1", "m"]);
    need("ZREM", &["m"]);
    need("SET", &["v", "XX", "PX", "1000"]);
    need("HGET", &["f"]);
    need("HMGET", &["f"]);
    need("HKEYS", &[]);
    // There is no harmless HSET: what it makes expires, and is deleted.
    need("HSET", &["f", "v"]);
    need("PEXPIRE", &["1000"]);
    need("HDEL", &["f"]);
    need("DEL", &[]);
    need("SPUBLISH", &["probe"]);
    drop(need);
    all.push(("TIME", cmd("TIME")));
    all
}

/// The same for what the event logs need besides.
pub(super) fn needed_by_logs(keys: &Keyspace, token: &str) -> Vec<Harmless> {
    let key = keys.probe(token);
    let mut all = Vec::new();
    let mut need = on(&key, &mut all);
    need("XADD", &["NOMKSTREAM", "1-0", "f", "v"]);
    need("XRANGE", &["-", "+", "COUNT", "1"]);
    need("XREVRANGE", &["+", "-", "COUNT", "1"]);
    need("HGETALL", &[]);
    need("HLEN", &[]);
    need("HSCAN", &["0"]);
    // There is no harmless INCR: what it makes is deleted.
    need("INCR", &[]);
    need("DEL", &[]);
    drop(need);
    all
}

/// Tries all needed commands in one round trip.
///
/// # Errors
/// [`StoreErrorKind::Unsupported`] or [`StoreErrorKind::Denied`] with the names of the commands.
pub(super) async fn check_commands(
    wire: &Wire,
    keys: &Keyspace,
    token: &str,
    needed: fn(&Keyspace, &str) -> Vec<Harmless>,
    within: Duration,
) -> Result<(), StoreError> {
    let needed = needed(keys, token);
    let mut pipeline = redis::Pipeline::with_capacity(needed.len());
    for (_, command) in &needed {
        pipeline.add_command(command.clone());
    }
    let answers = wire.ask(&pipeline, within).await?;
    let (mut lacking, mut refused) = (Vec::new(), Vec::new());
    for ((name, _), answer) in needed.iter().zip(&answers) {
        let Some(error) = refusal(answer) else { continue };
        match error.kind {
            StoreErrorKind::Denied => refused.push(*name),
            StoreErrorKind::Unsupported | StoreErrorKind::Protocol => lacking.push(*name),
            _ => return Err(error),
        }
    }
    if !lacking.is_empty() {
        let names = lacking.join(", ");
        return Err(StoreError::new(StoreErrorKind::Unsupported, format!("the server lacks {names}")));
    }
    if !refused.is_empty() {
        let names = refused.join(", ").to_lowercase();
        return Err(StoreError::new(
            StoreErrorKind::Denied,
            format!("the access list refuses this user {names} (on {})", keys.pattern()),
        ));
    }
    Ok(())
}

/// Why an answer says that the command can't be used; `None` if it can. A full server refuses writes, but knows them.
pub(super) fn refusal(answer: &Value) -> Option<StoreError> {
    match answer {
        Value::ServerError(error) => {
            Some(error::from_server(error)).filter(|error| error.kind != StoreErrorKind::OutOfMemory)
        }
        _ => None,
    }
}
