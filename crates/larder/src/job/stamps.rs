//! What a read of Redis says of scopes.

use crate::scope::ScopeHash;
use crate::store::ReadReply;

/// The stamps that a read brought, by scope.
pub(crate) struct Stamps(Vec<Known>);

struct Known {
    scope: ScopeHash,
    /// When it was invalidated last, or expired if that is its form; `None` if never.
    stamp: Option<u64>,
    /// Whether the call named it, and did not find it on an entry only.
    named: bool,
}

impl Stamps {
    /// Of the scopes that were asked for, and of the tags that came with them.
    pub(crate) fn new(asked: Vec<ScopeHash>, reply: &mut ReadReply) -> Self {
        let named = asked.into_iter().zip(reply.stamps.drain(..));
        let named = named.map(|(scope, stamp)| Known { scope, stamp, named: true });
        let found = reply.tags.drain(..).map(|(scope, stamp)| Known { scope, stamp, named: false });
        let mut all: Vec<_> = named.chain(found).collect();
        all.sort_unstable_by_key(|known| known.scope);
        Self(all)
    }

    fn find(&self, scope: &ScopeHash) -> Option<&Known> {
        self.0.binary_search_by_key(scope, |known| known.scope).ok().map(|place| &self.0[place])
    }

    /// Whether it is known of all of these.
    pub(crate) fn knows_all(&self, scopes: &[ScopeHash]) -> bool {
        scopes.iter().all(|scope| self.find(scope).is_some())
    }

    /// Whether the call named all of these.
    pub(super) fn names_all(&self, scopes: &[ScopeHash]) -> bool {
        scopes.iter().all(|scope| self.find(scope).is_some_and(|known| known.named))
    }

    /// What has happened to these scopes after `ver`: which was invalidated last when, and which was, in its soft form,
    /// expired.
    pub(crate) fn later<'a>(
        &'a self,
        scopes: &'a [ScopeHash],
        ver: u64,
    ) -> impl Iterator<Item = (ScopeHash, u64)> {
        let both = scopes.iter().flat_map(|scope| [*scope, scope.soft()]);
        both.filter_map(move |scope| Some((scope, self.find(&scope)?.stamp.filter(|stamp| *stamp > ver)?)))
    }
}
