//! `/api/v1/dashboard/stats`: a tenant's campaigns and leads in seven numbers, added up by the database.

use axum::extract::State;
use axum::response::Response;
use larder::key;
use larder_http::{Conditions, Problem};
use serde::Serialize;
use sqlx::Row;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::app::App;
use crate::auth::User;
use crate::cached::cached;
use crate::db::{Db, DbError};
use crate::ttl::Endpoint;

/// A tenant in numbers.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
pub struct DashboardStats {
    /// Campaigns.
    #[schema(minimum = 0)]
    pub campaigns: i64,
    /// Those that run.
    #[schema(minimum = 0)]
    pub active_campaigns: i64,
    /// Leads of all campaigns.
    #[schema(minimum = 0)]
    pub leads: i64,
    /// Those that became customers.
    #[schema(minimum = 0)]
    pub converted_leads: i64,
    /// Which part of the leads that is, from 0 to 1.
    #[schema(minimum = 0, maximum = 1)]
    pub conversion_rate: f64,
    /// The budgets of all campaigns.
    #[schema(minimum = 0)]
    pub budget_cents: i64,
    /// What the leads that are still open may be worth.
    #[schema(minimum = 0)]
    pub pipeline_value_cents: i64,
}

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new().routes(routes!(stats))
}

/// Shows the tenant's campaigns and leads in numbers.
#[utoipa::path(
    get, path = "/api/v1/dashboard/stats", tag = "campaigns", operation_id = "dashboard_stats",
    security(("bearer" = [])), responses((status = 200, body = DashboardStats))
)]
async fn stats(State(app): State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    let (db, tenant) = (app.db.clone(), user.tenant.clone());
    let load = move || async move { Ok(totals(&db, &tenant).await?) };
    cached(user.scope(), key!("dashboard_stats"), app.policy(Endpoint::DashboardStats), &conditions, load)
        .await
}

async fn totals(db: &Db, tenant: &str) -> Result<DashboardStats, DbError> {
    // Sums are cast: PostgreSQL makes a NUMERIC of them.
    let stats = sqlx::query(
        "SELECT c.campaigns, c.active, c.budget, l.leads, l.converted, l.pipeline FROM \
         (SELECT COUNT(*) AS campaigns, \
             CAST(COALESCE(SUM(CASE WHEN status = 'active' THEN 1 ELSE 0 END), 0) AS BIGINT) AS active, \
             CAST(COALESCE(SUM(budget_cents), 0) AS BIGINT) AS budget \
             FROM campaigns WHERE tenant_id = $1) AS c, \
         (SELECT COUNT(*) AS leads, \
             CAST(COALESCE(SUM(CASE WHEN status = 'converted' THEN 1 ELSE 0 END), 0) AS BIGINT) AS converted, \
             CAST(COALESCE(SUM(CASE WHEN status IN ('new', 'contacted', 'qualified') \
                 THEN value_cents ELSE 0 END), 0) AS BIGINT) AS pipeline \
             FROM leads WHERE tenant_id = $1) AS l",
    )
    .bind(tenant)
    .try_map(|row: AnyRow| {
        let (leads, converted): (i64, i64) = (row.try_get(3)?, row.try_get(4)?);
        Ok(DashboardStats {
            campaigns: row.try_get(0)?,
            active_campaigns: row.try_get(1)?,
            leads,
            converted_leads: converted,
            conversion_rate: rate(converted, leads),
            budget_cents: row.try_get(2)?,
            pipeline_value_cents: row.try_get(5)?,
        })
    })
    .fetch_one(db.read())
    .await?;
    Ok(stats)
}

/// A part of a whole, to four digits; 0 of nothing.
#[expect(clippy::cast_precision_loss, reason = "counts of rows are far below 2^52")]
fn rate(part: i64, whole: i64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 / whole as f64 * 10_000.0).round() / 10_000.0 }
}

#[cfg(test)]
mod tests {
    use super::rate;

    #[test]
    fn a_rate_is_a_part_of_one_and_nothing_of_nothing_is_zero() {
        assert!((rate(1, 3) - 0.3333).abs() < f64::EPSILON);
        assert!((rate(5, 5) - 1.0).abs() < f64::EPSILON);
        assert!(rate(0, 0).abs() < f64::EPSILON);
    }
}
