//! The stay of one connection in one room, as others see it. It comes and goes faster than others are told, and what they are told
//! last has to be what holds.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::limits::STAYS;

/// The rooms in which others see a connection, or saw it a moment ago. Shared with what goes on after the connection.
#[derive(Clone, Debug, Default)]
pub(super) struct Stays(Arc<Mutex<HashMap<Box<str>, Stay, ahash::RandomState>>>);

/// One room.
#[derive(Debug)]
struct Stay {
    /// How often it has begun or ended.
    turn: u64,
    here: bool,
    /// Held while the log is told, so that it is told in the order of the turns.
    telling: Arc<tokio::sync::Mutex<()>>,
}

/// A beginning or an end, of which the log is to be told unless another has followed.
#[derive(Debug)]
pub(super) struct Turn {
    stays: Stays,
    room: Box<str>,
    turn: u64,
    telling: Arc<tokio::sync::Mutex<()>>,
}

/// Why a room can't be entered for others to see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TooMany;

impl Stays {
    /// Begins to be in a room, if it is not there already: the end that was about to come does not.
    pub(super) fn begin(&self, room: &str) -> Result<Option<Turn>, TooMany> {
        let mut stays = self.0.lock();
        if !stays.contains_key(room) {
            if stays.len() >= STAYS {
                return Err(TooMany);
            }
            stays.insert(room.into(), Stay { turn: 0, here: false, telling: Arc::default() });
        }
        Ok(self.turn(stays.get_mut(room), room, true))
    }

    /// Ends being in a room, if it is there.
    pub(super) fn end(&self, room: &str) -> Option<Turn> {
        self.turn(self.0.lock().get_mut(room), room, false)
    }

    /// Ends it in all rooms.
    pub(super) fn end_all(&self) -> Vec<Turn> {
        let mut stays = self.0.lock();
        stays.iter_mut().filter_map(|(room, stay)| self.turn(Some(stay), room, false)).collect()
    }

    fn turn(&self, stay: Option<&mut Stay>, room: &str, here: bool) -> Option<Turn> {
        let stay = stay.filter(|stay| stay.here != here)?;
        stay.here = here;
        stay.turn += 1;
        let telling = Arc::clone(&stay.telling);
        Some(Turn { stays: self.clone(), room: room.into(), turn: stay.turn, telling })
    }
}

impl Turn {
    pub(super) fn room(&self) -> &str {
        &self.room
    }

    /// Tells the log by `tell`, after what was told before; nothing where another turn has followed meanwhile.
    pub(super) async fn tell<T>(&self, tell: impl Future<Output = T>) -> Option<T> {
        let _in_order = self.telling.lock().await;
        if !self.holds() {
            return None;
        }
        let told = tell.await;
        self.forget();
        Some(told)
    }

    fn holds(&self) -> bool {
        self.stays.0.lock().get(&self.room).is_some_and(|stay| stay.turn == self.turn)
    }

    /// Who has left for good need not be remembered.
    fn forget(&self) {
        let mut stays = self.stays.0.lock();
        if stays.get(&self.room).is_some_and(|stay| stay.turn == self.turn && !stay.here) {
            stays.remove(&self.room);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::{pending, ready};

    #[test]
    fn an_end_that_a_beginning_has_followed_is_not_told() {
        let stays = Stays::default();
        let first = stays.begin("lobby").unwrap().expect("it was not there");
        assert_eq!(first.tell(ready(1)).now_or_never(), Some(Some(1)));
        assert!(stays.begin("lobby").unwrap().is_none(), "it is there already");
        let end = stays.end("lobby").unwrap();
        let again = stays.begin("lobby").unwrap().expect("it had gone");
        assert_eq!(end.tell(ready(2)).now_or_never(), Some(None));
        assert_eq!(again.tell(ready(3)).now_or_never(), Some(Some(3)));
        assert!(stays.end("lobby").is_some(), "it is there");
    }

    #[test]
    fn the_log_is_told_in_the_order_of_the_turns() {
        let stays = Stays::default();
        drop(stays.begin("lobby"));
        let end = stays.end("lobby").unwrap();
        let mut telling = Box::pin(end.tell(pending::<()>()));
        assert!(telling.as_mut().now_or_never().is_none(), "the log is being told");
        let again = stays.begin("lobby").unwrap().unwrap();
        let mut next = Box::pin(again.tell(ready(())));
        assert!(next.as_mut().now_or_never().is_none(), "first the log is told what was before");
        drop(telling);
        assert_eq!(next.now_or_never(), Some(Some(())));
    }

    #[test]
    fn who_has_left_is_forgotten_and_one_room_too_many_is_refused() {
        let stays = Stays::default();
        for room in 0..STAYS {
            assert!(stays.begin(&room.to_string()).is_ok());
        }
        assert!(matches!(stays.begin("one too many"), Err(TooMany)));
        let end = stays.end("7").unwrap();
        assert!(matches!(stays.begin("one too many"), Err(TooMany)), "the log has not been told yet");
        assert_eq!(end.tell(ready(())).now_or_never(), Some(Some(())));
        assert!(stays.begin("one too many").is_ok());
        assert_eq!(stays.end_all().len(), STAYS);
    }
}
