//! The relay: what it finds, in which order, and what keeps it.

use crate::support::{Database, Heard, Process, SOON, on_each_database};
use larder::{Cache, Event, Policy, key, prefix, tag};
use larder_outbox::{Lock, Outbox, Trigger, emit};
use larder_testkit::{PostgresServer, assert_eventually};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;

async fn cache() -> Cache {
    Cache::builder("test").build().await.unwrap()
}

fn event(id: impl std::fmt::Display) -> Event {
    Event::new("changed").id(id.to_string()).invalidates([tag("t")])
}

async fn insert(database: &Database, tenant: &str, id: impl std::fmt::Display) {
    let mut connection = database.pool.acquire().await.unwrap();
    emit(&mut *connection, tenant, &event(id)).await.unwrap();
}

async fn empty(database: &Database) {
    let left = async || database.run("SELECT COUNT(*) || '' FROM larder_outbox").await;
    assert_eventually!(left().await == "0", SOON, "what was published is deleted");
}

on_each_database!(what_was_committed_is_published_in_order_and_deleted, |database: Database| async move {
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    for id in 0..1_200 {
        insert(&database, if id % 2 == 0 { "acme" } else { "globex" }, id).await;
    }
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let all = heard.take(1_200).await;
    for (tenant, first) in [("acme", 0), ("globex", 1)] {
        let ids: Vec<String> = all.iter().filter(|e| e.0 == tenant).map(|e| e.1.clone()).collect();
        let wanted: Vec<String> = (first..1_200).step_by(2).map(|id| id.to_string()).collect();
        assert_eq!(ids, wanted);
    }
    empty(&database).await;
    assert_eq!(outbox.stats().relayed, 1_200);
    outbox.shutdown().await;
    heard.nothing_more().await;
});

on_each_database!(what_was_rolled_back_is_never_published, |database: Database| async move {
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let tenant = cache.tenant("acme");
    let mut changes = outbox.changes(&tenant);
    let mut tx = database.pool.begin().await.unwrap();
    changes.emit(&mut *tx, event("never")).await.unwrap();
    tx.rollback().await.unwrap();
    drop(changes);
    insert(&database, "acme", "after").await;
    outbox.nudge();
    assert_eq!(heard.take(1).await[0].1, "after");
    outbox.shutdown().await;
    heard.nothing_more().await;
});

/// The trap: a reader with a cursor that has seen row 2 never sees row 1, which was committed later.
#[tokio::test]
async fn a_row_that_is_committed_after_one_with_a_higher_id_is_not_lost() {
    let database = Database::postgres().await;
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let mut early = database.pool.begin().await.unwrap();
    emit(&mut *early, "acme", &event("id 1, committed last")).await.unwrap();
    insert(&database, "acme", "id 2, committed first").await;
    outbox.nudge();
    assert_eq!(heard.take(1).await[0].1, "id 2, committed first");
    empty(&database).await;
    early.commit().await.unwrap();
    outbox.nudge();
    assert_eq!(heard.take(1).await[0].1, "id 1, committed last");
    empty(&database).await;
    outbox.shutdown().await;
}

on_each_database!(a_change_by_somebody_else_drops_what_is_cached, |database: Database| async move {
    let cache = cache().await;
    database.run("CREATE TABLE campaigns (id INTEGER PRIMARY KEY, tenant_id TEXT, name TEXT)").await;
    database.run("INSERT INTO campaigns VALUES (1, 'acme', 'old')").await;
    let trigger = Trigger::on("campaigns")
        .tenant_column("tenant_id")
        .key_column("id")
        .invalidates([prefix!("campaigns")])
        .each_key(["campaign", "{key}"]);
    let sql = match database.dialect {
        larder_outbox::Dialect::Postgres => trigger.postgres(),
        larder_outbox::Dialect::Sqlite => trigger.sqlite(),
    };
    database.run(&sql.unwrap()).await;
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let tenant = cache.tenant("acme");
    let read = async |key: larder::Key| {
        let pool = database.pool.clone();
        let load = move || async move {
            let sql = "SELECT name FROM campaigns WHERE id = 1";
            sqlx::query_scalar::<_, String>(sql).fetch_one(&pool).await
        };
        let policy = Policy::ttl(Duration::from_secs(3_600));
        tenant.get_or_load(key, &policy, load).await.unwrap()
    };
    for key in [key!("campaign", 1), key!("campaigns", "page", 1)] {
        assert_eq!(*read(key).await, "old");
    }
    database.run("UPDATE campaigns SET name = 'new' WHERE id = 1").await;
    for key in [key!("campaign", 1), key!("campaigns", "page", 1)] {
        assert_eventually!(*read(key.clone()).await == "new", SOON, "the change is seen");
    }
    outbox.shutdown().await;
});

