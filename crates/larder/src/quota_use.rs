//! How much of their quotas tenants use.

use crate::account::Account;
use crate::clock::Moment;
use crate::limits::TENANT_NEW_SCOPES;

/// What one tenant may have on this node at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) memory: u64,
    pub(crate) loads: usize,
    pub(crate) scopes: usize,
}

impl Limits {
    pub(crate) fn new(memory: u64, loads: usize) -> Self {
        Self { memory, loads, scopes: TENANT_NEW_SCOPES }
    }
}

/// What all tenants together use of their quotas, and which of them is nearest to the end of each, shared entries (the empty
/// name) among them.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct QuotaStats {
    /// Loads that run and have one of their tenant's places.
    pub loading: u64,
    /// Scopes that the coherence state did not hold, which tenants have brought there in their present minutes.
    pub new_scopes: u64,
    /// Invalidations that were widened to a whole tenant, since it brought too many of these.
    pub widened: u64,
    /// Who is nearest to what a tenant may hold in memory ([`CacheBuilder::tenant_memory`](crate::CacheBuilder::tenant_memory)).
    pub memory: Option<NearestToQuota>,
    /// Who is nearest to how many of its loads may run at once ([`CacheBuilder::tenant_loads`](crate::CacheBuilder::tenant_loads)).
    pub loads: Option<NearestToQuota>,
    /// Who is nearest to how many new scopes it may bring in a minute
    /// ([`TENANT_NEW_SCOPES`](crate::limits::TENANT_NEW_SCOPES)).
    pub scopes: Option<NearestToQuota>,
}

/// The tenant that uses most of a quota. Nobody is named who uses nothing.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct NearestToQuota {
    /// Its name; empty for what all share.
    pub tenant: String,
    /// Which part of the quota it uses: 1 is all.
    pub used: f64,
}

/// Goes through the accounts. Names are copied at the end only.
#[derive(Default)]
pub(crate) struct Adding<'a> {
    loading: u64,
    new_scopes: u64,
    widened: u64,
    memory: (u64, &'a str),
    loads: (u64, &'a str),
    scopes: (u64, &'a str),
}

impl<'a> Adding<'a> {
    pub(crate) fn add(&mut self, tenant: &'a str, account: &Account, limits: Limits, now: Moment) {
        let loading = account.quota.loading(limits.loads) as u64;
        let scopes = account.quota.new_scopes(now) as u64;
        self.loading += loading;
        self.new_scopes += scopes;
        self.widened += account.quota.widened();
        for (most, used) in
            [(&mut self.memory, account.bytes()), (&mut self.loads, loading), (&mut self.scopes, scopes)]
        {
            if used > most.0 {
                *most = (used, tenant);
            }
        }
    }

    /// With those that were widened for tenants whose accounts are forgotten.
    pub(crate) fn sum(self, widened_before: u64, limits: Limits) -> QuotaStats {
        QuotaStats {
            loading: self.loading,
            new_scopes: self.new_scopes,
            widened: self.widened + widened_before,
            memory: nearest(self.memory, limits.memory),
            loads: nearest(self.loads, limits.loads as u64),
            scopes: nearest(self.scopes, limits.scopes as u64),
        }
    }
}

fn nearest((used, tenant): (u64, &str), limit: u64) -> Option<NearestToQuota> {
    #[expect(clippy::cast_precision_loss, reason = "a ratio for people")]
    let part = used as f64 / limit.max(1) as f64;
    (used > 0).then(|| NearestToQuota { tenant: tenant.to_owned(), used: part })
}
