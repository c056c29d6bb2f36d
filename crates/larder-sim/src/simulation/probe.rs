//! What Redis would serve to a node that has just come.

use super::universe::Row;
use crate::network::Network;
use crate::redis::{State, Value};
use larder::simulation::open;

/// The version that lies in Redis under a row's key, if anybody would be served it; and whether that would be as a fresh
/// value, if its TTL has not ended.
pub(super) fn valid(network: &Network, row: &Row) -> Option<(u64, bool)> {
    network.with_server(|server| {
        let ending = format!(":e:{}:{}:{}", row.tenant.len(), row.tenant, row.key.as_str());
        let now = server.now_ms();
        let name = server.data.keys(now).find(|name| name.ends_with(ending.as_bytes()))?.to_vec();
        let Some(Value::String(bytes)) = server.data.get(&name, now) else { return None };
        let lying = open(bytes.clone().into(), row.tenant, &row.key)?;
        let state = [&name[..name.len() - ending.len()], b":i"].concat();
        let label = format!("!i{}{}", &server.identity.run_id[..16], &server.identity.replid[..16]);
        let score = |member: &[u8]| score(server, &state, now, member);
        score(label.as_bytes())?;
        let ver = exact(lying.ver);
        let alive = -score(b"!e")? == exact(lying.epoch)
            && score(b"!h").is_some()
            && ver >= score(b"!f")?
            && lying.scopes.iter().all(|scope| score(scope).is_none_or(|stamp| stamp <= ver));
        let fresh = lying.soft.iter().all(|scope| score(scope).is_none_or(|stamp| stamp <= ver));
        alive.then(|| Some((version(&lying.payload?)?, fresh))).flatten()
    })
}

fn score(server: &State, state: &[u8], now: u64, member: &[u8]) -> Option<f64> {
    match server.data.get(state, now) {
        Some(Value::ZSet(members)) => members.score(member),
        _ => None,
    }
}

/// Stamps and epochs are below 2^53.
fn exact(number: u64) -> f64 {
    number.to_string().parse().expect("digits")
}

/// From `[7,"…"]`.
fn version(payload: &[u8]) -> Option<u64> {
    let digits = payload[1..].split(|byte| *byte == b',').next()?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}
