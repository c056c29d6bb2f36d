//! The questions about users as others see them.

use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Error};
use uuid::Uuid;

use super::model::{Person, Profile};
use crate::db::{Db, DbError, placeholders};
use crate::row;
use crate::time::Time;

fn person(row: &AnyRow) -> Result<Person, Error> {
    Ok(Person { id: row::id(row, 0)?, name: row::text(row, 1)?, headline: row::text(row, 2)? })
}

/// One of this tenant's.
pub(super) async fn get(db: &Db, tenant: &str, id: Uuid) -> Result<Option<Person>, DbError> {
    Ok(sqlx::query("SELECT id, name, headline FROM users WHERE id = $1 AND tenant_id = $2")
        .bind(id.to_string())
        .bind(tenant)
        .try_map(|row: AnyRow| person(&row))
        .fetch_optional(db.read())
        .await?)
}

/// Those of these that are this tenant's, in any order.
pub(super) async fn many(db: &Db, tenant: &str, ids: &[Uuid]) -> Result<Vec<Person>, DbError> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT id, name, headline FROM users WHERE tenant_id = $1 AND id IN ({})",
        placeholders(2, ids.len())
    );
    let query = sqlx::query(AssertSqlSafe(sql)).bind(tenant);
    Ok(ids
        .iter()
        .fold(query, |query, id| query.bind(id.to_string()))
        .try_map(|row: AnyRow| person(&row))
        .fetch_all(db.read())
        .await?)
}

/// One of this tenant's, with all that there is to know.
pub(super) async fn profile(db: &Db, tenant: &str, id: Uuid) -> Result<Option<Profile>, DbError> {
    Ok(sqlx::query(
        "SELECT u.id, u.name, u.headline, u.bio, u.created_at, \
             (SELECT COUNT(*) FROM posts p WHERE p.author_id = u.id) \
         FROM users u WHERE u.id = $1 AND u.tenant_id = $2",
    )
    .bind(id.to_string())
    .bind(tenant)
    .try_map(|row: AnyRow| {
        Ok(Profile {
            user: person(&row)?,
            bio: row::text(&row, 3)?,
            posts_count: row::number(&row, 5)?,
            joined_at: Time::of(&row, 4)?,
        })
    })
    .fetch_optional(db.read())
    .await?)
}
