//! The questions that signing in asks the database.

use larder_http::Role;
use serde::Serialize;
use sqlx::Error;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::db::{Db, DbError, Tx};
use crate::row;
use crate::time::Time;

/// A user, as they see themselves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Account {
    /// Their id.
    pub id: Uuid,
    /// The address they sign in with.
    pub email: String,
    /// Their name.
    pub name: String,
    /// What they may do.
    pub role: Role,
}

/// What is needed to sign somebody in.
#[derive(Debug)]
pub(super) struct Login {
    pub(super) account: Account,
    pub(super) tenant: String,
    pub(super) hash: String,
}

fn account(row: &AnyRow) -> Result<Account, Error> {
    let role = row::text(row, 3)?.parse::<Role>().map_err(|e| Error::Decode(e.into()))?;
    Ok(Account { id: row::id(row, 0)?, email: row::text(row, 1)?, name: row::text(row, 2)?, role })
}

pub(super) async fn login(db: &Db, email: &str) -> Result<Option<Login>, DbError> {
    Ok(sqlx::query("SELECT id, email, name, role, tenant_id, password_hash FROM users WHERE email = $1")
        .bind(email)
        .try_map(|row: AnyRow| {
            Ok(Login { account: account(&row)?, tenant: row::text(&row, 4)?, hash: row::text(&row, 5)? })
        })
        .fetch_optional(db.read())
        .await?)
}

pub(super) async fn me(db: &Db, tenant: &str, id: Uuid) -> Result<Option<Account>, DbError> {
    Ok(sqlx::query("SELECT id, email, name, role FROM users WHERE id = $1 AND tenant_id = $2")
        .bind(id.to_string())
        .bind(tenant)
        .try_map(|row: AnyRow| account(&row))
        .fetch_optional(db.read())
        .await?)
}

/// A tenant's id is its name in letters that need no escape anywhere; where that is taken, with something behind it.
pub(super) async fn create_tenant(tx: &mut Tx, name: &str) -> Result<String, DbError> {
    let slug = slug(name);
    let taken = sqlx::query("SELECT 1 FROM tenants WHERE id = $1")
        .bind(slug.clone())
        .fetch_optional(tx.conn())
        .await?;
    // The last digits of an id of version 7 are random.
    let random = Uuid::now_v7().simple().to_string();
    let id = if taken.is_some() || slug.is_empty() { format!("{slug}-{}", &random[24..]) } else { slug };
    let id = id.trim_start_matches('-').to_owned();
    sqlx::query("INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3)")
        .bind(id.clone())
        .bind(name)
        .bind(Time::now().0)
        .execute(tx.conn())
        .await?;
    Ok(id)
}

/// Makes the tenant of that id if there is none.
pub(super) async fn ensure_tenant(tx: &mut Tx, id: &str) -> Result<(), DbError> {
    sqlx::query("INSERT INTO tenants (id, name, created_at) VALUES ($1, $2, $3) ON CONFLICT (id) DO NOTHING")
        .bind(id)
        .bind(id)
        .bind(Time::now().0)
        .execute(tx.conn())
        .await?;
    Ok(())
}

pub(super) async fn create_user(
    tx: &mut Tx,
    tenant: &str,
    (email, name, role): (String, String, Role),
    hash: String,
) -> Result<Account, DbError> {
    let account = Account { id: Uuid::now_v7(), email, name, role };
    sqlx::query(
        "INSERT INTO users (id, tenant_id, email, name, role, password_hash, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
    )
    .bind(account.id.to_string())
    .bind(tenant)
    .bind(account.email.clone())
    .bind(account.name.clone())
    .bind(account.role.as_str())
    .bind(hash)
    .bind(Time::now().0)
    .execute(tx.conn())
    .await?;
    Ok(account)
}

/// The secret that is made once and kept, for servers that are given none.
pub(crate) async fn kept_secret(db: &Db, fresh: &str) -> Result<String, DbError> {
    let mut tx = db.begin().await?;
    sqlx::query("INSERT INTO settings (name, value) VALUES ('jwt_secret', $1) ON CONFLICT (name) DO NOTHING")
        .bind(fresh)
        .execute(tx.conn())
        .await?;
    let row =
        sqlx::query("SELECT value FROM settings WHERE name = 'jwt_secret'").fetch_one(tx.conn()).await?;
    let secret = row::text(&row, 0)?;
    tx.commit().await?;
    Ok(secret)
}

/// Lower-case letters and digits with single dashes between them.
fn slug(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars().flat_map(char::to_lowercase) {
        if c.is_ascii_alphanumeric() {
            slug.push(c);
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
        if slug.len() >= 40 {
            break;
        }
    }
    slug.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::slug;

    #[test]
    fn a_slug_needs_no_escape_anywhere() {
        assert_eq!(slug("Acme & Sons, Inc."), "acme-sons-inc");
        assert_eq!(slug("a:b*c?[d]{e}"), "a-b-c-d-e");
        assert_eq!(slug("🦀"), "");
        assert_eq!(slug(&"x".repeat(200)).len(), 40);
    }
}
