//! What follows from orders.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sqlx::any::AnyRow;

use crate::db::{Db, DbError};
use crate::row::{number, text};
use crate::time::{DAY, Time, date};

/// Days that key figures look back.
const KPI_DAYS: i64 = 30;
/// Days that a forecast is made of: whole weeks, so that each weekday counts alike.
const FORECAST_FROM: i64 = 28;
/// Days that it is made for.
const FORECAST_FOR: i64 = 7;

pub(super) async fn kpis(db: &Db, tenant: &str) -> Result<Value, DbError> {
    let since = Time::now().0 - KPI_DAYS * DAY;
    let kpis = sqlx::query(
        "SELECT COUNT(*), CAST(COALESCE(SUM(quantity), 0) AS BIGINT), \
         CAST(COALESCE(SUM(total_cents), 0) AS BIGINT), \
         (SELECT COUNT(*) FROM seller_products WHERE tenant_id = $1) \
         FROM seller_orders WHERE tenant_id = $1 AND created_at >= $2",
    )
    .bind(tenant)
    .bind(since)
    .try_map(|row: AnyRow| {
        let (orders, revenue) = (number(&row, 0)?, number(&row, 2)?);
        Ok(json!({
            "days": KPI_DAYS,
            "orders": orders,
            "units": number(&row, 1)?,
            "revenue_cents": revenue,
            "average_order_cents": revenue.checked_div(orders).unwrap_or(0),
            "products": number(&row, 3)?,
        }))
    })
    .fetch_one(db.read())
    .await?;
    Ok(kpis)
}

/// Orders and revenue of every day, today last, zeros too.
pub(super) async fn trends(db: &Db, tenant: &str, days: i64) -> Result<Value, DbError> {
    let today = Time::now().0 / DAY;
    let first = today - days + 1;
    let by_day: BTreeMap<i64, (i64, i64)> = sqlx::query(
        "SELECT created_at / 86400000000 AS day, COUNT(*), CAST(SUM(total_cents) AS BIGINT) FROM seller_orders \
         WHERE tenant_id = $1 AND created_at >= $2 GROUP BY created_at / 86400000000",
    )
    .bind(tenant)
    .bind(first * DAY)
    .try_map(|row: AnyRow| Ok((number(&row, 0)?, (number(&row, 1)?, number(&row, 2)?))))
    .fetch_all(db.read())
    .await?
    .into_iter()
    .collect();
    let points: Vec<_> = (first..=today)
        .map(|day| {
            let (orders, revenue) = by_day.get(&day).copied().unwrap_or_default();
            json!({ "date": date(day), "orders": orders, "revenue_cents": revenue })
        })
        .collect();
    Ok(json!({ "days": days, "points": points }))
}

pub(super) async fn activity(db: &Db, tenant: &str, limit: i64) -> Result<Value, DbError> {
    let activity = sqlx::query(
        "SELECT id, kind, text, product_id, created_at FROM seller_activity \
         WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2",
    )
    .bind(tenant)
    .bind(limit)
    .try_map(|row: AnyRow| {
        Ok(json!({
            "id": text(&row, 0)?,
            "kind": text(&row, 1)?,
            "text": text(&row, 2)?,
            "product_id": text(&row, 3)?,
            "created_at": Time::of(&row, 4)?,
        }))
    })
    .fetch_all(db.read())
    .await?;
    Ok(Value::Array(activity))
}

/// The mean of the last weeks, by category, for each of the coming days.
pub(super) async fn forecast(db: &Db, tenant: &str) -> Result<Value, DbError> {
    let now = Time::now().0;
    let sold: Vec<(String, i64)> = sqlx::query(
        "SELECT p.category, CAST(SUM(o.quantity) AS BIGINT) FROM seller_orders o \
         JOIN seller_products p ON p.id = o.product_id \
         WHERE o.tenant_id = $1 AND o.created_at >= $2 GROUP BY p.category ORDER BY p.category",
    )
    .bind(tenant)
    .bind(now - FORECAST_FROM * DAY)
    .try_map(|row: AnyRow| Ok((text(&row, 0)?, number(&row, 1)?)))
    .fetch_all(db.read())
    .await?;
    let days: Vec<_> = (1..=FORECAST_FOR)
        .map(|ahead| {
            let units: BTreeMap<_, _> = sold
                .iter()
                .map(|(category, units)| (category, (units + FORECAST_FROM / 2) / FORECAST_FROM))
                .collect();
            json!({ "date": date(now / DAY + ahead), "units": units })
        })
        .collect();
    Ok(json!({ "made_of_days": FORECAST_FROM, "days": days }))
}
