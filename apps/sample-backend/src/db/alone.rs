//! Whether another process that can't tell us what it changes uses the same database.

use std::any::Any;
use std::fs::{File, TryLockError};
use std::path::PathBuf;

use sqlx::Row;

use super::{Db, Dialect};
use crate::config::DatabaseConfig;

/// The advisory lock that stands for "I tell nobody what I change" in PostgreSQL: "larder" in ASCII, and a number.
const LOCK: i64 = 0x6c61_7264_6572_0002;

/// What came of asking to be the only one.
#[must_use = "the claim ends when it is dropped"]
pub enum Claim {
    /// Nobody else has claimed the database; nobody can until this is dropped.
    Alone(Box<dyn Any + Send>),
    /// Somebody has.
    Shared,
}

impl std::fmt::Debug for Claim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Alone(_) => "Alone",
            Self::Shared => "Shared",
        })
    }
}

impl Db {
    /// Claims to be the only process that changes this database without telling the others.
    ///
    /// The system ends the claim with the process, however that ends: on SQLite it is a lock on a file beside the
    /// database, on PostgreSQL one that a connection holds. Where neither can be had, nobody is known to be there.
    ///
    /// # Cancel safety
    /// Dropping the future claims nothing.
    pub async fn claim(&self, config: &DatabaseConfig) -> Claim {
        match self.dialect {
            Dialect::Sqlite => claim_file(&config.url),
            Dialect::Postgres => self.claim_connection().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "who else uses the database can't be found out");
                Claim::Alone(Box::new(()))
            }),
        }
    }

    async fn claim_connection(&self) -> Result<Claim, sqlx::Error> {
        let mut connection = self.read().acquire().await?;
        let row =
            sqlx::query("SELECT pg_try_advisory_lock($1)").bind(LOCK).fetch_one(&mut *connection).await?;
        // Taken out of the pool, which would close it some day, and with it the lock.
        Ok(if row.try_get(0)? { Claim::Alone(Box::new(connection.detach())) } else { Claim::Shared })
    }
}

fn claim_file(url: &str) -> Claim {
    let nobody = Claim::Alone(Box::new(()));
    let Some(path) = lock_file(url) else { return nobody };
    let Ok(file) = File::options().create(true).truncate(false).write(true).open(path) else { return nobody };
    match file.try_lock() {
        Ok(()) => Claim::Alone(Box::new(file)),
        Err(TryLockError::WouldBlock) => Claim::Shared,
        Err(TryLockError::Error(_)) => nobody,
    }
}

/// Beside the database; not the database itself, whose locks SQLite would lose when the file is closed.
fn lock_file(url: &str) -> Option<PathBuf> {
    let path = url.strip_prefix("sqlite:")?;
    let path = path.strip_prefix("//").unwrap_or(path).split('?').next()?;
    (!path.is_empty() && path != ":memory:").then(|| PathBuf::from(format!("{path}.lock")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lock_stands_beside_the_database_file() {
        let file = |url| lock_file(url).map(|path| path.to_string_lossy().into_owned());
        assert_eq!(file("sqlite://larder.db").as_deref(), Some("larder.db.lock"));
        assert_eq!(file("sqlite:///var/x.db?mode=rwc").as_deref(), Some("/var/x.db.lock"));
        assert_eq!(file("sqlite::memory:"), None);
    }

    #[test]
    fn the_second_claim_is_refused_until_the_first_is_dropped() {
        let dir = std::env::temp_dir().join(format!("larder-claim-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let url = format!("sqlite://{}", dir.join("a.db").display());
        let first = claim_file(&url);
        assert!(matches!(first, Claim::Alone(_)));
        assert!(matches!(claim_file(&url), Claim::Shared));
        drop(first);
        assert!(matches!(claim_file(&url), Claim::Alone(_)));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
