//! The questions that posts ask the database.

use larder_http::PageParams;
use sqlx::any::AnyRow;
use sqlx::{Error, Row};
use uuid::Uuid;

use crate::db::{Db, DbError, Tx};
use crate::row;
use crate::time::Time;

/// A post as it is stored: its author is an id.
pub(super) struct Stored {
    pub(super) id: Uuid,
    pub(super) author: Uuid,
    pub(super) body: String,
    pub(super) created_at: Time,
}

fn stored(row: &AnyRow) -> Result<Stored, Error> {
    Ok(Stored {
        id: row::id(row, 0)?,
        author: row::id(row, 1)?,
        body: row::text(row, 2)?,
        created_at: Time::of(row, 3)?,
    })
}

/// One page of all posts, newest first, and how many there are.
pub(super) async fn feed(db: &Db, tenant: &str, page: PageParams) -> Result<(Vec<Stored>, i64), DbError> {
    let total = sqlx::query("SELECT COUNT(*) FROM posts WHERE tenant_id = $1")
        .bind(tenant)
        .fetch_one(db.read())
        .await?
        .try_get(0)?;
    let posts = sqlx::query(
        "SELECT id, author_id, body, created_at FROM posts WHERE tenant_id = $1 \
         ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(tenant)
    .bind(page.limit)
    .bind(page.offset())
    .try_map(|row: AnyRow| stored(&row))
    .fetch_all(db.read())
    .await?;
    Ok((posts, total))
}

/// One page of a user's posts, newest first, and how many there are; `None` where the tenant has no such user.
pub(super) async fn by_author(
    db: &Db,
    tenant: &str,
    author: Uuid,
    page: PageParams,
) -> Result<Option<(Vec<Stored>, i64)>, DbError> {
    let counted = sqlx::query(
        "SELECT (SELECT COUNT(*) FROM posts p WHERE p.author_id = u.id) FROM users u \
         WHERE u.id = $1 AND u.tenant_id = $2",
    )
    .bind(author.to_string())
    .bind(tenant)
    .fetch_optional(db.read())
    .await?;
    let Some(counted) = counted else { return Ok(None) };
    let posts = sqlx::query(
        "SELECT id, author_id, body, created_at FROM posts WHERE author_id = $1 \
         ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(author.to_string())
    .bind(page.limit)
    .bind(page.offset())
    .try_map(|row: AnyRow| stored(&row))
    .fetch_all(db.read())
    .await?;
    Ok(Some((posts, counted.try_get(0)?)))
}

/// `false` where the tenant has no such author.
pub(super) async fn create(tx: &mut Tx, tenant: &str, post: &Stored) -> Result<bool, DbError> {
    let done = sqlx::query(
        "INSERT INTO posts (id, tenant_id, author_id, body, created_at) \
         SELECT $1, tenant_id, id, $4, $5 FROM users WHERE id = $2 AND tenant_id = $3",
    )
    .bind(post.id.to_string())
    .bind(post.author.to_string())
    .bind(tenant)
    .bind(post.body.clone())
    .bind(post.created_at.0)
    .execute(tx.conn())
    .await?;
    Ok(done.rows_affected() == 1)
}
