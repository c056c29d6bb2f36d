//! Rules of the protocol that a simulation can switch off, to see that it notices.

/// A rule of the protocol, switched off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Mutant {
    /// A hit does not look at the lease.
    NoLease,
}

impl Mutant {
    /// All of them.
    pub const ALL: &[Self] = &[Self::NoLease];
}
