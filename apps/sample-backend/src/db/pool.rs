//! Opening connections: how many, for how long, and with which settings.

use std::time::Duration;

use sqlx::AnyPool;
use sqlx::any::{AnyConnectOptions, AnyPoolOptions, install_default_drivers};
use sqlx::{AnyConnection, ConnectOptions, Connection, Executor};
use url::Url;

use super::{Dialect, StartError};
use crate::config::DatabaseConfig;

/// How often connections above `pool_size` are looked for.
const REAP_EVERY: Duration = Duration::from_secs(30);

/// SQLite waits this long for a lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);

/// For the writer. Readers share the operating system's cache of the file and have little of their own: sixty of them
/// at SQLite's default of 2 MiB would hold more memory than everything else.
const WRITER: &str = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA foreign_keys = ON; \
     PRAGMA cache_size = -4096; PRAGMA temp_store = MEMORY; PRAGMA journal_size_limit = 67108864";
const READER: &str = "PRAGMA query_only = ON; PRAGMA cache_size = -512; PRAGMA temp_store = MEMORY";

/// Opens the pools and one connection, so that a database that is out of reach is found now.
pub(super) async fn open(config: &DatabaseConfig) -> Result<(Dialect, AnyPool, AnyPool), StartError> {
    install_default_drivers();
    let url = Url::parse(&config.url).map_err(|_| StartError::url(&config.url))?;
    match url.scheme() {
        "sqlite" => open_sqlite(config, url).await,
        "postgres" | "postgresql" => open_postgres(config, &url).await,
        _ => Err(StartError::url(&config.url)),
    }
}

async fn open_sqlite(
    config: &DatabaseConfig,
    mut url: Url,
) -> Result<(Dialect, AnyPool, AnyPool), StartError> {
    if url.query().is_none_or(|q| !q.contains("mode=")) {
        url.query_pairs_mut().append_pair("mode", "rwc");
    }
    let connect = connect_options(config, &url)?;
    let write = limits(config, 1)
        .after_connect(|conn, _| Box::pin(set_up(conn, WRITER)))
        .connect_with(connect.clone())
        .await
        .map_err(|e| StartError::open(&config.url, e))?;
    let readers = (config.pool_size + config.max_overflow).saturating_sub(1).max(1);
    let read = limits(config, readers)
        .after_connect(|conn, _| Box::pin(set_up(conn, READER)))
        .connect_lazy_with(connect);
    reap(read.clone(), config.pool_size);
    Ok((Dialect::Sqlite, read, write))
}

async fn open_postgres(
    config: &DatabaseConfig,
    url: &Url,
) -> Result<(Dialect, AnyPool, AnyPool), StartError> {
    let connect = connect_options(config, url)?;
    // Try once by hand: a pool would go on trying until its time-out, though the password is wrong.
    let probe = tokio::time::timeout(config.pool_timeout, connect.connect())
        .await
        .unwrap_or(Err(sqlx::Error::PoolTimedOut))
        .map_err(|e| StartError::open(&config.url, e))?;
    drop(probe.close().await);
    let pool = limits(config, config.pool_size + config.max_overflow).connect_lazy_with(connect);
    reap(pool.clone(), config.pool_size);
    Ok((Dialect::Postgres, pool.clone(), pool))
}

fn connect_options(config: &DatabaseConfig, url: &Url) -> Result<AnyConnectOptions, StartError> {
    AnyConnectOptions::from_url(url).map_err(|e| StartError::open(&config.url, e))
}

fn limits(config: &DatabaseConfig, max: u32) -> AnyPoolOptions {
    AnyPoolOptions::new()
        .max_connections(max.max(1))
        .min_connections(0)
        .acquire_timeout(config.pool_timeout)
        .max_lifetime(config.pool_recycle)
        .idle_timeout(None)
        .test_before_acquire(true)
}

async fn set_up(conn: &mut AnyConnection, pragmas: &'static str) -> Result<(), sqlx::Error> {
    let wait = format!("PRAGMA busy_timeout = {}", BUSY_TIMEOUT.as_millis());
    conn.execute(sqlx::raw_sql(sqlx::AssertSqlSafe(wait))).await?;
    conn.execute(sqlx::raw_sql(pragmas)).await?;
    Ok(())
}

/// Closes idle connections above `keep`. The pool itself knows an idle time, but no number to keep without opening
/// them all at once.
fn reap(pool: AnyPool, keep: u32) {
    tokio::spawn(async move {
        let closed = pool.close_event();
        let work = async {
            let mut tick = tokio::time::interval(REAP_EVERY);
            loop {
                tick.tick().await;
                while pool.size() > keep {
                    let Some(conn) = pool.try_acquire() else { break };
                    drop(conn.close().await);
                }
            }
        };
        tokio::select! {
            () = closed => (),
            () = work => (),
        }
    });
}
