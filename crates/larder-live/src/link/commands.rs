//! What a client that is signed in may ask for.

use std::sync::Arc;
use std::time::Instant;

use larder::{ErrorKind, Event, Replay};

use super::sign_in::refusal;
use super::{Link, Outcome, Place};
use crate::hub::Signal;
use crate::limits::{HISTORY_BYTES, HISTORY_EVENTS, KEY_BYTES, PENDING, RECOVERY_BYTES, ROOMS};
use crate::protocol::{Command, EVERYBODY, ErrorCode, Frame, Publish, USER, is_name, json};
use crate::quota;

/// Events that are looked through for one `history`: as many as the log keeps.
const LOOKED_THROUGH: usize = 1000;

impl Link {
    pub(super) fn command(&mut self, id: Option<u32>, command: Command) {
        let refused = match command {
            Command::Sub { rooms, presence } => self.subscribe(id, rooms, presence),
            Command::Unsub { rooms } => self.unsubscribe(id, &rooms),
            Command::Pub(publish) => self.publish(id, publish),
            Command::History { room, since, limit } => self.history(id, room, since.place(), limit),
            Command::Presence { room } => self.presence(id, room),
            Command::Auth(_) => Err((ErrorCode::Already, "signed in already")),
        };
        if let Err((code, why)) = refused {
            self.queue.push_now(Frame::error(id, code, why));
        }
    }

