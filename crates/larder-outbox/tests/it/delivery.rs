//! What becomes of events when processes die and Redis is away: each is in its tenant's log once, and in order.

use crate::support::{Database, Log, Process, SOON, on_each_database};
use larder::{Cache, ErrorKind, Event, Policy, key, tag};
use larder_outbox::{Dialect, Outbox, emit};
use larder_testkit::{RedisServer, assert_eventually};
use std::time::Duration;

fn event(number: u64) -> Event {
    Event::new("counted").data(number.into()).invalidates([tag("t")])
}

async fn insert(database: &Database, number: u64) {
    let mut connection = database.pool.acquire().await.unwrap();
    emit(&mut *connection, "acme", &event(number)).await.unwrap();
}

/// Writes and publishes as an application does; whether all other nodes have been told.
async fn write(outbox: &Outbox, cache: &Cache, database: &Database, number: u64) -> bool {
    let mut changes = outbox.changes(&cache.tenant("acme"));
    let mut tx = database.pool.begin().await.unwrap();
    changes.emit(&mut *tx, event(number)).await.unwrap();
    tx.commit().await.unwrap();
    match changes.publish().await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Deferred, "{error}");
            false
        }
    }
}

async fn empty(database: &Database) {
    let left = async || database.run("SELECT COUNT(*) || '' FROM larder_outbox").await;
    assert_eventually!(left().await == "0", SOON, "what is in the log is deleted");
}

/// Makes every `DELETE` fail, or lets it be.
async fn deleting(database: &Database, is_possible: bool) {
    let sql = match (database.dialect, is_possible) {
        (Dialect::Sqlite, false) => {
            "CREATE TRIGGER refuse BEFORE DELETE ON larder_outbox BEGIN SELECT RAISE(ABORT, 'refused'); END"
        }
        (Dialect::Sqlite, true) => "DROP TRIGGER refuse",
        (Dialect::Postgres, false) => {
            "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RAISE ''refused''; END'; \
             CREATE TRIGGER refuse BEFORE DELETE ON larder_outbox EXECUTE FUNCTION refuse()"
        }
        (Dialect::Postgres, true) => "DROP TRIGGER refuse ON larder_outbox",
    };
    database.run(sql).await;
}

on_each_database!(
    a_relay_that_dies_before_it_deletes_leaves_no_second_event,
    |database: Database| async move {
        let cache = Cache::builder("test").build().await.unwrap();
        let log = Log::of(&cache, "acme").await;
        deleting(&database, false).await;
        for number in 0..5 {
            insert(&database, number).await;
        }
        let first = Process::beside(&database, &cache, |outbox| outbox).await;
        log.holds(5).await;
        first.kill();
        assert_eq!(database.run("SELECT COUNT(*) || '' FROM larder_outbox").await, "5");
        deleting(&database, true).await;
        insert(&database, 5).await;
        let second = Process::beside(&database, &cache, |outbox| outbox).await;
        empty(&database).await;
        assert_eq!(second.outbox.stats().relayed, 6, "published again, with the same keys");
        log.holds(6).await;
    }
);

on_each_database!(what_writer_and_relay_both_publish_is_in_the_log_once, |database: Database| async move {
    let cache = Cache::builder("test").build().await.unwrap();
    let log = Log::of(&cache, "acme").await;
    let at_once = |outbox: larder_outbox::OutboxBuilder| outbox.grace(Duration::ZERO);
    let relay = Process::beside(&database, &cache, at_once).await;
    insert(&database, 0).await;
    log.holds(1).await;
    // The other one relays; this one does not delete, so that the other finds everything.
    let writer = Process::beside(&database, &cache, at_once).await;
    deleting(&database, false).await;
    for number in 1..100 {
        write(&writer.outbox, &cache, &database, number).await;
        relay.outbox.nudge();
    }
    log.holds(100).await;
    deleting(&database, true).await;
    empty(&database).await;
    log.holds(100).await;
});

