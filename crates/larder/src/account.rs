//! What is counted of each tenant as a whole: what it holds in memory, exactly and at any moment, and what was done for it.

use crate::clock::Moment;
use crate::limits::MAX_ACCOUNTS;
use crate::quota::Quota;
use crate::quota_use::{Adding, Limits, QuotaStats};
use crate::stats::Counts;
use parking_lot::RwLock;
use std::cmp::Reverse;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// One tenant's account. Every entry in memory holds its own tenant's.
#[derive(Debug, Default)]
pub(crate) struct Account {
    entries: AtomicU64,
    bytes: AtomicU64,
    evictions: AtomicU64,
    invalidations: AtomicU64,
    pub(crate) quota: Quota,
}

impl Account {
    /// An entry of this weight comes into memory. To be called before it is there, so that it can't leave first.
    pub(crate) fn enter(&self, weight: u64) {
        self.entries.fetch_add(1, Relaxed);
        self.bytes.fetch_add(weight, Relaxed);
    }

    /// An entry of this weight has left memory.
    pub(crate) fn leave(&self, weight: u64) {
        self.entries.fetch_sub(1, Relaxed);
        self.bytes.fetch_sub(weight, Relaxed);
    }

    pub(crate) fn count_eviction(&self) {
        self.evictions.fetch_add(1, Relaxed);
    }

    pub(crate) fn count_invalidation(&self) {
        self.invalidations.fetch_add(1, Relaxed);
    }

    pub(crate) fn entries(&self) -> u64 {
        self.entries.load(Relaxed)
    }

    /// Bytes that the tenant's entries weigh in memory.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Relaxed)
    }
}

/// The accounts by tenant (empty: shared entries).
#[derive(Debug, Default)]
pub(crate) struct Accounts(RwLock<Ledger>);

#[derive(Debug)]
struct Ledger {
    by_tenant: HashMap<Box<str>, Arc<Account>>,
    /// At so many accounts, those that hold nothing are forgotten.
    forget_at: usize,
    /// Invalidations that were widened for those.
    widened: u64,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { by_tenant: HashMap::new(), forget_at: MAX_ACCOUNTS, widened: 0 }
    }
}

impl Ledger {
    /// An account that holds something is never forgotten: its entries, which bound the number of such accounts, have it.
    fn forget(&mut self) {
        // Who takes an account does so under the lock, so nobody has one that only the ledger has.
        let widened = &mut self.widened;
        self.by_tenant.retain(|_, account| {
            let is_held = Arc::strong_count(account) > 1;
            *widened += if is_held { 0 } else { account.quota.widened() };
            is_held
        });
        self.forget_at = MAX_ACCOUNTS.max(2 * self.by_tenant.len());
    }
}

impl Accounts {
    /// The account of `tenant`, made where there is none.
    pub(crate) fn of(&self, tenant: &str) -> Arc<Account> {
        if let Some(account) = self.0.read().by_tenant.get(tenant) {
            return Arc::clone(account);
        }
        let mut ledger = self.0.write();
        if ledger.by_tenant.len() >= ledger.forget_at {
            ledger.forget();
        }
        Arc::clone(ledger.by_tenant.entry(tenant.into()).or_default())
    }

    /// The tenants that hold most, the largest first.
    pub(crate) fn largest(&self, limit: usize) -> Vec<String> {
        let ledger = self.0.read();
        let each = ledger.by_tenant.iter().map(|(tenant, account)| (Reverse(account.bytes()), &**tenant));
        let mut tenants: Vec<(Reverse<u64>, &str)> = each.filter(|(bytes, _)| bytes.0 > 0).collect();
        if tenants.len() > limit {
            // Names are copied, and put in order, of these only.
            tenants.select_nth_unstable(limit);
            tenants.truncate(limit);
        }
        tenants.sort_unstable();
        tenants.into_iter().map(|(_, tenant)| tenant.to_owned()).collect()
    }

    /// Keeps everybody away, as long as the answer is held.
    #[cfg(test)]
    pub(crate) fn lock(&self) -> impl Drop + '_ {
        self.0.write()
    }

    /// What all tenants use of their quotas. Takes time in their number.
    pub(crate) fn quotas(&self, limits: Limits, now: Moment) -> QuotaStats {
        let (ledger, mut all) = (self.0.read(), Adding::default());
        ledger.by_tenant.iter().for_each(|(tenant, account)| all.add(tenant, account, limits, now));
        all.sum(ledger.widened, limits)
    }

    /// What there is to say of `tenant` as a whole.
    pub(crate) fn read(&self, tenant: &str, limits: Limits, now: Moment) -> TenantStats {
        let most = TenantStats {
            max_memory_bytes: limits.memory,
            max_loading: limits.loads as u64,
            max_new_scopes: limits.scopes as u64,
            ..TenantStats::default()
        };
        let ledger = self.0.read();
        let Some(account) = ledger.by_tenant.get(tenant) else { return most };
        TenantStats {
            entries: account.entries.load(Relaxed),
            memory_bytes: account.bytes(),
            evictions: account.evictions.load(Relaxed),
            invalidations: account.invalidations.load(Relaxed),
            widened: account.quota.widened(),
            loading: account.quota.loading(limits.loads) as u64,
            new_scopes: account.quota.new_scopes(now) as u64,
            ..most
        }
    }
}

