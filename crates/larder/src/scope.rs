//! Scopes: what an entry belongs to, and so what can invalidate it.

use std::fmt;

/// Sixteen bytes that stand for a scope: `s` and 120 bits of a keyed BLAKE3 hash over kind, tenant and name.
///
/// Two scopes that collide are merged: an invalidation of one also drops entries of the other. Nothing stale can
/// come of it. This is the form in which scopes go to Redis (as members of the coherence key).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ScopeHash([u8; 16]);

impl ScopeHash {
    /// The bytes.
    pub const fn as_bytes(&self) -> &[u8; 16] {
        &self.0
    }

    /// From sixteen bytes as they came from the server; `None` if they are none of ours.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let bytes: [u8; 16] = bytes.try_into().ok()?;
        (bytes[0] == b's').then_some(Self(bytes))
    }
}

impl fmt::Debug for ScopeHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for byte in &self.0[1..5] {
            write!(f, "{byte:02x}")?;
        }
        Ok(())
    }
}
