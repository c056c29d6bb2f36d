//! Several servers as a Redis Cluster: which of them has which part of the data.

use super::Network;
use super::connection::Connection;
use crate::redis::{Command, Data, Reply};

/// Slots of a Cluster.
const SLOTS: u16 = 16_384;

/// Names a server.
pub fn host(server: usize) -> String {
    format!("s{server}")
}

/// Which server a host is.
pub(super) fn server_of(host: &str) -> usize {
    host.strip_prefix('s').and_then(|number| number.parse().ok()).unwrap_or(0)
}

/// The port of every server.
const PORT: i64 = 6379;

/// The hash tag of a key.
fn tag_of(key: &[u8]) -> Option<&[u8]> {
    let rest = &key[key.iter().position(|byte| *byte == b'{')? + 1..];
    Some(&rest[..rest.iter().position(|byte| *byte == b'}')?])
}

/// CRC16/XMODEM, by which a tag has its slot.
fn slot_of(tag: &[u8]) -> u16 {
    let crc =
        tag.iter().fold(0_u16, |crc, byte| {
            (0..8).fold(crc ^ u16::from(*byte) << 8, |crc, _| {
                if crc & 0x8000 == 0 { crc << 1 } else { crc << 1 ^ 0x1021 }
            })
        });
    crc % SLOTS
}

/// The first key or channel of a command.
fn key_of(command: &Command) -> Option<&[u8]> {
    let place = match command[0].to_ascii_uppercase().as_slice() {
        b"EVALSHA" => 3,
        b"HELLO" | b"CLIENT" | b"CONFIG" | b"SELECT" | b"SCRIPT" | b"INFO" | b"PING" | b"TIME" | b"SCAN" => {
            return None;
        }
        _ => 1,
    };
    command.get(place).map(Vec::as_slice)
}

impl Network {
    /// Which server has the part of the data with this hash tag.
    pub fn owner(&self, tag: &str) -> usize {
        self.0.inner.lock().slots.get(tag.as_bytes()).copied().unwrap_or(0)
    }

    /// The parts of the data, if it is divided.
    pub fn tags(&self) -> Vec<String> {
        let inner = self.0.inner.lock();
        inner.slots.keys().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect()
    }

    /// Divides the data: each tag belongs to a server.
    pub fn divide(&self, tags: impl IntoIterator<Item = (&'static str, usize)>) {
        let tags = tags.into_iter().map(|(tag, server)| (tag.as_bytes().to_vec(), server));
        self.change(|inner| inner.slots = tags.collect());
        for server in 0..self.servers() {
            self.at(server).with_server(|state| state.cluster = true);
        }
    }

    /// A part of the data moves to another server, or only its slot does and what it held is lost.
    pub fn move_slot(&self, tag: &str, to: usize, with_data: bool) {
        let from = self.owner(tag);
        if from == to {
            return;
        }
        let mark = format!("{{{tag}}}");
        let of_part = |name: &[u8]| name.windows(mark.len()).any(|part| part == mark.as_bytes());
        let (data, told) =
            self.at(from).with_server(|state| (state.data.split_off(of_part), state.unsubscribe(of_part)));
        self.at(to).with_server(|state| {
            state.data.split_off(of_part);
            state.data.absorb(if with_data { data } else { Data::default() });
        });
        self.change(|inner| {
            inner.slots.insert(tag.as_bytes().to_vec(), to);
        });
        self.publish(told);
    }

    /// What a server of a Cluster answers before it looks at the data.
    pub(super) fn redirects(&self, connection: &Connection, command: &Command) -> Option<Reply> {
        let inner = self.0.inner.lock();
        if inner.slots.is_empty() {
            return None;
        }
        if command[0].eq_ignore_ascii_case(b"CLUSTER") {
            let range = |(tag, server): (&Vec<u8>, &usize)| {
                let slot = Reply::Int(i64::from(slot_of(tag)));
                let node = vec![Reply::bulk(host(*server)), Reply::Int(PORT), Reply::bulk("id")];
                Reply::Array(vec![slot.clone(), slot, Reply::Array(node)])
            };
            return Some(Reply::Array(inner.slots.iter().map(range).collect()));
        }
        let tag = tag_of(key_of(command)?)?;
        let owner = *inner.slots.get(tag)?;
        if owner == connection.process.seat {
            return None;
        }
        Some(Reply::Error(format!("MOVED {} {}:{PORT}", slot_of(tag), host(owner))))
    }
}
