//! The connections of one tenant on this node, and what is told to them.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use larder::LoggedEvent;
use parking_lot::Mutex;

use super::presence::{Change, Watched};
use super::{Conn, Kick};
use crate::limits::{PRESENCE_ROOMS, USER_PRESENCE_ROOMS};
use crate::metrics::Metrics;
use crate::protocol::{CloseCode, EVERYBODY, Frame, Place, Reset};
use crate::queue::Pushed;

type Map<K, V> = HashMap<K, V, ahash::RandomState>;

/// The connections of one tenant on this node.
///
/// Its lock is the order of everything that is told to them: who joins or subscribes under it at a place of the log gets all
/// events after that place, and none before.
#[derive(Debug)]
pub(crate) struct Audience {
    tenant: Arc<str>,
    metrics: Arc<Metrics>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    /// After the last event that was told.
    place: Place,
    everybody: Map<u64, Arc<Conn>>,
    rooms: Map<Box<str>, Map<u64, Arc<Conn>>>,
    /// Rooms whose presence somebody wants to know.
    watched: Map<Box<str>, Watched>,
    /// Of how many of them each user was the first.
    watching: Map<Arc<str>, usize>,
    /// How many connections each user has.
    users: Map<Arc<str>, usize>,
    /// Since when nobody is there.
    empty_since: Instant,
    /// Nobody can join any more: another audience takes its place.
    retired: bool,
}

/// Why nobody more can join.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Full {
    Tenant,
    User,
    /// The audience is gone; there is another one.
    Retired,
}

/// How many may join.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) tenant: usize,
    pub(crate) user: usize,
}

impl Audience {
    pub(crate) fn new(tenant: &str, place: Place, metrics: Arc<Metrics>) -> Self {
        let state = State {
            place,
            everybody: Map::default(),
            rooms: Map::default(),
            watched: Map::default(),
            watching: Map::default(),
            users: Map::default(),
            empty_since: Instant::now(),
            retired: false,
        };
        Self { tenant: tenant.into(), metrics, state: Mutex::new(state) }
    }

    pub(crate) fn tenant(&self) -> &Arc<str> {
        &self.tenant
    }

    /// Adds a connection, which is in `rooms` besides `tenant`. `then` is called with the place after which events come, before
    /// any of them does.
    pub(crate) fn join(
        &self,
        conn: &Arc<Conn>,
        rooms: &[String],
        bounds: Bounds,
        then: impl FnOnce(&Place),
    ) -> Result<(), Full> {
        let state = &mut *self.state.lock();
        if state.retired {
            return Err(Full::Retired);
        }
        if state.everybody.len() >= bounds.tenant {
            return Err(Full::Tenant);
        }
        let own = state.users.entry(Arc::clone(&conn.user)).or_insert(0);
        if *own >= bounds.user {
            return Err(Full::User);
        }
        *own += 1;
        state.everybody.insert(conn.key, Arc::clone(conn));
        state.enter(conn, rooms);
        then(&state.place);
        Ok(())
    }

