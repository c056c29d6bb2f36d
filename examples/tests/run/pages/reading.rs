use super::{Origin, acme};
use larder::{Outcome, Policy, Tier, key};
use std::time::Duration;

#[tokio::test]
async fn a_value_is_loaded_once_and_read_after_that() {
    let (acme, database) = (acme().await, Origin::default());
    let page = 3;
    let db = database.clone();
    let policy = Policy::ttl(Duration::from_secs(300)).tag("campaigns");
    let load = move || async move { db.rows(page).await };
    let list = acme.get_or_load(key!("campaigns", "page", page), &policy, load).await.unwrap();
    assert_eq!(*list, ["row of 3"]);

    let db = database.clone();
    let load = move || async move { db.rows(page).await };
    let found = acme.fetch(key!("campaigns", "page", page), &policy, load).await.unwrap();
    assert_eq!(found.status.outcome, Outcome::Hit); // or Miss, Stale, Bypass
    assert_eq!(found.status.tier, Tier::Memory); // or Redis, Origin
    assert!(found.status.age < Duration::from_secs(300)); // since it was loaded
    assert_eq!(database.asked(), 1);
}

#[tokio::test]
async fn absence_is_remembered_where_the_policy_says_so() {
    let (acme, database) = (acme().await, Origin::default());
    for _ in 0..3 {
        let db = database.clone();
        let policy = Policy::ttl(Duration::from_secs(300)).negative_ttl(Duration::from_secs(10));
        let load = move || async move { db.rows("nobody").await.map(|_| None::<String>) };
        let (found, status) = acme.fetch_opt(key!("user", 99), &policy, load).await.unwrap();
        assert!(found.is_none() && (status.outcome == Outcome::Miss || status.outcome == Outcome::Hit));
    }
    assert_eq!(database.asked(), 1);
}

#[tokio::test]
async fn a_loader_may_have_a_say() {
    let acme = acme().await;
    let policy = Policy::ttl(Duration::from_secs(300));
    let load = |context: larder::LoadContext| async move {
        let (owner, rows) = ("ada", vec!["a row".to_owned()]); // from the database
        context.tag(format!("user:{owner}")); // known only now
        if rows.is_empty() {
            context.ttl(Duration::from_secs(5)); // look again soon
        }
        Ok::<_, std::io::Error>(Some(rows))
    };
    acme.fetch_with(key!("orders", 17), &policy, load).await.unwrap();
    acme.invalidate(larder::tag("user:ada")).await.unwrap();
    assert!(!acme.contains::<Vec<String>>(key!("orders", 17)).await.unwrap());
}

#[tokio::test]
async fn a_value_can_be_read_set_touched_and_dropped_by_hand() {
    let acme = acme().await;
    let policy = Policy::ttl(Duration::from_secs(60));
    acme.set(key!("rate", "EUR"), 1.08, &policy).await.unwrap();
    let rate = acme.get::<f64>(key!("rate", "EUR")).await.unwrap();
    assert_eq!(rate.map(|found| *found.value), Some(1.08));
    assert!(acme.ttl(key!("rate", "EUR")).await.unwrap().is_some());
    acme.touch(key!("rate", "EUR"), &policy).await.unwrap(); // as if it had just been loaded
    acme.delete(key!("rate", "EUR")).await.unwrap();
    assert!(acme.get::<f64>(key!("rate", "EUR")).await.unwrap().is_none());
}
