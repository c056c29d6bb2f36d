//! One connection's side of the protocol, without a socket, a clock or a log: what comes in, and what is to be done about it.

use std::time::{Duration, Instant};

use crate::config::Config;
use crate::limits::{BAD_IN_A_ROW, COMMAND_BURST, COMMANDS_PER_SECOND, PINGS_PER_SECOND};
use crate::protocol::{Auth, CloseCode, Command, ErrorCode, Frame, Message};
use crate::random;
use crate::rate::Bucket;

/// What is to be done.
#[derive(Debug)]
pub(crate) enum Act {
    Nothing,
    /// This is the answer.
    Answer(Frame),
    /// Sign in with this.
    SignIn(Option<u32>, Auth),
    /// Go on with this token.
    Renew(Option<u32>, Auth),
    /// Do this, and answer.
    Do(Option<u32>, Command),
    /// Ask the peer for a sign of life.
    Probe,
    /// Tell the peer where the log is: nothing was said for a while.
    Cursor,
    /// Say this, then end.
    End(Option<Frame>, CloseCode),
}

/// Times of a session.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timing {
    pub(crate) sign_in: Duration,
    pub(crate) ping: Duration,
    /// `None`: the peer can't say anything, as on an event stream.
    pub(crate) silence: Option<Duration>,
    pub(crate) token_grace: Duration,
}

impl Timing {
    pub(crate) fn both_ways(config: &Config) -> Self {
        Self { silence: Some(config.silence), ..Self::one_way(config) }
    }

    pub(crate) fn one_way(config: &Config) -> Self {
        // A fifth more or less: connections that came together shall not be pinged together.
        let fifth = config.ping / 5;
        let spread = u64::try_from(2 * fifth.as_millis()).unwrap_or(u64::MAX);
        let ping = config.ping - fifth + Duration::from_millis(random::below(spread));
        Self { sign_in: config.sign_in, ping, silence: None, token_grace: config.token_grace }
    }
}

/// The state of a connection, as far as it concerns one peer only.
#[derive(Debug)]
pub(crate) struct Session {
    timing: Timing,
    phase: Phase,
    bad: u8,
    commands: Bucket,
    pings: Bucket,
    /// When the peer was last heard.
    heard: Instant,
    /// When it was last asked for a sign of life.
    probed: Instant,
    /// How often it was asked and has not answered.
    unanswered: u32,
    /// When something was last said to it.
    spoke: Instant,
}

#[derive(Debug)]
enum Phase {
    /// Has to sign in until then.
    Waiting(Instant),
    SignedIn {
        /// When the token runs out.
        until: Instant,
        warned: bool,
    },
}

impl Session {
    pub(crate) fn new(timing: Timing, now: Instant) -> Self {
        Self {
            timing,
            phase: Phase::Waiting(now + timing.sign_in),
            bad: 0,
            commands: Bucket::full(COMMAND_BURST, COMMANDS_PER_SECOND, now),
            pings: Bucket::full(PINGS_PER_SECOND, PINGS_PER_SECOND, now),
            heard: now,
            probed: now,
            unanswered: 0,
            spoke: now,
        }
    }

    /// Any frame came.
    fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Any frame was sent.
    pub(crate) fn spoke(&mut self, now: Instant) {
        self.spoke = now;
    }

    /// The token was taken; it runs out `after` from now.
    pub(crate) fn signed_in(&mut self, after: Duration, now: Instant) {
        // A token that never runs out must not run over.
        let until = now + after.min(Duration::from_secs(10 * 365 * 86_400));
        self.phase = Phase::SignedIn { until, warned: false };
    }

