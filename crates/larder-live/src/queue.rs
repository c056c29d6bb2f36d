//! What waits to be sent on one connection: bounded by bytes and by count, filled by whoever has something to say, emptied by the
//! connection's own task.

use std::collections::VecDeque;
use std::sync::Arc;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use larder::LoggedEvent;
use parking_lot::Mutex;

use crate::protocol::{CloseCode, Frame};

/// A queue of frames. Nothing that is logged is ever dropped silently: when more waits than may, everything is dropped and the
/// connection closed with 4003, and its client recovers by position.
#[derive(Debug)]
pub(crate) struct Queue {
    inner: Mutex<Inner>,
    max_bytes: usize,
    max_frames: usize,
}

#[derive(Debug)]
struct Inner {
    frames: VecDeque<Frame>,
    /// What was missed, before what is held. Of many connections they are the same events, so they are encoded only when their turn
    /// comes; that is why they count in no bound but [`RECOVERY_EVENTS`](crate::limits::RECOVERY_EVENTS) and its bytes.
    missed: Option<Missed>,
    /// Live events of a connection to which the missed ones have not been given yet.
    held: Option<VecDeque<Frame>>,
    /// Of `frames` and `held`.
    bytes: usize,
    count: usize,
    /// With which code the connection ends when all before it is sent.
    close: Option<CloseCode>,
    /// It ends now, whatever waited.
    aborted: bool,
    /// Somebody has been told of the end.
    told: bool,
    waker: Option<Waker>,
    /// Since when something waits that could be had, and nobody has asked for it.
    left: Option<Instant>,
    dropped: u64,
}

#[derive(Debug)]
struct Missed {
    events: std::vec::IntoIter<Arc<LoggedEvent>>,
    end: Frame,
}

/// What comes next.
#[derive(Debug)]
pub(crate) enum Next {
    Frame(Frame),
    /// Everything was sent; the connection ends.
    Close(CloseCode),
    /// Nothing; whoever asked is woken when there is.
    Nothing,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pushed {
    Queued,
    /// It was ephemeral, and there was no room; or older ephemeral ones made room.
    Dropped(u64),
    /// There was no room: the connection ends with 4003.
    Overflow,
    /// The connection ends anyway.
    Closed,
}

impl Queue {
    pub(crate) fn new(max_bytes: usize, max_frames: usize) -> Self {
        let inner = Inner {
            frames: VecDeque::new(),
            missed: None,
            held: None,
            bytes: 0,
            count: 0,
            close: None,
            aborted: false,
            told: false,
            waker: None,
            left: None,
            dropped: 0,
        };
        Self { inner: Mutex::new(inner), max_bytes, max_frames }
    }

    /// From here on what is [pushed](Self::push) is held back until [`start`](Self::start).
    pub(crate) fn hold(&self) {
        self.inner.lock().held.get_or_insert_default();
    }

    /// What was missed comes now, then `end`, then what was held back.
    pub(crate) fn start(&self, missed: Vec<Arc<LoggedEvent>>, end: Frame) {
        let mut inner = self.inner.lock();
        if inner.close.is_none() {
            inner.missed = Some(Missed { events: missed.into_iter(), end });
            inner.offer();
        }
    }

    /// A live event.
    pub(crate) fn push(&self, frame: Frame) -> Pushed {
        self.put(frame, true)
    }

    /// What is not held back: answers.
    pub(crate) fn push_now(&self, frame: Frame) -> Pushed {
        self.put(frame, false)
    }

    fn put(&self, frame: Frame, may_hold: bool) -> Pushed {
        let inner = &mut *self.inner.lock();
        if inner.close.is_some() {
            return Pushed::Closed;
        }
        let mut dropped = 0;
        while inner.bytes + frame.len() > self.max_bytes || inner.count >= self.max_frames {
            if inner.drop_ephemeral() {
                dropped += 1;
            } else if frame.is_ephemeral() {
                inner.dropped += 1;
                return Pushed::Dropped(dropped + 1);
            } else {
                inner.end(CloseCode::Slow);
                return Pushed::Overflow;
            }
        }
        inner.bytes += frame.len();
        inner.count += 1;
        match &mut inner.held {
            Some(held) if may_hold => held.push_back(frame),
            _ => {
                inner.frames.push_back(frame);
                inner.offer();
            }
        }
        if dropped == 0 { Pushed::Queued } else { Pushed::Dropped(dropped) }
    }

    /// Ends the connection after what waits. The first code counts.
    pub(crate) fn close(&self, code: CloseCode) {
        let inner = &mut *self.inner.lock();
        if inner.close.is_none() {
            inner.close = Some(code);
            inner.wake();
        }
    }

