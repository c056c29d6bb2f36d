//! The operations of the cache: statistics, keys, clearing.

use crate::client::{Body, Client};
use crate::routes::{self, People};
use crate::stack::{Stack, on_every_stack};
use crate::walk::key_path;
use serde_json::Value;
use std::collections::BTreeSet;

on_every_stack!(
    unhurried
    every_lookup_is_counted_once,
    a_tenants_numbers_stand_still_while_another_works,
    a_pattern_clears_its_first_segment_and_no_longer_one,
    keys_come_in_pages_and_match_without_their_tenant,
);

async fn stats(client: &Client) -> Value {
    client.get("/api/cache/stats").await.expect(200).json()
}

fn number(stats: &Value, name: &str) -> i64 {
    stats[name].as_i64().unwrap_or_else(|| panic!("{name} in {stats}"))
}

async fn every_lookup_is_counted_once(stack: Stack) {
    let acme = stack.acme().await;
    let before = stats(&acme).await;
    for _ in 0..5 {
        acme.get("/api/v1/campaigns").await.expect(200);
    }
    acme.get("/api/v1/campaigns?page=2").await.expect(200);
    let after = stats(&acme).await;
    let grown = |name| number(&after, name) - number(&before, name);
    assert_eq!((grown("l1_hits"), grown("misses"), grown("loads")), (4, 2, 2), "{after}");
    assert_eq!(grown("hits"), grown("l1_hits") + grown("l2_hits") + grown("stale_hits"));
    assert!((0.0..=100.0).contains(&after["hit_rate"].as_f64().unwrap()));
    assert!(after["by_endpoint"].get("campaigns").is_some(), "{after}");
    assert_eq!(after["enabled"], true);
    let made = acme.post("/api/v1/campaigns", routes::a_campaign("Counted")).await;
    made.expect(201);
    assert!(number(&stats(&acme).await, "invalidations") > number(&after, "invalidations"));
    // Who is not signed in sees totals and no more.
    let totals = stats(&stack.anyone()).await;
    assert!(totals.get("by_endpoint").is_none(), "{totals}");
    assert!(number(&totals, "hits") >= number(&after, "hits"));
    // An admin sees all tenants.
    let all = stats(&stack.admin().await).await;
    assert!(number(&all, "misses") >= number(&stats(&acme).await, "misses"));
}

async fn a_tenants_numbers_stand_still_while_another_works(stack: Stack) {
    let (acme, globex) = (stack.acme().await, stack.globex().await);
    acme.get("/api/v1/campaigns").await.expect(200);
    let (mine, theirs) = (stats(&acme).await, stats(&globex).await);
    assert_eq!(number(&mine, "total_keys"), 1);
    for page in 1..=5 {
        globex.get(&format!("/api/v1/campaigns?page={page}")).await.expect(200);
        globex.post("/api/v1/campaigns", routes::a_campaign("Not yours")).await.expect(201);
    }
    globex.get("/api/v1/campaigns").await.expect(200);
    let unmoved = stats(&acme).await;
    for (name, before) in mine.as_object().unwrap() {
        assert_eq!(&unmoved[name], before, "{name}");
    }
    let after = stats(&globex).await;
    for name in ["total_keys", "misses", "invalidations"] {
        assert!(number(&after, name) > number(&theirs, name), "{name}: {theirs} {after}");
    }
    let all = stats(&stack.admin().await).await;
    for name in ["total_keys", "invalidations", "misses"] {
        assert!(number(&all, name) >= number(&after, name) + number(&unmoved, name), "{name}: {all}");
    }
}

async fn a_pattern_clears_its_first_segment_and_no_longer_one(stack: Stack) {
    let people = People::of(&stack).await;
    let globex = stack.globex().await;
    let author = format!("/api/v1/users/{}/posts", people.sample["user"]);
    let prime = async || {
        for client in [&people.acme, &globex] {
            client.get("/api/v1/posts").await.expect(200);
            client.get("/api/v1/jobs").await.expect(200);
        }
        people.acme.get(&author).await.expect(200);
        people.anyone.get("/api/stats").await.expect(200);
    };
    let cache = async |client: &Client, path: &str| client.get(path).await.expect(200).cache().to_owned();
    let clear = async |client: &Client, pattern: &str| {
        let path = format!("/api/cache/clear?pattern={pattern}");
        let answer = client.send("POST", &path, &Body::Nothing).await.expect(200).json();
        assert_eq!(answer["cleared"], true);
        assert!(answer["scope"].as_str().is_some_and(|scope| !scope.is_empty()), "{answer}");
    };
    // An owner clears its own tenant's.
    prime().await;
    clear(&people.acme, "posts:*").await;
    assert_eq!(cache(&people.acme, "/api/v1/posts").await, "MISS");
    assert_eq!(cache(&people.acme, &author).await, "HIT", "posts_user is another segment");
    assert_eq!(cache(&people.acme, "/api/v1/jobs").await, "HIT");
    assert_eq!(cache(&globex, "/api/v1/posts").await, "HIT");
    // An admin clears everybody's.
    prime().await;
    clear(&people.admin, "posts:*").await;
    assert_eq!(cache(&people.acme, "/api/v1/posts").await, "MISS");
    assert_eq!(cache(&globex, "/api/v1/posts").await, "MISS");
    assert_eq!(cache(&globex, "/api/v1/jobs").await, "HIT");
    // Without a pattern: an owner all of its own, an admin all there is.
    prime().await;
    people.acme.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
    assert_eq!(cache(&people.acme, &author).await, "MISS");
    assert_eq!(cache(&globex, "/api/v1/jobs").await, "HIT");
    assert_eq!(cache(&people.anyone, "/api/stats").await, "HIT");
    people.admin.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
    assert_eq!(cache(&globex, "/api/v1/jobs").await, "MISS");
    assert_eq!(cache(&people.anyone, "/api/stats").await, "MISS");
}

async fn keys_come_in_pages_and_match_without_their_tenant(stack: Stack) {
    let (acme, admin) = (stack.acme().await, stack.admin().await);
    let wanted: BTreeSet<String> =
        (1..=100).map(|limit| format!("campaigns:acme:page:1:limit:{limit}")).collect();
    for limit in 1..=100 {
        acme.get(&format!("/api/v1/campaigns?limit={limit}")).await.expect(200);
    }
    acme.get("/api/v1/jobs").await.expect(200);
    let mut seen = BTreeSet::new();
    let mut target = "/api/cache/keys?pattern=campaigns:*".to_owned();
    for page in 0.. {
        assert!(page < 100, "the cursor goes in circles");
        let body = admin.get(&target).await.expect(200).json();
        for item in body["keys"].as_array().unwrap_or_else(|| panic!("no keys in {body}")) {
            let key =
                item.as_str().or_else(|| item["key"].as_str()).unwrap_or_else(|| panic!("no key in {item}"));
            assert!(seen.insert(key.to_owned()), "{key} comes twice");
        }
        let Some(cursor) = body["cursor"].as_str() else { break };
        target = format!("/api/cache/keys?pattern=campaigns:*&cursor={cursor}");
    }
    assert_eq!(seen, wanted);
    let entry = admin.get(&key_path("campaigns:acme:page:1:limit:7")).await.expect(200).json();
    for field in ["size", "ttl", "age", "tags", "tier"] {
        assert!(entry.get(field).is_some(), "{field} is not in {entry}");
    }
    admin.get(&key_path("campaigns:acme:page:99:limit:7")).await.expect_problem(404);
    admin.get(&key_path("campaigns:nobody:page:1:limit:7")).await.expect_problem(404);
}
