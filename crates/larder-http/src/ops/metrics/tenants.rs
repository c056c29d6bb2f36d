//! What is told of all tenants together. No label names one of them.

use super::exposition::Exposition;
use larder::QuotaStats;

pub(super) fn describe(out: &mut Exposition, quotas: &QuotaStats) {
    for (name, help, number) in [
        ("larder_tenant_loads", "Loads that run and have one of their tenant's places", quotas.loading),
        (
            "larder_tenant_new_scopes",
            "Scopes that were not remembered as invalidated, which tenants have invalidated in their present minutes",
            quotas.new_scopes,
        ),
    ] {
        out.gauge(name, help).number(&[], number);
    }
    let help =
        "Invalidations that were widened to a whole tenant, since it brought too many new scopes in a minute";
    out.counter("larder_tenant_invalidations_widened_total", help).number(&[], quotas.widened);
    let help =
        "Which part of its quota the tenant uses that is nearest to its end: 1 is all; the overview names it";
    let mut highest = out.gauge("larder_tenant_quota_highest_ratio", help);
    for (quota, nearest) in [("memory", &quotas.memory), ("loads", &quotas.loads), ("scopes", &quotas.scopes)]
    {
        highest.float(&[("quota", quota)], nearest.as_ref().map_or(0.0, |nearest| nearest.used));
    }
}
