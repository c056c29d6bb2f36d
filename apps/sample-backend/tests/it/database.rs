//! Opening, migrating and seeding.

use std::time::Duration;

use larder_testkit::assert_eventually;
use sample_backend::config::{DatabaseConfig, SampleData};
use sample_backend::db::{Arg, Bulk, Db, StartError};
use sample_backend::seed::seed;
use sqlx::Row;

use crate::support::{on_each_database, sqlite};

async fn count(db: &Db, table: &str) -> i64 {
    let sql = format!("SELECT COUNT(*) FROM {table}");
    sqlx::query(sqlx::AssertSqlSafe(sql)).fetch_one(db.read()).await.unwrap().get(0)
}

on_each_database!(
    small_sample_data_is_put_in_once_however_many_start_together,
    |database: DatabaseConfig| async move {
        let (one, two) = (Db::open(&database).await.unwrap(), Db::open(&database).await.unwrap());
        let (first, second) =
            tokio::join!(seed(&one, SampleData::Small, true), seed(&two, SampleData::Small, true));
        assert!(first.unwrap() ^ second.unwrap(), "exactly one of them did it");
        assert!(!seed(&one, SampleData::Full, true).await.unwrap());
        assert_eq!(count(&one, "campaigns").await, 120);
        assert_eq!(count(&one, "threats").await, 800);
        assert_eq!(count(&one, "tenants").await, 3);
        assert_eq!(
            count(&one, "leads l JOIN campaigns c ON c.id = l.campaign_id AND c.tenant_id <> l.tenant_id")
                .await,
            0
        );
    }
);

on_each_database!(opening_twice_at_once_makes_the_tables_once, |database: DatabaseConfig| async move {
    let (one, two) = tokio::join!(Db::open(&database), Db::open(&database));
    one.unwrap().close().await;
    assert_eq!(count(&two.unwrap(), "users").await, 0);
});

on_each_database!(
    a_dropped_transaction_leaves_nothing_and_blocks_nobody,
    |database: DatabaseConfig| async move {
        let db = Db::open(&database).await.unwrap();
        let mut tx = db.begin().await.unwrap();
        let insert = "INSERT INTO settings (name, value) VALUES ('a', 'b')";
        sqlx::query(insert).execute(tx.conn()).await.unwrap();
        drop(tx);
        assert_eq!(count(&db, "settings").await, 0);
        sqlx::query(insert).execute(db.write()).await.unwrap();
        let again = sqlx::query(insert).execute(db.write()).await.unwrap_err();
        assert!(sample_backend::db::DbError::from(again).is_duplicate());
    }
);