/// What one tenant's part of a cache did since it was built, and what it holds on this node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TenantStats {
    /// By endpoint (first key segment). Beyond 10,000 pairs of tenant and endpoint on this node, new ones are counted for
    /// all tenants together only.
    pub endpoints: BTreeMap<String, Counts>,
    /// Entries in this process's memory. Exact; what was invalidated or is past its time counts until it is dropped.
    pub entries: u64,
    /// Their weight in bytes.
    pub memory_bytes: u64,
    /// Entries of this tenant dropped for space.
    pub evictions: u64,
    /// Invalidations that this tenant called on this node. What was invalidated across tenants is not among them.
    ///
    /// This and `evictions` begin anew for a tenant that holds nothing, where there are more than 10,000 tenants.
    pub invalidations: u64,
    /// Of those, how many were widened to the whole tenant, since it brought more than 10,000 new scopes within a minute.
    pub widened: u64,
    /// What its entries may weigh in this process's memory.
    pub max_memory_bytes: u64,
    /// Its loads that run and have one of its places.
    pub loading: u64,
    /// How many may run at once.
    pub max_loading: u64,
    /// Scopes that the coherence state did not hold, which it has brought there in its present minute.
    pub new_scopes: u64,
    /// How many it may bring in a minute before its invalidations are widened.
    pub max_new_scopes: u64,
}

impl TenantStats {
    /// All endpoints together.
    pub fn total(&self) -> Counts {
        let mut sum = Counts::default();
        self.endpoints.values().for_each(|counts| sum.add(counts));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::{Clock, ManualClock};
    use crate::limits::{TENANT_NEW_SCOPES, TENANT_NEW_SCOPES_EVERY};

    const LIMITS: Limits = Limits { memory: 100, loads: 4, scopes: TENANT_NEW_SCOPES };

    impl Accounts {
        fn told(&self, tenant: &str) -> TenantStats {
            self.read(tenant, LIMITS, ManualClock::default().now())
        }
    }

    #[tokio::test]
    async fn of_each_quota_it_tells_the_sum_and_who_is_nearest_to_its_end() {
        let (accounts, clock) = (Accounts::default(), ManualClock::default());
        assert_eq!(accounts.quotas(LIMITS, clock.now()), QuotaStats::default());
        let (acme, globex) = (accounts.of("acme"), accounts.of("globex"));
        acme.enter(30);
        globex.enter(20);
        let _place = globex.quota.place_to_load(LIMITS.loads).await;
        assert!(acme.quota.may_bring_scopes(TENANT_NEW_SCOPES / 2, clock.now()));
        assert!(globex.quota.may_bring_scopes(1, clock.now()));
        assert!(!globex.quota.may_bring_scopes(TENANT_NEW_SCOPES, clock.now()));
        let all = accounts.quotas(LIMITS, clock.now());
        let nearest = [all.memory, all.loads, all.scopes].map(|nearest| {
            let nearest = nearest.unwrap();
            (nearest.tenant, nearest.used)
        });
        assert_eq!(nearest, [("acme".into(), 0.3), ("globex".into(), 0.25), ("acme".into(), 0.5)]);
        assert_eq!((all.loading, all.new_scopes, all.widened), (1, TENANT_NEW_SCOPES as u64 / 2 + 1, 1));
        let told = accounts.read("globex", LIMITS, clock.now());
        assert_eq!((told.loading, told.max_loading, told.max_memory_bytes), (1, 4, 100));
        assert_eq!((told.new_scopes, told.max_new_scopes), (1, TENANT_NEW_SCOPES as u64));
        clock.advance(TENANT_NEW_SCOPES_EVERY);
        assert_eq!(accounts.quotas(LIMITS, clock.now()).scopes, None);
    }

    #[test]
    fn what_was_widened_is_not_forgotten_with_the_account() {
        let (accounts, clock) = (Accounts::default(), ManualClock::default());
        for i in 0..3 * MAX_ACCOUNTS {
            accounts.of(&i.to_string()).quota.may_bring_scopes(TENANT_NEW_SCOPES + 1, clock.now());
        }
        assert!(accounts.0.read().by_tenant.len() <= MAX_ACCOUNTS);
        assert_eq!(accounts.quotas(LIMITS, clock.now()).widened, 3 * MAX_ACCOUNTS as u64);
    }

    #[test]
    fn beyond_the_bound_only_accounts_that_hold_nothing_are_forgotten() {
        let accounts = Accounts::default();
        let held: Vec<Arc<Account>> =
            (0..MAX_ACCOUNTS / 2).map(|i| accounts.of(&format!("held-{i}"))).collect();
        held.iter().for_each(|account| account.enter(7));
        for i in 0..10 * MAX_ACCOUNTS {
            accounts.of(&format!("empty-{i}")).count_invalidation();
        }
        assert!(accounts.0.read().by_tenant.len() <= MAX_ACCOUNTS + 1);
        for i in 0..held.len() {
            assert_eq!(accounts.told(&format!("held-{i}")).memory_bytes, 7, "{i}");
        }
    }

    #[test]
    fn more_holders_than_the_bound_are_all_known() {
        let accounts = Accounts::default();
        let held: Vec<Arc<Account>> = (0..3 * MAX_ACCOUNTS).map(|i| accounts.of(&i.to_string())).collect();
        held.iter().for_each(|account| account.enter(1));
        assert!((0..held.len()).all(|i| accounts.told(&i.to_string()).entries == 1));
    }
}
