//! Streams, whose entries are named by their publisher: `5-0`.

use super::super::data::{Stream, Value};
use super::super::reply::Reply;
use super::super::server::State;
use super::{Answer, integer, syntax, word, wrong_type};

type Id = (u64, u64);

fn bad_id() -> Reply {
    Reply::err("Invalid stream ID specified as stream command argument")
}

/// `5-0`, or `5`: then `sequence` is the second part.
fn id(text: &[u8], sequence: u64) -> Result<Id, Reply> {
    let text = std::str::from_utf8(text).map_err(|_| bad_id())?;
    let (first, second) = text.split_once('-').map_or((text, None), |(first, second)| (first, Some(second)));
    let number = |text: &str| text.parse().map_err(|_| bad_id());
    Ok((number(first)?, second.map_or(Ok(sequence), number)?))
}

/// An end of a range; `low`: of its beginning.
fn end(text: &[u8], low: bool) -> Result<Id, Reply> {
    match text {
        b"-" => Ok((0, 0)),
        b"+" => Ok((u64::MAX, u64::MAX)),
        text => id(text, if low { 0 } else { u64::MAX }),
    }
}

/// `XADD key [NOMKSTREAM] [MAXLEN [=|~] n] id name value …`; `~` trims as much as `=`.
pub(super) fn xadd(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (mut at, mut makes, mut most) = (2, true, None);
    let part = |at: usize| command.get(at).ok_or_else(syntax);
    loop {
        match word(part(at)?).as_str() {
            "NOMKSTREAM" => makes = false,
            "MAXLEN" => {
                at += usize::from(matches!(part(at + 1)?.as_slice(), b"=" | b"~"));
                most = Some(usize::try_from(integer(part(at + 1)?)?).map_err(|_| syntax())?);
                at += 1;
            }
            _ => break,
        }
        at += 1;
    }
    let (id, fields) = (id(part(at)?, 0)?, &command[at + 1..]);
    if fields.is_empty() || !fields.len().is_multiple_of(2) {
        return Err(Reply::err("wrong number of arguments for 'xadd' command"));
    }
    if id == (0, 0) {
        return Err(Reply::err("The ID specified in XADD must be greater than 0-0"));
    }
    let now = state.now_ms();
    if !makes && state.data.get(&command[1], now).is_none() {
        return Ok(Reply::Null);
    }
    let Value::Stream(stream) = state.data.or_insert(&command[1], now, || Value::Stream(Stream::default()))
    else {
        return Err(wrong_type());
    };
    if id <= stream.last {
        let words = "The ID specified in XADD is equal or smaller than the target stream top item";
        return Err(Reply::err(words));
    }
    stream.last = id;
    stream.entries.insert(id, fields.to_vec());
    while most.is_some_and(|most| stream.entries.len() > most) {
        stream.entries.pop_first();
    }
    Ok(Reply::bulk(named(id)))
}

fn named((first, second): Id) -> String {
    format!("{first}-{second}")
}

pub(super) fn xrange(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (low, high) = (end(&command[2], true)?, end(&command[3], false)?);
    some(state, command, low, high, false)
}

pub(super) fn xrevrange(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (high, low) = (end(&command[2], false)?, end(&command[3], true)?);
    some(state, command, low, high, true)
}

fn some(state: &State, command: &[Vec<u8>], low: Id, high: Id, back: bool) -> Answer {
    let most = match command.get(4).map(|option| word(option)) {
        None => usize::MAX,
        Some(option) if option == "COUNT" => {
            // What is less than nothing is nothing.
            usize::try_from(integer(command.get(5).ok_or_else(syntax)?)?).unwrap_or(0)
        }
        Some(_) => return Err(syntax()),
    };
    let stream = match state.data.get(&command[1], state.now_ms()) {
        None => return Ok(Reply::Array(Vec::new())),
        Some(Value::Stream(stream)) => stream,
        Some(_) => return Err(wrong_type()),
    };
    if most == 0 {
        return Ok(Reply::Null);
    }
    if low > high {
        return Ok(Reply::Array(Vec::new()));
    }
    let entry = |(id, fields): (&Id, &Vec<Vec<u8>>)| {
        let fields = fields.iter().map(|field| Reply::bulk(field.clone())).collect();
        Reply::Array(vec![Reply::bulk(named(*id)), Reply::Array(fields)])
    };
    let entries = stream.entries.range(low..=high);
    let found: Vec<_> = if back {
        entries.rev().take(most).map(entry).collect()
    } else {
        entries.take(most).map(entry).collect()
    };
    Ok(Reply::Array(found))
}
