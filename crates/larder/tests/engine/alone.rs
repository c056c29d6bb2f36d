//! In memory only: single flight, isolation, absence, types, sizes.

use crate::support::{Gate, MINUTE, Row, alone, policy};
use larder::{Cache, ErrorKind, Outcome, Policy, Tier, key};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

#[tokio::test]
async fn the_second_read_is_a_hit_and_shares_the_value() {
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("acme");
    let first = acme
        .fetch(key!("k"), policy(), {
            let row = row.clone();
            move || row.load()
        })
        .await
        .unwrap();
    let second = acme
        .fetch(key!("k"), policy(), {
            let row = row.clone();
            move || row.load()
        })
        .await
        .unwrap();
    assert_eq!((first.status.outcome, first.status.tier), (Outcome::Miss, Tier::Origin));
    assert_eq!((second.status.outcome, second.status.tier), (Outcome::Hit, Tier::Memory));
    assert!(Arc::ptr_eq(&first.value, &second.value)); // 36
    assert_eq!(row.loads(), 1);
    let stats = cache.stats();
    assert_eq!((stats.total.misses, stats.total.l1_hits, stats.total.loads), (1, 1, 1));
}

#[tokio::test]
async fn a_thousand_callers_make_one_load() {
    let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
    let mut callers = JoinSet::new();
    for _ in 0..1000 {
        let (acme, gate, row) = (cache.tenant("acme"), gate.clone(), row.clone());
        callers.spawn(async move {
            acme.fetch(key!("k"), policy(), move || gate.load(&row)).await.unwrap().status
        });
    }
    gate.reached().await;
    gate.open();
    let statuses = callers.join_all().await;
    assert_eq!(row.loads(), 1);
    assert_eq!(
        statuses.iter().filter(|status| !status.coalesced && status.outcome == Outcome::Miss).count(),
        1
    );
}

#[tokio::test]
async fn a_cancelled_leader_cancels_nobody_else() {
    // 13
    let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
    let spawn = |gate: Gate, row: Row| {
        let acme = cache.tenant("acme");
        tokio::spawn(async move { acme.get_or_load(key!("k"), policy(), move || gate.load(&row)).await })
    };
    let leader = spawn(gate.clone(), row.clone());
    gate.reached().await;
    let follower = spawn(gate.clone(), row.clone());
    leader.abort();
    assert!(leader.await.unwrap_err().is_cancelled());
    gate.open();
    assert_eq!(*follower.await.unwrap().unwrap(), 0);
    assert_eq!(row.loads(), 1);
}

#[tokio::test]
async fn a_value_is_kept_even_if_its_only_caller_goes_away() {
    let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
    let (acme, load) = (cache.tenant("acme"), gate.load(&row));
    let caller = tokio::spawn({
        let acme = acme.clone();
        async move { acme.get_or_load(key!("k"), policy(), move || load).await }
    });
    gate.reached().await;
    caller.abort();
    gate.open();
    let again = acme
        .fetch(key!("k"), policy(), {
            let row = row.clone();
            move || row.load()
        })
        .await
        .unwrap();
    assert_eq!(row.loads(), 1);
    assert!(matches!(again.status.outcome, Outcome::Hit | Outcome::Miss));
}

#[tokio::test]
async fn tenants_never_see_each_other() {
    // 28
    let cache = alone().await;
    let names = ["acme", "acme:x", "ac", "me", "*", "?", "[a]", "{a}", "a b", "a\0b", "🦀", &"x".repeat(128)];
    for name in names {
        let value = name.to_owned();
        let load = move || async move { Ok::<_, Infallible>(value) };
        cache.tenant(name).get_or_load(key!("k", "a:b"), policy(), load).await.unwrap();
    }
    for name in names {
        let found = cache.tenant(name).get::<String>(key!("k", "a:b")).await.unwrap().unwrap();
        assert_eq!(*found.value, name);
        assert!(cache.tenant(name).get::<String>(key!("k", "a", "b")).await.unwrap().is_none());
    }
    cache.tenant("acme").invalidate(larder::all()).await.unwrap();
    for name in names {
        let there = cache.tenant(name).get::<String>(key!("k", "a:b")).await.unwrap().is_some();
        assert_eq!(there, name != "acme", "{name}");
    }
}

