//! Tables whose writers do not know of larder.

use crate::support::{Database, on_each_database};
use larder::{prefix, tag};
use larder_outbox::{Dialect, Trigger};

const TABLE: &str = "CREATE TABLE campaigns (id INTEGER PRIMARY KEY, tenant_id TEXT, name TEXT)";

fn campaigns() -> Trigger {
    Trigger::on("campaigns")
        .kind("campaign")
        .tenant_column("tenant_id")
        .key_column("id")
        .invalidates([prefix!("campaigns")])
        .each_key(["campaign", "{key}"])
}

async fn create(database: &Database, trigger: &Trigger) {
    let sql = match database.dialect {
        Dialect::Postgres => trigger.postgres().unwrap(),
        Dialect::Sqlite => trigger.sqlite().unwrap(),
    };
    database.run(&sql).await;
}

async fn with_table() -> (Database, Database) {
    let (postgres, sqlite) = (Database::postgres().await, Database::sqlite().await);
    for database in [&postgres, &sqlite] {
        database.run(TABLE).await;
        create(database, &campaigns()).await;
    }
    (postgres, sqlite)
}

on_each_database!(a_change_by_anybody_leaves_a_row, |database: Database| async move {
    database.run(TABLE).await;
    create(&database, &campaigns()).await;
    // Once more: as a migration that is repeated.
    create(&database, &campaigns()).await;
    database.run("INSERT INTO campaigns VALUES (1, 'acme', 'a')").await;
    assert_eq!(database.written().await, [r#"acme campaign.created ["1"]"#]);
    database.run("UPDATE campaigns SET name = 'b' WHERE id = 1").await;
    assert_eq!(database.written().await, [r#"acme campaign.updated ["1"]"#]);
    database.run("UPDATE campaigns SET name = 'b' WHERE id = 2").await;
    assert!(database.written().await.is_empty(), "nothing was changed");
    database.run("DELETE FROM campaigns WHERE id = 1").await;
    assert_eq!(database.written().await, [r#"acme campaign.deleted ["1"]"#]);
});

on_each_database!(a_row_that_moves_is_an_event_for_both_tenants, |database: Database| async move {
    database.run(TABLE).await;
    create(&database, &campaigns()).await;
    database.run("INSERT INTO campaigns VALUES (1, 'acme', 'a')").await;
    database.written().await;
    database.run("UPDATE campaigns SET tenant_id = 'globex' WHERE id = 1").await;
    let mut told = database.written().await;
    told.sort();
    assert_eq!(told, [r#"acme campaign.updated ["1"]"#, r#"globex campaign.updated ["1"]"#]);
    database.run("UPDATE campaigns SET id = 7 WHERE id = 1").await;
    assert_eq!(
        database.written().await,
        [r#"globex campaign.updated ["1","7"]"#],
        "the old key and the new one"
    );
});

on_each_database!(a_rolled_back_change_leaves_no_row, |database: Database| async move {
    database.run(TABLE).await;
    create(&database, &campaigns()).await;
    database.run("BEGIN; INSERT INTO campaigns VALUES (1, 'acme', 'a'); ROLLBACK").await;
    assert!(database.written().await.is_empty());
});

on_each_database!(a_tenant_that_is_null_fails_nobodys_statement, |database: Database| async move {
    database.run(TABLE).await;
    create(&database, &campaigns()).await;
    database.run("INSERT INTO campaigns VALUES (1, NULL, 'a')").await;
    assert_eq!(database.written().await, [r#" campaign.created ["1"]"#]);
});

on_each_database!(what_a_trigger_invalidates_stands_in_its_row, |database: Database| async move {
    database.run(TABLE).await;
    create(&database, &campaigns().invalidates([tag("it's")]).room("r")).await;
    database.run("INSERT INTO campaigns VALUES (1, 'acme', 'a')").await;
    assert_eq!(
        database.run("SELECT room, invalidates FROM larder_outbox").await,
        r#"r|[{"prefix":"campaigns"},{"each":{"key":["campaign","{key}"]}},{"tag":"it's"}]"#
    );
});

on_each_database!(hostile_names_are_names, |database: Database| async move {
    let (table, column) = (r#"x"; DROP TABLE larder_outbox; --"#, r#"c"" '$larder$"#);
    let quoted = |name: &str| format!("\"{}\"", name.replace('"', "\"\""));
    let (t, c) = (quoted(table), quoted(column));
    database.run(&format!("CREATE TABLE {t} (id INTEGER PRIMARY KEY, {c} TEXT)")).await;
    let trigger = Trigger::on(table)
        .tenant_column(column)
        .key_column("id")
        .kind(r"k'; \ $larder$ --")
        .each_tag(r"'); \ $larder$ {key}");
    create(&database, &trigger).await;
    database.run(&format!("INSERT INTO {t} VALUES (1, 'a''b')")).await;
    assert_eq!(database.written().await, [r#"a'b k'; \ $larder$ --.created ["1"]"#]);
    let drop = match database.dialect {
        Dialect::Postgres => trigger.drop_postgres(),
        Dialect::Sqlite => trigger.drop_sqlite(),
    };
    database.run(&drop.unwrap()).await;
    database.run(&format!("DELETE FROM {t}")).await;
    assert!(database.written().await.is_empty());
});

on_each_database!(a_shared_table_has_no_tenant, |database: Database| async move {
    database.run("CREATE TABLE threats (id INTEGER PRIMARY KEY)").await;
    create(&database, &Trigger::on("threats").shared().invalidates([prefix!("threats")])).await;
    database.run("INSERT INTO threats VALUES (1), (2)").await;
    let shared = "SELECT DISTINCT CAST(shared AS TEXT) FROM larder_outbox";
    assert_eq!(database.run(shared).await, "1");
    let told = database.written().await;
    assert!(told.iter().all(|row| row == " threats.created null"), "{told:?}");
});

#[tokio::test]
async fn a_missing_column_is_found_when_the_trigger_is_made() {
    let (postgres, sqlite) = with_table().await;
    let wrong = Trigger::on("campaigns").tenant_column("tennant_id").key_column("id");
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(wrong.postgres().unwrap())).execute(&postgres.pool).await;
    assert!(error.unwrap_err().to_string().contains("tennant_id"));
    let error = sqlx::raw_sql(sqlx::AssertSqlSafe(wrong.sqlite().unwrap())).execute(&sqlite.pool).await;
    assert!(error.unwrap_err().to_string().contains("tennant_id"));
}

#[tokio::test]
async fn a_bulk_statement_on_postgresql_is_one_row_for_each_tenant() {
    let (database, _) = with_table().await;
    database.run("INSERT INTO campaigns SELECT n, 'acme', '' FROM generate_series(1, 100) AS n").await;
    let told = database.written().await;
    assert_eq!(told.len(), 1);
    assert_eq!(told[0].matches(',').count(), 99, "at the bound all keys are named: {told:?}");
    database
        .run("INSERT INTO campaigns VALUES (101, 'acme', ''), (201, 'globex', ''), (202, 'globex', '')")
        .await;
    let mut told = database.written().await;
    told.sort();
    assert_eq!(
        told,
        [r#"acme campaign.created ["101"]"#, r#"globex campaign.created ["201", "202"]"#].map(compact)
    );
    database.run("UPDATE campaigns SET name = 'x'").await;
    let mut told = database.written().await;
    told.sort();
    assert_eq!(
        told,
        ["acme campaign.updated null", r#"globex campaign.updated ["201","202"]"#],
        "one past it, none"
    );
    database.run("TRUNCATE campaigns").await;
    let mut told = database.written().await;
    told.sort();
    assert_eq!(told, ["acme campaign.truncated null", "globex campaign.truncated null"]);
}

fn compact(text: &str) -> String {
    text.replace(", ", ",")
}

#[tokio::test]
async fn keys_without_end_on_postgresql_are_the_whole_table() {
    let database = Database::postgres().await;
    database.run("CREATE TABLE files (path TEXT, tenant TEXT)").await;
    create(&database, &Trigger::on("files").tenant_column("tenant").key_column("path")).await;
    database.run("INSERT INTO files VALUES (repeat('x', 40000), 'acme')").await;
    assert_eq!(database.written().await, ["acme files.created null"]);
    database.run("INSERT INTO files VALUES (NULL, 'acme'), ('a', 'acme')").await;
    assert_eq!(database.written().await, ["acme files.created null"]);
}

#[tokio::test]
async fn every_way_to_write_on_postgresql_leaves_rows() {
    let (database, _) = with_table().await;
    database.run("INSERT INTO campaigns VALUES (1, 'acme', 'a')").await;
    database.written().await;
    database
        .run(
            "INSERT INTO campaigns VALUES (1, 'acme', 'b'), (2, 'acme', 'c') \
             ON CONFLICT (id) DO UPDATE SET name = excluded.name",
        )
        .await;
    let mut told = database.written().await;
    told.sort();
    assert_eq!(told, [r#"acme campaign.created ["2"]"#, r#"acme campaign.updated ["1"]"#]);
    database
        .run(
            "MERGE INTO campaigns AS c USING (VALUES (2), (3)) AS s (id) ON c.id = s.id \
             WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT VALUES (s.id, 'acme', '')",
        )
        .await;
    let mut told = database.written().await;
    told.sort();
    assert_eq!(told, [r#"acme campaign.created ["3"]"#, r#"acme campaign.deleted ["2"]"#]);
    database.run("COPY campaigns FROM PROGRAM 'printf \"4\\tacme\\tx\\n\"'").await;
    assert_eq!(database.written().await, [r#"acme campaign.created ["4"]"#]);
}

#[tokio::test]
async fn a_writer_on_postgresql_needs_no_rights_on_the_outbox() {
    let (database, _) = with_table().await;
    let role = format!("crawler_{}", database.url.rsplit('/').next().unwrap());
    database.run(&format!("CREATE ROLE {role}; GRANT INSERT ON campaigns TO {role}")).await;
    database.run(&format!("SET ROLE {role}; INSERT INTO campaigns VALUES (1, 'acme', 'a')")).await;
    assert_eq!(database.written().await, [r#"acme campaign.created ["1"]"#]);
    let may = format!(
        "SELECT has_table_privilege('{role}', 'larder_outbox', 'INSERT'), \
         has_function_privilege('{role}', 'larder_outbox_campaigns()', 'EXECUTE')"
    );
    assert_eq!(database.run(&may).await, "f|f");
}

#[tokio::test]
async fn columns_may_be_called_as_the_variables_of_a_function() {
    let database = Database::postgres().await;
    database.run("CREATE TABLE odd (tg_op TEXT, tenant TEXT, key TEXT, place TEXT, larder TEXT)").await;
    create(&database, &Trigger::on("odd").tenant_column("tg_op").key_column("place")).await;
    database.run("INSERT INTO odd VALUES ('acme', 'x', 'y', 'z', 'w')").await;
    assert_eq!(database.written().await, [r#"acme odd.created ["z"]"#]);
}
