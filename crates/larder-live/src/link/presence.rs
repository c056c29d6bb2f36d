//! Being in a room for others to see, and seeing them.

use std::sync::Arc;

use bytes::Bytes;

use super::commands::Refused;
use super::sign_in::refusal;
use super::stay::{TooMany, Turn};
use super::{Link, Member, Outcome};
use crate::hub::{Conn, Signal, member};
use crate::limits::PRESENCE_MEMBERS;
use crate::live::Shared;
use crate::protocol::{ErrorCode, Frame, json};

impl Link {
    /// Who is in a room.
    pub(super) fn presence(&mut self, id: Option<u32>, room: String) -> Result<(), Refused> {
        self.room_for_work()?;
        let member = self.member.as_ref().ok_or(super::commands::SIGN_IN)?;
        match refusal(&member.rights, &room) {
            Some(ErrorCode::Forbidden) => return Err((ErrorCode::Forbidden, "not allowed by the token")),
            Some(code) => return Err((code, "that is no room")),
            None => {}
        }
        // Before the question: all that was told up to here is in the answer.
        let seq = member.audience.presence_seq(&room);
        let (log, tenant, queue) =
            (self.shared.log.clone(), self.opening.tenant.clone(), Arc::clone(&self.queue));
        self.begin(Box::pin(async move {
            let answer = match log.members(&tenant, &room, PRESENCE_MEMBERS).await {
                Ok(members) => snapshot(id, &room, seq, &members),
                Err(error) => super::commands::failed(id, &error),
            };
            queue.push_now(answer);
            Outcome::Done
        }));
        Ok(())
    }

    /// Appears in a room, and is told who else does.
    pub(super) fn appear(&mut self, room: &str) -> Result<(), TooMany> {
        let Some(member) = &self.member else { return Ok(()) };
        if !member.audience.watch_presence(&member.conn, room) {
            return Err(TooMany);
        }
        let begun = member.stays.begin(room);
        if begun.is_err() {
            member.audience.unwatch_presence(&member.conn, [room]);
        }
        let Some(turn) = begun? else { return Ok(()) };
        let (shared, tenant) = (Arc::clone(&self.shared), Arc::clone(member.audience.tenant()));
        let (conn, info) = (Arc::clone(&member.conn), member.info.clone());
        self.begin(Box::pin(async move {
            let told = info
                .clone()
                .map_or_else(Bytes::new, |info| Bytes::from(String::from(Box::<str>::from(info))));
            let join = shared.log.join(&tenant, turn.room(), &conn.name, &conn.user, told);
            match turn.tell(join).await {
                Some(Ok(presence)) if presence.changed => {
                    let (room, user, total) = (turn.room().into(), conn.user.to_string(), presence.total);
                    send(&shared, &tenant, Signal::Presence { room, user, info, here: true, total }).await;
                }
                Some(Err(error)) => tracing::debug!(%error, "somebody could not appear"),
                Some(Ok(_)) | None => {}
            }
            Outcome::Done
        }));
        Ok(())
    }

    /// Goes out of sight in rooms, after a while: who comes back at once was never away.
    pub(super) fn disappear<'a>(&mut self, rooms: impl IntoIterator<Item = &'a str>) {
        let Some(member) = &self.member else { return };
        member.depart(rooms.into_iter().filter_map(|room| member.stays.end(room)).collect());
    }
}

impl Member {
    /// Says in the rooms of `turns` that this connection has gone.
    pub(super) fn depart(&self, turns: Vec<Turn>) {
        if turns.is_empty() {
            return;
        }
        self.audience.unwatch_presence(&self.conn, turns.iter().map(Turn::room));
        let (shared, tenant) = (Arc::clone(&self.shared), Arc::clone(self.audience.tenant()));
        let conn = Arc::clone(&self.conn);
        let connections = shared.connections.clone();
        connections.spawn(async move {
            tokio::select! {
                () = tokio::time::sleep(shared.config.presence_leave) => {}
                // Nobody comes back to a node that goes away.
                () = shared.draining.cancelled() => {}
            }
            for turn in turns {
                leave(&shared, &tenant, &conn, &turn).await;
            }
        });
    }
}

/// Leaves a room, unless the connection is back.
async fn leave(shared: &Shared, tenant: &str, conn: &Conn, turn: &Turn) {
    match turn.tell(shared.log.leave(tenant, turn.room(), &conn.name)).await {
        Some(Ok(presence)) if presence.changed => {
            let (room, user, total) = (turn.room().into(), conn.user.to_string(), presence.total);
            send(shared, tenant, Signal::Presence { room, user, info: None, here: false, total }).await;
        }
        Some(Err(error)) => tracing::debug!(%error, "somebody could not leave, and is forgotten in a minute"),
        Some(Ok(_)) | None => {}
    }
}

async fn send(shared: &Shared, tenant: &str, signal: Signal) {
    // Lost, it is made good by the comparison of numbers.
    if let Err(error) = shared.log.signal(tenant, signal.encode()).await {
        tracing::debug!(%error, "other nodes were not told of a change of presence");
    }
}

fn snapshot(id: Option<u32>, room: &str, seq: u64, members: &larder::Members) -> Frame {
    let list: Vec<String> = members
        .members
        .iter()
        .map(|somebody| {
            let info = std::str::from_utf8(&somebody.info).ok().filter(|info| !info.is_empty());
            member(&somebody.user, somebody.conns, info)
        })
        .collect();
    let fields = format!(
        r#""room":{},"seq":{seq},"total":{},"members":[{}],"truncated":{}"#,
        json(room),
        members.total,
        list.join(","),
        members.truncated
    );
    Frame::answer("presence", id, &fields)
}
