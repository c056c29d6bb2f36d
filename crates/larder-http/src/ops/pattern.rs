//! Patterns of keys, and the scopes that can be cleared at once.

use larder::{Key, Selector, all, glob};

/// What a pattern covers, widened to whole segments: the engine invalidates those at once, whatever is under them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Prefix {
    /// As people write them.
    segments: Vec<String>,
}

impl Prefix {
    /// The narrowest prefix of whole segments that covers what `pattern` matches. None: everything.
    ///
    /// `campaigns:*` and `campaigns` are the prefix `campaigns`; `campaigns:pa*` is widened to it, `camp*` to everything.
    /// `?`, `[` and `\` are no wildcards here, but whoever writes them may mean so: they widen, too.
    pub(super) fn of(pattern: &str) -> Self {
        let wild = |segment: &&str| segment.contains(['*', '?', '[', '\\']);
        let segments = pattern.split(':').take_while(|segment| !wild(segment)).map(str::to_owned).collect();
        Self { segments }
    }

    /// The first segment, without escapes.
    pub(super) fn first(&self) -> Option<String> {
        self.segments.first().map(|segment| plain(segment))
    }

    /// The same, widened to its first segment.
    pub(super) fn widened(mut self) -> Self {
        self.segments.truncate(1);
        self
    }

    /// The segments as a key, if there are any.
    pub(super) fn key(&self) -> Option<Key> {
        let key = self.segments.iter().fold(Key::empty(), |key, segment| key.with(plain(segment)));
        (!self.segments.is_empty()).then_some(key)
    }
}

impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.segments.iter().try_for_each(|segment| write!(f, "{segment}:"))?;
        f.write_str("*")
    }
}

/// What a pattern covers within one tenant.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Covers {
    /// Whole segments.
    Prefix(Prefix),
    /// What the engine matches itself.
    Pattern(String),
}

impl Covers {
    /// `camp*` and `campaigns:*:limit:20` are matched; `campaigns:*` is the prefix that it says. With `?`, `[` or `\\`
    /// somebody may have meant more than the characters: that is widened to whole segments.
    pub(super) fn of(pattern: &str) -> Self {
        let prefix = Prefix::of(pattern);
        let body = pattern.strip_suffix(":*").unwrap_or(pattern);
        if pattern == "*" || !body.contains('*') || pattern.contains(['?', '[', '\\']) {
            return Self::Prefix(prefix);
        }
        Self::Pattern(pattern.to_owned())
    }

    pub(super) fn selector(&self) -> Selector {
        match self {
            Self::Prefix(prefix) => prefix.key().map_or_else(all, Selector::Prefix),
            Self::Pattern(pattern) => glob(pattern),
        }
    }
}

impl std::fmt::Display for Covers {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Prefix(prefix) => prefix.fmt(f),
            Self::Pattern(pattern) => f.write_str(pattern),
        }
    }
}

/// A segment without its escapes, as it was given when the key was made. What is no escape stands for itself.
fn plain(segment: &str) -> String {
    let (mut out, mut rest) = (Vec::with_capacity(segment.len()), segment.as_bytes());
    while let [byte, tail @ ..] = rest {
        let escaped = tail.first_chunk::<2>().and_then(|digits| std::str::from_utf8(digits).ok());
        match escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok()) {
            Some(decoded) if *byte == b'%' => {
                out.push(decoded);
                rest = &tail[2..];
            }
            _ => {
                out.push(*byte);
                rest = tail;
            }
        }
    }
    String::from_utf8(out).unwrap_or_else(|_| segment.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::key;

    #[test]
    fn whole_segments_are_kept_and_anything_else_is_widened() {
        for (pattern, expected) in [
            ("*", "*"),
            ("campaigns:*", "campaigns:*"),
            ("campaigns", "campaigns:*"),
            ("campaigns:page:1:*", "campaigns:page:1:*"),
            ("stats:", "stats::*"),
            ("camp*", "*"),
            ("*:page:1", "*"),
            ("campaigns:pa*", "campaigns:*"),
            ("campaigns:*:limit:20", "campaigns:*"),
            ("campaigns:page:?:limit:20", "campaigns:page:*"),
            ("campaigns:[ab]:1", "campaigns:*"),
        ] {
            assert_eq!(Prefix::of(pattern).to_string(), expected, "{pattern}");
        }
    }

    #[test]
    fn within_a_tenant_only_what_may_mean_more_is_widened() {
        for (pattern, expected) in [
            ("*", "*"),
            ("campaigns:*", "campaigns:*"),
            ("campaigns", "campaigns:*"),
            ("camp*", "camp*"),
            ("*:page:1", "*:page:1"),
            ("campaigns:*:limit:20", "campaigns:*:limit:20"),
            ("campaigns:*:*", "campaigns:*:*"),
            ("campaigns:page:?:*", "campaigns:page:*"),
            ("c[a]*", "*"),
        ] {
            assert_eq!(Covers::of(pattern).to_string(), expected, "{pattern}");
        }
        assert_eq!(Covers::of("camp*").selector(), glob("camp*"));
        assert_eq!(Covers::of("camp:*").selector(), Selector::Prefix(key!("camp")));
    }

    #[test]
    fn what_people_see_escaped_selects_what_was_meant() {
        let odd = key!("campaigns", "a:b%c", 1);
        let pattern = format!("{}:*", odd.as_str());
        assert_eq!(Prefix::of(&pattern).key(), Some(odd));
        assert_eq!(Prefix::of("100%:*").key(), Some(key!("100%")));
        assert_eq!(Prefix::of("%3A").first(), Some(":".to_owned()));
        assert_eq!(Prefix::of("a%zz%4").first(), Some("a%zz%4".to_owned()));
        assert_eq!(Prefix::of("*").key(), None);
    }

    #[test]
    fn widening_keeps_the_first_segment() {
        assert_eq!(Prefix::of("campaigns:page:*").widened(), Prefix::of("campaigns:*"));
        assert_eq!(Prefix::of("*").widened(), Prefix::of("*"));
    }
}
