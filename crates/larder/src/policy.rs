//! How a value is cached.

use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_KEEP, MAX_TAGS};
use crate::scope::check_tag;
use crate::stamp::Stamp;
use smallvec::SmallVec;
use std::{sync::Arc, time::Duration};

/// How a value is cached: a plain value, made once and kept.
///
/// Contradictions are refused when the policy is used, with [`ErrorKind::InvalidPolicy`] or
/// [`ErrorKind::InvalidTag`]; nothing is repaired silently.
#[derive(Clone, Debug)]
pub struct Policy {
    pub(crate) ttl: Duration,
    pub(crate) stale_while_revalidate: Duration,
    pub(crate) stale_if_error: Duration,
    pub(crate) retry_after: Duration,
    pub(crate) negative_ttl: Option<Duration>,
    pub(crate) load_timeout: Option<Duration>,
    pub(crate) jitter: f32,
    pub(crate) tags: SmallVec<[Arc<str>; 2]>,
    /// What a lookup must reflect: see [`Tenant::at_least`](crate::Tenant::at_least).
    pub(crate) at_least: Option<Stamp>,
}

impl Policy {
    /// Fresh for `ttl` (more than zero, at most 30 days with the stale time), with 10 % jitter and nothing else.
    #[must_use]
    pub fn ttl(ttl: Duration) -> Self {
        Self {
            ttl,
            stale_while_revalidate: Duration::ZERO,
            stale_if_error: Duration::ZERO,
            retry_after: Duration::from_secs(1),
            negative_ttl: None,
            load_timeout: None,
            jitter: 0.10,
            tags: SmallVec::new(),
            at_least: None,
        }
    }

    /// Labels the entry; an invalidation of the tag drops it. At most 32 tags of 256 bytes.
    #[must_use]
    pub fn tag(mut self, tag: impl AsRef<str>) -> Self {
        self.tags.push(Arc::from(tag.as_ref()));
        self
    }

    /// More tags.
    #[must_use]
    pub fn tags<T: AsRef<str>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(|tag| Arc::from(tag.as_ref())));
        self
    }

    /// After its TTL the value is still served for this long, while a load runs behind (RFC 5861 §3). Default: zero.
    #[must_use]
    pub fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.stale_while_revalidate = window;
        self
    }

    /// After its TTL the value is still served for this long where a load fails (RFC 5861 §4). Default: zero. An
    /// invalidated value is never served, whatever fails.
    #[must_use]
    pub fn stale_if_error(mut self, window: Duration) -> Self {
        self.stale_if_error = window;
        self
    }

    /// How long the stale value is served after a failed load before the next load is tried. Default: 1 s.
    #[must_use]
    pub fn retry_after(mut self, pause: Duration) -> Self {
        self.retry_after = pause;
        self
    }

    /// How long absence (`None` of a loader) is remembered. Default: not at all.
    #[must_use]
    pub fn negative_ttl(mut self, ttl: Duration) -> Self {
        self.negative_ttl = Some(ttl);
        self
    }

    /// Hard time-out of one load. Default: the cache's.
    #[must_use]
    pub fn load_timeout(mut self, limit: Duration) -> Self {
        self.load_timeout = Some(limit);
        self
    }

    /// By which part of the TTL an entry may expire early, so that entries made together do not expire together.
    /// Default 0.1; from 0 to 0.9.
    #[must_use]
    pub fn jitter(mut self, part: f32) -> Self {
        self.jitter = part;
        self
    }

    /// The longest time any value under this policy is kept beyond its TTL.
    pub(crate) fn stale_window(&self) -> Duration {
        self.stale_while_revalidate.max(self.stale_if_error)
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        let mut wrong = Vec::new();
        if self.ttl.is_zero() {
            wrong.push("ttl is zero: use the loader directly for what must not be cached".to_owned());
        }
        let keep = self.ttl.saturating_add(self.stale_window());
        if keep > MAX_KEEP {
            wrong.push(format!("ttl with stale time is {keep:?}, beyond the limit of {MAX_KEEP:?}"));
        }
        if self.negative_ttl.is_some_and(|ttl| ttl.is_zero() || ttl > MAX_KEEP) {
            wrong.push(format!(
                "negative_ttl is {:?}: more than zero, at most {MAX_KEEP:?}",
                self.negative_ttl
            ));
        }
        if !(0.0..=0.9).contains(&self.jitter) {
            wrong.push(format!("jitter is {}: from 0 to 0.9", self.jitter));
        }
        if self.load_timeout.is_some_and(|limit| limit.is_zero()) {
            wrong.push("load_timeout is zero".to_owned());
        }
        if !wrong.is_empty() {
            return Err(Error::new(ErrorKind::InvalidPolicy, wrong.join("; ")));
        }
        if self.tags.len() > MAX_TAGS {
            let why = format!("{} tags, at most {MAX_TAGS}", self.tags.len());
            return Err(Error::new(ErrorKind::InvalidTag, why));
        }
        self.tags.iter().try_for_each(|tag| check_tag(tag))
    }
}

impl AsRef<Policy> for Policy {
    fn as_ref(&self) -> &Policy {
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_contradictions_are_named_at_once() {
        let policy = Policy::ttl(Duration::ZERO).jitter(2.0).load_timeout(Duration::ZERO);
        let text = policy.check().expect_err("contradicts itself").to_string();
        assert!(
            text.contains("ttl is zero") && text.contains("jitter is 2") && text.contains("load_timeout")
        );
    }

    #[test]
    fn the_limit_of_tags_holds_and_one_past_it_is_refused() {
        let tags = |n: usize| Policy::ttl(Duration::from_secs(1)).tags((0..n).map(|i| format!("t{i}")));
        assert!(tags(MAX_TAGS).check().is_ok());
        assert_eq!(tags(MAX_TAGS + 1).check().expect_err("too many").kind(), ErrorKind::InvalidTag);
    }

    #[test]
    fn the_longest_ttl_is_taken_and_one_more_refused() {
        assert!(Policy::ttl(MAX_KEEP).check().is_ok());
        assert!(Policy::ttl(MAX_KEEP + Duration::from_nanos(1)).check().is_err());
        assert!(Policy::ttl(Duration::MAX).check().is_err());
    }
}
