//! Who is in a room: the connections of this node, and, where there is Redis, of all nodes.

use super::EventLog;
use super::logs::{Destination, Logs};
use crate::error::{Error, ErrorKind};
use crate::limits::{
    MAX_EVENT_ID_BYTES, MAX_MEMBER_INFO_BYTES, MAX_MEMBERS, MAX_ROOM_BYTES, MAX_ROOM_CONNECTIONS,
    MAX_SENDER_BYTES,
};
use crate::store::log::{PresenceReply, PresenceRequest, Present, Room};
use bytes::Bytes;
use parking_lot::Mutex;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::RwLock;

/// Somebody in a room.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Member {
    /// The user.
    pub user: String,
    /// Connections of the user in this room.
    pub conns: u64,
    /// What the user tells of itself, as given to [`EventLog::join`]; the last that was told.
    pub info: Bytes,
}

/// Who is in a room, from [`EventLog::members`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Members {
    /// Some of them, or all.
    pub members: Vec<Member>,
    /// How many users there are.
    pub total: u64,
    /// Whether there are more than are named.
    pub truncated: bool,
}

/// What a coming or going has changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Presence {
    /// Whether it is a change for others: the user's first connection in the room has come, or the last has gone.
    pub changed: bool,
    /// How many users there are.
    pub total: u64,
}

/// The connections of this node, by tenant and room.
#[derive(Default)]
pub(crate) struct Register {
    tenants: Mutex<HashMap<Arc<str>, Rooms>>,
    /// Held while Redis is told who is still here, so that nobody leaves in between and is brought back by it; shared by
    /// those who come and go.
    telling: RwLock<()>,
}

#[derive(Default)]
struct Rooms {
    bucket: usize,
    rooms: HashMap<Arc<str>, Here>,
}

/// A room, as far as this node's connections are in it.
#[derive(Default)]
struct Here {
    conns: HashMap<Box<str>, Box<str>>,
    /// By user: how many connections, and what the user tells.
    users: BTreeMap<Box<str>, (u64, Bytes)>,
}

impl Here {
    /// Whether the user was not there before. `None`: there is no room.
    fn enter(&mut self, conn: &str, user: &str, info: &Bytes) -> Option<bool> {
        if self.conns.get(conn).is_some_and(|there| &**there != user) {
            self.leave(conn);
        }
        let is_new = !self.conns.contains_key(conn);
        if is_new && self.conns.len() >= MAX_ROOM_CONNECTIONS {
            return None;
        }
        let there = self.users.entry(user.into()).or_default();
        there.0 += u64::from(is_new);
        there.1.clone_from(info);
        let first = is_new && there.0 == 1;
        if is_new {
            self.conns.insert(conn.into(), user.into());
        }
        Some(first)
    }

    /// The user, if that was the last connection.
    fn leave(&mut self, conn: &str) -> Option<Box<str>> {
        let user = self.conns.remove(conn)?;
        let there = self.users.get_mut(&user)?;
        there.0 -= 1;
        if there.0 > 0 {
            return None;
        }
        self.users.remove(&user);
        Some(user)
    }
}

impl Register {
    fn enter(&self, to: &Destination, room: &str, conn: &str, user: &str, info: &Bytes) -> Option<Presence> {
        let mut tenants = self.tenants.lock();
        let rooms = tenants.entry(Arc::clone(&to.tenant)).or_default();
        rooms.bucket = to.bucket;
        let here = rooms.rooms.entry(room.into()).or_default();
        let changed = here.enter(conn, user, info)?;
        Some(Presence { changed, total: here.users.len() as u64 })
    }

    fn leave(&self, tenant: &str, room: &str, conn: &str) -> Presence {
        let mut tenants = self.tenants.lock();
        let none = Presence { changed: false, total: 0 };
        let Some(rooms) = tenants.get_mut(tenant) else { return none };
        let Some(here) = rooms.rooms.get_mut(room) else { return none };
        let changed = here.leave(conn).is_some();
        let total = here.users.len() as u64;
        if here.conns.is_empty() {
            rooms.rooms.remove(room);
            if rooms.rooms.is_empty() {
                tenants.remove(tenant);
            }
        }
        Presence { changed, total }
    }

    fn members(&self, tenant: &str, room: &str, limit: usize) -> Members {
        let tenants = self.tenants.lock();
        let Some(here) = tenants.get(tenant).and_then(|rooms| rooms.rooms.get(room)) else {
            return Members::default();
        };
        let total = here.users.len();
        let members = here.users.iter().take(limit).map(|(user, (conns, info))| Member {
            user: user.to_string(),
            conns: *conns,
            info: info.clone(),
        });
        let members = members.collect();
        Members { members, total: total as u64, truncated: total > limit }
    }

    /// The rooms of a bucket in which this node has connections.
    fn rooms(&self, bucket: usize) -> Vec<(Arc<str>, Arc<str>)> {
        let tenants = self.tenants.lock();
        let of_bucket = tenants.iter().filter(|(_, rooms)| rooms.bucket == bucket);
        let names = of_bucket.flat_map(|(tenant, rooms)| {
            rooms.rooms.keys().map(|room| (Arc::clone(tenant), Arc::clone(room)))
        });
        names.collect()
    }

