//! The commands, as far as larder uses them.

mod hash;
mod server;
mod stream;
mod string;
mod zset;

use super::reply::Reply;
use super::server::State;

pub(super) type Answer = Result<Reply, Reply>;

/// Whether a full server refuses a command (`denyoom`), and whether a replica does.
struct Kind {
    grows: bool,
    writes: bool,
}

const READS: Kind = Kind { grows: false, writes: false };
const WRITES: Kind = Kind { grows: false, writes: true };
const GROWS: Kind = Kind { grows: true, writes: true };

type Run = fn(&mut State, &[Vec<u8>]) -> Answer;

fn find(name: &str) -> Option<(Kind, usize, Run)> {
    let (kind, words, run): (Kind, usize, Run) = match name {
        "GET" => (READS, 2, string::get),
        "MGET" => (READS, 2, string::mget),
        "GETRANGE" => (READS, 4, string::getrange),
        "SET" => (GROWS, 3, string::set),
        "INCR" => (GROWS, 2, string::incr),
        "DEL" | "UNLINK" => (WRITES, 2, string::del),
        "EXISTS" => (READS, 2, string::exists),
        "PEXPIRE" => (WRITES, 3, string::pexpire),
        "PTTL" => (READS, 2, string::pttl),
        "RENAME" => (WRITES, 3, string::rename),
        "FLUSHALL" => (WRITES, 1, string::flushall),
        "SCAN" => (READS, 2, string::scan),
        "HGET" => (READS, 3, hash::hget),
        "HMGET" => (READS, 3, hash::hmget),
        "HKEYS" => (READS, 2, hash::hkeys),
        "HGETALL" => (READS, 2, hash::hgetall),
        "HLEN" => (READS, 2, hash::hlen),
        "HSCAN" => (READS, 3, hash::hscan),
        "HSET" => (GROWS, 4, hash::hset),
        "HDEL" => (WRITES, 3, hash::hdel),
        "ZADD" => (GROWS, 4, zset::zadd),
        "ZREM" => (WRITES, 3, zset::zrem),
        "ZSCORE" => (READS, 3, zset::zscore),
        "ZMSCORE" => (READS, 3, zset::zmscore),
        "ZCARD" => (READS, 2, zset::zcard),
        "ZCOUNT" => (READS, 4, zset::zcount),
        "ZRANGE" => (READS, 4, zset::zrange),
        "ZREMRANGEBYSCORE" => (WRITES, 4, zset::zremrangebyscore),
        "XADD" => (GROWS, 5, stream::xadd),
        "XRANGE" => (READS, 4, stream::xrange),
        "XREVRANGE" => (READS, 4, stream::xrevrange),
        "TIME" => (READS, 1, server::time),
        "INFO" => (READS, 1, server::info),
        "SPUBLISH" => (READS, 3, server::spublish),
        "PING" => (READS, 1, server::ping),
        _ => return None,
    };
    Some((kind, words, run))
}

/// Runs one command on the data. `in_script`: what the script was allowed has been checked.
pub(super) fn run(state: &mut State, command: &[Vec<u8>], in_script: bool) -> Reply {
    let name = String::from_utf8_lossy(&command[0]).to_ascii_uppercase();
    let Some((kind, words, run)) = find(&name) else {
        return Reply::err(&format!("unknown command '{name}', with args beginning with: "));
    };
    if command.len() < words {
        return Reply::err(&format!("wrong number of arguments for '{}' command", name.to_ascii_lowercase()));
    }
    if !in_script && let Some(refused) = state.refuses(kind.writes, kind.grows) {
        return refused;
    }
    run(state, command).unwrap_or_else(|error| error)
}

fn wrong_type() -> Reply {
    Reply::Error("WRONGTYPE Operation against a key holding the wrong kind of value".to_owned())
}

fn syntax() -> Reply {
    Reply::err("syntax error")
}

fn integer(text: &[u8]) -> Result<i64, Reply> {
    let bad = || Reply::err("value is not an integer or out of range");
    std::str::from_utf8(text).ok().and_then(|text| text.parse().ok()).ok_or_else(bad)
}

fn word(text: &[u8]) -> String {
    String::from_utf8_lossy(text).to_ascii_uppercase()
}

/// A range of indexes as Redis counts them: from the end where negative, both ends included.
fn range(start: i64, stop: i64, length: usize) -> std::ops::Range<usize> {
    let length = i64::try_from(length).expect("a length fits");
    let from = |index: i64| if index < 0 { length + index } else { index };
    let (start, stop) = (from(start).max(0), from(stop).min(length - 1));
    if start > stop {
        return 0..0;
    }
    usize::try_from(start).expect("not negative")..usize::try_from(stop + 1).expect("not negative")
}