    /// A text frame.
    pub(crate) fn text(&mut self, text: &str, now: Instant) -> Act {
        self.heard(now);
        let ping = text == "ping";
        if ping && self.pings.take(now).is_ok() {
            return Act::Answer(Frame::pong());
        }
        if let Some(end) = self.count(now) {
            return end;
        }
        if ping {
            return Act::Answer(Frame::pong());
        }
        let message = match Message::parse(text) {
            Ok(message) => message,
            Err(refused) => return self.misunderstood(refused.id, refused.why),
        };
        self.bad = 0;
        let id = message.id;
        match (&self.phase, message.command) {
            (Phase::Waiting(_), Command::Auth(auth)) => Act::SignIn(id, auth),
            (Phase::Waiting(_), _) => Act::Answer(Frame::error(id, ErrorCode::Unauthorized, "sign in first")),
            (Phase::SignedIn { .. }, Command::Auth(auth)) => Act::Renew(id, auth),
            (Phase::SignedIn { .. }, command) => Act::Do(id, command),
        }
    }

    /// A ping of the WebSocket protocol, which costs us an answer.
    pub(crate) fn control(&mut self, now: Instant) -> Act {
        self.heard(now);
        if self.pings.take(now).is_ok() { Act::Nothing } else { self.count(now).unwrap_or(Act::Nothing) }
    }

    /// An answer to a probe. One to none counts as much as a question.
    pub(crate) fn pong(&mut self, now: Instant) -> Act {
        if self.unanswered == 0 {
            return self.control(now);
        }
        self.unanswered -= 1;
        self.heard(now);
        Act::Nothing
    }

    /// A binary frame.
    pub(crate) fn binary() -> Act {
        Act::End(None, CloseCode::Binary)
    }

    fn count(&mut self, now: Instant) -> Option<Act> {
        let wait = self.commands.take(now).err()?;
        let wait = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        let error = Frame::error_after(None, ErrorCode::TooMany, "too many commands", Some(wait));
        Some(Act::End(Some(error), CloseCode::RateLimited))
    }

    fn misunderstood(&mut self, id: Option<u32>, why: &str) -> Act {
        self.bad = self.bad.saturating_add(1);
        let error = Frame::error(id, ErrorCode::BadRequest, why);
        if self.bad >= BAD_IN_A_ROW {
            Act::End(Some(error), CloseCode::BadProtocol)
        } else {
            Act::Answer(error)
        }
    }

    /// What the time asks for; one thing at a time, until it asks for nothing.
    pub(crate) fn tick(&mut self, now: Instant) -> Act {
        match &mut self.phase {
            Phase::Waiting(until) if now >= *until => {
                let error = Frame::error(None, ErrorCode::Unauthorized, "no sign-in in time");
                return Act::End(Some(error), CloseCode::NoSignIn);
            }
            Phase::SignedIn { until, .. } if now >= *until + self.timing.token_grace => {
                return Act::End(None, CloseCode::TokenExpired);
            }
            Phase::SignedIn { until, warned } if now >= *until && !*warned => {
                *warned = true;
                return Act::Answer(Frame::error(None, ErrorCode::TokenExpired, "give a new token by auth"));
            }
            _ => {}
        }
        if let Some(silence) = self.timing.silence {
            if now >= self.heard + silence {
                return Act::End(None, CloseCode::NoPong);
            }
            if now >= self.probe_at() {
                self.probed = now;
                self.unanswered = self.unanswered.saturating_add(1);
                return Act::Probe;
            }
        }
        if now >= self.spoke + self.timing.ping && matches!(self.phase, Phase::SignedIn { .. }) {
            self.spoke = now;
            return Act::Cursor;
        }
        Act::Nothing
    }

    fn probe_at(&self) -> Instant {
        self.heard.max(self.probed) + self.timing.ping
    }