on_each_database!(writers_side_by_side_have_the_order_of_their_commits, |database: Database| async move {
    let cache = Cache::builder("test").build().await.unwrap();
    let log = Log::of(&cache, "acme").await;
    database.run("CREATE TABLE counter (value INTEGER); INSERT INTO counter VALUES (0)").await;
    let outboxes = [
        Process::beside(&database, &cache, |outbox| outbox).await,
        Process::beside(&database, &cache, |outbox| outbox).await,
        Process::beside(&database, &cache, |outbox| outbox).await,
    ];
    let begin = if database.dialect == Dialect::Sqlite { "BEGIN IMMEDIATE" } else { "BEGIN" };
    let count = async |process: &Process| {
        for _ in 0..40 {
            let mut changes = process.outbox.changes(&cache.tenant("acme"));
            let mut tx = database.pool.begin_with(begin).await.unwrap();
            let sql = "UPDATE counter SET value = value + 1 RETURNING value - 1";
            let number: i32 = sqlx::query_scalar(sql).fetch_one(&mut *tx).await.unwrap();
            changes.emit(&mut *tx, event(u64::try_from(number).unwrap())).await.unwrap();
            tx.commit().await.unwrap();
            changes.publish().await.unwrap();
        }
    };
    tokio::join!(count(&outboxes[0]), count(&outboxes[1]), count(&outboxes[2]));
    log.holds(120).await;
    empty(&database).await;
    log.holds(120).await;
});

on_each_database!(an_invalidation_survives_the_death_of_its_node, |database: Database| async move {
    let redis = RedisServer::start();
    database.run("CREATE TABLE row (value INTEGER); INSERT INTO row VALUES (1)").await;
    let writer = Process::start(&database, Some(&redis)).await;
    let other = Process::start(&database, Some(&redis)).await;
    let read = async || {
        let pool = database.pool.clone();
        let load = move || async move {
            sqlx::query_scalar::<_, i32>("SELECT value FROM row").fetch_one(&pool).await
        };
        let policy = Policy::ttl(Duration::from_secs(3_600)).tag("t");
        *other.cache.tenant("acme").get_or_load(key!("row"), &policy, load).await.unwrap()
    };
    assert_eq!(read().await, 1);
    let mut changes = writer.outbox.changes(&writer.cache.tenant("acme"));
    let mut tx = database.pool.begin().await.unwrap();
    sqlx::query("UPDATE row SET value = 2").execute(&mut *tx).await.unwrap();
    changes.emit(&mut *tx, event(0)).await.unwrap();
    tx.commit().await.unwrap();
    // Committed, and nobody told: here it dies.
    writer.kill();
    drop(changes);
    assert_eventually!(read().await == 2, SOON, "the other node does without its word");
    empty(&database).await;
});

on_each_database!(rows_wait_for_redis_and_flow_in_order, |database: Database| async move {
    let redis = RedisServer::start();
    let node = Process::start(&database, Some(&redis)).await;
    let log = Log::of(&node.cache, "acme").await;
    assert!(write(&node.outbox, &node.cache, &database, 0).await);
    log.holds(1).await;
    redis.pause();
    let mut told = Vec::new();
    for number in 1..30 {
        told.push(write(&node.outbox, &node.cache, &database, number).await);
    }
    assert!(told.iter().all(|told| !told));
    assert_eq!(
        database.run("SELECT COUNT(*) || '' FROM larder_outbox").await,
        "29",
        "deferred is not delivered"
    );
    redis.resume();
    log.holds(30).await;
    empty(&database).await;
    log.holds(30).await;
});

on_each_database!(
    rows_of_a_node_that_dies_in_an_outage_of_redis_are_delivered,
    |database: Database| async move {
        let redis = RedisServer::start();
        let writer = Process::start(&database, Some(&redis)).await;
        let other = Process::start(&database, Some(&redis)).await;
        let log = Log::of(&other.cache, "acme").await;
        redis.pause();
        for number in 0..10 {
            write(&writer.outbox, &writer.cache, &database, number).await;
        }
        writer.kill();
        redis.resume();
        log.holds(10).await;
        empty(&database).await;
        log.holds(10).await;
    }
);