on_each_database!(a_poisoned_row_is_set_aside_and_the_rest_flows, |database: Database| async move {
    let cache = cache().await;
    let tenant = cache.tenant("acme");
    let policy = Policy::ttl(Duration::from_secs(3_600));
    tenant.set(key!("what it invalidates is not known"), 1_u64, &policy).await.unwrap();
    let mut heard = Heard::of(&cache);
    insert(&database, "acme", "before").await;
    let big = "x".repeat(70_000);
    for (columns, values) in [
        ("tenant, kind, data", format!("'acme', 'too large', '\"{big}\"'")),
        ("tenant, kind, data", "'acme', 'no json', '{'".to_owned()),
        ("tenant, kind, invalidates", "'acme', 'no selectors', '[{\"shelf\":\"x\"}]'".to_owned()),
        ("tenant, kind", format!("'{}', 'no tenant has this name'", "t".repeat(200))),
        ("tenant, kind", "NULL, 'nobody''s'".to_owned()),
        ("tenant, kind, v", "'acme', 'of a newer version', 2".to_owned()),
        (
            "tenant, kind, invalidates",
            format!("'acme', 'refused by the engine', '[{{\"tag\":\"{}\"}}]'", "t".repeat(300)),
        ),
    ] {
        database.run(&format!("INSERT INTO larder_outbox ({columns}) VALUES ({values})")).await;
    }
    insert(&database, "acme", "after").await;
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let ids: Vec<String> = heard.take(2).await.into_iter().map(|event| event.1).collect();
    assert_eq!(ids, ["before", "after"]);
    empty(&database).await;
    let dead = database.run("SELECT kind FROM larder_outbox_dead ORDER BY id").await;
    assert_eq!(
        dead.lines().collect::<Vec<_>>(),
        [
            "too large",
            "no json",
            "no selectors",
            "no tenant has this name",
            "nobody's",
            "of a newer version",
            "refused by the engine"
        ]
    );
    let reason = database.run("SELECT reason FROM larder_outbox_dead WHERE kind = 'too large'").await;
    assert!(reason.contains("`data`"), "{reason}");
    assert_eq!(outbox.stats().set_aside, 7);
    let kept = tenant.get::<u64>(key!("what it invalidates is not known")).await.unwrap();
    assert!(kept.is_none(), "an event may be set aside, what it invalidates may not");
    outbox.shutdown().await;
    heard.nothing_more().await;
});

/// SQLite's columns hold bytes, and texts that are none, as well.
#[tokio::test]
async fn a_row_of_bytes_is_set_aside_and_the_rest_flows() {
    let database = Database::sqlite().await;
    let cache = cache().await;
    let policy = Policy::ttl(Duration::from_secs(3_600));
    let mut heard = Heard::of(&cache);
    let kept = ["acme", "globex", "initech"].map(|name| cache.tenant(name));
    for tenant in &kept {
        tenant.set(key!("k"), 1_u64, &policy).await.unwrap();
    }
    let rows = [
        ("tenant, kind", "CAST(X'ff61' AS TEXT), 'tenant'"),
        ("tenant, kind", "X'fffe', 'tenant'"),
        ("tenant, kind", "CAST('globex' AS BLOB), 'tenant'"),
        ("tenant, kind", "'acme', CAST('kind' AS BLOB)"),
        ("tenant, kind, data", "'acme', 'data', X'7b7d'"),
        ("tenant, kind, data", "'acme', 'data', CAST(X'22ff22' AS TEXT)"),
        ("tenant, kind, invalidates", "'acme', 'invalidates', X'5b5d'"),
        ("tenant, kind, nonce", "'acme', 'nonce', X'ff'"),
        ("tenant, kind, v", "'acme', 'v', X'ff'"),
        ("tenant, kind, shared", "'acme', 'shared', X'ff'"),
        ("tenant, kind, room", "'acme', 'room', X'ff'"),
    ];
    for (columns, values) in rows {
        database.run(&format!("INSERT INTO larder_outbox ({columns}) VALUES ({values})")).await;
    }
    // By the time that no number is: written, and nobody's to publish but the relay's.
    database.run("INSERT INTO larder_outbox (tenant, kind, entity, not_before) VALUES ('acme', 'changed', 1, 'later')").await;
    insert(&database, "initech", 2).await;
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let mut ids: Vec<String> = heard.take(2).await.into_iter().map(|event| event.1).collect();
    ids.sort();
    assert_eq!(ids, ["1", "2"]);
    empty(&database).await;
    let dead = "SELECT CAST(kind AS TEXT) || ': ' || reason FROM larder_outbox_dead ORDER BY id";
    for (line, (_, values)) in database.run(dead).await.lines().zip(rows) {
        let (kind, reason) = line.split_once(": ").unwrap();
        assert_eq!(reason, format!("`{kind}` is no text (UTF-8)"), "{values}");
    }
    assert_eq!(outbox.stats().set_aside, u64::try_from(rows.len()).unwrap());
    let mut left = Vec::new();
    for tenant in &kept {
        left.push(tenant.get::<u64>(key!("k")).await.unwrap().is_some());
    }
    assert_eq!(
        left,
        [false, false, true],
        "what a row invalidates is not set aside, where it can be told whose it is"
    );
    outbox.shutdown().await;
}

