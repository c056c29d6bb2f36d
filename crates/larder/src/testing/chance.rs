//! Chance, from a seed.

use super::server::Fault;
use crate::store::StoreErrorKind;
use parking_lot::Mutex;
use std::sync::Arc;

#[derive(Default)]
struct State {
    seed: u64,
    /// In a thousand calls.
    faults: u64,
}

/// Draws; cheap to clone. Without a seed nothing ever happens.
#[derive(Clone, Default)]
pub(crate) struct Chance(Arc<Mutex<State>>);

impl Chance {
    pub(crate) fn seed(&self, seed: u64) {
        self.0.lock().seed = seed | 1 << 63;
    }

    /// From now on so many calls in a thousand fail in some way.
    pub(crate) fn faults(&self, in_a_thousand: u64) {
        self.0.lock().faults = in_a_thousand;
    }

    /// A number below `bound`; 0 without a seed.
    pub(crate) fn below(&self, bound: u64) -> u64 {
        let mut state = self.0.lock();
        if state.seed == 0 {
            return 0;
        }
        // SplitMix64
        state.seed = state.seed.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut drawn = state.seed;
        drawn = (drawn ^ (drawn >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        drawn = (drawn ^ (drawn >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (drawn ^ (drawn >> 31)) % bound
    }

    pub(crate) fn pick<T: Copy>(&self, from: &[T]) -> T {
        let at = self.below(from.len() as u64);
        from[usize::try_from(at).unwrap()]
    }

    /// Lets others run, for a while.
    pub(crate) async fn delay(&self) {
        for _ in 0..self.pick(&[0, 0, 1, 3, 10]) {
            tokio::task::yield_now().await;
        }
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        let faults = self.0.lock().faults;
        let kind = self.pick(&[StoreErrorKind::Disconnected, StoreErrorKind::Protocol]);
        match self.below(2000) {
            drawn if drawn < faults => Some(Fault::Fail(kind)),
            drawn if drawn < 2 * faults => Some(Fault::LoseReply(kind)),
            _ => None,
        }
    }
}
