//! Campaigns and leads.

use super::people::TENANTS;
use super::rng::Rng;
use super::words::{AUDIENCES, FAMILY, GIVEN, OCCASIONS};
use super::{Seeding, Size};
use crate::db::{Bulk, DbError};
use crate::time::DAY;

const CHANNELS: &[&str] = &["email", "social", "search", "display", "sms"];
const CAMPAIGN_STATUS: &[&str] = &["active", "completed", "paused", "draft"];
const LEAD_STATUS: &[&str] = &["new", "contacted", "qualified", "converted", "lost"];

pub(super) async fn seed(s: &mut Seeding, size: Size) -> Result<(), DbError> {
    let campaigns = campaigns(s, size).await?;
    leads(s, size, &campaigns).await
}

/// Tenant, id and age of each campaign.
async fn campaigns(s: &mut Seeding, size: Size) -> Result<Vec<(&'static str, String, i64)>, DbError> {
    let mut bulk = Bulk::new(
        "INSERT INTO campaigns (id, tenant_id, name, channel, status, budget_cents, created_at, updated_at)",
    );
    let mut rng = Rng::new("campaigns");
    let mut made = Vec::new();
    for i in 0..size.campaigns {
        let (tenant, _) = TENANTS[usize::from(i % 5 > 2)];
        let created = s.now - rng.below(360 * DAY);
        let id = rng.id(created).to_string();
        let name = format!("{} for {} #{i}", rng.pick(OCCASIONS), rng.pick(AUDIENCES));
        let row = [
            id.clone().into(),
            tenant.into(),
            name.into(),
            (*rng.pick_skewed(CHANNELS)).into(),
            (*rng.pick_skewed(CAMPAIGN_STATUS)).into(),
            (rng.between(5, 5_000) * 10_000).into(),
            created.into(),
            (created + rng.below(s.now - created + 1)).into(),
        ];
        made.push((tenant, id, created));
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await?;
    Ok(made)
}

async fn leads(
    s: &mut Seeding,
    size: Size,
    campaigns: &[(&'static str, String, i64)],
) -> Result<(), DbError> {
    let mut bulk = Bulk::new(
        "INSERT INTO leads (id, tenant_id, campaign_id, email, name, status, value_cents, created_at)",
    );
    let mut rng = Rng::new("leads");
    for i in 0..size.leads {
        let (tenant, campaign, begun) = rng.pick_skewed(campaigns);
        let created = begun + rng.below(s.now - begun + 1);
        let (given, family) = (*rng.pick(GIVEN), *rng.pick(FAMILY));
        let row = [
            rng.id(created).to_string().into(),
            (*tenant).into(),
            campaign.clone().into(),
            format!("lead{i}@example.test").into(),
            format!("{given} {family}").into(),
            (*rng.pick_skewed(LEAD_STATUS)).into(),
            (rng.between(1, 900) * 1_000).into(),
            created.into(),
        ];
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await
}
