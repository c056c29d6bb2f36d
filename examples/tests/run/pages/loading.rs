use super::{Origin, acme};
use larder::{ErrorKind, Policy, key};
use std::time::Duration;

#[tokio::test]
async fn a_thousand_callers_make_one_load() {
    let (acme, database) = (acme().await, Origin::default());
    let policy = Policy::ttl(Duration::from_secs(60));
    let calls = (0..1000).map(|_| {
        let database = database.clone();
        acme.get_or_load(key!("report"), &policy, move || async move { database.rows("report").await })
    });
    let reports = futures_util::future::join_all(calls).await;
    assert_eq!((reports.len(), database.asked()), (1000, 1));
}

#[tokio::test]
async fn a_policy_bounds_waiting_and_failing() {
    let acme = acme().await;
    let policy = Policy::ttl(Duration::from_secs(60))
        .eager_refresh(1.0) // load behind shortly before the end, once for all nodes
        .stale_while_revalidate(Duration::from_secs(30)) // then serve the old one, and load behind
        .stale_if_error(Duration::from_secs(3600)) // then serve it if the load fails,
        .soft_timeout(Duration::from_millis(100)) // or takes longer than this
        .hard_timeout(Duration::from_secs(2)) // wait no longer than this in any case
        .load_timeout(Duration::from_secs(20)) // the load itself may go on
        .failure_cooldown(Duration::from_secs(5)); // and having failed, it is not tried again, on any node
    let failing = || async { Err::<u32, _>(std::io::Error::other("out of order")) };
    let error = acme.get_or_load(key!("report"), &policy, failing).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Load);
    assert_eq!(error.load_error::<std::io::Error>().unwrap().to_string(), "out of order");

    let contradicting = Policy::ttl(Duration::from_secs(60)).soft_timeout(Duration::from_secs(30));
    let refused =
        acme.get_or_load(key!("report"), &contradicting, || async { Ok::<_, std::io::Error>(1) }).await;
    assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidPolicy);
}
