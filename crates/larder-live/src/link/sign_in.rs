//! Signing in, and going on with a new token.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::stay::Stays;
use super::{Link, Member, Outcome, Pos, now_seconds};
use crate::claims::{Claims, TokenError};
use crate::hub::{Audience, Conn, Full, TokenIds};
use crate::limits::{MESSAGE_BYTES, ROOMS, STREAM_MESSAGE_BYTES};
use crate::live::Shared;
use crate::protocol::{Auth, CloseCode, EVERYBODY, ErrorCode, Frame, Hello, Place, Rights, is_name, of_user};
use crate::random;

/// Somebody whose token was taken, on the way in.
pub(super) struct SignIn {
    id: Option<u32>,
    claims: Claims,
    rights: Rights,
    rooms: Vec<String>,
    refused: BTreeMap<String, &'static str>,
}

impl SignIn {
    fn hello(&self, shared: &Shared, conn: &Conn, place: &Place) -> Frame {
        Frame::hello(&Hello {
            id: self.id,
            kind: "hello",
            v: 1,
            conn: &conn.name,
            secret: &shared.keys.secret_of(&[&self.claims.tenant, &self.claims.user, &conn.name]),
            node: &shared.node,
            tenant: &self.claims.tenant,
            user: &self.claims.user,
            ping_ms: u64::try_from(shared.config.ping.as_millis()).unwrap_or(u64::MAX),
            max_msg: if conn.inbox.is_some() { STREAM_MESSAGE_BYTES } else { MESSAGE_BYTES },
            exp: self.claims.expires_at,
            epoch: place.epoch(),
            offset: place.offset(),
            rooms: &self.rooms,
            refused: &self.refused,
        })
    }
}

/// What a room was refused for.
pub(super) fn refusal(rights: &Rights, room: &str) -> Option<ErrorCode> {
    if !is_name(room) {
        Some(ErrorCode::BadRequest)
    } else if !rights.may_subscribe(room) {
        Some(ErrorCode::Forbidden)
    } else {
        None
    }
}

impl Link {
    pub(super) fn sign_in_by_message(&mut self, id: Option<u32>, auth: Auth) {
        if let Some(pos) = &auth.pos {
            self.opening.pos = Some(pos.place().map_or(Pos::Nowhere, Pos::At));
        }
        self.opening.rooms.extend(auth.rooms);
        match self.shared.verify(&auth.token) {
            Ok(claims) => self.sign_in(id, claims),
            Err(error) => self.refuse(id, error),
        }
    }

    /// Says why a token is not taken, and ends.
    pub(crate) fn refuse(&mut self, id: Option<u32>, why: TokenError) {
        let (error, text, close) = match why {
            TokenError::Expired => {
                (ErrorCode::TokenExpired, "the token has run out", CloseCode::TokenExpired)
            }
            TokenError::Invalid => (ErrorCode::Unauthorized, "the token is not valid", CloseCode::BadToken),
        };
        self.end(Some(Frame::error(id, error, text)), close);
    }

    /// Makes this connection one of the tenant's, and begins to give it what it has missed.
    pub(crate) fn sign_in(&mut self, id: Option<u32>, claims: Claims) {
        if claims.tenant != self.opening.tenant {
            let error = Frame::error(id, ErrorCode::Forbidden, "the token is of another tenant");
            return self.end(Some(error), CloseCode::Forbidden);
        }
        if std::mem::replace(&mut self.signing_in, true) {
            self.queue.push_now(Frame::error(id, ErrorCode::Already, "a sign-in has been begun"));
            return;
        }
        let rights = Rights::new(&claims.user, claims.rooms.clone(), claims.publish.clone());
        let (rooms, refused) = self.granted(&claims, &rights);
        let who = SignIn { id, claims, rights, rooms, refused };
        match self.shared.hub.get(&who.claims.tenant) {
            Some(audience) => self.join(who, Ok(audience)),
            None => self.find_audience(who),
        }
    }

    fn find_audience(&mut self, who: SignIn) {
        let shared = Arc::clone(&self.shared);
        self.begin(Box::pin(async move {
            let audience = shared.audience(&who.claims.tenant).await;
            Outcome::Audience(Box::new(who), audience)
        }));
    }

