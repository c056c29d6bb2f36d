//! All tenants there are: for work that is done ahead for each of them.

use sqlx::Row;

use crate::db::{Db, DbError};

/// The ids of all tenants, in their order.
///
/// # Errors
/// Where the database refuses or is out of reach.
pub async fn tenants(db: &Db) -> Result<Vec<String>, DbError> {
    let rows = sqlx::query("SELECT id FROM tenants ORDER BY id").fetch_all(db.read()).await?;
    Ok(rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>()?)
}
