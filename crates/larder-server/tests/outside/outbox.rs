//! The outbox of the program: who relays when somebody stands still, and the command that prints its SQL.

use crate::live::Socket;
use crate::server::{Dir, Server, command};
use crate::stack::{Kind, Stack};
use larder_testkit::{PostgresServer, assert_eventually};
use std::time::Duration;

/// Longer than PostgreSQL waits for a relay that says nothing.
const PATIENCE: Duration = Duration::from_secs(60);

async fn relays(stack: &Stack, server: &Server) -> bool {
    stack.anyone().at(server.url()).get("/metrics").await.text().contains("larder_outbox_relays 1\n")
}

fn insert(stack: &Stack, kind: &str) {
    let (postgres, database) = stack.postgres.as_ref().unwrap();
    let row = format!("INSERT INTO larder_outbox (tenant, kind) VALUES ('acme', '{kind}')");
    postgres.execute(database, &row);
}

/// The next event that psql wrote.
async fn written(socket: &mut Socket) -> String {
    loop {
        let message = socket.next().await;
        if message["type"] == "event" {
            return message["kind"].as_str().unwrap().to_owned();
        }
    }
}

#[tokio::test]
async fn a_relay_that_stands_still_loses_its_lock_to_another_and_nothing_comes_twice() {
    let stack = Stack::start(Kind::RedisPostgres).await;
    let second = stack.second().await;
    assert_eventually!(
        relays(&stack, &stack.server).await || relays(&stack, &second).await,
        PATIENCE,
        "one of them relays"
    );
    let (leader, other) =
        if relays(&stack, &second).await { (&second, &stack.server) } else { (&stack.server, &second) };
    let acme = stack.acme().await.at(other.url());
    let mut socket = Socket::open(&acme, other.url(), "acme", "").await;
    insert(&stack, "by.psql");
    assert_eq!(written(&mut socket).await, "by.psql");
    leader.program().pause();
    insert(&stack, "while.it.stands");
    assert_eventually!(relays(&stack, other).await, PATIENCE, "the other one relays");
    assert_eq!(written(&mut socket).await, "while.it.stands");
    leader.program().resume();
    assert_eventually!(!relays(&stack, leader).await, PATIENCE, "it notices that it has lost its lock");
    for kind in ["afterwards", "and.again"] {
        insert(&stack, kind);
        assert_eq!(written(&mut socket).await, kind, "each once");
    }
}

#[test]
fn the_sql_that_the_command_prints_makes_tables_and_triggers_and_takes_them_away() {
    let (server, dir) = (PostgresServer::shared(), Dir::new());
    let database = server.fresh_database();
    server.execute(&database, "CREATE TABLE campaigns (id INTEGER PRIMARY KEY, tenant_id TEXT, name TEXT)");
    let table =
        ["outbox", "sql", "--table", "campaigns", "--tenant-column", "tenant_id", "--key-column", "id"];
    let sql = |more: &[&str]| {
        let output = command(&dir, &[], &[&table[..], more].concat());
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    let what =
        ["--kind", "campaign", "--invalidate", "prefix:campaigns", "--invalidate", "key:campaign:{key}"];
    server.execute(&database, &sql(&what));
    server.execute(&database, &sql(&[&what[..], &["--no-tables"]].concat()));
    server.execute(&database, "INSERT INTO campaigns VALUES (17, 'acme', 'x')");
    let rows = || server.execute(&database, "SELECT tenant, kind, invalidates FROM larder_outbox");
    let row = r#"acme|campaign.created|[{"prefix":"campaigns"},{"each":{"key":["campaign","{key}"]}}]"#;
    assert_eq!(rows(), row);
    server.execute(&database, &sql(&["--drop"]));
    server.execute(&database, "DELETE FROM campaigns");
    assert_eq!(rows(), row, "there are no triggers any more");

    let sqlite = sql(&["--database", "sqlite", "--no-tables"]);
    assert!(sqlite.contains("CREATE TRIGGER") && !sqlite.contains("CREATE TABLE"), "{sqlite}");
    for wrong in
        [&["--table", "x"][..], &["--shared"], &["--table", "x", "--shared", "--invalidate", "shelf:x"]]
    {
        let output = command(&dir, &[], &[&["outbox", "sql"][..], wrong].concat());
        assert_eq!(output.status.code(), Some(2), "{wrong:?}: {output:?}");
    }
}
