//! Places where another thread may run between two steps of the protocol. Tests put something there; otherwise they are
//! nothing.

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// A hit has seen the lease, not yet the counter.
    LeaseSeen,
    /// A hit has seen the counter, not yet the map.
    CounterSeen,
    /// A hit has checked the map, and has not yet remembered that.
    MapChecked,
    /// An admission has checked the map, and its entry is not yet made.
    Admitted,
    /// The sweep has checked an entry, and not yet re-stamped it.
    Swept,
    /// The map is about to change.
    Changing,
}

#[cfg(not(test))]
#[derive(Default)]
pub(super) struct Pauses(());

#[cfg(not(test))]
impl Pauses {
    #[inline(always)]
    pub(super) fn at(&self, _place: Place) {}
}

#[cfg(test)]
pub(super) use here::Pauses;

#[cfg(test)]
mod here {
    use super::Place;
    use parking_lot::Mutex;

    type Other = Box<dyn FnOnce() + Send>;

    /// What happens at a place, once.
    #[derive(Default)]
    pub(in super::super) struct Pauses(Mutex<Option<(Place, Other)>>);

    impl Pauses {
        pub(in super::super) fn on(&self, place: Place, other: impl FnOnce() + Send + 'static) {
            *self.0.lock() = Some((place, Box::new(other)));
        }

        pub(in super::super) fn at(&self, place: Place) {
            let other = self.0.lock().take_if(|(at, _)| *at == place);
            if let Some((_, other)) = other {
                other();
            }
        }

        /// Whether what was put somewhere has happened.
        pub(in super::super) fn happened(&self) -> bool {
            self.0.lock().is_none()
        }
    }
}