    /// This node's connections in a room: connection, user, what the user tells.
    fn of(&self, tenant: &str, room: &str) -> Vec<(Box<str>, Box<str>, Bytes)> {
        let tenants = self.tenants.lock();
        let Some(here) = tenants.get(tenant).and_then(|rooms| rooms.rooms.get(room)) else {
            return Vec::new();
        };
        let info = |user: &str| here.users.get(user).map(|(_, info)| info.clone()).unwrap_or_default();
        here.conns.iter().map(|(conn, user)| (conn.clone(), user.clone(), info(user))).collect()
    }
}

/// Connections that are refreshed in one step.
const REFRESHED_AT_ONCE: usize = 200;

/// Tells Redis that this node's connections are still there.
pub(crate) async fn refresh(logs: &Logs, bucket: usize) {
    let Some(bus) = &logs.bus else { return };
    for (tenant, room) in logs.present.rooms(bucket) {
        let Some(link) = bus.link(bucket) else { return };
        let _nobody_leaves = logs.present.telling.write().await;
        let here = logs.present.of(&tenant, &room);
        for some in here.chunks(REFRESHED_AT_ONCE) {
            let some: Vec<Present<'_>> =
                some.iter().map(|(conn, user, info)| Present { conn, user, info }).collect();
            let room = Room { tenant: &tenant, room: &room };
            if link.presence(room, PresenceRequest::Here(&some), super::bus::ATTEMPT).await.is_err() {
                return;
            }
        }
    }
}

/// How often.
pub(crate) const REFRESH_EVERY: Duration = Duration::from_secs(25);

impl EventLog {
    /// A connection enters a room, and is counted there until it [leaves](EventLog::leave) or this node has been gone for
    /// [`PRESENCE_TTL`](crate::limits::PRESENCE_TTL). `conn` is unique among all nodes. Entering again changes `info`, which
    /// has 1 KiB at most. A room takes 20,000 connections.
    ///
    /// # Errors
    /// `InvalidRequest` if something is too long, or the room full; `InvalidTenant`, `Closed`. While Redis is out of reach,
    /// what is told is of this node's connections.
    ///
    /// # Cancel safety
    /// If it is dropped, the connection may or may not have entered: let it leave.
    pub async fn join(
        &self,
        tenant: &str,
        room: &str,
        conn: &str,
        user: &str,
        info: Bytes,
    ) -> Result<Presence, Error> {
        let to = self.destination(tenant)?;
        check("room", room.len(), MAX_ROOM_BYTES)?;
        check("connection's name", conn.len(), MAX_EVENT_ID_BYTES)?;
        check("user's name", user.len(), MAX_SENDER_BYTES)?;
        check("info", info.len(), MAX_MEMBER_INFO_BYTES)?;
        let _together = self.logs.present.telling.read().await;
        let full = || Error::new(ErrorKind::InvalidRequest, "the room has 20,000 connections already");
        let here = self.logs.present.enter(&to, room, conn, user, &info).ok_or_else(full)?;
        let one = [Present { conn, user, info: &info }];
        let reply = self.ask_presence(&to, room, PresenceRequest::Here(&one)).await?;
        Ok(reply.map_or(here, |reply| Presence { changed: !reply.changed.is_empty(), total: reply.total }))
    }

    /// A connection leaves a room. One that is not in it may.
    ///
    /// # Errors
    /// As [`EventLog::join`].
    ///
    /// # Cancel safety
    /// If it is dropped, others may count the connection for a minute more.
    pub async fn leave(&self, tenant: &str, room: &str, conn: &str) -> Result<Presence, Error> {
        let to = self.destination(tenant)?;
        let _together = self.logs.present.telling.read().await;
        let here = self.logs.present.leave(tenant, room, conn);
        let reply = self.ask_presence(&to, room, PresenceRequest::Gone(&[conn])).await?;
        Ok(reply.map_or(here, |reply| Presence { changed: !reply.changed.is_empty(), total: reply.total }))
    }

    /// Who is in a room: `limit` of them at most, and never more than 1,000.
    ///
    /// # Errors
    /// As [`EventLog::join`].
    ///
    /// # Cancel safety
    /// Nothing happens if it is dropped.
    pub async fn members(&self, tenant: &str, room: &str, limit: usize) -> Result<Members, Error> {
        let to = self.destination(tenant)?;
        let limit = limit.min(MAX_MEMBERS);
        let Some(reply) = self.ask_presence(&to, room, PresenceRequest::Who(limit)).await? else {
            return Ok(self.logs.present.members(tenant, room, limit));
        };
        let mut members: Vec<Member> =
            reply.members.into_iter().map(|(user, conns, info)| Member { user, conns, info }).collect();
        members.sort_unstable_by(|one, other| one.user.cmp(&other.user));
        Ok(Members { truncated: reply.total > members.len() as u64, members, total: reply.total })
    }

    /// `None`: Redis is not configured or not in reach.
    async fn ask_presence(
        &self,
        to: &Destination,
        room: &str,
        what: PresenceRequest<'_>,
    ) -> Result<Option<PresenceReply>, Error> {
        let Some(bus) = &self.logs.bus else { return Ok(None) };
        bus.start(&self.logs)?;
        let Some(link) = bus.linked_soon(to.bucket).await else { return Ok(None) };
        let room = Room { tenant: &to.tenant, room };
        let reply = link.presence(room, what, super::bus::ATTEMPT).await;
        bus.note(to.bucket, &link, &reply, &mut 0);
        Ok(reply.ok())
    }
}

fn check(name: &str, bytes: usize, most: usize) -> Result<(), Error> {
    if bytes <= most {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidRequest, format!("the {name} has {bytes} bytes: at most {most}")))
}
