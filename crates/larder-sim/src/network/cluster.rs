//! Several servers as a Redis Cluster: which of them has which part of the data.

use super::Network;
use super::connection::Connection;
use super::topology::{PORT, host};
use crate::redis::{Command, Data, Reply};

/// Slots of a Cluster.
const SLOTS: u16 = 16_384;

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

/// The keys or the channel of a command, and whether it is a channel.
fn keys_of(command: &Command) -> (&[Vec<u8>], bool) {
    let arguments = |from: usize, to: usize| command.get(from..to.min(command.len())).unwrap_or_default();
    match command[0].to_ascii_uppercase().as_slice() {
        b"EVALSHA" => {
            let count =
                command.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok());
            (arguments(3, 3 + count.unwrap_or(0)), false)
        }
        b"HELLO" | b"CLIENT" | b"CONFIG" | b"SELECT" | b"SCRIPT" | b"INFO" | b"PING" | b"TIME" | b"SCAN" => {
            (&[], false)
        }
        b"MGET" | b"DEL" | b"UNLINK" | b"EXISTS" => (arguments(1, command.len()), false),
        b"SSUBSCRIBE" | b"SPUBLISH" => (arguments(1, 2), true),
        _ => (arguments(1, 2), false),
    }
}

impl Network {
    /// Which server has the part of the data with this hash tag.
    pub fn owner(&self, tag: &str) -> usize {
        let inner = self.0.inner.lock();
        inner.slots.get(tag.as_bytes()).copied().unwrap_or(inner.primaries[0])
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
        let of_part = of_part(tag);
        let some_are_there = self.0.inner.lock().moving.get(tag.as_bytes()) == Some(&to);
        let (data, told) =
            self.at(from).with_server(|state| (state.data.split_off(&of_part), state.unsubscribe(&of_part)));
        self.at(to).with_server(|state| {
            if !with_data || !some_are_there {
                state.data.split_off(&of_part);
            }
            state.data.absorb(if with_data { data } else { Data::default() });
        });
        self.change(|inner| {
            inner.slots.insert(tag.as_bytes().to_vec(), to);
            inner.moving.remove(tag.as_bytes());
        });
        self.publish(told);
    }

    /// A part of the data begins to move to another server, key by key.
    pub fn begin_to_move(&self, tag: &str, to: usize) {
        if self.owner(tag) != to {
            self.at(to).with_server(|state| state.data.split_off(of_part(tag)));
            self.change(|inner| {
                inner.moving.insert(tag.as_bytes().to_vec(), to);
            });
        }
    }

    /// Parts that are on their way.
    pub fn moving(&self) -> Vec<String> {
        let inner = self.0.inner.lock();
        inner.moving.keys().map(|tag| String::from_utf8_lossy(tag).into_owned()).collect()
    }

    /// Some keys of a part that is on its way arrive.
    pub fn move_keys(&self, tag: &str, chosen: impl Fn(&[u8]) -> bool) {
        let to = self.0.inner.lock().moving.get(tag.as_bytes()).copied();
        let Some(to) = to else { return };
        let of_part = of_part(tag);
        let gone = self
            .at(self.owner(tag))
            .with_server(|state| state.data.split_off(|name| of_part(name) && chosen(name)));
        self.at(to).with_server(|state| state.data.absorb(gone));
    }

    /// A part that is on its way has arrived, with all that is left of it.
    pub fn end_move(&self, tag: &str) {
        let to = self.0.inner.lock().moving.get(tag.as_bytes()).copied();
        if let Some(to) = to {
            self.move_slot(tag, to, true);
        }
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
        let (keys, is_channel) = keys_of(command);
        let tag = tag_of(keys.first()?)?;
        let owner = *inner.slots.get(tag)?;
        let to = |word: &str, server: usize| {
            Some(Reply::Error(format!("{word} {} {}:{PORT}", slot_of(tag), host(server))))
        };
        if owner != connection.process.seat {
            return to("MOVED", owner);
        }
        // What has not arrived there is here, and what is not here has: one that needs both has to wait.
        let target = *inner.moving.get(tag).filter(|_| !is_channel)?;
        let state = connection.process.server.state.lock();
        let here = keys.iter().filter(|key| state.data.get(key, state.now_ms()).is_some()).count();
        match here {
            here if here == keys.len() => None,
            0 => to("ASK", target),
            _ => Some(Reply::Error("TRYAGAIN Multiple keys request during rehashing of slot".to_owned())),
        }
    }
}

/// Whether a key or channel belongs to a part of the data.
fn of_part(tag: &str) -> impl Fn(&[u8]) -> bool {
    let mark = format!("{{{tag}}}").into_bytes();
    move |name| name.windows(mark.len()).any(|part| part == mark)
}
