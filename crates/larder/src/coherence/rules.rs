//! Rules: invalidations by a pattern of keys, which no scope stands for.
//!
//! All rules of a tenant share one scope, of which every entry of the tenant has a record. When that scope's stamp is later
//! than an entry's, the patterns decide; where not all of them are known, the scope does.

use crate::inspect::matches;
use crate::limits::{MAX_RULES, MAX_TENANT_RULES};
use crate::scope::{Glob, ScopeHash};
use crate::simulation::{Limit, Mutant, is, limit};
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// The rules of one tenant.
#[derive(Debug, Default)]
struct OfTenant {
    /// Entries stamped below this are judged by the scope alone: some pattern up to it is forgotten.
    floor: u64,
    /// The latest last, as far as they come in order.
    rules: VecDeque<(u64, Arc<str>)>,
}

/// The rules of all tenants.
#[derive(Debug, Default)]
pub(super) struct Rules {
    of: HashMap<ScopeHash, OfTenant>,
    count: usize,
}

impl Rules {
    /// Adds a rule. Beyond the bounds the oldest are forgotten, and with them whatever they could have concerned.
    pub(super) fn add(&mut self, glob: &Glob, stamp: u64) {
        if self.count >= limit(Limit::Rules, MAX_RULES) {
            self.forget_all();
        }
        let tenant = self.of.entry(glob.scope).or_default();
        // The reply to an own invalidation and the push of it bring the same.
        if tenant.rules.iter().any(|(at, pattern)| *at == stamp && *pattern == glob.pattern) {
            return;
        }
        if tenant.rules.len() >= limit(Limit::TenantRules, MAX_TENANT_RULES)
            && let Some((at, _)) = tenant.rules.pop_front()
        {
            tenant.floor = tenant.floor.max(if is(Mutant::RuleForgotten) { 0 } else { at });
            self.count -= 1;
        }
        tenant.rules.push_back((stamp, Arc::clone(&glob.pattern)));
        self.count += 1;
    }

    /// Whether no rule after `stamp`, up to the last at `newest`, concerns the key.
    pub(super) fn allow(&self, scope: &ScopeHash, key: &str, stamp: u64, newest: u64) -> bool {
        let Some(tenant) = self.of.get(scope) else { return false };
        stamp >= tenant.floor
            && tenant.rules.iter().any(|(at, _)| *at == newest)
            && (is(Mutant::PatternsMatchNothing)
                || tenant.rules.iter().all(|(at, pattern)| *at <= stamp || !matches(pattern, key)))
    }

    /// Whether a rule after `stamp`, up to the one at `upto`, concerns the key, as far as rules are remembered.
    pub(super) fn concern(&self, scope: &ScopeHash, key: &str, stamp: u64, upto: u64) -> bool {
        let concerns = |(at, pattern): &(u64, Arc<str>)| *at > stamp && *at <= upto && matches(pattern, key);
        self.of.get(scope).is_some_and(|tenant| tenant.rules.iter().any(concerns))
    }

    /// Forgets what is stamped at or below `bound`: what these rules could concern is not covered any more.
    pub(super) fn prune(&mut self, bound: u64) {
        self.of.retain(|_, tenant| {
            tenant.rules.retain(|(at, _)| *at > bound);
            // That something was forgotten must be known as long as there may be entries from before it.
            !tenant.rules.is_empty() || tenant.floor > bound
        });
        self.count = self.of.values().map(|tenant| tenant.rules.len()).sum();
    }

    /// In another epoch no rule of this one means anything.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    fn forget_all(&mut self) {
        for tenant in self.of.values_mut() {
            let newest = tenant.rules.iter().map(|(at, _)| *at).max();
            let newest = if is(Mutant::RulesForgotten) { None } else { newest };
            tenant.floor = tenant.floor.max(newest.unwrap_or(0));
            tenant.rules.clear();
        }
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn glob(pattern: &str) -> Glob {
        Glob::new("acme", pattern)
    }

    fn allows(rules: &Rules, key: &str, stamp: u64, newest: u64) -> bool {
        rules.allow(&glob("").scope, key, stamp, newest)
    }

    #[test]
    fn only_rules_after_the_entry_that_match_it_speak_against_it() {
        let mut rules = Rules::default();
        rules.add(&glob("a:*:x"), 10);
        rules.add(&glob("b*"), 20);
        assert!(!allows(&rules, "a:1:x", 9, 20));
        assert!(allows(&rules, "a:1:x", 10, 20));
        assert!(allows(&rules, "a:1:y", 9, 20));
        assert!(!allows(&rules, "bcd", 19, 20));
    }

    #[test]
    fn where_the_newest_rule_is_not_known_the_scope_decides() {
        let mut rules = Rules::default();
        assert!(!allows(&rules, "a", 9, 10));
        rules.add(&glob("b*"), 10);
        assert!(!allows(&rules, "a", 9, 11));
        assert!(!rules.allow(&Glob::new("globex", "b*").scope, "a", 9, 10), "another tenant's");
    }

    #[test]
    fn beyond_the_bounds_more_is_dropped_never_less() {
        let mut rules = Rules::default();
        let limit = MAX_TENANT_RULES as u64;
        for stamp in 1..=limit + 1 {
            rules.add(&glob("b*"), stamp);
        }
        assert!(!allows(&rules, "a", 0, limit + 1), "the first is forgotten");
        assert!(allows(&rules, "a", 1, limit + 1));
        for tenant in 0..MAX_RULES {
            rules.add(&Glob::new(&format!("t{tenant}"), "b*"), 1000);
        }
        assert!(!allows(&rules, "a", 1, limit + 1));
        assert!(rules.count <= MAX_RULES);
    }

    #[test]
    fn that_a_rule_is_forgotten_is_not_forgotten_before_what_it_could_concern() {
        let mut rules = Rules::default();
        rules.add(&glob("a*"), 900);
        for tenant in 0..MAX_RULES {
            rules.add(&Glob::new(&format!("t{tenant}"), "b*"), 950);
        }
        rules.prune(500);
        rules.add(&glob("b*"), 1000);
        assert!(!allows(&rules, "a", 600, 1000), "it is of before the first rule");
        rules.prune(1000);
        assert_eq!(rules.of.len(), 0, "and goes with what it could concern");
    }

    #[test]
    fn the_same_rule_twice_is_one() {
        let mut rules = Rules::default();
        for _ in 0..2 * MAX_TENANT_RULES {
            rules.add(&glob("b*"), 10);
        }
        assert!(allows(&rules, "a", 1, 10));
        assert_eq!(rules.count, 1);
        rules.prune(10);
        assert_eq!((rules.count, rules.of.len()), (0, 0));
    }
}
