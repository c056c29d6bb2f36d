//! Invalidation, with a load in flight and without, by every selector.

use crate::support::{Gate, Row, alone, policy};
use larder::{
    Cache, ErrorKind, Event, Next, Outcome, Policy, Selection, all, first_segment, key, prefix, tag,
};

/// Every way to invalidate `users:1:profile` of acme, tagged `people`.
fn ways() -> Vec<(&'static str, bool, Selection)> {
    vec![
        ("key", true, key!("users", 1, "profile").into()),
        ("tag", true, tag("people").into()),
        ("prefix", true, prefix!("users").into()),
        ("longer prefix", true, prefix!("users", 1).into()),
        ("whole key as prefix", true, prefix!("users", 1, "profile").into()),
        ("tenant", true, all().into()),
        ("first segment", false, first_segment("users").into()),
        ("everything", false, all().into()),
        ("several", true, [tag("other"), key!("x").into(), tag("people")].into()),
    ]
}

async fn invalidate(cache: &Cache, in_tenant: bool, what: Selection) {
    if in_tenant {
        cache.tenant("acme").invalidate(what).await.unwrap();
    } else {
        cache.invalidate(what).await.unwrap();
    }
}

fn tagged() -> Policy {
    policy().tag("people")
}

#[tokio::test]
async fn every_selector_drops_what_it_covers() {
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("acme");
    for (name, in_tenant, what) in ways() {
        let read = || {
            let row = row.clone();
            acme.fetch(key!("users", 1, "profile"), tagged(), move || row.load())
        };
        read().await.unwrap();
        assert_eq!(read().await.unwrap().status.outcome, Outcome::Hit);
        row.write();
        let written = *read().await.unwrap().value + 1;
        invalidate(&cache, in_tenant, what).await;
        let after = read().await.unwrap();
        assert_eq!((after.status.outcome, *after.value), (Outcome::Miss, written), "{name}");
    }
}

#[tokio::test]
async fn a_load_that_began_before_an_invalidation_leaves_nothing_behind() {
    // 1
    for (name, in_tenant, what) in ways() {
        let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
        let (acme, load) = (cache.tenant("acme"), gate.load(&row));
        let early = tokio::spawn({
            let acme = acme.clone();
            async move { acme.get_or_load(key!("users", 1, "profile"), tagged(), move || load).await }
        });
        gate.reached().await;
        row.write();
        invalidate(&cache, in_tenant, what).await;
        // Whoever comes after the invalidation joins no load from before it.
        let late = acme.get_or_load(key!("users", 1, "profile"), tagged(), {
            let row = row.clone();
            move || row.load()
        });
        assert_eq!(*late.await.unwrap(), 1, "{name}");
        gate.open();
        early.await.unwrap().unwrap();
        let after = acme.get::<u64>(key!("users", 1, "profile")).await.unwrap();
        assert_eq!(after.map(|found| *found.value), Some(1), "{name}");
    }
}

#[tokio::test]
async fn a_follower_that_came_after_the_invalidation_of_a_late_tag_loads_again() {
    // The tag is known only from the loader, so the flight could not be detached by it.
    let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
    let acme = cache.tenant("acme");
    let read = |gate: Option<Gate>| {
        let (acme, row) = (acme.clone(), row.clone());
        tokio::spawn(async move {
            let load = move |context: larder::LoadContext| async move {
                context.tag("late");
                match gate {
                    Some(gate) => gate.load(&row).await,
                    None => row.load().await,
                }
                .map(Some)
            };
            *acme.fetch_with(key!("k"), policy(), load).await.unwrap().0.unwrap()
        })
    };
    let early = read(Some(gate.clone()));
    gate.reached().await;
    row.write();
    acme.invalidate(tag("late")).await.unwrap();
    let late = read(None);
    tokio::task::yield_now().await;
    gate.open();
    early.await.unwrap();
    assert_eq!(late.await.unwrap(), 1);
}

#[tokio::test]
async fn what_is_not_covered_stays() {
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("acme");
    let read = |first: &'static str| {
        let row = row.clone();
        acme.fetch(key!(first, 1), policy(), move || row.load())
    };
    for first in ["posts", "posts_user", "post"] {
        read(first).await.unwrap();
    }
    acme.invalidate(prefix!("posts")).await.unwrap();
    assert_eq!(read("posts").await.unwrap().status.outcome, Outcome::Miss);
    assert_eq!(read("posts_user").await.unwrap().status.outcome, Outcome::Hit);
    assert_eq!(read("post").await.unwrap().status.outcome, Outcome::Hit);
    cache.invalidate(first_segment("posts")).await.unwrap();
    assert_eq!(read("posts_user").await.unwrap().status.outcome, Outcome::Hit);
}

#[tokio::test]
async fn an_event_invalidates_before_anybody_is_told() {
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("acme");
    let read = || {
        let row = row.clone();
        acme.fetch(key!("k"), policy().tag("t"), move || row.load())
    };
    read().await.unwrap();
    let mut events = cache.subscribe();
    row.write();
    let event =
        Event::new("thing.updated").id("17").data(serde_json::json!({"a": 1})).invalidates([tag("t")]);
    acme.publish(event).await.unwrap();
    let Some(Next::Event(event)) = events.next().await else { panic!("one event") };
    assert_eq!((event.kind(), event.tenant(), event.changed_id()), ("thing.updated", "acme", Some("17")));
    assert_eq!(*read().await.unwrap().value, 1);
}

#[tokio::test]
async fn a_slow_listener_is_told_how_much_it_missed() {
    let cache = alone().await;
    let mut events = cache.subscribe();
    for _ in 0..=larder::limits::EVENT_BACKLOG {
        cache.tenant("acme").publish(Event::new("tick")).await.unwrap();
    }
    assert!(matches!(events.next().await, Some(Next::Missed(1))));
}

#[tokio::test]
async fn an_empty_or_endless_selection_is_refused() {
    let cache = alone().await;
    for selection in [vec![], vec![all(); 1001]] {
        let error = cache.tenant("a").invalidate(selection).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidRequest);
    }
}

#[tokio::test]
async fn more_scopes_than_the_map_holds_make_things_cold_but_never_stale() {
    // 35
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("acme");
    let read = |key: u64| {
        let row = row.clone();
        acme.fetch(key!("k", key), policy().tag(format!("t{key}")), move || row.load())
    };
    for key in 0..10 {
        read(key).await.unwrap();
    }
    row.write();
    acme.invalidate(tag("t3")).await.unwrap();
    let many = larder::limits::MAX_MIRROR_SCOPES * 2;
    for chunk in 0..many / 1000 {
        let tags: Vec<_> = (0..1000).map(|i| tag(format!("other{chunk}.{i}"))).collect();
        // Of many tenants: one alone may not bring so many.
        cache.tenant(format!("other{}", chunk % 20)).invalidate(tags).await.unwrap();
    }
    assert!(cache.stats().scopes_remembered <= larder::limits::MAX_MIRROR_SCOPES as u64 + 1000);
    assert_eq!(*read(3).await.unwrap().value, 1);
    // What nobody invalidated has been kept by the sweep.
    assert_eq!(read(4).await.unwrap().status.outcome, Outcome::Hit);
}
