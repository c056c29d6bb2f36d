//! Clearing.

use larder::key;
use serde_json::json;

use crate::support::{Server, read};

/// Entries of two tenants and shared ones.
async fn filled() -> Server {
    let server = Server::start().await;
    for tenant in ["acme", "globex"] {
        let tenant = server.cache.tenant(tenant);
        for key in [
            key!("campaigns", "page", 1),
            key!("campaigns", "page", 2),
            key!("campaigns", "status", "active"),
            key!("campaign", 17),
            key!("posts", 1),
            key!("posts_user", 1),
            key!("dashboard_kpis"),
        ] {
            read(&tenant, key).await;
        }
    }
    read(&server.cache.shared(), key!("threats", "page=1")).await;
    read(&server.cache.shared(), key!("stats", "")).await;
    server
}

/// Clears, and returns the scope and what is gone.
async fn clear(token: &str, query: &str) -> (String, Vec<String>) {
    let server = filled().await;
    let all = |server: &Server| -> Vec<String> {
        let page = server.cache.entries(&larder::EntryFilter::default(), None, 1000);
        page.entries.into_iter().map(|entry| entry.key).collect()
    };
    let before = all(&server);
    assert_eq!(before.len(), 16);
    let reply = server.post(token, &format!("/api/cache/clear{query}")).await;
    assert_eq!((reply.status, &reply.json()["cleared"]), (200, &json!(true)), "{}", reply.text);
    let after = all(&server);
    let gone = before.into_iter().filter(|key| !after.contains(key)).collect();
    (reply.json()["scope"].as_str().unwrap().to_owned(), gone)
}

#[tokio::test]
async fn an_owner_clears_what_the_pattern_covers_of_their_tenant() {
    for (query, scope, gone) in [
        ("?pattern=posts:*", "tenant acme: posts:*", &["posts:acme:1"][..]),
        ("?pattern=dashboard_kpis:*", "tenant acme: dashboard_kpis:*", &["dashboard_kpis:acme"]),
        ("?pattern=campaign:17", "tenant acme: campaign:17:*", &["campaign:acme:17"]),
        (
            "?pattern=campaigns:page:*",
            "tenant acme: campaigns:page:*",
            &["campaigns:acme:page:1", "campaigns:acme:page:2"],
        ),
        ("?pattern=threats:*", "tenant acme: threats:*", &[]),
        ("?pattern=nothing:*", "tenant acme: nothing:*", &[]),
    ] {
        assert_eq!(
            clear("owner@acme", query).await,
            (scope.to_owned(), gone.iter().map(|key| (*key).to_owned()).collect())
        );
    }
    let (scope, gone) = clear("owner@acme", "").await;
    assert_eq!((scope.as_str(), gone.len()), ("tenant acme: *", 7));
    assert!(gone.iter().all(|key| key.contains(":acme")), "{gone:?}");
}

#[tokio::test]
async fn a_pattern_clears_what_matches_and_nothing_else() {
    for (pattern, gone) in [
        ("campaigns:pa*", &["campaigns:acme:page:1", "campaigns:acme:page:2"][..]),
        ("campaigns:*:1", &["campaigns:acme:page:1"]),
        ("campaign:*7", &["campaign:acme:17"]),
    ] {
        let expected =
            (format!("tenant acme: {pattern}"), gone.iter().map(|key| (*key).to_owned()).collect());
        assert_eq!(clear("owner@acme", &format!("?pattern={pattern}")).await, expected);
    }
    let (scope, gone) = clear("owner@acme", "?pattern=camp*").await;
    assert_eq!(scope, "tenant acme: camp*");
    assert!(
        !gone.is_empty() && gone.iter().all(|key| key.starts_with("camp") && key.contains(":acme")),
        "{gone:?}"
    );
}

#[tokio::test]
async fn what_may_mean_more_than_it_says_is_widened_and_the_scope_says_so() {
    let (scope, gone) = clear("owner@acme", "?pattern=campaigns:page:?").await;
    assert_eq!((scope.as_str(), gone.len()), ("tenant acme: campaigns:page:*", 2));
    let (scope, gone) = clear("admin@larder", "?pattern=camp*").await;
    assert_eq!((scope.as_str(), gone.len()), ("all tenants: *", 16), "no pattern crosses tenants");
}

#[tokio::test]
async fn an_admin_clears_all_tenants_and_shared_entries() {
    let (scope, gone) = clear("admin@larder", "?pattern=posts:*").await;
    assert_eq!(
        (scope.as_str(), gone),
        ("all tenants: posts:*", vec!["posts:acme:1".to_owned(), "posts:globex:1".to_owned()])
    );
    let (scope, gone) = clear("admin@larder", "?pattern=threats:*").await;
    assert_eq!((scope.as_str(), gone), ("all tenants: threats:*", vec!["threats:page=1".to_owned()]));
    let (scope, gone) = clear("admin@larder", "?pattern=campaigns:page:*").await;
    assert_eq!(
        (scope.as_str(), gone.len()),
        ("all tenants: campaigns:*", 6),
        "no narrower scope crosses tenants"
    );
    let (scope, gone) = clear("admin@larder", "").await;
    assert_eq!((scope.as_str(), gone.len()), ("all tenants: *", 16));
}

#[tokio::test]
async fn a_crawler_clears_shared_entries_only() {
    let (scope, gone) = clear("ingest@acme", "?pattern=threats:*").await;
    assert_eq!((scope.as_str(), gone), ("shared entries: threats:*", vec!["threats:page=1".to_owned()]));
    let (scope, gone) = clear("ingest@acme", "").await;
    assert_eq!(
        (scope.as_str(), gone),
        ("shared entries: *", vec!["stats:".to_owned(), "threats:page=1".to_owned()])
    );
    assert_eq!(clear("ingest@acme", "?pattern=campaigns:*").await.1, Vec::<String>::new());
}

#[tokio::test]
async fn whoever_may_not_clear_changes_nothing() {
    let server = filled().await;
    assert_eq!(server.post("", "/api/cache/clear").await.status, 401);
    assert_eq!(server.post("member@acme", "/api/cache/clear").await.status, 403);
    let long = format!("?pattern={}", "%25".repeat(600));
    for bad in ["?pattern=", "?pattern=%20", "?pattern=%00", &long, &format!("?pattern={}", "x".repeat(1025))]
    {
        let reply = server.post("owner@acme", &format!("/api/cache/clear{bad}")).await;
        assert_eq!((reply.status, &reply.json()["errors"][0]["field"]), (422, &json!("pattern")), "{bad}");
    }
    assert_eq!(server.cache.stats().entries, 16);
    assert_eq!(server.cache.stats().invalidations, 0);
}

#[tokio::test]
async fn a_pattern_in_the_body_is_refused_and_nothing_is_cleared() {
    let server = filled().await;
    for (body, status) in
        [(r#"{"pattern":"posts:*"}"#, 400), ("pattern=posts:*", 400), ("{}", 200), ("", 200)]
    {
        let reply = server.post_with("owner@acme", "/api/cache/clear", body).await;
        assert_eq!(reply.status, status, "{body}: {}", reply.text);
        if status == 400 {
            assert_eq!(server.cache.entries(&larder::EntryFilter::default(), None, 1000).entries.len(), 16);
        }
    }
}