    /// Takes a connection out of everything.
    pub(crate) fn leave<'a>(&self, conn: &Conn, rooms: impl IntoIterator<Item = &'a str>) {
        let state = &mut *self.state.lock();
        if state.everybody.remove(&conn.key).is_none() {
            return;
        }
        state.exit(conn, rooms);
        if let Some(own) = state.users.get_mut(&conn.user) {
            *own -= 1;
            if *own == 0 {
                state.users.remove(&conn.user);
            }
        }
        if state.everybody.is_empty() {
            state.empty_since = Instant::now();
            state.everybody.shrink_to_fit();
        }
    }

    /// Subscribes a connection to rooms; `then` as in [`join`](Self::join).
    pub(crate) fn subscribe(&self, conn: &Arc<Conn>, rooms: &[String], then: impl FnOnce(&Place)) {
        let state = &mut *self.state.lock();
        state.enter(conn, rooms);
        then(&state.place);
    }

    pub(crate) fn unsubscribe<'a>(&self, conn: &Conn, rooms: impl IntoIterator<Item = &'a str>) {
        self.state.lock().exit(conn, rooms);
    }

    /// Tells one connection where the log is.
    pub(crate) fn tell_cursor(&self, conn: &Conn) {
        let state = self.state.lock();
        if !state.place.is_unknown() {
            conn.queue.push(Frame::ping(&state.place));
        }
    }

    /// Tells an event of the log to all whom it concerns.
    pub(crate) fn tell(&self, event: &LoggedEvent) {
        let frame = Frame::logged(event, false);
        let state = &mut *self.state.lock();
        state.place = event.position().clone();
        state.to_room(event.room(), &frame, &self.metrics);
    }

    /// Tells what is not logged.
    pub(crate) fn tell_room(&self, room: &str, frame: &Frame) {
        self.state.lock().to_room(room, frame, &self.metrics);
    }

    /// Events are missing: all have to begin anew at `place`.
    pub(crate) fn reset(&self, why: Reset, place: Place) {
        let state = &mut *self.state.lock();
        let frame = Frame::reset(why, &place);
        state.place = place;
        self.metrics.reset(why, state.everybody.len());
        state.to_room(EVERYBODY, &frame, &self.metrics);
    }

    /// Tells a connection of changes of presence in a room from now on. Returns whether there was room for it.
    pub(crate) fn watch_presence(&self, conn: &Arc<Conn>, room: &str) -> bool {
        let state = &mut *self.state.lock();
        if !state.watched.contains_key(room) && !state.begin_to_watch(room, &conn.user) {
            return false;
        }
        let watched = state.watched.get_mut(room).expect("it is there, or has just been put there");
        watched.watchers.insert(conn.key, Arc::clone(conn));
        true
    }

    pub(crate) fn unwatch_presence<'a>(&self, conn: &Conn, rooms: impl IntoIterator<Item = &'a str>) {
        let state = &mut *self.state.lock();
        for room in rooms {
            let Some(watched) = state.watched.get_mut(room) else { continue };
            watched.watchers.remove(&conn.key);
            if watched.watchers.is_empty() {
                state.cease_to_watch(room);
            }
        }
    }

    /// The number of the last diff of a room.
    pub(crate) fn presence_seq(&self, room: &str) -> u64 {
        self.state.lock().watched.get(room).map_or(0, |watched| watched.seq)
    }

    /// Somebody has come or gone. Returns whether there is something to be told later.
    pub(crate) fn note_presence(&self, room: &str, change: Change, batch: Duration) -> bool {
        let state = &mut *self.state.lock();
        let Some(watched) = state.watched.get_mut(room) else { return false };
        watched.note(change, batch);
        true
    }

    /// Tells what is due. Returns whether more is to be told later.
    pub(crate) fn tell_presence(&self, now: Instant) -> bool {
        let mut later = false;
        for (room, watched) in &mut self.state.lock().watched {
            match watched.due {
                Some(due) if due <= now => {
                    let diff = watched.diff(room);
                    self.to_watchers(watched, &diff);
                }
                Some(_) => later = true,
                None => {}
            }
        }
        later
    }

    /// The rooms whose presence somebody wants to know.
    pub(crate) fn watched_rooms(&self) -> Vec<Box<str>> {
        self.state.lock().watched.keys().cloned().collect()
    }

    /// So many are in a room, by the log.
    pub(crate) fn compare_presence(&self, room: &str, total: u64) {
        let state = &mut *self.state.lock();
        let Some(watched) = state.watched.get_mut(room) else { return };
        if let Some(diff) = watched.compare(room, total) {
            self.to_watchers(watched, &diff);
        }
    }

    fn to_watchers(&self, watched: &Watched, diff: &Frame) {
        let mut dropped = 0;
        for conn in watched.watchers.values() {
            if let Pushed::Dropped(frames) = conn.queue.push(diff.clone()) {
                dropped += frames;
            }
        }
        self.metrics.dropped(dropped);
    }

    /// Ends connections.
    pub(crate) fn kick(&self, whom: &Kick) {
        let state = self.state.lock();
        for conn in state.everybody.values() {
            let meant = match whom {
                Kick::User(user) => *conn.user == **user,
                Kick::Token(id) => conn.tokens.has(id),
                Kick::Everybody => true,
            };
            if meant {
                conn.queue.close(CloseCode::Kicked);
            }
        }
    }

    /// All who are there.
    pub(crate) fn everybody(&self) -> Vec<Arc<Conn>> {
        self.state.lock().everybody.values().cloned().collect()
    }

    /// Since when nobody is there; `None` if somebody is.
    pub(crate) fn empty_since(&self) -> Option<Instant> {
        let state = self.state.lock();
        state.everybody.is_empty().then_some(state.empty_since)
    }

    /// Ends it, if nobody is there.
    pub(super) fn retire(&self) -> bool {
        let mut state = self.state.lock();
        state.retired |= state.everybody.is_empty();
        state.retired
    }
}

impl State {
    /// The first who wants to know the presence of a room: a user can begin so many, and leaves the others to others.
    fn begin_to_watch(&mut self, room: &str, user: &Arc<str>) -> bool {
        let own = self.watching.get(user).copied().unwrap_or(0);
        let fits = self.watched.len() < PRESENCE_ROOMS && own < USER_PRESENCE_ROOMS;
        if fits {
            self.watching.insert(Arc::clone(user), own + 1);
            self.watched.insert(room.into(), Watched::begun_by(Arc::clone(user)));
        }
        fits
    }

    fn cease_to_watch(&mut self, room: &str) {
        let Some(watched) = self.watched.remove(room) else { return };
        if let Some(own) = self.watching.get_mut(&watched.first) {
            *own -= 1;
            if *own == 0 {
                self.watching.remove(&watched.first);
            }
        }
    }

    fn enter(&mut self, conn: &Arc<Conn>, rooms: &[String]) {
        for room in rooms.iter().filter(|room| *room != EVERYBODY) {
            match self.rooms.get_mut(room.as_str()) {
                Some(members) => members.insert(conn.key, Arc::clone(conn)),
                None => {
                    let members = self.rooms.entry(room.as_str().into()).or_default();
                    members.insert(conn.key, Arc::clone(conn))
                }
            };
        }
    }

    fn exit<'a>(&mut self, conn: &Conn, rooms: impl IntoIterator<Item = &'a str>) {
        for room in rooms {
            let Some(members) = self.rooms.get_mut(room) else { continue };
            members.remove(&conn.key);
            if members.is_empty() {
                self.rooms.remove(room);
            }
        }
    }

    fn to_room(&self, room: &str, frame: &Frame, metrics: &Metrics) {
        let members = if room == EVERYBODY {
            &self.everybody
        } else {
            match self.rooms.get(room) {
                Some(members) => members,
                None => return,
            }
        };
        let mut dropped = 0;
        for conn in members.values() {
            if let Pushed::Dropped(frames) = conn.queue.push(frame.clone()) {
                dropped += frames;
            }
        }
        metrics.dropped(dropped);
    }
}