    /// Ends the connection now: what waits is dropped.
    pub(crate) fn abort(&self, code: CloseCode) {
        let inner = &mut *self.inner.lock();
        if inner.close.is_none() {
            inner.end(code);
        }
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.inner.lock().close.is_some()
    }

    /// The next frame; only one task asks.
    pub(crate) fn poll(&self, cx: &Context<'_>) -> Next {
        let inner = &mut *self.inner.lock();
        if let Some(frame) = inner.take() {
            inner.left = (!inner.frames.is_empty() || inner.missed.is_some()).then(Instant::now);
            return Next::Frame(frame);
        }
        if let Some(code) = inner.close {
            return Next::Close(code);
        }
        // A burst must not be paid for by every idle connection for ever.
        if inner.frames.capacity() > 32 {
            inner.frames = VecDeque::new();
        }
        inner.register(cx);
        Next::Nothing
    }

    /// The code with which it ends, to whoever asks first: for counting.
    pub(crate) fn take_end(&self) -> Option<CloseCode> {
        let inner = &mut *self.inner.lock();
        let first = !std::mem::replace(&mut inner.told, inner.close.is_some());
        inner.close.filter(|_| first)
    }

    /// How long something has been waiting for which nobody asks. What is held back can't be had, and counts for nothing here.
    pub(crate) fn stalled(&self) -> Duration {
        self.inner.lock().left.map_or(Duration::ZERO, |since| since.elapsed())
    }

    /// Whether it ends now; to be asked by the task that can't take frames for the moment.
    pub(crate) fn poll_aborted(&self, cx: &Context<'_>) -> Option<CloseCode> {
        let inner = &mut *self.inner.lock();
        inner.register(cx);
        inner.close.filter(|_| inner.aborted)
    }
}

impl Inner {
    /// There is something that can be had.
    fn offer(&mut self) {
        self.left.get_or_insert_with(Instant::now);
        self.wake();
    }

    fn take(&mut self) -> Option<Frame> {
        if let Some(frame) = self.frames.pop_front() {
            self.bytes -= frame.len();
            self.count -= 1;
            return Some(frame);
        }
        if let Some(event) = self.missed.as_mut()?.events.next() {
            return Some(Frame::logged(&event, true));
        }
        let end = self.missed.take()?.end;
        self.frames = self.held.take().unwrap_or_default();
        Some(end)
    }

    fn register(&mut self, cx: &Context<'_>) {
        if !self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            self.waker = Some(cx.waker().clone());
        }
    }

    fn wake(&self) {
        if let Some(waker) = &self.waker {
            waker.wake_by_ref();
        }
    }

    /// Drops the oldest ephemeral frame.
    fn drop_ephemeral(&mut self) -> bool {
        let queues = [Some(&mut self.frames), self.held.as_mut()];
        for queue in queues.into_iter().flatten() {
            if let Some(at) = queue.iter().position(Frame::is_ephemeral) {
                let frame = queue.remove(at).expect("it was just found there");
                self.bytes -= frame.len();
                self.count -= 1;
                self.dropped += 1;
                return true;
            }
        }
        false
    }

