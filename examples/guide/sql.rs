//! The slow query. No step changes it.

use serde::{Deserialize, Serialize};
use sqlx::PgPool;

/// Campaigns with their number of leads and the leads' value.
pub(crate) type Report = Vec<Campaign>;

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Campaign {
    pub(crate) name: String,
    leads: i64,
    pub(crate) value: i64,
}

/// The ten campaigns of a tenant that brought most: over all its leads, so it gets slower every day.
pub(crate) async fn top_campaigns(database: &PgPool, tenant: &str) -> Result<Report, sqlx::Error> {
    let rows: Vec<(String, i64, i64)> = sqlx::query_as(
        "SELECT name, count(*), sum(value)::BIGINT FROM leads JOIN campaigns ON campaigns.id = campaign
         WHERE tenant = $1 GROUP BY name ORDER BY 3 DESC LIMIT 10",
    )
    .bind(tenant)
    .fetch_all(database)
    .await?;
    Ok(rows.into_iter().map(|(name, leads, value)| Campaign { name, leads, value }).collect())
}

/// A campaign's name, if there is such a campaign.
pub(crate) async fn campaign(
    database: &PgPool,
    tenant: &str,
    id: i64,
) -> Result<Option<String>, sqlx::Error> {
    sqlx::query_scalar("SELECT name FROM campaigns WHERE tenant = $1 AND id = $2")
        .bind(tenant)
        .bind(id)
        .fetch_optional(database)
        .await
}

/// One lead more.
pub(crate) async fn insert_lead(database: &PgPool, lead: &Lead) -> Result<(), sqlx::Error> {
    let insert = sqlx::query("INSERT INTO leads (campaign, value) VALUES ($1, $2)");
    insert.bind(lead.campaign).bind(lead.value).execute(database).await?;
    Ok(())
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Lead {
    pub(crate) campaign: i64,
    pub(crate) value: i64,
}