on_each_database!(bulk_rows_arrive_whole_and_in_any_number, |database: DatabaseConfig| async move {
    let db = Db::open(&database).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let mut bulk = Bulk::new("INSERT INTO settings (name, value)");
    for i in 0..4_321_i64 {
        bulk.push(&mut tx, [Arg::from(format!("{i}")), "ö; DROP TABLE settings; --".into()]).await.unwrap();
    }
    bulk.flush(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(count(&db, "settings WHERE value = 'ö; DROP TABLE settings; --'").await, 4_321);
});

on_each_database!(
    waiting_for_a_connection_ends_in_503_and_not_in_a_hang,
    |mut database: DatabaseConfig| async move {
        database.pool_size = 1;
        database.max_overflow = 0;
        database.pool_timeout = Duration::from_millis(200);
        let db = Db::open(&database).await.unwrap();
        let _held = db.begin().await.unwrap();
        let problem = larder_http::Problem::from(db.begin().await.unwrap_err());
        assert_eq!(problem.status(), 503);
    }
);

on_each_database!(statements_are_counted, |database: DatabaseConfig| async move {
    let db = Db::open(&database).await.unwrap();
    let before = db.statements();
    count(&db, "users").await;
    count(&db, "users").await;
    assert_eq!(db.statements() - before, 2);
});

#[tokio::test]
async fn readers_of_sqlite_can_not_write() {
    let (database, _home) = sqlite();
    let db = Db::open(&database).await.unwrap();
    let refused =
        sqlx::query("INSERT INTO settings (name, value) VALUES ('a', 'b')").execute(db.read()).await;
    assert!(refused.is_err());
}

#[tokio::test]
async fn a_database_out_of_reach_is_named_without_its_password() {
    let mut config = DatabaseConfig::new("postgres://larder:s3cret@127.0.0.1:1/larder");
    config.pool_timeout = Duration::from_secs(2);
    let error = Db::open(&config).await.unwrap_err();
    assert!(matches!(error, StartError::Open { .. }));
    let text = error.to_string();
    assert!(text.contains("127.0.0.1:1/larder") && !text.contains("s3cret"), "{text}");
    let error = Db::open(&DatabaseConfig::new("mysql://x:y@z/")).await.unwrap_err().to_string();
    assert!(error.contains("sqlite://") && !error.contains(":y@"), "{error}");
}

on_each_database!(
    the_second_process_that_tells_nobody_learns_of_the_first,
    |database: DatabaseConfig| async move {
        use sample_backend::db::Claim;
        let (one, two) = (Db::open(&database).await.unwrap(), Db::open(&database).await.unwrap());
        let first = one.claim(&database).await;
        assert!(matches!(first, Claim::Alone(_)));
        assert!(matches!(two.claim(&database).await, Claim::Shared));
        drop(first);
        let alone = async || matches!(two.claim(&database).await, Claim::Alone(_));
        larder_testkit::assert_eventually!(
            alone().await,
            Duration::from_secs(10),
            "the claim ends with its holder"
        );
    }
);

#[tokio::test]
async fn connections_that_a_restart_of_postgresql_cut_are_replaced_before_use() {
    let server = larder_testkit::PostgresServer::start();
    let db = Db::open(&DatabaseConfig::new(server.fresh_database())).await.unwrap();
    let held = futures_util::future::join_all((0..8).map(|_| db.begin())).await;
    drop(held.into_iter().collect::<Result<Vec<_>, _>>().unwrap());
    server.restart();
    for _ in 0..16 {
        assert_eq!(count(&db, "users").await, 0);
    }
}

on_each_database!(who_waits_for_a_connection_is_counted, |database: DatabaseConfig| async move {
    let database = DatabaseConfig { pool_size: 1, max_overflow: 0, ..database };
    let db = Db::open(&database).await.unwrap();
    let held = db.begin().await.unwrap();
    assert_eq!((db.pool_use().waiting, db.pool_use().timeouts), (0, 0));
    let (one, two) = (db.clone(), db.clone());
    let insert = "INSERT INTO settings (name, value) VALUES ('a', 'b')";
    let begins = tokio::spawn(async move { drop(one.begin().await.unwrap()) });
    let writes = tokio::spawn(async move { sqlx::query(insert).execute(two.write()).await.unwrap() });
    assert_eventually!(db.pool_use().waiting == 2, Duration::from_secs(30), "both wait");
    // Who does not wait any more is not counted.
    writes.abort();
    assert!(writes.await.unwrap_err().is_cancelled());
    assert_eq!(db.pool_use().waiting, 1);
    drop(held);
    begins.await.unwrap();
    assert_eq!((db.pool_use().waiting, db.pool_use().timeouts), (0, 0));

    let impatient =
        Db::open(&DatabaseConfig { pool_timeout: Duration::from_secs(1), ..database }).await.unwrap();
    let _held = impatient.begin().await.unwrap();
    let error = sqlx::query(insert).execute(impatient.write()).await.unwrap_err();
    assert!(sample_backend::db::DbError::from(error).is_temporary());
    assert_eq!((impatient.pool_use().waiting, impatient.pool_use().timeouts), (0, 1));
});
