//! The questions that notifications ask the database.

use larder_http::{Page, PageParams};
use sqlx::any::AnyRow;
use sqlx::{Error, Row};
use uuid::Uuid;

use super::model::Notification;
use crate::db::{Bulk, Db, DbError, Tx};
use crate::row;
use crate::time::Time;

fn notification(row: &AnyRow) -> Result<Notification, Error> {
    Ok(Notification {
        id: row::id(row, 0)?,
        kind: row::text(row, 1)?,
        text: row::text(row, 2)?,
        read: row::number(row, 3)? != 0,
        created_at: Time::of(row, 4)?,
    })
}

/// One page of a user's, newest first.
pub(super) async fn list(
    db: &Db,
    tenant: &str,
    user: Uuid,
    page: PageParams,
) -> Result<Page<Notification>, DbError> {
    let total = sqlx::query("SELECT COUNT(*) FROM notifications WHERE user_id = $1 AND tenant_id = $2")
        .bind(user.to_string())
        .bind(tenant)
        .fetch_one(db.read())
        .await?
        .try_get(0)?;
    let items = sqlx::query(
        "SELECT id, kind, text, is_read, created_at FROM notifications \
         WHERE user_id = $1 AND tenant_id = $2 ORDER BY id DESC LIMIT $3 OFFSET $4",
    )
    .bind(user.to_string())
    .bind(tenant)
    .bind(page.limit)
    .bind(page.offset())
    .try_map(|row: AnyRow| notification(&row))
    .fetch_all(db.read())
    .await?;
    Ok(page.of(items, total))
}

/// Marks one of the user's as read; `None` where the user has none such.
pub(super) async fn read(
    tx: &mut Tx,
    tenant: &str,
    user: Uuid,
    id: Uuid,
) -> Result<Option<Notification>, DbError> {
    Ok(sqlx::query(
        "UPDATE notifications SET is_read = 1 WHERE id = $1 AND user_id = $2 AND tenant_id = $3 \
         RETURNING id, kind, text, is_read, created_at",
    )
    .bind(id.to_string())
    .bind(user.to_string())
    .bind(tenant)
    .try_map(|row: AnyRow| notification(&row))
    .fetch_optional(tx.conn())
    .await?)
}

/// Tells each of these users the same; returns an id for each.
pub(crate) async fn create(
    tx: &mut Tx,
    tenant: &str,
    users: &[Uuid],
    kind: &'static str,
    text: &str,
) -> Result<Vec<Uuid>, DbError> {
    let mut bulk = Bulk::new("INSERT INTO notifications (id, tenant_id, user_id, kind, text, created_at)");
    let (now, mut ids) = (Time::now().0, Vec::with_capacity(users.len()));
    for user in users {
        let id = Uuid::now_v7();
        let row = [
            id.to_string().into(),
            tenant.to_owned().into(),
            user.to_string().into(),
            kind.into(),
            text.to_owned().into(),
            now.into(),
        ];
        bulk.push(tx, row).await?;
        ids.push(id);
    }
    bulk.flush(tx).await?;
    Ok(ids)
}
