//! `larder user add`

use larder_http::Role;

use super::password::hash_now;
use super::routes::{MAX_PASSWORD, MIN_PASSWORD};
use super::sql;
use crate::config::DatabaseConfig;
use crate::db::{Db, DbError, StartError};

/// A user to be added from the command line.
#[derive(Clone)]
pub struct NewUser {
    /// The address they will sign in with.
    pub email: String,
    /// The tenant's id; made if there is none such.
    pub tenant: String,
    /// What they may do.
    pub role: Role,
    /// Their password.
    pub password: String,
}

impl std::fmt::Debug for NewUser {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("NewUser")
            .field("email", &self.email)
            .field("tenant", &self.tenant)
            .finish_non_exhaustive()
    }
}

/// Why a user was not added.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AddUserError {
    /// Something about it can't be.
    #[error("{0}")]
    Invalid(&'static str),
    /// There is one already.
    #[error("there is a user {0} already")]
    Exists(String),
    /// The database can't be opened.
    #[error(transparent)]
    Start(#[from] StartError),
    /// The database refuses.
    #[error("the database refuses: {0:?}")]
    Database(DbError),
}

impl From<DbError> for AddUserError {
    fn from(error: DbError) -> Self {
        Self::Database(error)
    }
}

/// Adds a user to the database, and the tenant if there is none such.
///
/// # Errors
/// [`AddUserError`]; then nothing was added.
///
/// # Cancel safety
/// Cancelled, nothing was added, or everything was.
pub async fn add_user(database: &DatabaseConfig, new: NewUser) -> Result<(), AddUserError> {
    let email = new.email.trim().to_lowercase();
    if !larder_http::input::is_email(&email) {
        return Err(AddUserError::Invalid("that is no e-mail address"));
    }
    if !(MIN_PASSWORD..=MAX_PASSWORD).contains(&new.password.len()) {
        return Err(AddUserError::Invalid("a password has 8 to 256 bytes"));
    }
    let is_id = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    if new.tenant.is_empty() || new.tenant.len() > 64 || !new.tenant.chars().all(is_id) {
        return Err(AddUserError::Invalid("a tenant's id is made of lower-case letters, digits and dashes"));
    }
    let hash = hash_now(&new.password).ok_or(AddUserError::Invalid("the system gives no randomness"))?;
    let db = Db::open(database).await?;
    let name = email.split('@').next().unwrap_or_default().to_owned();
    let mut tx = db.begin().await?;
    sql::ensure_tenant(&mut tx, &new.tenant).await?;
    match sql::create_user(&mut tx, &new.tenant, (email.clone(), name, new.role), hash).await {
        Ok(_) => tx.commit().await?,
        Err(error) if error.is_duplicate() => return Err(AddUserError::Exists(email)),
        Err(error) => return Err(error.into()),
    }
    db.close().await;
    Ok(())
}
