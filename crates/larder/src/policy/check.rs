//! What contradicts itself or a limit, all at once, with the values.

use super::Policy;
use crate::error::{Error, ErrorKind};
use crate::limits::{MAX_COOLDOWN, MAX_EAGERNESS, MAX_KEEP, MAX_LOAD_TIMEOUT, MAX_TAGS};
use crate::scope::check_tag;
use std::time::Duration;

impl Policy {
    /// Whether lookups may use it: they fail under a policy that contradicts itself or a limit. For policies that are made
    /// at start from what somebody configured. Time-outs that are longer than the cache's own
    /// ([`CacheBuilder::load_timeout`](crate::CacheBuilder::load_timeout)) are found by the lookup only.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidPolicy`] with all contradictions at once, [`ErrorKind::InvalidTag`].
    pub fn validate(&self) -> Result<(), Error> {
        self.check(MAX_LOAD_TIMEOUT)
    }

    /// Checks it for a cache whose loads may take `load_timeout` unless the policy says otherwise.
    pub(crate) fn check(&self, load_timeout: Duration) -> Result<(), Error> {
        let mut wrong = Vec::new();
        self.check_times(&mut wrong);
        self.check_waiting(self.load_timeout.unwrap_or(load_timeout), &mut wrong);
        if !(0.0..=0.9).contains(&self.jitter) {
            wrong.push(format!("jitter is {}: from 0 to 0.9", self.jitter));
        }
        if !(0.0..=MAX_EAGERNESS).contains(&self.eager_refresh) {
            wrong.push(format!("eager_refresh is {}: from 0 to {MAX_EAGERNESS}", self.eager_refresh));
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

    fn check_times(&self, wrong: &mut Vec<String>) {
        if self.ttl.is_zero() {
            wrong.push("ttl is zero: use the loader directly for what must not be cached".to_owned());
        }
        let keep = self.ttl.saturating_add(self.stale_window());
        if keep > MAX_KEEP {
            wrong.push(format!("ttl with stale time is {keep:?}, beyond the limit of {MAX_KEEP:?}"));
        }
        if let Some(ttl) = self.negative_ttl
            && (ttl.is_zero() || ttl > MAX_KEEP)
        {
            wrong.push(format!("negative_ttl is {ttl:?}: more than zero, at most {MAX_KEEP:?}"));
        }
        if self.failure_cooldown > MAX_COOLDOWN {
            let given = self.failure_cooldown;
            wrong.push(format!("failure_cooldown is {given:?}, beyond the limit of {MAX_COOLDOWN:?}"));
        }
    }

    fn check_waiting(&self, load_timeout: Duration, wrong: &mut Vec<String>) {
        let limits = [
            ("soft_timeout", self.soft_timeout),
            ("hard_timeout", self.hard_timeout),
            ("load_timeout", Some(load_timeout)),
        ];
        let given = || limits.iter().filter_map(|(name, limit)| Some((name, (*limit)?)));
        for (at, (name, limit)) in given().enumerate() {
            if limit.is_zero() && (*name != "load_timeout" || self.load_timeout.is_some()) {
                wrong.push(format!("{name} is zero"));
            }
            if let Some((longer, shorter)) = given().skip(at + 1).find(|(_, other)| limit > *other) {
                wrong.push(format!("{name} is {limit:?}, longer than {longer}, which is {shorter:?}"));
            }
        }
        let (error, revalidate) = (self.stale_if_error, self.stale_while_revalidate);
        if let Some(limit) = self.soft_timeout
            && error <= revalidate
        {
            wrong.push(format!(
                "soft_timeout is {limit:?}, but stale_if_error ({error:?}) does not reach beyond \
                 stale_while_revalidate ({revalidate:?}): there would never be a value to serve then"
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    #[test]
    fn time_outs_that_contradict_each_other_are_refused_with_both_values() {
        let policy = Policy::ttl(SECOND).stale_if_error(SECOND);
        let refused = |policy: Policy| policy.check(10 * SECOND).expect_err("contradicts itself").to_string();
        let soft = refused(policy.clone().soft_timeout(3 * SECOND).hard_timeout(2 * SECOND));
        assert_eq!(soft, "soft_timeout is 3s, longer than hard_timeout, which is 2s");
        let hard = refused(policy.clone().hard_timeout(11 * SECOND));
        assert_eq!(hard, "hard_timeout is 11s, longer than load_timeout, which is 10s");
        let never = refused(policy.clone().soft_timeout(SECOND).stale_while_revalidate(SECOND));
        assert!(never.contains("soft_timeout is 1s") && never.contains("stale_if_error (1s)"), "{never}");
        let fine = policy.soft_timeout(SECOND).hard_timeout(2 * SECOND).load_timeout(2 * SECOND);
        assert!(fine.check(10 * SECOND).is_ok());
    }

    #[test]
    fn what_is_beyond_its_limit_is_refused_with_the_limit() {
        let refused = |policy: Policy| policy.check(SECOND).expect_err("beyond its limit").to_string();
        assert!(
            refused(Policy::ttl(SECOND).eager_refresh(10.1)).contains("eager_refresh is 10.1: from 0 to 10")
        );
        assert!(refused(Policy::ttl(SECOND).eager_refresh(f32::NAN)).contains("eager_refresh"));
        let long = refused(Policy::ttl(SECOND).failure_cooldown(3601 * SECOND));
        assert!(long.contains("3601s") && long.contains("3600s"), "{long}");
    }

    #[test]
    fn all_contradictions_are_named_at_once() {
        let policy = Policy::ttl(Duration::ZERO).jitter(2.0).load_timeout(Duration::ZERO);
        let text = policy.check(SECOND).expect_err("contradicts itself").to_string();
        assert!(
            text.contains("ttl is zero") && text.contains("jitter is 2") && text.contains("load_timeout")
        );
    }

    #[test]
    fn the_limit_of_tags_holds_and_one_past_it_is_refused() {
        let tags = |n: usize| Policy::ttl(Duration::from_secs(1)).tags((0..n).map(|i| format!("t{i}")));
        assert!(tags(MAX_TAGS).check(SECOND).is_ok());
        assert_eq!(tags(MAX_TAGS + 1).check(SECOND).expect_err("too many").kind(), ErrorKind::InvalidTag);
    }

    #[test]
    fn a_policy_can_be_checked_before_anything_is_looked_up() {
        let kept = |stale: Duration| Policy::ttl(MAX_KEEP - SECOND).stale_if_error(stale).validate();
        assert!(kept(SECOND).is_ok());
        assert_eq!(kept(2 * SECOND).expect_err("it is too long").kind(), ErrorKind::InvalidPolicy);
        assert!(Policy::ttl(SECOND).hard_timeout(MAX_LOAD_TIMEOUT).validate().is_ok());
        assert!(Policy::ttl(SECOND).hard_timeout(MAX_LOAD_TIMEOUT + SECOND).validate().is_err());
    }

    #[test]
    fn the_longest_ttl_is_taken_and_one_more_refused() {
        assert!(Policy::ttl(MAX_KEEP).check(SECOND).is_ok());
        assert!(Policy::ttl(MAX_KEEP + Duration::from_nanos(1)).check(SECOND).is_err());
        assert!(Policy::ttl(Duration::MAX).check(SECOND).is_err());
    }
}
