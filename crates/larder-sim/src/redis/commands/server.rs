//! The server itself, and its channels.

use super::super::reply::Reply;
use super::super::server::State;
use super::Answer;

pub(super) fn time(state: &mut State, _command: &[Vec<u8>]) -> Answer {
    let now = state.now_us();
    let parts = [now / 1_000_000, now % 1_000_000];
    Ok(Reply::Array(parts.iter().map(|part| Reply::bulk(part.to_string())).collect()))
}

pub(super) fn info(state: &mut State, command: &[Vec<u8>]) -> Answer {
    let section = command.get(1).map(|name| String::from_utf8_lossy(name).to_ascii_lowercase());
    let who = &state.identity;
    let wanted = |name: &str| section.as_deref().is_none_or(|section| section == name);
    let mut text = String::new();
    if wanted("server") {
        text += &format!(
            "# Server\r\nredis_version:7.0.15\r\nredis_mode:{}\r\nrun_id:{}\r\ntcp_port:6379\r\n",
            if state.cluster { "cluster" } else { "standalone" },
            who.run_id
        );
    }
    if wanted("memory") {
        text += "# Memory\r\nmaxmemory_policy:noeviction\r\n";
    }
    if wanted("replication") {
        text += &format!(
            "# Replication\r\nrole:{}\r\nconnected_slaves:0\r\nmaster_replid:{}\r\nmaster_replid2:{}\r\n",
            if state.replica { "slave" } else { "master" },
            who.replid,
            who.replid2
        );
    }
    Ok(Reply::Text(text))
}

pub(super) fn spublish(state: &mut State, command: &[Vec<u8>]) -> Answer {
    Ok(Reply::count(state.publish(&command[1], &command[2])))
}

pub(super) fn ping(_state: &mut State, command: &[Vec<u8>]) -> Answer {
    Ok(command.get(1).map_or_else(|| Reply::Status("PONG".to_owned()), |text| Reply::bulk(text.clone())))
}