    /// When the time next asks for something, as far as is known now.
    pub(crate) fn deadline(&self) -> Instant {
        let phase = match &self.phase {
            Phase::Waiting(until) => *until,
            Phase::SignedIn { until, warned: false } => (*until).min(self.spoke + self.timing.ping),
            Phase::SignedIn { until, warned: true } => {
                (*until + self.timing.token_grace).min(self.spoke + self.timing.ping)
            }
        };
        match self.timing.silence {
            Some(silence) => phase.min(self.heard + silence).min(self.probe_at()),
            None => phase,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMING: Timing = Timing {
        sign_in: Duration::from_secs(10),
        ping: Duration::from_secs(25),
        silence: Some(Duration::from_secs(35)),
        token_grace: Duration::from_secs(25),
    };

    fn start() -> Instant {
        Instant::now() + Duration::from_secs(1000)
    }

    fn after(begin: Instant, milliseconds: u64) -> Instant {
        begin + Duration::from_millis(milliseconds)
    }

    fn signed_in(begin: Instant, seconds: u64) -> Session {
        let mut session = Session::new(TIMING, begin);
        session.signed_in(Duration::from_secs(seconds), begin);
        session
    }

    /// The first word of what is to be done, and the code with which it ends.
    fn told(act: &Act) -> String {
        match act {
            Act::End(frame, code) => {
                let error = frame.as_ref().map_or("", |frame| frame.as_str());
                let name = error.split(r#""code":""#).nth(1).and_then(|rest| rest.split('"').next());
                format!("End {} {}", code.number(), name.unwrap_or("-"))
            }
            Act::Answer(frame) => format!("Answer {}", frame.as_str()),
            other => format!("{other:?}").split(['(', ' ']).next().unwrap_or_default().to_owned(),
        }
    }

    #[test]
    fn before_sign_in_only_auth_and_ping_are_understood() {
        let begin = start();
        let mut session = Session::new(TIMING, begin);
        for (text, is) in [
            ("ping", "Answer pong"),
            (
                r#"{"id":7,"type":"sub","rooms":["a"]}"#,
                r#"Answer {"id":7,"type":"error","code":"unauthorized""#,
            ),
            (r#"{"id":1,"type":"auth","token":"t"}"#, "SignIn"),
        ] {
            let act = told(&session.text(text, begin));
            assert!(act.starts_with(is), "{text}: {act}");
        }
    }

    #[test]
    fn afterwards_auth_renews_and_commands_are_done() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        assert_eq!(told(&session.text(r#"{"type":"auth","token":"t"}"#, begin)), "Renew");
        assert_eq!(told(&session.text(r#"{"type":"sub","rooms":[]}"#, begin)), "Do");
    }

    #[test]
    fn without_a_sign_in_it_ends_after_ten_seconds() {
        let begin = start();
        let mut session = Session::new(TIMING, begin);
        assert_eq!(told(&session.tick(after(begin, 9_999))), "Nothing");
        assert_eq!(session.deadline(), after(begin, 10_000));
        assert_eq!(told(&session.tick(after(begin, 10_000))), "End 4501 unauthorized");
    }

    #[test]
    fn the_fifth_bad_message_in_a_row_ends_it_and_a_good_one_begins_anew() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        for _ in 0..2 {
            for _ in 0..4 {
                assert!(told(&session.text(r#"{"type":"dance"}"#, begin)).contains("bad_request"));
            }
            assert_eq!(told(&session.text(r#"{"type":"unsub","rooms":[]}"#, begin)), "Do");
        }
        for _ in 0..4 {
            session.text("nonsense", begin);
        }
        assert_eq!(told(&session.text("nonsense", begin)), "End 4502 bad_request");
    }

    #[test]
    fn the_forty_first_command_at_once_ends_it() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        let command = r#"{"type":"unsub","rooms":[]}"#;
        for _ in 0..40 {
            assert_eq!(told(&session.text(command, begin)), "Do");
        }
        assert_eq!(told(&session.text(command, begin)), "End 4006 too_many");
    }

    #[test]
    fn twenty_commands_a_second_are_fine_for_ever() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        for number in 0..1000 {
            let act = session.text(r#"{"type":"unsub","rooms":[]}"#, after(begin, number * 50));
            assert_eq!(told(&act), "Do", "{number}");
        }
    }

    #[test]
    fn a_ping_a_second_is_no_command_and_more_are() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        for second in 0..100 {
            assert_eq!(told(&session.text("ping", after(begin, second * 1000))), "Answer pong");
        }
        let now = after(begin, 200_000);
        for _ in 0..41 {
            assert_eq!(told(&session.text("ping", now)), "Answer pong");
        }
        assert_eq!(told(&session.text("ping", now)), "End 4006 too_many");
    }

    #[test]
    fn a_flood_of_websocket_pings_ends_it_too() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        for _ in 0..41 {
            assert_eq!(told(&session.control(begin)), "Nothing");
        }
        assert_eq!(told(&session.control(begin)), "End 4006 too_many");
    }

    #[test]
    fn a_flood_of_pongs_ends_it_and_answers_to_probes_do_not() {
        let begin = start();
        let mut session = signed_in(begin, 360_000);
        let mut now = begin;
        for _ in 0..1000 {
            now = session.deadline();
            while told(&session.tick(now)) != "Nothing" {}
            assert_eq!(told(&session.pong(now)), "Nothing");
        }
        for _ in 0..41 {
            assert_eq!(told(&session.pong(now)), "Nothing");
        }
        assert_eq!(told(&session.pong(now)), "End 4006 too_many");
    }

    #[test]
    fn a_binary_frame_ends_it() {
        assert_eq!(told(&Session::binary()), "End 1003 -");
    }

    #[test]
    fn a_silent_peer_is_probed_once_and_then_given_up() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        assert_eq!(told(&session.tick(after(begin, 24_999))), "Nothing");
        assert_eq!(session.deadline(), after(begin, 25_000));
        assert_eq!(told(&session.tick(after(begin, 25_000))), "Probe");
        assert_eq!(told(&session.tick(after(begin, 25_000))), "Cursor");
        assert_eq!(told(&session.tick(after(begin, 25_000))), "Nothing");
        assert_eq!(session.deadline(), after(begin, 35_000));
        assert_eq!(told(&session.tick(after(begin, 35_000))), "End 4004 -");
    }

    #[test]
    fn a_peer_that_answers_is_probed_again_and_again() {
        let begin = start();
        let mut session = signed_in(begin, 36_000);
        let mut now = begin;
        for _ in 0..100 {
            now = session.deadline();
            let mut acts = Vec::new();
            loop {
                let act = told(&session.tick(now));
                if act == "Nothing" {
                    break;
                }
                acts.push(act);
            }
            assert!(acts.iter().all(|act| act == "Probe" || act == "Cursor"), "{acts:?}");
            session.heard(after(now, 20));
        }
        assert!(now > after(begin, 50 * 25_000), "not more often than every 25 s each");
    }

    #[test]
    fn a_connection_to_which_events_go_needs_no_cursor() {
        let begin = start();
        let mut session = signed_in(begin, 3600);
        session.heard(after(begin, 20_000));
        session.spoke(after(begin, 20_000));
        assert_eq!(told(&session.tick(after(begin, 44_999))), "Nothing");
    }

    #[test]
    fn an_event_stream_is_never_given_up_for_silence() {
        let begin = start();
        let mut session = Session::new(Timing { silence: None, ..TIMING }, begin);
        session.signed_in(Duration::from_secs(36_000), begin);
        for round in 1..20 {
            assert_eq!(told(&session.tick(after(begin, round * 25_000))), "Cursor");
            assert_eq!(told(&session.tick(after(begin, round * 25_000))), "Nothing");
        }
    }

    #[test]
    fn when_the_token_runs_out_it_is_told_once_and_ends_after_the_grace() {
        let begin = start();
        let mut session = signed_in(begin, 3);
        assert_eq!(session.deadline(), after(begin, 3_000));
        assert_eq!(told(&session.tick(after(begin, 2_999))), "Nothing");
        assert!(told(&session.tick(after(begin, 3_000))).contains("token_expired"));
        assert_eq!(told(&session.tick(after(begin, 3_000))), "Nothing");
        session.heard(after(begin, 20_000));
        assert_eq!(told(&session.tick(after(begin, 28_000))), "End 4002 -");
    }

    #[test]
    fn a_new_token_lets_it_go_on() {
        let begin = start();
        let mut session = signed_in(begin, 3);
        session.tick(after(begin, 3_000));
        session.signed_in(Duration::from_secs(3600), after(begin, 4_000));
        session.heard(after(begin, 29_000));
        session.spoke(after(begin, 29_000));
        assert_eq!(told(&session.tick(after(begin, 29_000))), "Nothing");
    }
}
