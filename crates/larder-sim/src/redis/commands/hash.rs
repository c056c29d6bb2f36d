//! Hashes.

use super::super::data::Value;
use super::super::reply::Reply;
use super::super::server::State;
use super::{Answer, wrong_type};
use std::collections::BTreeMap;

type Fields = BTreeMap<Vec<u8>, Vec<u8>>;

fn read<'a>(state: &'a State, key: &[u8]) -> Result<Option<&'a Fields>, Reply> {
    match state.data.get(key, state.now_ms()) {
        None => Ok(None),
        Some(Value::Hash(fields)) => Ok(Some(fields)),
        Some(_) => Err(wrong_type()),
    }
}

pub(super) fn hget(state: &mut State, command: &[Vec<u8>]) -> Answer {
    Ok(Reply::maybe(read(state, &command[1])?.and_then(|fields| fields.get(&command[2]).cloned())))
}

pub(super) fn hmget(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let fields = read(state, &command[1])?;
    let values =
        command[2..].iter().map(|name| Reply::maybe(fields.and_then(|fields| fields.get(name).cloned())));
    Ok(Reply::Array(values.collect()))
}

pub(super) fn hkeys(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let fields = read(state, &command[1])?;
    Ok(Reply::Array(fields.into_iter().flatten().map(|(name, _)| Reply::bulk(name.clone())).collect()))
}

pub(super) fn hgetall(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let fields = read(state, &command[1])?.into_iter().flatten();
    Ok(Reply::Map(
        fields.map(|(name, value)| (Reply::bulk(name.clone()), Reply::bulk(value.clone()))).collect(),
    ))
}

pub(super) fn hlen(state: &mut State, command: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(read(state, &command[1])?.map_or(0, Fields::len)))
}

/// Everything in one page.
pub(super) fn hscan(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let fields = read(state, &command[1])?.into_iter().flatten();
    let fields = fields.flat_map(|(name, value)| [Reply::bulk(name.clone()), Reply::bulk(value.clone())]);
    Ok(Reply::Array(vec![Reply::bulk("0"), Reply::Array(fields.collect())]))
}

pub(super) fn hset(state: &mut State, command: &[Vec<u8>]) -> Answer {
    if !command.len().is_multiple_of(2) {
        return Err(Reply::err("wrong number of arguments for 'hset' command"));
    }
    let now = state.now_ms();
    let Value::Hash(fields) = state.data.or_insert(&command[1], now, || Value::Hash(Fields::new())) else {
        return Err(wrong_type());
    };
    let pairs = command[2..].chunks_exact(2);
    Ok(Reply::count(pairs.filter(|pair| fields.insert(pair[0].clone(), pair[1].clone()).is_none()).count()))
}

pub(super) fn hdel(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let now = state.now_ms();
    let removed = match state.data.get_mut(&command[1], now) {
        None => 0,
        Some(Value::Hash(fields)) => {
            command[2..].iter().filter(|name| fields.remove(*name).is_some()).count()
        }
        Some(_) => return Err(wrong_type()),
    };
    state.data.remove_if_empty(&command[1]);
    Ok(Reply::count(removed))
}
