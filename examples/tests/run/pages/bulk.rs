use super::{Origin, acme};
use larder::{Key, Policy, key};
use std::time::Duration;

#[tokio::test]
async fn one_loader_call_brings_all_that_is_missing() {
    let (acme, database) = (acme().await, Origin::default());
    let policy = Policy::ttl(Duration::from_secs(60)).tag("users");
    let ids = [1, 2, 3, 4];
    let counted = database.clone();
    let load = move |missing: Vec<Key>| {
        let database = counted.clone();
        async move {
            let rows = database.rows("users").await?; // SELECT … WHERE id = ANY($1)
            Ok::<_, std::io::Error>(missing.into_iter().map(|key| (key, rows[0].clone())).collect())
        }
    };
    let users = acme.get_or_load_many(ids.map(|id| key!("user", id)).to_vec(), &policy, load).await.unwrap();
    assert_eq!(users.iter().flatten().count(), 4);
    assert_eq!(database.asked(), 1);

    acme.set_many(vec![(key!("user", 5), "Ada".to_owned()), (key!("user", 6), "Grace".to_owned())], &policy)
        .await
        .unwrap();
    let found = acme.get_many::<String>(&[key!("user", 5), key!("user", 7)]).await.unwrap();
    assert!(found[0].is_some() && found[1].is_none());
}