    fn subscribe(&mut self, id: Option<u32>, rooms: Vec<String>, presence: bool) -> Result<(), Refused> {
        let member = self.member.as_mut().ok_or(SIGN_IN)?;
        let mut answers = Vec::new();
        let mut granted = Vec::new();
        for room in rooms {
            let there = room == EVERYBODY || member.rooms.contains(room.as_str());
            // The user's own room is among them.
            let full = !there && member.rooms.len() > ROOMS;
            let refused = refusal(&member.rights, &room).or(full.then_some(ErrorCode::Limit));
            if refused.is_none() && !there {
                member.rooms.insert(room.as_str().into());
                granted.push(room.clone());
            }
            answers.push(Answer { room, refused, unseen: false });
        }
        if presence {
            for answer in answers.iter_mut().filter(|answer| answer.refused.is_none()) {
                answer.unseen = self.appear(&answer.room).is_err();
            }
        }
        let member = self.member.as_ref().ok_or(SIGN_IN)?;
        member.audience.subscribe(&member.conn, &granted, |place| {
            let subs: Vec<String> = answers.iter().map(|answer| answer.json(place)).collect();
            self.queue.push_now(Frame::ok(id, &format!(r#""subs":{{{}}}"#, subs.join(","))));
        });
        Ok(())
    }

    fn unsubscribe(&mut self, id: Option<u32>, rooms: &[String]) -> Result<(), Refused> {
        let member = self.member.as_mut().ok_or(SIGN_IN)?;
        // Nobody leaves `tenant` or their own room.
        let own = crate::protocol::of_user(&member.conn.user);
        let left = rooms.iter().filter(|room| **room != own && member.rooms.remove(room.as_str()));
        let left: Vec<&str> = left.map(String::as_str).collect();
        member.audience.unsubscribe(&member.conn, left);
        // Out of sight in `tenant`, too, though nobody leaves it.
        self.disappear(rooms.iter().map(String::as_str));
        self.queue.push_now(Frame::ok(id, ""));
        Ok(())
    }

    fn publish(&mut self, id: Option<u32>, publish: Publish) -> Result<(), Refused> {
        self.room_for_work()?;
        let member = self.member.as_ref().ok_or(SIGN_IN)?;
        let (room, may) = match (publish.room, publish.to) {
            (Some(room), None) => {
                let may = member.rights.may_publish(&room);
                (room, may)
            }
            (None, Some(room)) if room.starts_with(USER) => {
                let may = member.rights.may_write_to(&room);
                (room, may)
            }
            _ => return Err((ErrorCode::BadRequest, "either room, or to with user:{id}")),
        };
        if !is_name(&room) {
            return Err((ErrorCode::BadRequest, "that is no room"));
        }
        if !may {
            return Err((ErrorCode::Forbidden, "not allowed by the token"));
        }
        let (log, tenant, queue) =
            (self.shared.log.clone(), self.opening.tenant.clone(), Arc::clone(&self.queue));
        let user = member.conn.user.to_string();
        if publish.ephemeral {
            let signal = Signal::Message { room, from: user, data: publish.data }.encode();
            self.begin(Box::pin(async move {
                let answer = match log.signal(&tenant, signal).await {
                    Ok(()) => Frame::ok(id, ""),
                    Err(error) => failed(id, &error),
                };
                queue.push_now(answer);
                Outcome::Done
            }));
            return Ok(());
        }
        if let Err(wait) = self.shared.publishing.take(quota::name(&tenant, &user), Instant::now()) {
            let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
            let why = "too many messages of this user";
            self.queue.push_now(Frame::error_after(id, ErrorCode::TooMany, why, Some(wait)));
            return Ok(());
        }
        // The log takes values: numbers as wide as 64 bits, members in its own order.
        let data = serde_json::from_str(publish.data.get())
            .map_err(|_| (ErrorCode::BadRequest, "data is nested too deeply"))?;
        let mut event = Event::new("message").room(room).data(data).from(user.clone());
        if let Some(key) = publish.key {
            if key.is_empty() || key.len() > KEY_BYTES {
                return Err((ErrorCode::BadRequest, "a key has 1 to 64 bytes"));
            }
            event = event.idempotency_key(own_key(&user, &key));
        }
        self.begin(Box::pin(async move {
            let answer = match log.append(&tenant, event).await {
                Ok(place) => Frame::ok(id, &at(&place)),
                Err(error) => failed(id, &error),
            };
            queue.push_now(answer);
            Outcome::Done
        }));
        Ok(())
    }

    fn history(
        &mut self,
        id: Option<u32>,
        room: String,
        since: Option<Place>,
        limit: Option<usize>,
    ) -> Result<(), Refused> {
        self.room_for_work()?;
        let member = self.member.as_ref().ok_or(SIGN_IN)?;
        match refusal(&member.rights, &room) {
            Some(ErrorCode::Forbidden) => return Err((ErrorCode::Forbidden, "not allowed by the token")),
            Some(code) => return Err((code, "that is no room")),
            None => {}
        }
        let since = since.ok_or((ErrorCode::Unrecoverable, "since is no position of this log"))?;
        let limit = limit.unwrap_or(HISTORY_EVENTS).clamp(1, HISTORY_EVENTS);
        let (log, tenant, queue) =
            (self.shared.log.clone(), self.opening.tenant.clone(), Arc::clone(&self.queue));
        self.begin(Box::pin(async move {
            let answer = match log.after(&tenant, &since, LOOKED_THROUGH, RECOVERY_BYTES).await {
                Ok(Replay::Events { events, more, .. }) => page(id, &room, &events, more, &since, limit),
                Ok(_) => Frame::error(id, ErrorCode::Unrecoverable, "these events are not kept any more"),
                Err(error) => failed(id, &error),
            };
            queue.push_now(answer);
            Outcome::Done
        }));
        Ok(())
    }

    /// A client that asks faster than the log answers waits itself.
    pub(super) fn room_for_work(&self) -> Result<(), Refused> {
        match &self.work {
            Some(work) if work.len() >= PENDING => {
                Err((ErrorCode::TooMany, "too many commands are being worked on"))
            }
            _ => Ok(()),
        }
    }
}

/// What became of one room of a `sub`.
struct Answer {
    room: String,
    refused: Option<ErrorCode>,
    /// Its presence was asked for, and there was no room for it.
    unseen: bool,
}

impl Answer {
    fn json(&self, place: &Place) -> String {
        let room = json(&self.room);
        match self.refused {
            Some(code) => format!(r#"{room}:{{"error":"{}"}}"#, code.name()),
            None if self.unseen => {
                format!(r#"{room}:{{"offset":{},"presence":"{}"}}"#, place.offset(), ErrorCode::Limit.name())
            }
            None => format!(r#"{room}:{{"offset":{}}}"#, place.offset()),
        }
    }
}

pub(super) type Refused = (ErrorCode, &'static str);

pub(super) const SIGN_IN: Refused = (ErrorCode::Unauthorized, "sign in first");

/// An idempotency key of one user, which no other user's can equal.
fn own_key(user: &str, key: &str) -> String {
    format!("u:{}:{key}", user.replace('%', "%25").replace(':', "%3A"))
}

fn at(place: &Place) -> String {
    format!(r#""epoch":{},"offset":{}"#, json(place.epoch()), place.offset())
}

pub(super) fn failed(id: Option<u32>, error: &larder::Error) -> Frame {
    match error.kind() {
        ErrorKind::InvalidRequest => Frame::error(id, ErrorCode::BadRequest, &error.to_string()),
        ErrorKind::Unavailable | ErrorKind::Closed => {
            Frame::error(id, ErrorCode::NotAvailable, "the event log is not available")
        }
        _ => {
            tracing::error!(%error, "a command failed");
            Frame::error(id, ErrorCode::Internal, "something went wrong")
        }
    }
}

/// The events of `room`, and how far was looked.
fn page(
    id: Option<u32>,
    room: &str,
    events: &[Arc<larder::LoggedEvent>],
    more: bool,
    since: &Place,
    limit: usize,
) -> Frame {
    let (mut list, mut count, mut last, mut full) = (String::new(), 0, since, false);
    for event in events {
        if event.room() == room {
            full = count == limit || list.len() + event.json().len() > HISTORY_BYTES && count > 0;
            if full {
                break;
            }
            if count > 0 {
                list.push(',');
            }
            list.push_str(Frame::logged(event, true).as_str());
            count += 1;
        }
        last = event.position();
    }
    let more = more || full;
    let fields = format!(r#""room":{},"events":[{list}],"more":{more},{}"#, json(room), at(last));
    Frame::answer("history", id, &fields)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_of_different_users_never_meet() {
        assert_eq!(own_key("42", "a:b"), "u:42:a:b");
        assert_ne!(own_key("a", "b:c"), own_key("a:b", "c"));
        assert_ne!(own_key("a%3Ab", "c"), own_key("a:b", "c"));
    }
}