    /// The rooms in which it begins, and those that it asked for in vain.
    fn granted(&mut self, claims: &Claims, rights: &Rights) -> (Vec<String>, BTreeMap<String, &'static str>) {
        let mut rooms = vec![EVERYBODY.to_owned(), of_user(&claims.user)];
        let mut refused = BTreeMap::new();
        for room in std::mem::take(&mut self.opening.rooms) {
            if rooms.contains(&room) {
                continue;
            }
            let full = (rooms.len() >= ROOMS + 2).then_some(ErrorCode::Limit);
            match refusal(rights, &room).or(full) {
                None => rooms.push(room),
                // A client that asks for more than it may have knows the rest by their absence.
                Some(code) if refused.len() < ROOMS => {
                    refused.insert(room, code.name());
                }
                Some(_) => {}
            }
        }
        (rooms, refused)
    }

    pub(super) fn join(&mut self, who: SignIn, audience: Result<Arc<Audience>, larder::Error>) {
        if self.queue.is_closed() {
            return;
        }
        let audience = match audience {
            Ok(audience) => audience,
            Err(error) => {
                tracing::warn!(tenant = who.claims.tenant, %error, "the event log can't be followed");
                let error = Frame::error(who.id, ErrorCode::NotAvailable, "the event log is not available");
                return self.end(Some(error), CloseCode::ServerError);
            }
        };
        let shared = Arc::clone(&self.shared);
        let conn = Arc::new(Conn {
            key: shared.next_key(),
            name: format!("{}.{}", shared.node, random::secret()).into(),
            user: who.claims.user.as_str().into(),
            tokens: TokenIds::default(),
            queue: Arc::clone(&self.queue),
            inbox: self.opening.inbox.clone(),
        });
        conn.tokens.add(who.claims.token_id.as_deref());
        self.queue.hold();
        let mut joined = None;
        let done = audience.join(&conn, &who.rooms, shared.bounds(), |place| {
            self.queue.push_now(who.hello(&shared, &conn, place));
            joined = Some(place.clone());
        });
        let (text, code) = match (done, joined) {
            (Ok(()), Some(place)) => return self.joined(who, audience, conn, place),
            (Err(Full::Retired), _) => return self.find_audience(who),
            (Err(Full::User), _) => ("the user has too many connections", CloseCode::UserFull),
            _ => ("the tenant has too many connections", CloseCode::TenantFull),
        };
        self.end(Some(Frame::error(who.id, ErrorCode::Limit, text)), code);
    }

    fn joined(&mut self, who: SignIn, audience: Arc<Audience>, conn: Arc<Conn>, place: Place) {
        let shared = Arc::clone(&self.shared);
        self.opening.stranger = None;
        if conn.inbox.is_some() {
            shared.streams.add(&conn);
        }
        let besides = who.rooms.iter().filter(|room| *room != EVERYBODY);
        let info = who.claims.info_json();
        let rooms = besides.map(|room| room.as_str().into()).collect();
        self.member =
            Some(Member { shared, audience, conn, rights: who.rights, rooms, stays: Stays::default(), info });
        self.session.signed_in(left(&who.claims), Instant::now());
        self.recover(place, who.rooms);
    }

    /// Goes on with a new token of the same user. What it does not allow any more ends.
    pub(super) fn renew(&mut self, id: Option<u32>, auth: &Auth) {
        let verified = self.shared.verify(&auth.token);
        let Some(member) = &mut self.member else { return };
        let claims = match verified {
            Ok(claims) => claims,
            Err(error) => {
                let (code, text) = match error {
                    TokenError::Expired => (ErrorCode::TokenExpired, "the token has run out"),
                    TokenError::Invalid => (ErrorCode::Unauthorized, "the token is not valid"),
                };
                self.queue.push_now(Frame::error(id, code, text));
                return;
            }
        };
        if claims.tenant != **member.audience.tenant() || claims.user != *member.conn.user {
            let text = "the token is of another user or tenant";
            self.queue.push_now(Frame::error(id, ErrorCode::Forbidden, text));
            return;
        }
        member.conn.tokens.add(claims.token_id.as_deref());
        member.info = claims.info_json();
        member.rights = Rights::new(&claims.user, claims.rooms.clone(), claims.publish.clone());
        let rights = &member.rights;
        let over: Vec<Box<str>> = member.rooms.extract_if(|room| !rights.may_subscribe(room)).collect();
        member.audience.unsubscribe(&member.conn, over.iter().map(|room| &**room));
        self.disappear(over.iter().map(|room| &**room));
        self.session.signed_in(left(&claims), Instant::now());
        let refused: BTreeMap<&str, &str> =
            over.iter().map(|room| (&**room, ErrorCode::Forbidden.name())).collect();
        self.queue.push_now(Frame::renewed(id, claims.expires_at, &refused));
    }
}

/// How long a token is still valid.
fn left(claims: &Claims) -> Duration {
    Duration::from_secs(claims.expires_at.saturating_sub(now_seconds()))
}