#[tokio::test]
async fn bad_names_are_refused_with_their_kind() {
    let (cache, row) = (alone().await, Row::default());
    let load = || {
        let row = row.clone();
        move || row.load()
    };
    let long = "x".repeat(129);
    for tenant in ["", &long] {
        let error = cache.tenant(tenant).get_or_load(key!("k"), policy(), load()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidTenant);
    }
    let error = cache.tenant("a").get_or_load(key!("x".repeat(1025)), policy(), load()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidKey);
    let tags = (0..33).map(|tag| tag.to_string());
    let error = cache.tenant("a").get_or_load(key!("k"), policy().tags(tags), load()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidTag);
    assert_eq!(row.loads(), 0);
}

#[tokio::test]
async fn absence_is_remembered_only_where_the_policy_says_so() {
    // 37
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("acme");
    let none = || {
        let row = row.clone();
        move || async move {
            row.read();
            Ok::<Option<u64>, Infallible>(None)
        }
    };
    for _ in 0..2 {
        assert!(acme.fetch_opt(key!("k"), policy(), none()).await.unwrap().0.is_none());
    }
    assert_eq!(row.loads(), 2);
    for _ in 0..2 {
        let remembering = policy().negative_ttl(MINUTE);
        assert!(acme.fetch_opt(key!("k"), remembering, none()).await.unwrap().0.is_none());
    }
    assert_eq!(row.loads(), 3);
    acme.invalidate(key!("k")).await.unwrap();
    assert!(acme.fetch_opt(key!("k"), policy(), none()).await.unwrap().0.is_none());
    assert_eq!(row.loads(), 4);
}

#[tokio::test]
async fn another_type_under_the_same_key_is_a_miss() {
    let cache = alone().await;
    let acme = cache.tenant("acme");
    acme.get_or_load(key!("k"), policy(), || async { Ok::<u64, Infallible>(1) }).await.unwrap();
    assert!(acme.get::<String>(key!("k")).await.unwrap().is_none());
    let text = acme
        .get_or_load(key!("k"), policy(), || async { Ok::<_, Infallible>("x".to_owned()) })
        .await
        .unwrap();
    assert_eq!(*text, "x");
}

#[tokio::test]
async fn a_value_that_is_too_large_is_served_and_not_kept() {
    let cache = larder::Cache::builder("test").max_value_size(1000).build().await.unwrap();
    let acme = cache.tenant("acme");
    for _ in 0..2 {
        let load = || async { Ok::<_, Infallible>("x".repeat(2000)) };
        assert_eq!(acme.fetch(key!("k"), policy(), load).await.unwrap().status.outcome, Outcome::Miss);
    }
    assert_eq!(cache.stats().oversize, 2);
    assert_eq!(cache.stats().entries, 0);
}

#[tokio::test]
async fn memory_stays_within_its_bound() {
    let cache =
        larder::Cache::builder("test").memory(1 << 20).max_value_size(64 << 10).build().await.unwrap();
    let acme = cache.tenant("acme");
    for i in 0..2000 {
        acme.get_or_load(key!("k", i), policy(), || async { Ok::<_, Infallible>("x".repeat(4000)) })
            .await
            .unwrap();
    }
    let stats = cache.stats();
    assert!(stats.memory_bytes <= 1 << 20, "{}", stats.memory_bytes);
    assert!(stats.evictions > 0 && stats.entries > 50);
}

#[tokio::test]
async fn contradictions_of_the_builder_are_named_all_at_once() {
    let lease = std::time::Duration::from_millis(500);
    let error = larder::Cache::builder("a b").memory(5).coherence_lease(lease).build().await.unwrap_err();
    let text = error.to_string();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(
        text.contains("namespace")
            && text.contains("memory is 5")
            && text.contains("coherence_lease is 500ms")
    );
}

