//! Places where another thread may run between two steps of the protocol. Tests put something there, and a simulator
//! another thread; otherwise they are nothing.

pub(super) use crate::simulation::Place;

#[cfg(not(test))]
#[derive(Default)]
pub(super) struct Pauses(());

#[cfg(not(test))]
impl Pauses {
    #[inline(always)]
    pub(super) fn at(&self, place: Place) {
        crate::simulation::pause(place);
    }
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
            crate::simulation::pause(place);
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
