//! What a Redis server pushes, in a stream of its answers: RESP3, as far as it takes to know where a frame ends.

use std::borrow::Cow;

/// Lengths and counts fit, and so does the kind of a frame.
const LINE: usize = 24;
/// Longer frames pass.
const HELD: usize = 1 << 20;

/// Where a stream of answers stands. It has to be followed from its first byte; streams of something else pass.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    place: Place,
    /// The beginning of the line that has not ended.
    line: Vec<u8>,
    /// Values of the frame that have not begun.
    left: u64,
    /// The frame, if it may have to be thrown away.
    held: Option<Vec<u8>>,
    /// How many messages were thrown away since this was last asked.
    lost: usize,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Place {
    /// In or before a line.
    #[default]
    Line,
    /// So many bytes are no line.
    Body(usize),
    /// It is not RESP, or nothing that is known here.
    Foreign,
}

impl Pushes {
    /// What passes of these bytes. `lose`: messages that begin in them do not.
    pub(super) fn pass<'a>(&mut self, bytes: &'a [u8], lose: bool) -> Cow<'a, [u8]> {
        if !lose && self.held.is_none() {
            let mut rest = bytes;
            while !rest.is_empty() {
                rest = &rest[self.step(rest)..];
            }
            return bytes.into();
        }
        let (mut rest, mut passing) = (bytes, Vec::with_capacity(bytes.len()));
        while let Some(first) = rest.first() {
            if lose && self.between_frames() && *first == b'>' {
                self.held = Some(Vec::new());
            }
            let (piece, after) = rest.split_at(self.step(rest));
            self.held.as_mut().unwrap_or(&mut passing).extend_from_slice(piece);
            rest = after;
            let too_long = self.held.as_ref().is_some_and(|held| held.len() > HELD);
            if (too_long || self.place == Place::Foreign || self.between_frames())
                && let Some(frame) = self.held.take()
            {
                match is_message(&frame) && self.between_frames() {
                    true => self.lost += 1,
                    false => passing.extend(frame),
                }
            }
        }
        passing.into()
    }

    /// How many messages were thrown away since this was last asked.
    pub(super) fn take_lost(&mut self) -> usize {
        std::mem::take(&mut self.lost)
    }

    fn between_frames(&self) -> bool {
        self.place == Place::Line && self.left == 0 && self.line.is_empty()
    }

    /// Goes on to the end of the line or the body; how many bytes that were.
    fn step(&mut self, bytes: &[u8]) -> usize {
        match self.place {
            Place::Foreign => bytes.len(),
            Place::Body(left) => {
                let taken = left.min(bytes.len());
                self.place = if taken == left { Place::Line } else { Place::Body(left - taken) };
                taken
            }
            Place::Line => {
                let end = bytes.iter().position(|byte| *byte == b'\n');
                let taken = end.map_or(bytes.len(), |end| end + 1);
                let room = LINE.saturating_sub(self.line.len());
                self.line.extend_from_slice(&bytes[..taken.min(room)]);
                if end.is_some() {
                    self.place = self.value().unwrap_or(Place::Foreign);
                    self.line.clear();
                }
                taken
            }
        }
    }

    /// A value begins with the line that has ended.
    fn value(&mut self) -> Option<Place> {
        let (kind, rest) = self.line.split_first()?;
        let number = || std::str::from_utf8(rest).ok()?.trim_end().parse::<i64>().ok();
        // The first of a frame is one of one.
        let others = self.left.max(1) - 1;
        let (children, body) = match kind {
            b'+' | b'-' | b':' | b'_' | b',' | b'#' | b'(' => (0, 0),
            b'$' | b'=' | b'!' => {
                (0, usize::try_from(number()?).map_or(0, |length| length.saturating_add(2)))
            }
            b'*' | b'~' | b'>' => (u64::try_from(number()?).unwrap_or(0), 0),
            b'%' => (u64::try_from(number()?).ok()?.checked_mul(2)?, 0),
            // Attributes belong to the value that follows.
            b'|' => (u64::try_from(number()?).ok()?.checked_mul(2)?.checked_add(1)?, 0),
            _ => return None,
        };
        self.left = others.checked_add(children)?;
        Some(if body == 0 { Place::Line } else { Place::Body(body) })
    }
}

/// Whether a pushed frame is what somebody published, and not the word that a subscription has begun or ended.
fn is_message(frame: &[u8]) -> bool {
    let Some(end) = frame.iter().position(|byte| *byte == b'\n') else { return false };
    let kinds: [&[u8]; 3] = [b"$7\r\nmessage\r\n", b"$8\r\nsmessage\r\n", b"$8\r\npmessage\r\n"];
    kinds.iter().any(|kind| frame[end + 1..].starts_with(kind))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SUBSCRIBED: &str = ">3\r\n$10\r\nssubscribe\r\n$1\r\nc\r\n:1\r\n";
    const MESSAGE: &str = ">3\r\n$8\r\nsmessage\r\n$1\r\nc\r\n$9\r\n>3\r\n$8\r\ns\r\n";

    fn stream() -> String {
        let reply = "*3\r\n$4\r\n>1\r\n\r\n%1\r\n+a\r\n:1\r\n$-1\r\n";
        let attribute = "|1\r\n+ttl\r\n:3\r\n*1\r\n,1.5\r\n";
        [
            SUBSCRIBED,
            reply,
            MESSAGE,
            "-ERR no, for a reason that is a long one\r\n",
            MESSAGE,
            attribute,
            "_\r\n",
        ]
        .concat()
    }

    fn passed(bytes: &[u8], at_a_time: usize, lose: bool) -> (String, usize) {
        let mut pushes = Pushes::default();
        let pieces = bytes.chunks(at_a_time).map(|piece| pushes.pass(piece, lose).into_owned());
        let passed = pieces.collect::<Vec<_>>().concat();
        (String::from_utf8(passed).unwrap(), pushes.take_lost())
    }

    #[test]
    fn of_any_pieces_of_a_stream_messages_are_lost_and_nothing_else() {
        let stream = stream();
        for at_a_time in 1..=stream.len() {
            assert_eq!(passed(stream.as_bytes(), at_a_time, false), (stream.clone(), 0));
            assert_eq!(passed(stream.as_bytes(), at_a_time, true), (stream.replace(MESSAGE, ""), 2));
        }
    }

    #[test]
    fn a_message_that_began_before_is_whole() {
        let mut pushes = Pushes::default();
        let (begun, rest) = MESSAGE.as_bytes().split_at(9);
        assert_eq!(pushes.pass(begun, false), begun);
        assert_eq!(pushes.pass(rest, true), rest);
        assert_eq!(pushes.pass(MESSAGE.as_bytes(), true), b"".as_slice());
        // And one that begins is lost as a whole.
        assert_eq!(pushes.pass(begun, true), b"".as_slice());
        assert_eq!(pushes.pass(rest, false), b"".as_slice());
        assert_eq!(pushes.take_lost(), 2);
        assert_eq!(pushes.pass(MESSAGE.as_bytes(), false), MESSAGE.as_bytes());
    }

    #[test]
    fn what_is_not_resp_passes() {
        let replication = ["+FULLRESYNC a 0\r\n$EOF:ab\r\n", MESSAGE, "ab"].concat();
        for foreign in [&replication, "HTTP/1.1 200 OK\r\n\r\n>1\r\n", "\r\n>1\r\n", ">x\r\n"] {
            assert_eq!(passed(foreign.as_bytes(), 3, true), (foreign.to_owned(), 0));
        }
    }
}
