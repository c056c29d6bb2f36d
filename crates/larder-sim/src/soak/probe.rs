//! What lies in Redis, read with a connection of its own: what a node would be served that has just come.

use super::judge::{Judge, now};
use super::rows::{Row, Rows};
use super::servers::Servers;
use crate::chance::Chance;
use larder::simulation::open;
use larder_testkit::redis::Connection;

/// Entries that are looked at, at a time.
const AT_A_TIME: u64 = 8;

/// An entry that anybody would be served.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// Under whose key it lies.
    pub(super) row: usize,
    /// The row whose value it is.
    pub(super) owner: usize,
    pub(super) version: u64,
    /// Whether as a fresh one, if its TTL has not ended.
    pub(super) fresh: bool,
    /// Before the servers were asked who has it.
    pub(super) began: u64,
    pub(super) ended: u64,
    /// Which server has it.
    pub(super) server: usize,
}

/// Looks at some entries. Nothing, where servers are away, or being replaced.
pub(super) fn look(servers: &dyn Servers, rows: &Rows, chance: &Chance, judge: &Judge) {
    let began = now();
    let Some((server, tag)) = servers.authority(chance) else { return };
    let Ok(mut redis) = servers.stores()[server].connect() else { return };
    let Some(label) = label(&mut redis) else { return };
    let (entries, state) = (format!("ld1:soak:{{{tag}}}:e:*"), format!("ld1:soak:{{{tag}}}:i"));
    let Ok(names) = redis.call(&["KEYS", &entries]) else { return };
    let names: Vec<&[u8]> = names.items().iter().filter_map(|name| name.bytes()).collect();
    let mut seen = Vec::new();
    for _ in 0..AT_A_TIME.min(names.len() as u64) {
        let name = names[chance.index(names.len())];
        let found = rows.0.iter().position(|row| name.ends_with(row.ending().as_bytes()));
        let Some(row) = found else {
            judge.broke(format!("F: nobody has stored {:?}", String::from_utf8_lossy(name)));
            continue;
        };
        if let Some((version, owner, fresh)) = accepted(&mut redis, &rows.0[row], name, &state, &label) {
            seen.push(Probe { row, owner, version, fresh, began, ended: now(), server });
        }
    }
    // It was the same server with the same history all the time, or this says nothing.
    if self::label(&mut redis).is_some_and(|after| after == label) {
        seen.into_iter().for_each(|probe| judge.probed(probe));
    }
}

/// Version and owner of what lies there, and whether it is fresh, if a reader would accept it: the value first, the stamps
/// after it.
fn accepted(
    redis: &mut Connection,
    row: &Row,
    name: &[u8],
    state: &str,
    label: &str,
) -> Option<(u64, usize, bool)> {
    let bytes = redis.call(&[b"GET", name]).ok()?;
    let lying = open(bytes.bytes()?.to_vec().into(), row.tenant, &row.key)?;
    let mut ask: Vec<&[u8]> = vec![b"ZMSCORE", state.as_bytes(), b"!e", b"!h", b"!f", label.as_bytes()];
    ask.extend(lying.scopes.iter().chain(&lying.soft).map(|scope| scope.as_slice()));
    let scores = redis.call(&ask).ok()?;
    let scores: Vec<Option<f64>> = scores.items().iter().map(|score| score.text().parse().ok()).collect();
    let ([epoch, head, floor, blessed], stamps) = scores.split_first_chunk()?;
    let (hard, soft) = stamps.split_at(lying.scopes.len());
    let ver = exact(lying.ver);
    let before = |stamps: &[Option<f64>]| stamps.iter().all(|stamp| stamp.is_none_or(|stamp| stamp <= ver));
    let valid = blessed.is_some()
        && head.is_some()
        && epoch.is_some_and(|epoch| -epoch == exact(lying.epoch))
        && floor.is_some_and(|floor| floor <= ver)
        && before(hard);
    let (version, owner) = value(&lying.payload?)?;
    valid.then(|| (version, owner, before(soft)))
}

/// The member by which a coherence state knows this server, if it is a primary.
fn label(redis: &mut Connection) -> Option<String> {
    let info = ["server", "replication"].map(|section| redis.call(&["INFO", section]).ok());
    let info = info.into_iter().map(|answer| Some(answer?.text())).collect::<Option<String>>()?;
    let field = |name: &str| info.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
    (field("role")? == "master").then_some(())?;
    Some(format!("!i{}{}", field("run_id")?.get(..16)?, field("master_replid")?.get(..16)?))
}

/// Stamps and epochs are below 2^53.
fn exact(number: u64) -> f64 {
    number.to_string().parse().expect("digits")
}

/// Version and owner, from `[7,3,"…"]`.
fn value(payload: &[u8]) -> Option<(u64, usize)> {
    let text = std::str::from_utf8(payload).ok()?;
    let mut numbers = text.strip_prefix('[')?.split(',');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