on_each_database!(of_two_relays_one_works_and_the_other_takes_over, |database: Database| async move {
    let first = Process::start(&database, None).await;
    let mut heard_by_first = Heard::of(&first.cache);
    insert(&database, "acme", 1).await;
    heard_by_first.take(1).await;
    let second = Process::start(&database, None).await;
    let mut heard_by_second = Heard::of(&second.cache);
    for id in 2..50 {
        insert(&database, "acme", id).await;
    }
    heard_by_first.take(48).await;
    assert!(first.outbox.stats().relays && !second.outbox.stats().relays);
    empty(&database).await;
    first.kill();
    insert(&database, "acme", 50).await;
    assert_eq!(heard_by_second.take(1).await[0].1, "50");
    assert!(second.outbox.stats().relays);
    empty(&database).await;
    heard_by_second.nothing_more().await;
});

on_each_database!(what_a_process_publishes_itself_needs_no_relay, |database: Database| async move {
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let tenant = cache.tenant("acme");
    let policy = Policy::ttl(Duration::from_secs(3_600)).tag("t");
    for round in 0..20 {
        tenant.set(key!("k"), round, &policy).await.unwrap();
        let mut changes = outbox.changes(&tenant);
        let mut tx = database.pool.begin().await.unwrap();
        changes.emit(&mut *tx, event(round)).await.unwrap();
        let more =
            [Event::new("second").id(round.to_string()), Event::new("third").data(json!("\0 ' \" \\ ö"))];
        changes.emit_all(&mut *tx, more).await.unwrap();
        tx.commit().await.unwrap();
        changes.publish().await.unwrap();
        assert!(tenant.get::<u64>(key!("k")).await.unwrap().is_none(), "in force when `publish` returns");
        let events = heard.take(3).await;
        let kinds: Vec<&str> = events.iter().map(|event| &*event.2).collect();
        assert_eq!(kinds, ["changed", "second", "third"]);
        empty(&database).await;
    }
    assert_eq!((outbox.stats().direct, outbox.stats().relayed), (60, 0));
    outbox.shutdown().await;
    heard.nothing_more().await;
});

on_each_database!(an_event_does_not_overtake_an_older_one_of_its_tenant, |database: Database| async move {
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    // Written by a process that has died since: nobody publishes it before its grace is over.
    let dead = Outbox::builder(&cache, database.pool.clone()).grace(Duration::from_secs(3_600)).start();
    let tenant = cache.tenant("acme");
    let mut changes = dead.changes(&tenant);
    let mut connection = database.pool.acquire().await.unwrap();
    changes.emit(&mut *connection, event("older")).await.unwrap();
    drop(connection);
    drop(changes);
    drop(dead);

    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let policy = Policy::ttl(Duration::from_secs(3_600)).tag("t");
    tenant.set(key!("k"), 1_u64, &policy).await.unwrap();
    let mut changes = outbox.changes(&tenant);
    let mut connection = database.pool.acquire().await.unwrap();
    changes.emit(&mut *connection, event("newer")).await.unwrap();
    drop(connection);
    changes.publish().await.unwrap();
    assert!(tenant.get::<u64>(key!("k")).await.unwrap().is_none(), "its invalidation does not wait");
    // Of another tenant: not held up.
    insert(&database, "globex", "another's").await;
    assert_eq!(heard.take(1).await[0].1, "another's");
    database.run("UPDATE larder_outbox SET not_before = 0").await;
    let order: Vec<String> = heard.take(2).await.into_iter().map(|event| event.1).collect();
    assert_eq!(order, ["older", "newer"]);
    assert_eq!(outbox.stats().direct, 0);
    outbox.shutdown().await;
});

on_each_database!(no_row_is_held_by_a_clock_that_is_wrong, |database: Database| async move {
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis();
    for (entity, not_before, created_at) in [
        ("of a year to come", now + 31_536_000_000, now),
        ("written by a clock that has been set back", now + 1_802_000, now + 1_800_000),
        ("in time", 0, now),
    ] {
        let columns = "tenant, kind, entity, not_before, created_at";
        let values = format!("'acme', 'changed', '{entity}', {not_before}, {created_at}");
        database.run(&format!("INSERT INTO larder_outbox ({columns}) VALUES ({values})")).await;
    }
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let ids: Vec<String> = heard.take(3).await.into_iter().map(|event| event.1).collect();
    assert_eq!(ids, ["of a year to come", "written by a clock that has been set back", "in time"]);
    outbox.shutdown().await;
});

