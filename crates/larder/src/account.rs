//! What is counted of each tenant as a whole: what it holds in memory, exactly and at any moment, and what was done for it.

use crate::limits::MAX_ACCOUNTS;
use crate::quota::Quota;
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
}

impl Default for Ledger {
    fn default() -> Self {
        Self { by_tenant: HashMap::new(), forget_at: MAX_ACCOUNTS }
    }
}

impl Ledger {
    /// An account that holds something is never forgotten: its entries, which bound the number of such accounts, have it.
    fn forget(&mut self) {
        // Who takes an account does so under the lock, so nobody has one that only the ledger has.
        self.by_tenant.retain(|_, account| Arc::strong_count(account) > 1);
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

    /// What there is to say of `tenant` as a whole.
    pub(crate) fn read(&self, tenant: &str) -> TenantStats {
        let ledger = self.0.read();
        let Some(account) = ledger.by_tenant.get(tenant) else { return TenantStats::default() };
        TenantStats {
            endpoints: BTreeMap::new(),
            entries: account.entries.load(Relaxed),
            memory_bytes: account.bytes(),
            evictions: account.evictions.load(Relaxed),
            invalidations: account.invalidations.load(Relaxed),
            widened: account.quota.widened(),
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
            assert_eq!(accounts.read(&format!("held-{i}")).memory_bytes, 7, "{i}");
        }
    }

    #[test]
    fn more_holders_than_the_bound_are_all_known() {
        let accounts = Accounts::default();
        let held: Vec<Arc<Account>> = (0..3 * MAX_ACCOUNTS).map(|i| accounts.of(&i.to_string())).collect();
        held.iter().for_each(|account| account.enter(1));
        assert!((0..held.len()).all(|i| accounts.read(&i.to_string()).entries == 1));
    }
}
