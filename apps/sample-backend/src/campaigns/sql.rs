//! The questions that campaigns ask the database.

use larder_http::Page;
use sqlx::any::AnyRow;
use sqlx::{Error, Row};
use uuid::Uuid;

use super::model::{Campaign, CampaignStatus, Channel, Filter, NewCampaign};
use crate::db::{Db, DbError, Tx};
use crate::row;
use crate::time::Time;

fn campaign(row: &AnyRow) -> Result<Campaign, Error> {
    Ok(Campaign {
        id: row::id(row, 0)?,
        name: row::text(row, 1)?,
        channel: Channel::of(row, 2)?,
        status: CampaignStatus::of(row, 3)?,
        budget_cents: row::number(row, 4)?,
        created_at: Time::of(row, 5)?,
        updated_at: Time::of(row, 6)?,
    })
}

/// One page, newest first. An empty word stands for no filter.
pub(super) async fn list(db: &Db, tenant: &str, filter: Filter) -> Result<Page<Campaign>, DbError> {
    let status = filter.status.map_or("", CampaignStatus::as_str);
    let channel = filter.channel.map_or("", Channel::as_str);
    let total = sqlx::query(
        "SELECT COUNT(*) FROM campaigns \
         WHERE tenant_id = $1 AND ($2 = '' OR status = $2) AND ($3 = '' OR channel = $3)",
    )
    .bind(tenant)
    .bind(status)
    .bind(channel)
    .fetch_one(db.read())
    .await?
    .try_get(0)?;
    let items = sqlx::query(
        "SELECT id, name, channel, status, budget_cents, created_at, updated_at FROM campaigns \
         WHERE tenant_id = $1 AND ($2 = '' OR status = $2) AND ($3 = '' OR channel = $3) \
         ORDER BY id DESC LIMIT $4 OFFSET $5",
    )
    .bind(tenant)
    .bind(status)
    .bind(channel)
    .bind(filter.page.limit)
    .bind(filter.page.offset())
    .try_map(|row: AnyRow| campaign(&row))
    .fetch_all(db.read())
    .await?;
    Ok(filter.page.of(items, total))
}

/// One of this tenant's.
pub(super) async fn get(db: &Db, tenant: &str, id: Uuid) -> Result<Option<Campaign>, DbError> {
    Ok(sqlx::query(
        "SELECT id, name, channel, status, budget_cents, created_at, updated_at FROM campaigns \
         WHERE id = $1 AND tenant_id = $2",
    )
    .bind(id.to_string())
    .bind(tenant)
    .try_map(|row: AnyRow| campaign(&row))
    .fetch_optional(db.read())
    .await?)
}

/// Whether this is one of the tenant's.
pub(crate) async fn exists(db: &Db, tenant: &str, id: Uuid) -> Result<bool, DbError> {
    let found = sqlx::query("SELECT 1 FROM campaigns WHERE id = $1 AND tenant_id = $2")
        .bind(id.to_string())
        .bind(tenant)
        .fetch_optional(db.read())
        .await?;
    Ok(found.is_some())
}

pub(super) async fn create(tx: &mut Tx, tenant: &str, new: NewCampaign) -> Result<Campaign, DbError> {
    let now = Time::now();
    let NewCampaign { name, channel, budget_cents, status } = new;
    let made = Campaign {
        id: Uuid::now_v7(),
        name,
        channel,
        status,
        budget_cents,
        created_at: now,
        updated_at: now,
    };
    sqlx::query(
        "INSERT INTO campaigns (id, tenant_id, name, channel, status, budget_cents, created_at, updated_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
    )
    .bind(made.id.to_string())
    .bind(tenant)
    .bind(made.name.clone())
    .bind(made.channel.as_str())
    .bind(made.status.as_str())
    .bind(made.budget_cents)
    .bind(made.created_at.0)
    .bind(made.updated_at.0)
    .execute(tx.conn())
    .await?;
    Ok(made)
}

/// The campaign as it is now, or `None` where the tenant has none such.
pub(super) async fn update(
    tx: &mut Tx,
    tenant: &str,
    id: Uuid,
    new: NewCampaign,
) -> Result<Option<Campaign>, DbError> {
    Ok(sqlx::query(
        "UPDATE campaigns SET name = $3, channel = $4, status = $5, budget_cents = $6, updated_at = $7 \
         WHERE id = $1 AND tenant_id = $2 \
         RETURNING id, name, channel, status, budget_cents, created_at, updated_at",
    )
    .bind(id.to_string())
    .bind(tenant)
    .bind(new.name)
    .bind(new.channel.as_str())
    .bind(new.status.as_str())
    .bind(new.budget_cents)
    .bind(Time::now().0)
    .try_map(|row: AnyRow| campaign(&row))
    .fetch_optional(tx.conn())
    .await?)
}

/// Deletes it with its leads. `false` where the tenant has none such.
pub(super) async fn delete(tx: &mut Tx, tenant: &str, id: Uuid) -> Result<bool, DbError> {
    // First the row that an import of leads locks, so that none is added in between.
    let locked = match tx.dialect() {
        crate::db::Dialect::Sqlite => "SELECT 1 FROM campaigns WHERE id = $1 AND tenant_id = $2",
        crate::db::Dialect::Postgres => "SELECT 1 FROM campaigns WHERE id = $1 AND tenant_id = $2 FOR UPDATE",
    };
    let found = sqlx::query(locked).bind(id.to_string()).bind(tenant).fetch_optional(tx.conn()).await?;
    if found.is_none() {
        return Ok(false);
    }
    for sql in [
        "DELETE FROM leads WHERE campaign_id = $1 AND tenant_id = $2",
        "DELETE FROM campaigns WHERE id = $1 AND tenant_id = $2",
    ] {
        sqlx::query(sql).bind(id.to_string()).bind(tenant).execute(tx.conn()).await?;
    }
    Ok(true)
}