#[tokio::test]
async fn a_relay_survives_the_restart_of_its_database() {
    let server = Arc::new(PostgresServer::start());
    let database = Database::postgres_on(Arc::clone(&server)).await;
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    insert(&database, "acme", 1).await;
    heard.take(1).await;
    server.kill();
    assert_eventually!(outbox.stats().failures > 0, SOON, "the outage is noticed");
    server.restart();
    database.run("INSERT INTO larder_outbox (tenant, kind, entity) VALUES ('acme', 'changed', '2')").await;
    assert_eq!(heard.take(1).await[0].1, "2");
    assert_eventually!(outbox.stats().relays, SOON, "it relays again");
    outbox.shutdown().await;
}

#[tokio::test]
async fn a_lease_takes_the_place_of_the_lock_behind_a_pooler() {
    let database = Database::postgres().await;
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    let start = || Outbox::builder(&cache, database.pool.clone()).lock(Lock::Lease).start();
    let first = start();
    insert(&database, "acme", 1).await;
    heard.take(1).await;
    let second = start();
    insert(&database, "acme", 2).await;
    heard.take(1).await;
    assert!(first.stats().relays && !second.stats().relays);
    // Given back on shutdown: nobody waits for its end.
    first.shutdown().await;
    insert(&database, "acme", 3).await;
    heard.take(1).await;
    assert!(second.stats().relays);
    second.shutdown().await;
    assert_eq!(database.run("SELECT COUNT(*) FROM larder_outbox_lease").await, "0");
    heard.nothing_more().await;
}

on_each_database!(what_waits_is_counted, |database: Database| async move {
    let cache = cache().await;
    for id in 0..3 {
        insert(&database, "acme", id).await;
    }
    // Held for an hour by a process that is not there: they wait.
    database
        .run("UPDATE larder_outbox SET not_before = created_at + 3600000, created_at = created_at - 60000")
        .await;
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    assert_eventually!(outbox.stats().waiting == 3, SOON, "rows are counted");
    assert!(outbox.stats().lag >= Duration::from_secs(60), "{:?}", outbox.stats());
    outbox.shutdown().await;
});

#[tokio::test]
async fn data_and_room_reach_the_listener() {
    let database = Database::sqlite().await;
    let cache = cache().await;
    let mut stream = cache.subscribe();
    let outbox = Outbox::builder(&cache, database.pool.clone()).start();
    let mut connection = database.pool.acquire().await.unwrap();
    let said = event(1).data(json!({ "ö": [1, null] })).room("orders");
    emit(&mut *connection, "acme", &said).await.unwrap();
    drop(connection);
    outbox.nudge();
    let Some(larder::Next::Event(heard)) = stream.next().await else { panic!("the cache is there") };
    assert_eq!((heard.payload(), heard.room_name()), (said.payload(), "orders"));
    outbox.shutdown().await;
}

#[tokio::test]
async fn a_row_that_psql_writes_wakes_the_relay_and_need_not_be_looked_for() {
    let database = Database::postgres().await;
    let cache = cache().await;
    let mut heard = Heard::of(&cache);
    let direct = sqlx::PgPool::connect(&database.url).await.unwrap();
    let outbox = Outbox::builder(&cache, database.pool.clone())
        // Longer than this test may take.
        .poll(Duration::from_secs(3_600))
        .listen(direct)
        .start();
    assert_eventually!(outbox.stats().relays, SOON, "it has looked, and found nothing");
    let listening =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    assert_eventually!(database.run(listening).await == "1", SOON, "it listens");
    for id in 0..20 {
        let row =
            format!("INSERT INTO larder_outbox (tenant, kind, entity) VALUES ('acme', 'changed', '{id}')");
        database.run(&format!("BEGIN; {row}; NOTIFY larder_outbox; COMMIT")).await;
        assert_eq!(heard.take(1).await[0].1, id.to_string());
    }
    // A trigger does the same.
    database.run("CREATE TABLE things (id INTEGER PRIMARY KEY, tenant TEXT)").await;
    let trigger = Trigger::on("things").tenant_column("tenant").key_column("id").notify();
    database.run(&trigger.postgres().unwrap()).await;
    database.run("INSERT INTO things VALUES (1, 'acme')").await;
    assert_eq!(heard.take(1).await[0].2, "things.created");
    outbox.shutdown().await;
}