#[tokio::test]
async fn switched_off_every_read_loads() {
    let (cache, row) = (larder::Cache::builder("test").enabled(false).build().await.unwrap(), Row::default());
    let acme = cache.tenant("acme");
    for _ in 0..2 {
        let row = row.clone();
        let status = acme.fetch(key!("k"), policy(), move || row.load()).await.unwrap().status;
        assert_eq!(status.outcome, Outcome::Bypass);
    }
    assert_eq!(row.loads(), 2);
    acme.set(key!("k"), 7_u64, policy()).await.unwrap();
    assert!(acme.get::<u64>(key!("k")).await.unwrap().is_none());
}

#[tokio::test]
async fn a_loader_may_read_other_keys_through_the_same_cache() {
    // 18
    let cache = alone().await;
    let acme = cache.tenant("acme");
    let inner = acme.clone();
    let outer = acme.get_or_load(key!("outer"), policy(), move || async move {
        let value =
            inner.get_or_load(key!("inner"), policy(), || async { Ok::<u64, Infallible>(20) }).await?;
        Ok::<u64, larder::Error>(*value + 1)
    });
    assert_eq!(*outer.await.unwrap(), 21);
}

#[tokio::test]
async fn a_loader_that_asks_for_its_own_key_gets_a_time_out_and_hangs_nobody() {
    // 18
    let cache = alone().await;
    let acme = cache.tenant("acme");
    let short = policy().load_timeout(std::time::Duration::from_millis(50));
    let (inner, same) = (acme.clone(), short.clone());
    let outer = acme.get_or_load(key!("k"), &short, move || async move {
        let value = inner.get_or_load(key!("k"), &same, || async { Ok::<u64, Infallible>(1) }).await?;
        Ok::<u64, larder::Error>(*value)
    });
    assert_eq!(outer.await.unwrap_err().kind(), ErrorKind::LoadTimeout);
}

#[tokio::test]
async fn the_loader_may_choose_ttl_and_tags_and_not_to_store() {
    // 11
    let (cache, row) = (alone().await, Row::default());
    let acme = cache.tenant("acme");
    let read = |tag: Option<&'static str>| {
        let (acme, row) = (acme.clone(), row.clone());
        async move {
            let load = move |context: larder::LoadContext| async move {
                match tag {
                    Some(tag) => context.tag(tag),
                    None => context.do_not_store(),
                }
                Ok::<_, Infallible>(Some(row.read()))
            };
            acme.fetch_with(key!("k"), policy(), load).await.unwrap().1.outcome
        }
    };
    assert_eq!(read(None).await, Outcome::Miss);
    assert_eq!(read(Some("a")).await, Outcome::Miss);
    assert_eq!(read(Some("a")).await, Outcome::Hit);
    acme.invalidate(larder::tag("a")).await.unwrap();
    assert_eq!(read(Some("b")).await, Outcome::Miss);
    acme.invalidate(larder::tag("a")).await.unwrap();
    assert_eq!(read(Some("b")).await, Outcome::Hit);
}

#[tokio::test]
async fn a_shut_down_cache_waits_for_its_loads_and_takes_no_more() {
    // 34
    let (cache, row, gate) = (alone().await, Row::default(), Gate::new());
    let (acme, load) = (cache.tenant("acme"), gate.load(&row));
    let caller = tokio::spawn(async move { acme.get_or_load(key!("k"), policy(), move || load).await });
    gate.reached().await;
    let mut closing = std::pin::pin!(cache.shutdown());
    for _ in 0..10 {
        assert!(futures_util::poll!(closing.as_mut()).is_pending(), "a load is under way");
        tokio::task::yield_now().await;
    }
    assert_eq!(row.loads(), 1);
    gate.open();
    closing.await;
    assert!(caller.await.unwrap().is_ok(), "whoever waited for it has it");
    let error = cache.tenant("acme").get::<u64>(key!("k")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Closed);
}

#[tokio::test]
async fn a_loader_that_never_returns_keeps_a_cache_from_its_end_for_its_time_out_only() {
    // 34
    let cache = Cache::builder("test").load_timeout(Duration::from_millis(50)).build().await.unwrap();
    let (acme, row, gate) = (cache.tenant("acme"), Row::default(), Gate::new());
    let load = gate.load(&row);
    let caller = tokio::spawn(async move { acme.get_or_load(key!("k"), policy(), move || load).await });
    gate.reached().await;
    cache.shutdown().await;
    assert_eq!(caller.await.unwrap().unwrap_err().kind(), ErrorKind::LoadTimeout);
}

