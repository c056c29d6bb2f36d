//! A database for each test.

use larder_testkit::PostgresServer;
use sample_backend::config::DatabaseConfig;

/// Keeps a database there.
pub(crate) type Home = Box<dyn std::any::Any>;

pub(crate) fn sqlite() -> (DatabaseConfig, Home) {
    let path = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", path.path().join("sample.db").display());
    (DatabaseConfig::new(url), Box::new(path))
}

pub(crate) fn postgres() -> (DatabaseConfig, Home) {
    let server = PostgresServer::shared();
    (DatabaseConfig::new(server.fresh_database()), Box::new(server))
}

/// Runs a test on both databases: `on_each_database!(it_holds, |database: DatabaseConfig| async move { … });`
macro_rules! on_each_database {
    ($(#[$meta:meta])* $name:ident, $test:expr) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            #[tokio::test]
            async fn on_sqlite() {
                let (test, (database, _home)) = ($test, $crate::support::sqlite());
                test(database).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                let (test, (database, _home)) = ($test, $crate::support::postgres());
                test(database).await;
            }
        }
    };
}
pub(crate) use on_each_database;
