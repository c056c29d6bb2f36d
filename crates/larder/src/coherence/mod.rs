//! What this node knows of invalidations, its own and those of other nodes.
//!
//! **Architecture invariant:** no entry is served from memory without asking the [`Mirror`], and nothing but the mirror
//! makes a [`Fence`], without which nothing gets into memory.

#[cfg(test)]
mod bound;
#[cfg(test)]
mod expirations;
mod map;
mod mirror;
mod pause;
mod rules;
#[cfg(test)]
mod schedules;
mod watch;

pub(crate) use mirror::{Fence, Heard, Judged, Mirror, Stamped, Ticket};
pub(crate) use watch::{Made, Watch};
