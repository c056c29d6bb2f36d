//! Sorted sets.

use super::super::data::Value;
use super::super::reply::{Reply, number_text};
use super::super::server::State;
use super::super::zset::ZSet;
use super::{Answer, integer, range, syntax, word, wrong_type};

fn read<'a>(state: &'a State, key: &[u8]) -> Result<Option<&'a ZSet>, Reply> {
    match state.data.get(key, state.now_ms()) {
        None => Ok(None),
        Some(Value::ZSet(members)) => Ok(Some(members)),
        Some(_) => Err(wrong_type()),
    }
}

fn number(text: &[u8]) -> Result<f64, Reply> {
    let number = std::str::from_utf8(text).ok().and_then(|text| text.parse::<f64>().ok());
    number.filter(|number| !number.is_nan()).ok_or_else(|| Reply::err("value is not a valid float"))
}

/// What `ZADD` may do.
#[derive(Default)]
struct Adding {
    only_new: bool,
    only_old: bool,
    greater: bool,
    lower: bool,
    count_changed: bool,
}

pub(super) fn zadd(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (mut how, mut at) = (Adding::default(), 2);
    while let Some(option) = command.get(at) {
        match word(option).as_str() {
            "NX" => how.only_new = true,
            "XX" => how.only_old = true,
            "GT" => how.greater = true,
            "LT" => how.lower = true,
            "CH" => how.count_changed = true,
            _ => break,
        }
        at += 1;
    }
    if command[at..].is_empty() || !(command.len() - at).is_multiple_of(2) {
        return Err(syntax());
    }
    let pairs = command[at..].chunks_exact(2).map(|pair| Ok((number(&pair[0])?, &pair[1])));
    let pairs: Vec<(f64, &Vec<u8>)> = pairs.collect::<Result<_, Reply>>()?;
    if read(state, &command[1])?.is_none() && how.only_old {
        return Ok(Reply::Int(0));
    }
    let now = state.now_ms();
    let Value::ZSet(members) = state.data.or_insert(&command[1], now, || Value::ZSet(ZSet::default())) else {
        return Err(wrong_type());
    };
    let (mut added, mut changed) = (0, 0);
    for (score, member) in pairs {
        match members.score(member) {
            None if !how.only_old => {
                members.set(member, score);
                added += 1;
            }
            Some(was) if !how.only_new && (!how.greater || score > was) && (!how.lower || score < was) => {
                changed += i64::from(score != was);
                members.set(member, score);
            }
            _ => {}
        }
    }
    Ok(Reply::Int(if how.count_changed { added + changed } else { added }))
}

pub(super) fn zrem(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let now = state.now_ms();
    let removed = match state.data.get_mut(&command[1], now) {
        None => 0,
        Some(Value::ZSet(members)) => command[2..].iter().filter(|member| members.remove(member)).count(),
        Some(_) => return Err(wrong_type()),
    };
    state.data.remove_if_empty(&command[1]);
    Ok(Reply::count(removed))
}

pub(super) fn zscore(state: &mut State, command: &[Vec<u8>]) -> Answer {
    Ok(Reply::score(read(state, &command[1])?.and_then(|members| members.score(&command[2]))))
}

pub(super) fn zmscore(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let members = read(state, &command[1])?;
    let scores =
        command[2..].iter().map(|member| Reply::score(members.and_then(|members| members.score(member))));
    Ok(Reply::Array(scores.collect()))
}

pub(super) fn zcard(state: &mut State, command: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(read(state, &command[1])?.map_or(0, ZSet::len)))
}

/// One end of a range of scores.
struct Bound {
    score: f64,
    excluded: bool,
}

fn bound(text: &[u8]) -> Result<Bound, Reply> {
    let (text, excluded) = text.strip_prefix(b"(").map_or((text, false), |rest| (rest, true));
    let score = number(text).map_err(|_| Reply::err("min or max is not a float"))?;
    Ok(Bound { score, excluded })
}

fn between<'a>(members: &'a ZSet, min: &Bound, max: &Bound) -> Vec<(&'a [u8], f64)> {
    members
        .from(min.score)
        .filter(|(_, score)| !min.excluded || *score > min.score)
        .take_while(|(_, score)| if max.excluded { *score < max.score } else { *score <= max.score })
        .collect()
}

pub(super) fn zcount(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (min, max) = (bound(&command[2])?, bound(&command[3])?);
    Ok(Reply::count(read(state, &command[1])?.map_or(0, |members| between(members, &min, &max).len())))
}

pub(super) fn zremrangebyscore(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (min, max) = (bound(&command[2])?, bound(&command[3])?);
    let dead = read(state, &command[1])?.map(|members| between(members, &min, &max));
    let dead: Vec<Vec<u8>> = dead.into_iter().flatten().map(|(member, _)| member.to_vec()).collect();
    let now = state.now_ms();
    if let Some(Value::ZSet(members)) = state.data.get_mut(&command[1], now) {
        for member in &dead {
            members.remove(member);
        }
    }
    state.data.remove_if_empty(&command[1]);
    Ok(Reply::count(dead.len()))
}

pub(super) fn zrange(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let (mut by_score, mut limit, mut with_scores, mut at) = (false, None, false, 4);
    while let Some(option) = command.get(at) {
        match word(option).as_str() {
            "BYSCORE" => by_score = true,
            "WITHSCORES" => with_scores = true,
            "LIMIT" => {
                let [offset, count] = command.get(at + 1..at + 3).ok_or_else(syntax)? else {
                    return Err(syntax());
                };
                limit = Some((integer(offset)?, integer(count)?));
                at += 2;
            }
            _ => return Err(syntax()),
        }
        at += 1;
    }
    if limit.is_some() && !by_score {
        return Err(Reply::err(
            "syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX",
        ));
    }
    let empty = ZSet::default();
    let members = read(state, &command[1])?.unwrap_or(&empty);
    let found = if by_score {
        let found = between(members, &bound(&command[2])?, &bound(&command[3])?);
        let (offset, count) = limit.unwrap_or((0, -1));
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        match usize::try_from(offset) {
            Ok(offset) => found.into_iter().skip(offset).take(count).collect(),
            Err(_) => Vec::new(),
        }
    } else {
        let all: Vec<_> = members.iter().collect();
        all[range(integer(&command[2])?, integer(&command[3])?, all.len())].to_vec()
    };
    let pairs = found.into_iter().map(|(member, score)| {
        let member = Reply::bulk(member);
        if with_scores { vec![member, Reply::bulk(number_text(score))] } else { vec![member] }
    });
    Ok(Reply::Array(pairs.flatten().collect()))
}
