use super::{Origin, acme};
use larder::{Policy, key, warm};
use std::time::Duration;

#[tokio::test]
async fn values_are_loaded_before_anybody_asks() {
    let (acme, database) = (acme().await, Origin::default());
    let policy = Policy::ttl(Duration::from_secs(300)).eager_refresh(1.0);
    let jobs = (1..=20).map(|page| {
        let (acme, policy, database) = (acme.clone(), policy.clone(), database.clone());
        let load = move || async move { database.rows(page).await };
        move || async move { acme.get_or_load(key!("campaigns", page), &policy, load).await }
    });
    let warmed = warm(jobs, 4, |ended| println!("{ended} of 20")).await; // four at a time
    assert_eq!((warmed.done, warmed.failed, database.asked()), (20, 0, 20));

    // On a timer: again, where less than a minute is left. Readers have the old value meanwhile.
    let below = Duration::from_secs(60);
    let again = database.clone();
    let load = move || async move { again.rows(1).await };
    acme.refresh(key!("campaigns", 1), &policy, below, load).await.unwrap();
    assert_eq!(database.asked(), 0);
}
