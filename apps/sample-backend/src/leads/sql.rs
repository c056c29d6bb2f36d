//! The questions that leads ask the database.

use larder_http::{Page, PageParams};
use sqlx::any::AnyRow;
use sqlx::{Error, Row};
use uuid::Uuid;

use super::model::{Lead, LeadStatus, NewLead};
use crate::db::{Bulk, Db, DbError, Dialect, Tx};
use crate::row;
use crate::time::Time;

fn lead(row: &AnyRow) -> Result<Lead, Error> {
    Ok(Lead {
        id: row::id(row, 0)?,
        campaign_id: row::id(row, 1)?,
        email: row::text(row, 2)?,
        name: row::text(row, 3)?,
        status: LeadStatus::of(row, 4)?,
        value_cents: row::number(row, 5)?,
        created_at: Time::of(row, 6)?,
    })
}

/// One page of a campaign's leads, newest first; `None` where the tenant has no such campaign.
pub(super) async fn list(
    db: &Db,
    tenant: &str,
    campaign: Uuid,
    page: PageParams,
) -> Result<Option<Page<Lead>>, DbError> {
    let counted = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM leads l WHERE l.campaign_id = c.id) FROM campaigns c \
         WHERE c.id = $1 AND c.tenant_id = $2",
    )
    .bind(campaign.to_string())
    .bind(tenant)
    .fetch_optional(db.read())
    .await?;
    let Some(counted) = counted else { return Ok(None) };
    let items = sqlx::query(
        "SELECT id, campaign_id, email, name, status, value_cents, created_at FROM leads \
         WHERE campaign_id = $1 AND tenant_id = $2 ORDER BY id DESC LIMIT $3 OFFSET $4",
    )
    .bind(campaign.to_string())
    .bind(tenant)
    .bind(page.limit)
    .bind(page.offset())
    .try_map(|row: AnyRow| lead(&row))
    .fetch_all(db.read())
    .await?;
    Ok(Some(page.of(items, counted.try_get(0)?)))
}

/// `None` where the tenant has no such campaign.
pub(super) async fn create(
    tx: &mut Tx,
    tenant: &str,
    campaign_id: Uuid,
    new: NewLead,
) -> Result<Option<Lead>, DbError> {
    let NewLead { email, name, status, value_cents } = new;
    let made =
        Lead { id: Uuid::now_v7(), campaign_id, email, name, status, value_cents, created_at: Time::now() };
    let done = sqlx::query(
        "INSERT INTO leads (id, tenant_id, campaign_id, email, name, status, value_cents, created_at) \
         SELECT $1, tenant_id, id, $4, $5, $6, $7, $8 FROM campaigns WHERE id = $2 AND tenant_id = $3",
    )
    .bind(made.id.to_string())
    .bind(campaign_id.to_string())
    .bind(tenant)
    .bind(made.email.clone())
    .bind(made.name.clone())
    .bind(made.status.as_str())
    .bind(made.value_cents)
    .bind(made.created_at.0)
    .execute(tx.conn())
    .await?;
    Ok((done.rows_affected() == 1).then_some(made))
}

/// Many leads of one campaign in one transaction.
pub(super) struct Import<'t> {
    tx: &'t mut Tx,
    bulk: Bulk,
    tenant: String,
    campaign: Uuid,
}

impl<'t> Import<'t> {
    /// Begins, and keeps the campaign from being deleted. `None` where the tenant has no such campaign.
    pub(super) async fn begin(tx: &'t mut Tx, tenant: &str, campaign: Uuid) -> Result<Option<Self>, DbError> {
        let held = match tx.dialect() {
            Dialect::Sqlite => "SELECT 1 FROM campaigns WHERE id = $1 AND tenant_id = $2",
            Dialect::Postgres => "SELECT 1 FROM campaigns WHERE id = $1 AND tenant_id = $2 FOR SHARE",
        };
        let found =
            sqlx::query(held).bind(campaign.to_string()).bind(tenant).fetch_optional(tx.conn()).await?;
        let bulk = Bulk::new(
            "INSERT INTO leads (id, tenant_id, campaign_id, email, name, status, value_cents, created_at)",
        );
        Ok(found.map(|_| Self { tx, bulk, tenant: tenant.to_owned(), campaign }))
    }

    pub(super) async fn push(&mut self, new: NewLead) -> Result<(), DbError> {
        let row = [
            Uuid::now_v7().to_string().into(),
            self.tenant.clone().into(),
            self.campaign.to_string().into(),
            new.email.into(),
            new.name.into(),
            new.status.as_str().into(),
            new.value_cents.into(),
            Time::now().0.into(),
        ];
        self.bulk.push(self.tx, row).await
    }

    /// To be called after the last lead.
    pub(super) async fn finish(mut self) -> Result<(), DbError> {
        self.bulk.flush(self.tx).await
    }
}
