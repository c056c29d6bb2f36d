//! One connection, whatever carries it: what comes in is told to it, what goes out it puts into the queue.

mod commands;
mod presence;
mod recover;
mod session;
mod sign_in;
mod stay;

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde_json::value::RawValue;
use tokio::sync::mpsc;

use crate::hub::{Audience, Conn};
use crate::live::Shared;
use crate::protocol::{CloseCode, Frame, Place, Rights};
use crate::queue::Queue;
use crate::seats::Stranger;

pub(crate) use session::Timing;
use session::{Act, Session};
use sign_in::SignIn;
use stay::Stays;

/// Something that was begun for a connection. It answers into its queue, or brings what the connection goes on with.
type Work = Pin<Box<dyn Future<Output = Outcome> + Send>>;

enum Outcome {
    Done,
    /// The audience that the connection is to join.
    Audience(Box<SignIn>, Result<Arc<Audience>, larder::Error>),
}

/// What is known of a connection before it signs in.
#[derive(Debug)]
pub(crate) struct Opening {
    /// Of the path; the token must be of the same.
    pub(crate) tenant: String,
    /// The cursor of the URL.
    pub(crate) pos: Option<Pos>,
    /// The rooms of the URL.
    pub(crate) rooms: Vec<String>,
    /// Where commands for it come in, if it is an event stream.
    pub(crate) inbox: Option<mpsc::Sender<String>>,
    /// Its place among those who have not signed in, if it has not.
    pub(crate) stranger: Option<Stranger>,
}

/// A cursor as a client has given it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Pos {
    At(Place),
    /// It can't be one of ours.
    Nowhere,
}

impl Pos {
    /// Of a URL or an SSE id.
    pub(crate) fn parse(text: &str) -> Self {
        text.parse().map_or(Self::Nowhere, Self::At)
    }
}

/// A connection.
pub(crate) struct Link {
    shared: Arc<Shared>,
    queue: Arc<Queue>,
    opening: Opening,
    session: Session,
    member: Option<Member>,
    /// A sign-in has been begun.
    signing_in: bool,
    /// Begun in the order of the commands; most connections never have any.
    work: Option<FuturesUnordered<Work>>,
}

/// A connection's place among the others; dropped, it leaves.
struct Member {
    shared: Arc<Shared>,
    audience: Arc<Audience>,
    conn: Arc<Conn>,
    rights: Rights,
    /// Besides `tenant`.
    rooms: HashSet<Box<str>, ahash::RandomState>,
    /// Those in which others see it.
    stays: Stays,
    /// What they are told.
    info: Option<Box<RawValue>>,
}

impl Link {
    pub(crate) fn new(shared: Arc<Shared>, opening: Opening, timing: Timing) -> Self {
        let queue = Arc::new(Queue::new(shared.config.queue_bytes, shared.config.queue_frames));
        let session = Session::new(timing, Instant::now());
        Self { shared, queue, opening, session, member: None, signing_in: false, work: None }
    }

    pub(crate) fn queue(&self) -> &Arc<Queue> {
        &self.queue
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    pub(crate) fn is_signed_in(&self) -> bool {
        self.member.is_some()
    }

    /// A text came in.
    pub(crate) fn text(&mut self, text: &str) -> Wanted {
        let act = self.session.text(text, Instant::now());
        self.act(act)
    }

    /// A binary frame came in.
    pub(crate) fn binary(&mut self) -> Wanted {
        self.act(Session::binary())
    }

    /// A WebSocket ping came in.
    pub(crate) fn control(&mut self) -> Wanted {
        let act = self.session.control(Instant::now());
        self.act(act)
    }

    /// A WebSocket pong came in.
    pub(crate) fn pong(&mut self) -> Wanted {
        let act = self.session.pong(Instant::now());
        self.act(act)
    }

    /// Something went out.
    pub(crate) fn spoke(&mut self, now: Instant) {
        self.session.spoke(now);
    }

    /// When to [`tick`](Self::tick) next.
    pub(crate) fn deadline(&self) -> Instant {
        self.session.deadline()
    }

    /// Does what the time asks for.
    pub(crate) fn tick(&mut self) -> Wanted {
        let mut wanted = Wanted::Nothing;
        loop {
            match self.session.tick(Instant::now()) {
                Act::Nothing => return wanted,
                Act::Probe => wanted = Wanted::Probe,
                act => {
                    self.act(act);
                }
            }
            if self.queue.is_closed() {
                return wanted;
            }
        }
    }

    /// Goes on with what was begun.
    pub(crate) fn poll_work(&mut self, cx: &mut Context<'_>) {
        while let Some(work) = &mut self.work {
            match work.poll_next_unpin(cx) {
                Poll::Ready(Some(Outcome::Done)) => {}
                Poll::Ready(Some(Outcome::Audience(who, audience))) => self.join(*who, audience),
                Poll::Ready(None) => self.work = None,
                Poll::Pending => return,
            }
        }
    }

    fn begin(&mut self, work: Work) {
        self.work.get_or_insert_default().push(work);
    }

    fn act(&mut self, act: Act) -> Wanted {
        match act {
            Act::Nothing => {}
            Act::Answer(frame) => {
                self.queue.push_now(frame);
            }
            Act::SignIn(id, auth) => self.sign_in_by_message(id, auth),
            Act::Renew(id, auth) => self.renew(id, &auth),
            Act::Do(id, command) => self.command(id, command),
            Act::Probe => return Wanted::Probe,
            Act::Cursor => {
                if let Some(member) = &self.member {
                    member.audience.tell_cursor(&member.conn);
                }
            }
            Act::End(error, code) => self.end(error, code),
        }
        Wanted::Nothing
    }

    /// Says `error` and ends.
    pub(crate) fn end(&mut self, error: Option<Frame>, code: CloseCode) {
        if let Some(error) = error {
            self.queue.push_now(error);
        }
        self.queue.close(code);
    }
}

/// What only the carrier can do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wanted {
    Nothing,
    /// Ask the peer for a sign of life.
    Probe,
}

impl Drop for Member {
    fn drop(&mut self) {
        self.depart(self.stays.end_all());
        self.audience.leave(&self.conn, self.rooms.iter().map(|room| &**room));
        if self.conn.inbox.is_some() {
            self.shared.streams.remove(&self.conn);
        }
    }
}

/// Seconds since 1970, by which tokens run out.
pub(crate) fn now_seconds() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
