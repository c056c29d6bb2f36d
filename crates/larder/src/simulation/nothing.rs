//! No simulator.

use super::{Limit, Mutant, Place};

#[inline(always)]
pub(crate) fn random() -> Option<u64> {
    None
}

#[inline(always)]
pub(crate) fn task<F: Future>(future: F) -> F {
    future
}

#[inline(always)]
pub(crate) fn pause(_place: Place) {}

#[inline(always)]
pub(crate) const fn is(_mutant: Mutant) -> bool {
    false
}

#[inline(always)]
pub(crate) const fn limit(_limit: Limit, usual: usize) -> usize {
    usual
}
