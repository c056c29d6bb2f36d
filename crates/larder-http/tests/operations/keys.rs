//! Keys.

use larder::{key, tag};
use serde_json::{Value, json};

use crate::support::{Server, read, request};

const MINUTE: std::time::Duration = std::time::Duration::from_secs(60);

fn names(page: &Value) -> Vec<&str> {
    page["keys"].as_array().unwrap().iter().map(|entry| entry["key"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn keys_are_for_an_admin() {
    let server = Server::start().await;
    for path in ["/api/cache/keys", "/api/cache/keys/campaigns:acme:1"] {
        assert_eq!(server.get("", path).await.status, 401, "{path}");
        for role in ["owner@acme", "member@acme", "ingest@larder"] {
            assert_eq!(server.get(role, path).await.status, 403, "{role} {path}");
        }
    }
}

#[tokio::test]
async fn pages_follow_each_other_without_a_gap() {
    let server = Server::start().await;
    let acme = server.cache.tenant("acme");
    for i in 0..450 {
        read(&acme, key!("campaigns", format!("{i:03}"))).await;
    }
    read(&server.cache.tenant("globex"), key!("leads", 1)).await;
    let (mut all, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
    loop {
        let path = format!("/api/cache/keys?pattern=campaigns:*{cursor}");
        let page = server.get("admin@larder", &path).await.json();
        all.extend(names(&page).into_iter().map(str::to_owned));
        pages += 1;
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!((all.len(), pages), (450, 3));
    assert!(all.is_sorted() && all[0] == "campaigns:acme:000", "{:?}", all[0]);
    let one = server.get("admin@larder", "/api/cache/keys?pattern=*:globex:*").await.json();
    assert_eq!(names(&one), ["leads:globex:1"]);
    // Parameters that nobody filled in are as if they were not there.
    let everything = server.get("admin@larder", "/api/cache/keys?pattern=&cursor=").await.json();
    let without = server.get("admin@larder", "/api/cache/keys").await.json();
    assert_eq!(names(&everything), names(&without));
    let long = format!("/api/cache/keys?pattern={}", "x".repeat(4097));
    assert_eq!(server.get("admin@larder", &long).await.status, 422);
}

#[tokio::test]
async fn an_entry_is_shown_until_it_is_invalidated() {
    let server = Server::start().await;
    let acme = server.cache.tenant("acme");
    let odd = key!("campaigns", "a:b/c ?", "%", "🦀");
    read(&acme, odd.clone()).await;
    read(&server.cache.shared(), key!("stats", "")).await;
    let rendered = odd.render("acme");
    let escaped: String = rendered.bytes().map(|byte| format!("%{byte:02X}")).collect();
    let path = format!("/api/cache/keys/{escaped}");
    let mut entry = server.get("admin@larder", &path).await.json();
    for number in ["size", "ttl", "age", "load_ms"] {
        let taken = entry[number].take();
        assert!(
            taken.as_f64().is_some_and(|value| value >= 0.0 && (number != "ttl" || value > 59.0)),
            "{number} {taken}"
        );
    }
    assert_eq!(
        entry,
        json!({"key": rendered, "tenant": "acme", "tags": ["t"], "tier": "memory", "last_status": "MISS",
            "size": null, "ttl": null, "age": null, "load_ms": null})
    );
    read(&acme, odd.clone()).await;
    assert_eq!(server.get("admin@larder", &path).await.json()["last_status"], "HIT");
    assert_eq!(server.get("admin@larder", "/api/cache/keys/stats:").await.json()["tenant"], "");
    acme.invalidate(tag("t")).await.unwrap();
    assert_eq!(server.get("admin@larder", &path).await.status, 404);
    assert_eq!(names(&server.get("admin@larder", "/api/cache/keys").await.json()), ["stats:"]);
    server
        .cache
        .shared()
        .set(key!("campaigns", "acme", 1), 1_u64, larder::Policy::ttl(MINUTE))
        .await
        .unwrap();
    read(&acme, key!("campaigns", 1)).await;
    for (query, tenant, other) in [("", "", "acme"), ("?tenant=acme", "acme", ""), ("?tenant=", "", "acme")] {
        let path = format!("/api/cache/keys/campaigns:acme:1{query}");
        let entry = server.get("admin@larder", &path).await.json();
        assert_eq!((&entry["tenant"], &entry["also"]), (&json!(tenant), &json!([other])), "{query}");
    }
    for none in ["campaigns:acme:1?tenant=globex", "nothing", "campaigns:globex:1", "%FF", "%00"] {
        assert_eq!(
            server.get("admin@larder", &format!("/api/cache/keys/{none}")).await.status,
            404,
            "{none}"
        );
    }
}

#[tokio::test]
async fn who_looks_at_all_entries_keeps_nobody_waiting() {
    let server = Server::start().await;
    let acme = server.cache.tenant("acme");
    for id in 0..20_000_u64 {
        acme.set(key!("campaigns", id), id, larder::Policy::ttl(MINUTE)).await.unwrap();
    }
    // The test has one thread. Whoever looks on it has looked when it is asked for the first time.
    let listing = server.get("admin@larder", "/api/cache/keys?pattern=*9");
    let body = json!({"prefix": "campaigns", "dry_run": true}).to_string();
    let asked =
        request("POST", "owner@acme", "/api/cache/invalidate").header("content-type", "application/json");
    let covering = server.send(asked.body(body.into()).unwrap());
    let (mut listing, mut covering) = (std::pin::pin!(listing), std::pin::pin!(covering));
    assert!(
        futures_util::poll!(&mut listing).is_pending() && futures_util::poll!(&mut covering).is_pending()
    );
    let listed = listing.await.json();
    assert_eq!(names(&listed).len(), 200);
    let covered = covering.await;
    assert_eq!(covered.status, 200, "{}", covered.text);
    assert_eq!(covered.json()["entries"], 20_000);
}
