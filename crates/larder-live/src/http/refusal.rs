//! Refusals before a connection begins: counted each, and told in the log once in a while, since whoever asks for one can have as many as
//! they like.

use std::time::{Duration, Instant};

use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::ORIGIN;
use parking_lot::Mutex;

use super::who::NotAllowed;
use crate::live::Shared;
use crate::seats::NoSeat;

/// In the extensions of a response: a connection was refused. It is counted in [`Numbers`](crate::Numbers) and told in the log now and then;
/// a line for each would let anybody fill the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Refused;

/// What for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Why {
    /// A page of another origin.
    Origin,
    /// No valid token or ticket.
    Unauthorized,
    /// One of another tenant.
    Forbidden,
    TooFast,
    Full,
    Draining,
}

impl Why {
    pub(crate) const ALL: [Self; 6] =
        [Self::Origin, Self::Unauthorized, Self::Forbidden, Self::TooFast, Self::Full, Self::Draining];

    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|why| *why == self).expect("all are listed")
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Origin => "origin",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::TooFast => "too_fast",
            Self::Full => "full",
            Self::Draining => "draining",
        }
    }
}

impl From<NoSeat> for Why {
    fn from(why: NoSeat) -> Self {
        match why {
            NoSeat::Draining => Self::Draining,
            NoSeat::TooFast => Self::TooFast,
            NoSeat::Full => Self::Full,
        }
    }
}

/// How often refusals are told.
const EVERY: Duration = Duration::from_secs(1);

/// Of each reason: when it was told last, and how often it has been one since.
#[derive(Debug, Default)]
pub(crate) struct Told(Mutex<[(Option<Instant>, u64); Why::ALL.len()]>);

impl Told {
    /// One more. How many there are to tell now.
    fn one(&self, why: Why, now: Instant) -> Option<u64> {
        let (last, since) = &mut self.0.lock()[why.index()];
        *since += 1;
        if last.is_some_and(|last| now < last + EVERY) {
            return None;
        }
        *last = Some(now);
        Some(std::mem::take(since))
    }
}

/// Refuses with this answer.
pub(super) fn refuse(shared: &Shared, why: Why, answer: impl IntoResponse) -> Response {
    if let Some(refused) = count(shared, why) {
        tracing::warn!(reason = why.name(), refused, "connections were refused");
    }
    marked(answer)
}

/// Refuses a page, and says of which origin it is.
pub(super) fn refuse_page(shared: &Shared, headers: &HeaderMap) -> Response {
    if let Some(refused) = count(shared, Why::Origin) {
        tracing::warn!(origin = ?headers.get(ORIGIN), refused, "refused a page of another origin");
    }
    marked(NotAllowed::Origin)
}

fn count(shared: &Shared, why: Why) -> Option<u64> {
    shared.metrics.refused(why);
    shared.refusals.one(why, Instant::now())
}

fn marked(answer: impl IntoResponse) -> Response {
    let mut response = answer.into_response();
    response.extensions_mut().insert(Refused);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_are_told_once_a_second_with_their_number() {
        let (told, begin) = (Told::default(), Instant::now());
        assert_eq!(told.one(Why::Full, begin), Some(1));
        for _ in 0..999 {
            assert_eq!(told.one(Why::Full, begin + EVERY / 2), None);
        }
        assert_eq!(told.one(Why::Origin, begin + EVERY / 2), Some(1), "each reason by itself");
        assert_eq!(told.one(Why::Full, begin + EVERY), Some(1000));
    }
}