#[tokio::test]
async fn entries_are_listed_as_people_see_them() {
    let cache = alone().await;
    let load = || async { Ok::<u64, Infallible>(1) };
    for tenant in ["acme", "globex"] {
        for page in 1..=3 {
            let policy = policy().tag("campaigns");
            let key = key!("campaigns", "page", page, "limit", 20);
            cache.tenant(tenant).get_or_load(key, policy, load).await.unwrap();
        }
    }
    cache.shared().get_or_load(key!("stats", ""), policy(), load).await.unwrap();
    let filter = larder::EntryFilter::default().pattern("campaigns:acme:*");
    let page = cache.entries(&filter, None, 2);
    let keys: Vec<_> = page.entries.iter().map(|entry| entry.key.as_str()).collect();
    assert_eq!(keys, ["campaigns:acme:page:1:limit:20", "campaigns:acme:page:2:limit:20"]);
    let rest = cache.entries(&filter, page.next.as_deref(), 2);
    assert_eq!((rest.entries.len(), rest.next), (1, None));
    assert_eq!(cache.entry("stats:").unwrap().tenant, "");
    assert_eq!(cache.entry("campaigns:globex:page:1:limit:20").unwrap().tags, ["campaigns"]);
    cache.tenant("globex").invalidate(larder::tag("campaigns")).await.unwrap();
    assert!(cache.entry("campaigns:globex:page:1:limit:20").is_none());
}

#[tokio::test]
async fn entries_that_look_the_same_are_both_found_and_both_listed() {
    let cache = alone().await;
    let (shared, acme) = (cache.shared(), cache.tenant("acme"));
    shared.set(key!("campaigns", "acme", "page", 1), 1_u64, policy()).await.unwrap();
    acme.set(key!("campaigns", "page", 1), 2_u64, policy()).await.unwrap();
    acme.set(key!("campaigns", "page", 2), 3_u64, policy()).await.unwrap();
    let tenants = |entries: &[larder::EntryInfo]| -> Vec<String> {
        entries.iter().map(|entry| entry.tenant.clone()).collect()
    };
    assert_eq!(tenants(&cache.entries_named("campaigns:acme:page:1").await), ["", "acme"]);
    let page = cache.entries(&larder::EntryFilter::default(), None, 1);
    assert_eq!(tenants(&page.entries), ["", "acme"], "on one page, or the next would leave one out");
    let rest = cache.entries(&larder::EntryFilter::default(), page.next.as_deref(), 1);
    assert_eq!((rest.entries[0].key.as_str(), rest.next), ("campaigns:acme:page:2", None));
    shared.invalidate(larder::all()).await.unwrap();
    assert_eq!(tenants(&cache.entries_named("campaigns:acme:page:1").await), ["acme"]);
}

#[test]
fn a_policy_needs_a_ttl() {
    assert!(format!("{:?}", Policy::ttl(MINUTE)).contains("60s"));
}

#[tokio::test]
async fn pages_of_many_entries_follow_each_other_without_a_gap() {
    let cache = alone().await;
    // Of every tenth name there are two: a shared entry, and one of acme that looks the same.
    for id in 0..5_000_u64 {
        cache.tenant("acme").set(key!("k", id), id, policy()).await.unwrap();
        if id % 10 == 0 {
            cache.shared().set(key!("k", "acme", id), id, policy()).await.unwrap();
        }
    }
    let (mut names, mut cursor) = (Vec::new(), None);
    loop {
        let page = cache.entries(&larder::EntryFilter::default(), cursor.as_deref(), 100);
        assert!((100..=101).contains(&page.entries.len()) || page.next.is_none(), "{}", page.entries.len());
        names.extend(page.entries.into_iter().map(|entry| (entry.key, entry.tenant)));
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert!(names.is_sorted() && names.len() == 5_500, "{}", names.len());
    names.dedup();
    assert_eq!(names.len(), 5_500);
}
