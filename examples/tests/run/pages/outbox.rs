use super::cache;
use larder::{Event, Outcome, Policy, key, tag};
use larder_outbox::Outbox;
use sqlx::sqlite::SqlitePoolOptions;
use std::convert::Infallible;
use std::time::Duration;

#[tokio::test]
async fn a_change_and_what_follows_from_it_commit_together() {
    let cache = cache().await;
    let acme = cache.tenant("acme");
    let pool = SqlitePoolOptions::new().max_connections(1).connect("sqlite::memory:").await.unwrap();
    sqlx::raw_sql("CREATE TABLE campaigns (id INTEGER PRIMARY KEY, status TEXT)")
        .execute(&pool)
        .await
        .unwrap();
    let policy = Policy::ttl(Duration::from_secs(60)).tag("campaigns");
    let load = || async { Ok::<_, Infallible>("active".to_owned()) };
    acme.get_or_load(key!("campaigns"), &policy, load).await.unwrap();

    sqlx::raw_sql(larder_outbox::schema::SQLITE).execute(&pool).await.unwrap(); // once, in a migration
    let outbox = Outbox::builder(&cache, pool.clone()).start(); // in every process that has a cache

    let mut changes = outbox.changes(&acme);
    let mut tx = pool.begin().await.unwrap();
    sqlx::query("UPDATE campaigns SET status = 'paused' WHERE id = 17").execute(&mut *tx).await.unwrap();
    let event = Event::new("campaign.updated").id("17").invalidates([tag("campaigns")]);
    changes.emit(&mut *tx, event).await.unwrap(); // a row of this transaction
    tx.commit().await.unwrap();
    if let Err(error) = changes.publish().await {
        eprintln!("the other nodes are told later: {error}"); // Redis is away; change and event are committed
    }

    let again = acme.fetch(key!("campaigns"), &policy, load).await.unwrap();
    assert_eq!(again.status.outcome, Outcome::Miss);
    outbox.shutdown().await;
}

#[test]
fn a_trigger_is_written_as_sql() {
    use larder::prefix;
    use larder_outbox::Trigger;

    let campaigns = Trigger::on("campaigns")
        .kind("campaign") // campaign.created, .updated, .deleted, .truncated
        .tenant_column("tenant_id") // or .shared()
        .key_column("id")
        .invalidates([prefix!("campaigns")]) // by every change
        .each_key(["campaign", "{key}"]); // for each row that changed
    println!("{}", campaigns.postgres().unwrap());
}
