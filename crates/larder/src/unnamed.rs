//! Which calls find tags in Redis that they do not name.
//!
//! A call that names no tags, or not those that the loader brought, learns from the entry what else could have invalidated
//! it. To ask for the stamps of that would be a second round trip; a script reads both in one, and costs Redis some
//! microseconds more for each entry. So it is asked for few entries at once, and where such tags are to be expected: at first
//! everywhere, and no more by a class of calls whose hits have had none for a while, until one has.

use crate::limits::PLAIN_AFTER;
use crate::scope::ScopeHash;
use crate::simulation::{Limit, limit};
use std::sync::atomic::{AtomicU8, Ordering};

/// Classes that are told apart. Some dozens are usual; those that fall together share what is expected of them, which costs
/// microseconds or a round trip and nothing else.
const CLASSES: usize = 1024;

/// For each class of calls: after how many reads in a row the hits had no tag that the call did not name.
#[derive(Debug)]
pub(crate) struct UnnamedTags(Box<[AtomicU8]>);

/// Calls for keys with the same first segment that all name tags, or all name none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Class(usize);

impl Default for UnnamedTags {
    fn default() -> Self {
        Self((0..CLASSES).map(|_| AtomicU8::new(0)).collect())
    }
}

impl UnnamedTags {
    /// The class of a call for a key whose first segment has this scope.
    pub(crate) fn class(first_segment: &ScopeHash, names_tags: bool) -> Class {
        let [.., high, low] = *first_segment.as_bytes();
        Class((usize::from(u16::from_be_bytes([high, low])) * 2 + usize::from(names_tags)) % CLASSES)
    }

    /// Whether a read of this class should ask for what entries carry.
    pub(crate) fn are_expected(&self, class: Class) -> bool {
        usize::from(self.0[class.0].load(Ordering::Relaxed)) < limit(Limit::PlainAfter, PLAIN_AFTER.into())
    }

    /// What one read has met: hits of these classes, each with a tag that the call did not name, or with none. However many
    /// hits of a class there are, they count as one.
    pub(crate) fn met(&self, mut hits: Vec<(Class, bool)>) {
        hits.sort_unstable();
        for of_class in hits.chunk_by(|(one, _), (other, _)| one == other) {
            let Some(&(class, unnamed)) = of_class.last() else { continue };
            let place = &self.0[class.0];
            let so_far = place.load(Ordering::Relaxed);
            let now = if unnamed { 0 } else { so_far.saturating_add(1) };
            // Of two at once one may be lost: it is an expectation, not a count.
            if now != so_far {
                place.store(now, Ordering::Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::key;
    use crate::scope::EntryScopes;

    fn class(key: &crate::Key, names_tags: bool) -> Class {
        UnnamedTags::class(&EntryScopes::of("acme", key).first_segment(), names_tags)
    }

    #[test]
    fn a_class_is_its_first_segment_and_whether_tags_are_named() {
        assert_eq!(class(&key!("page", 1), false), class(&key!("page", 2), false));
        assert_ne!(class(&key!("page", 1), false), class(&key!("page", 1), true));
        assert_ne!(class(&key!("page", 1), false), class(&key!("row", 1), false));
    }

    #[test]
    fn tags_are_expected_until_none_were_met_for_a_while_and_again_from_the_first_on() {
        let (unnamed, class) = (UnnamedTags::default(), class(&key!("page"), false));
        for round in 0..3 {
            for hit in 0..PLAIN_AFTER {
                assert!(unnamed.are_expected(class), "{round} {hit}");
                unnamed.met(vec![(class, false)]);
            }
            for _ in 0..1000 {
                assert!(!unnamed.are_expected(class));
                unnamed.met(vec![(class, false)]);
            }
            unnamed.met(vec![(class, true), (class, false)]);
        }
    }
}