    fn end(&mut self, code: CloseCode) {
        self.close = Some(code);
        self.frames = VecDeque::new();
        self.missed = None;
        self.held = None;
        self.left = None;
        self.aborted = true;
        (self.bytes, self.count) = (0, 0);
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use serde_json::value::RawValue;

    fn durable(offset: u64) -> Frame {
        Frame::event(&format!("k:{offset}").parse().unwrap(), "{}", false)
    }

    fn ephemeral(text: &str) -> Frame {
        Frame::message(text, "1", &RawValue::from_string("1".to_owned()).unwrap())
    }

    fn all(queue: &Queue) -> (Vec<String>, Option<CloseCode>) {
        let cx = Context::from_waker(noop_waker_ref());
        let mut frames = Vec::new();
        loop {
            match queue.poll(&cx) {
                Next::Frame(frame) => frames.push(frame.as_str().to_owned()),
                Next::Close(code) => return (frames, Some(code)),
                Next::Nothing => return (frames, None),
            }
        }
    }

    #[test]
    fn frames_leave_in_the_order_in_which_they_came() {
        let queue = Queue::new(1000, 10);
        for offset in 1..=3 {
            assert_eq!(queue.push(durable(offset)), Pushed::Queued);
        }
        let (frames, close) = all(&queue);
        assert_eq!(frames.len(), 3);
        assert!(frames[0].contains(r#""offset":1"#) && frames[2].contains(r#""offset":3"#));
        assert_eq!(close, None);
    }

    #[test]
    fn one_frame_past_the_count_closes_with_4003_and_frees_what_waited() {
        let queue = Queue::new(100_000, 4);
        for offset in 1..=4 {
            assert_eq!(queue.push(durable(offset)), Pushed::Queued);
        }
        assert_eq!(queue.push(durable(5)), Pushed::Overflow);
        assert_eq!(all(&queue), (vec![], Some(CloseCode::Slow)));
        assert_eq!(queue.push(durable(6)), Pushed::Closed);
    }

    #[test]
    fn one_byte_past_the_bytes_closes_with_4003() {
        let size = durable(1).len();
        let queue = Queue::new(2 * size, 100);
        assert_eq!(queue.push(durable(1)), Pushed::Queued);
        assert_eq!(queue.push(durable(2)), Pushed::Queued);
        assert_eq!(queue.push(durable(3)), Pushed::Overflow);
        let queue = Queue::new(2 * size - 1, 100);
        assert_eq!(queue.push(durable(1)), Pushed::Queued);
        assert_eq!(queue.push(durable(2)), Pushed::Overflow);
    }

    #[test]
    fn the_oldest_ephemeral_frames_make_room_for_durable_ones() {
        let queue = Queue::new(100_000, 3);
        queue.push(ephemeral("first"));
        queue.push(durable(1));
        queue.push(ephemeral("second"));
        assert_eq!(queue.push(durable(2)), Pushed::Dropped(1));
        assert_eq!(queue.push(ephemeral("third")), Pushed::Dropped(1));
        let (frames, close) = all(&queue);
        assert!(frames[0].contains(r#""offset":1"#) && frames[1].contains(r#""offset":2"#), "{frames:?}");
        assert!(frames[2].contains("third"), "{frames:?}");
        assert_eq!(close, None);
    }

    #[test]
    fn an_ephemeral_frame_never_closes_a_full_queue() {
        let queue = Queue::new(100_000, 2);
        queue.push(durable(1));
        queue.push(durable(2));
        assert_eq!(queue.push(ephemeral("x")), Pushed::Dropped(1));
        assert_eq!(all(&queue).0.len(), 2);
    }

    #[test]
    fn live_events_wait_for_the_missed_ones() {
        let queue = Queue::new(100_000, 10);
        queue.hold();
        queue.push(durable(3));
        queue.push_now(Frame::ok(None, ""));
        assert_eq!(all(&queue).0.len(), 1);
        queue.push(durable(4));
        queue.start(Vec::new(), durable(2));
        queue.push(durable(5));
        let (frames, _) = all(&queue);
        let offsets: Vec<_> = frames.iter().map(|text| text.split("offset\":").nth(1).unwrap()).collect();
        assert_eq!(offsets, ["2}", "3}", "4}", "5}"]);
    }

    #[test]
    fn what_is_held_counts_and_its_overflow_closes() {
        let queue = Queue::new(100_000, 2);
        queue.hold();
        queue.push(durable(1));
        queue.push(durable(2));
        assert_eq!(queue.push(durable(3)), Pushed::Overflow);
        queue.start(Vec::new(), durable(9));
        assert_eq!(all(&queue), (vec![], Some(CloseCode::Slow)));
    }

    #[test]
    fn only_what_can_be_had_and_is_not_asked_for_is_left() {
        let queue = Queue::new(100_000, 10);
        let left = |queue: &Queue| queue.inner.lock().left;
        queue.hold();
        queue.push(durable(3));
        assert_eq!((left(&queue), queue.stalled()), (None, Duration::ZERO), "it is held back");
        let idle = Instant::now();
        queue.start(Vec::new(), durable(2));
        assert!(left(&queue).unwrap() >= idle, "it waits from now on, however long nobody has asked");
        let since = left(&queue);
        queue.push_now(Frame::ok(None, ""));
        assert_eq!(left(&queue), since);
        let cx = Context::from_waker(noop_waker_ref());
        assert!(matches!(queue.poll(&cx), Next::Frame(_)));
        assert!(left(&queue) > since, "the rest waits since somebody has asked");
        all(&queue);
        assert_eq!(left(&queue), None);
        queue.push(durable(4));
        queue.abort(CloseCode::Slow);
        assert_eq!(left(&queue), None);
    }

    #[test]
    fn a_close_comes_after_what_waits_and_the_first_code_counts() {
        let queue = Queue::new(100_000, 10);
        queue.push(durable(1));
        queue.close(CloseCode::Drain);
        queue.close(CloseCode::Kicked);
        assert_eq!(queue.push(durable(2)), Pushed::Closed);
        let (frames, close) = all(&queue);
        assert_eq!((frames.len(), close), (1, Some(CloseCode::Drain)));
        queue.abort(CloseCode::Slow);
        assert_eq!(all(&queue).1, Some(CloseCode::Drain));
    }
}
