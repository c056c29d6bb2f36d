//! The questions that conversations ask the database.

use std::collections::HashMap;

use larder_http::PageParams;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Error, Row};
use uuid::Uuid;

use crate::db::{Bulk, Db, DbError, Dialect, Tx, placeholders};
use crate::row;
use crate::time::Time;

/// A conversation as it is stored: those who take part are ids.
pub(super) struct Stored {
    pub(super) id: Uuid,
    pub(super) members: Vec<Uuid>,
    pub(super) last_message: Option<String>,
    pub(super) updated_at: Time,
}

fn stored(row: &AnyRow) -> Result<Stored, Error> {
    let (id, last_message) = (row::id(row, 0)?, row.try_get(1)?);
    Ok(Stored { id, members: Vec::new(), last_message, updated_at: Time::of(row, 2)? })
}

/// One page of a user's conversations, the one that was spoken in last first, and how many there are.
pub(super) async fn list(
    db: &Db,
    tenant: &str,
    user: Uuid,
    page: PageParams,
) -> Result<(Vec<Stored>, i64), DbError> {
    let total = sqlx::query(
        "SELECT COUNT(*) FROM participants p JOIN conversations c ON c.id = p.conversation_id \
         WHERE p.user_id = $1 AND c.tenant_id = $2",
    )
    .bind(user.to_string())
    .bind(tenant)
    .fetch_one(db.read())
    .await?
    .try_get(0)?;
    let mut talks = sqlx::query(
        "SELECT c.id, NULLIF(c.last_message, ''), c.updated_at \
         FROM participants p JOIN conversations c ON c.id = p.conversation_id \
         WHERE p.user_id = $1 AND c.tenant_id = $2 \
         ORDER BY c.updated_at DESC, c.id DESC LIMIT $3 OFFSET $4",
    )
    .bind(user.to_string())
    .bind(tenant)
    .bind(page.limit)
    .bind(page.offset())
    .try_map(|row: AnyRow| stored(&row))
    .fetch_all(db.read())
    .await?;
    add_members(db, &mut talks).await?;
    Ok((talks, total))
}

/// Puts in who takes part: one statement for all of a page.
async fn add_members(db: &Db, talks: &mut [Stored]) -> Result<(), DbError> {
    if talks.is_empty() {
        return Ok(());
    }
    let sql = format!(
        "SELECT conversation_id, user_id FROM participants WHERE conversation_id IN ({}) ORDER BY user_id",
        placeholders(1, talks.len())
    );
    let query = sqlx::query(AssertSqlSafe(sql));
    let pairs = talks
        .iter()
        .fold(query, |query, talk| query.bind(talk.id.to_string()))
        .try_map(|row: AnyRow| Ok((row::id(&row, 0)?, row::id(&row, 1)?)))
        .fetch_all(db.read())
        .await?;
    let mut members: HashMap<Uuid, Vec<Uuid>> = HashMap::with_capacity(talks.len());
    for (talk, member) in pairs {
        members.entry(talk).or_default().push(member);
    }
    for talk in talks {
        talk.members = members.remove(&talk.id).unwrap_or_default();
    }
    Ok(())
}

/// Who takes part; nobody where the tenant has no such conversation.
pub(crate) async fn members(db: &Db, tenant: &str, id: Uuid) -> Result<Vec<Uuid>, DbError> {
    Ok(sqlx::query(
        "SELECT p.user_id FROM conversations c JOIN participants p ON p.conversation_id = c.id \
         WHERE c.id = $1 AND c.tenant_id = $2 ORDER BY p.user_id",
    )
    .bind(id.to_string())
    .bind(tenant)
    .try_map(|row: AnyRow| row::id(&row, 0))
    .fetch_all(db.read())
    .await?)
}

/// The same, and nobody else speaks in it until the transaction ends: what is said last is what comes last.
pub(crate) async fn hold(tx: &mut Tx, tenant: &str, id: Uuid) -> Result<Vec<Uuid>, DbError> {
    let sql = match tx.dialect() {
        Dialect::Sqlite => {
            "SELECT p.user_id FROM conversations c JOIN participants p ON p.conversation_id = c.id \
             WHERE c.id = $1 AND c.tenant_id = $2 ORDER BY p.user_id"
        }
        Dialect::Postgres => {
            "SELECT p.user_id FROM conversations c JOIN participants p ON p.conversation_id = c.id \
             WHERE c.id = $1 AND c.tenant_id = $2 ORDER BY p.user_id FOR UPDATE OF c"
        }
    };
    Ok(sqlx::query(sql)
        .bind(id.to_string())
        .bind(tenant)
        .try_map(|row: AnyRow| row::id(&row, 0))
        .fetch_all(tx.conn())
        .await?)
}

/// Notes what was said last.
pub(crate) async fn spoken(tx: &mut Tx, id: Uuid, body: &str, at: Time) -> Result<(), DbError> {
    sqlx::query("UPDATE conversations SET last_message = $2, updated_at = $3 WHERE id = $1")
        .bind(id.to_string())
        .bind(body.to_owned())
        .bind(at.0)
        .execute(tx.conn())
        .await?;
    Ok(())
}

/// Starts one between these users, who must be the tenant's.
pub(super) async fn create(tx: &mut Tx, tenant: &str, members: Vec<Uuid>) -> Result<Stored, DbError> {
    let made = Stored { id: Uuid::now_v7(), members, last_message: None, updated_at: Time::now() };
    sqlx::query("INSERT INTO conversations (id, tenant_id, created_at, updated_at) VALUES ($1, $2, $3, $3)")
        .bind(made.id.to_string())
        .bind(tenant)
        .bind(made.updated_at.0)
        .execute(tx.conn())
        .await?;
    let mut bulk = Bulk::new("INSERT INTO participants (conversation_id, user_id)");
    for member in &made.members {
        bulk.push(tx, [made.id.to_string().into(), member.to_string().into()]).await?;
    }
    bulk.flush(tx).await?;
    Ok(made)
}
