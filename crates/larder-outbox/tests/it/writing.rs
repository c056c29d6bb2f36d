//! Rows that are written in the transaction of a change.

use crate::support::{Database, on_each_database};
use larder::{Cache, Event, key, prefix, tag};
use larder_outbox::{ErrorKind, emit};
use serde_json::json;
use sqlx::{Connection, PgConnection, SqliteConnection};

fn event() -> Event {
    Event::new("campaign.updated").id("17").data(json!({ "a": "ö" })).invalidates([tag("campaigns")])
}

on_each_database!(an_event_commits_with_its_change_or_not_at_all, |database: Database| async move {
    let mut tx = database.pool.begin().await.unwrap();
    emit(&mut *tx, "acme", &event()).await.unwrap();
    tx.rollback().await.unwrap();
    assert_eq!(database.run("SELECT kind FROM larder_outbox").await, "");
    let mut tx = database.pool.begin().await.unwrap();
    emit(&mut tx, "acme", &event().invalidates([prefix!("a:b"), key!("c", 1).into()])).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(
        database.run("SELECT tenant, kind, entity, room, data, invalidates FROM larder_outbox").await,
        r#"acme|campaign.updated|17||{"a":"ö"}|[{"tag":"campaigns"},{"prefix":"a%3Ab"},{"key":"c:1"}]"#
    );
});

on_each_database!(what_is_refused_leaves_the_transaction_usable, |database: Database| async move {
    let mut tx = database.pool.begin().await.unwrap();
    let long = event().data(json!("x".repeat(65_536)));
    let error = emit(&mut *tx, "acme", &long).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidEvent);
    assert!(error.to_string().contains("`data`"), "{error}");
    emit(&mut *tx, "acme", &event()).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(database.run("SELECT tenant FROM larder_outbox").await, "acme");
});

on_each_database!(a_name_that_no_tenant_has_is_refused, |database: Database| async move {
    let mut connection = database.pool.begin().await.unwrap();
    for name in ["", "a\0b", &"t".repeat(129)] {
        let error = emit(&mut *connection, name, &event()).await.unwrap_err();
        assert!(error.kind() == ErrorKind::InvalidEvent && error.to_string().contains("`tenant`"), "{error}");
    }
    connection.commit().await.unwrap();
    assert_eq!(database.run("SELECT COUNT(*) || '' FROM larder_outbox").await, "0");
});

on_each_database!(what_all_tenants_share_is_nobodys, |database: Database| async move {
    let cache = Cache::builder("test").build().await.unwrap();
    let mut connection = database.pool.acquire().await.unwrap();
    emit(&mut *connection, &cache.shared(), &event()).await.unwrap();
    emit(&mut *connection, &cache.tenant("acme"), &event()).await.unwrap();
    drop(connection);
    let rows = database.run("SELECT tenant, CAST(shared AS TEXT) FROM larder_outbox ORDER BY id").await;
    assert_eq!(rows, "|1\nacme|0");
    cache.shutdown().await;
});

#[tokio::test]
async fn every_driver_writes_the_same_row() {
    let database = Database::postgres().await;
    let mut connection = PgConnection::connect(&database.url).await.unwrap();
    emit(&mut connection, "acme", &event()).await.unwrap();
    let mut any = database.pool.acquire().await.unwrap();
    emit(&mut *any, "acme", &event()).await.unwrap();
    drop(any);
    let columns = "v, tenant, shared, kind, entity, room, data, invalidates, not_before";
    let distinct = format!("SELECT COUNT(*) FROM (SELECT DISTINCT {columns} FROM larder_outbox) AS d");
    assert_eq!(database.run(&distinct).await, "1");
    let keys = "SELECT COUNT(DISTINCT nonce), MIN(length(nonce)) FROM larder_outbox";
    assert_eq!(database.run(keys).await, "2|12");

    let mut sqlite = SqliteConnection::connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql(larder_outbox::schema::SQLITE).execute(&mut sqlite).await.unwrap();
    emit(&mut sqlite, "acme", &event()).await.unwrap();
    let key: String =
        sqlx::query_scalar("SELECT nonce FROM larder_outbox").fetch_one(&mut sqlite).await.unwrap();
    assert_eq!(key.len(), 12);
}
