//! Keys and strings.

use super::super::data::Value;
use super::super::reply::Reply;
use super::super::server::State;
use super::{Answer, integer, range, syntax, word, wrong_type};

fn read<'a>(state: &'a State, key: &[u8]) -> Result<Option<&'a [u8]>, Reply> {
    match state.data.get(key, state.now_ms()) {
        None => Ok(None),
        Some(Value::String(bytes)) => Ok(Some(bytes)),
        Some(_) => Err(wrong_type()),
    }
}

pub(super) fn get(state: &mut State, command: &[Vec<u8>]) -> Answer {
    Ok(Reply::maybe(read(state, &command[1])?.map(<[u8]>::to_vec)))
}

pub(super) fn mget(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let values =
        command[1..].iter().map(|key| Reply::maybe(read(state, key).ok().flatten().map(<[u8]>::to_vec)));
    Ok(Reply::Array(values.collect()))
}

pub(super) fn getrange(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (start, stop) = (integer(&command[2])?, integer(&command[3])?);
    let bytes = read(state, &command[1])?.unwrap_or_default();
    // An end before the first byte is the first byte, unless both count from the end and the start is behind it.
    let length = i64::try_from(bytes.len()).expect("a length fits");
    let stop = if start < 0 && start > stop { stop } else { stop.max(-length) };
    Ok(Reply::bulk(&bytes[range(start, stop, bytes.len())]))
}

pub(super) fn set(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (mut until, mut only_if, mut at) = (None, None, 3);
    while let Some(option) = command.get(at) {
        match word(option).as_str() {
            "PX" => {
                let ms = integer(command.get(at + 1).ok_or_else(syntax)?)?;
                let ms = u64::try_from(ms).ok().filter(|ms| *ms > 0);
                until = Some(
                    state.now_ms() + ms.ok_or_else(|| Reply::err("invalid expire time in 'set' command"))?,
                );
                at += 1;
            }
            "NX" => only_if = Some(false),
            "XX" => only_if = Some(true),
            _ => return Err(syntax()),
        }
        at += 1;
    }
    let there = state.data.get(&command[1], state.now_ms()).is_some();
    if only_if.is_some_and(|wanted| wanted != there) {
        return Ok(Reply::Null);
    }
    state.data.set(&command[1], Value::String(command[2].clone()), until);
    Ok(Reply::ok())
}

pub(super) fn incr(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let number = read(state, &command[1])?.map_or(Ok(0), integer)? + 1;
    let until = state.data.until(&command[1]);
    state.data.set(&command[1], Value::String(number.to_string().into_bytes()), until);
    Ok(Reply::Int(number))
}

pub(super) fn del(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let now = state.now_ms();
    Ok(Reply::count(command[1..].iter().filter(|key| state.data.remove(key, now)).count()))
}

pub(super) fn exists(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let now = state.now_ms();
    Ok(Reply::count(command[1..].iter().filter(|key| state.data.get(key, now).is_some()).count()))
}

pub(super) fn pexpire(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (ms, now) = (integer(&command[2])?, state.now_ms());
    let done = match u64::try_from(ms) {
        Ok(ms) if ms > 0 => state.data.expire(&command[1], now + ms, now),
        _ => state.data.remove(&command[1], now),
    };
    Ok(Reply::Int(i64::from(done)))
}

pub(super) fn pttl(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let now = state.now_ms();
    if state.data.get(&command[1], now).is_none() {
        return Ok(Reply::Int(-2));
    }
    let left = state.data.until(&command[1]).map(|until| i64::try_from(until - now).expect("it fits"));
    Ok(Reply::Int(left.unwrap_or(-1)))
}

pub(super) fn rename(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let now = state.now_ms();
    if state.data.rename(&command[1], &command[2], now) {
        Ok(Reply::ok())
    } else {
        Err(Reply::err("no such key"))
    }
}

pub(super) fn flushall(state: &mut State, _command: &[Vec<u8>]) -> Answer {
    state.data = Default::default();
    Ok(Reply::ok())
}

/// Everything in one page.
pub(super) fn scan(state: &mut State, _command: &[Vec<u8>]) -> Answer {
    let keys = state.data.keys(state.now_ms()).map(Reply::bulk).collect();
    Ok(Reply::Array(vec![Reply::bulk("0"), Reply::Array(keys)]))
}
