//! Threats: shared by all tenants, public to read, written by crawlers.

use axum::body::Body;
use futures_util::future::join_all;
use sample_backend::config::DatabaseConfig;
use serde_json::{Value, json};

use crate::support::{Api, on_each_database, request, sqlite};

/// The five reads of the threat pages, and the keys that they are kept under.
const READS: [(&str, &str); 5] = [
    ("/api/stats", "stats:"),
    ("/api/threats?page=1&limit=10", "threats:page=1:limit=10"),
    ("/api/charts/trend?days=10", "charts:trend:days=10"),
    ("/api/charts/severity", "charts:severity:"),
    ("/api/charts/sources", "charts:sources:"),
];

fn threat(severity: &str, source: &str) -> Value {
    json!({"title": "Worm", "severity": severity, "source": source, "indicator": "198.51.100.7"})
}

async fn empty(database: DatabaseConfig) -> (Api, String) {
    // Without sample data nobody could sign in.
    let api = Api::start(database).await;
    sqlx::query("DELETE FROM threats").execute(api.backend.db.write()).await.unwrap();
    let crawler = api.login("crawler@larder.test").await;
    (api, crawler)
}

on_each_database!(anyone_reads_them_and_what_is_read_is_kept, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    for (path, key) in READS {
        let body = api.get_twice("", path).await;
        assert!(api.has(key), "{key}");
        let theirs = api.get(&acme, path).await;
        assert_eq!((theirs.x_cache(), &theirs.body), ("HIT", &body), "the same entry for everybody");
        assert_eq!(theirs.headers["cache-control"], "no-cache");
    }
    let statements = api.backend.db.statements();
    for (path, _) in READS {
        assert_eq!(api.get("", path).await.status, 200);
    }
    assert_eq!(api.backend.db.statements(), statements, "a hit asks nothing of the database");
});

on_each_database!(what_a_crawler_sends_shows_at_once_everywhere, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let crawler = api.login("crawler@larder.test").await;
    let mut before = Vec::new();
    for (path, _) in READS {
        before.push(api.get_twice("", path).await);
    }
    let mut events = api.cache.subscribe();
    let invalidations = api.cache.stats().invalidations;
    let new = json!([threat("critical", "lab"), threat("low", "lab")]);
    let reply = api.post(&crawler, "/api/threats", new).await;
    assert_eq!((reply.status, &reply.body), (201, &json!({"inserted": 2})));
    assert_eq!(api.cache.stats().invalidations, invalidations + 1, "one for all that they touch");
    for (_, key) in READS {
        assert!(!api.has(key), "{key} is gone before the answer is sent");
    }
    match events.next().await {
        Some(larder::Next::Event(event)) => assert_eq!(event.kind(), "threats.ingested"),
        other => panic!("{other:?}"),
    }
    let mut now = Vec::new();
    for (path, _) in READS {
        now.push(api.get_twice("", path).await);
    }
    let grown = |at: &str, i: usize, by: i64| {
        let number = |value: &Value| value.pointer(at).and_then(Value::as_i64).unwrap();
        assert_eq!(number(&now[i]), number(&before[i]) + by, "{at}");
    };
    grown("/total_threats", 0, 2);
    grown("/last_24h", 0, 2);
    grown("/sources", 0, 1);
    grown("/by_severity/critical", 0, 1);
    grown("/total", 1, 2);
    grown("/points/9/count", 2, 2);
    grown("/items/0/count", 3, 1);
    grown("/items/3/count", 3, 1);
    assert_eq!(now[1]["items"][0]["source"], "lab", "newest first");
    assert!(now[4]["items"].as_array().unwrap().contains(&json!({"source": "lab", "count": 2})));
});

on_each_database!(the_numbers_are_those_of_the_rows, |database: DatabaseConfig| async move {
    let (api, crawler) = empty(database).await;
    let none = json!({"low": 0, "medium": 0, "high": 0, "critical": 0});
    assert_eq!(
        api.get_twice("", "/api/stats").await,
        json!({"total_threats": 0, "last_24h": 0, "sources": 0, "by_severity": none})
    );
    assert_eq!(api.get_twice("", "/api/charts/sources").await, json!({"items": []}));
    assert_eq!(api.get_twice("", "/api/threats").await["items"], json!([]));

    let mut old = threat("high", "b");
    old["published_at"] = json!("2020-02-03T05:06:07.5+01:00");
    let new = json!([old, threat("low", "a"), threat("high", "b"), threat("high", "c")]);
    assert_eq!(api.post(&crawler, "/api/threats", new).await.status, 201);
    let by_severity = json!({"low": 1, "medium": 0, "high": 3, "critical": 0});
    assert_eq!(
        api.get_twice("", "/api/stats").await,
        json!({"total_threats": 4, "last_24h": 3, "sources": 3, "by_severity": by_severity})
    );
    let trend = api.get_twice("", "/api/charts/trend?days=2").await;
    assert_eq!((&trend["days"], &trend["points"][0]["count"]), (&json!(2), &json!(0)));
    assert_eq!((trend["points"].as_array().unwrap().len(), &trend["points"][1]["count"]), (2, &json!(3)));
    assert_eq!(
        api.get_twice("", "/api/charts/severity").await["items"],
        json!([{"severity": "low", "count": 1}, {"severity": "medium", "count": 0},
            {"severity": "high", "count": 3}, {"severity": "critical", "count": 0}])
    );
    assert_eq!(
        api.get_twice("", "/api/charts/sources").await["items"],
        json!([{"source": "b", "count": 2}, {"source": "a", "count": 1}, {"source": "c", "count": 1}])
    );
    let high = api.get_twice("", "/api/threats?severity=high").await;
    assert_eq!(
        (&high["total"], &high["items"][2]["published_at"]),
        (&json!(3), &json!("2020-02-03T04:06:07.5Z"))
    );
    assert_eq!(api.get_twice("", "/api/threats?source=b&limit=1&page=2").await["items"][0], high["items"][2]);
    assert!(api.has("threats:page=2:limit=1:source=b"));
    assert_eq!(api.get_twice("", "/api/threats?source=a&severity=high").await["total"], 0);
    assert!(api.has("threats:page=1:limit=20:severity=high:source=a"));
    assert_eq!(api.get_twice("", "/api/threats?page=1000000").await["total"], 4);
});

on_each_database!(
    a_thousand_who_ask_for_a_cold_chart_cost_one_query,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let before = api.backend.db.statements();
        let replies = join_all((0..1_000).map(|_| api.get("", "/api/charts/trend"))).await;
        assert_eq!(api.backend.db.statements() - before, 1);
        assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == replies[0].body));
        let misses = replies.iter().filter(|reply| reply.x_cache() == "MISS").count();
        assert_eq!(misses, 1_000, "who waits for another's load has missed");
    }
);

on_each_database!(a_batch_is_taken_as_a_whole_or_not_at_all, |database: DatabaseConfig| async move {
    let (api, crawler) = empty(database).await;
    let whole = json!(vec![threat("low", "lab"); 1_000]);
    assert_eq!(api.post(&crawler, "/api/threats", whole).await.body["inserted"], 1_000);
    let too_many = api.post(&crawler, "/api/threats", json!(vec![threat("low", "lab"); 1_001])).await;
    assert_eq!((too_many.status, too_many.fields()), (422, vec!["body"]));
    let mut early = threat("low", "lab");
    early["published_at"] = json!("1969-12-31T23:59:59Z");
    let mut late = threat("low", "lab");
    late["published_at"] = json!("2999-01-01T00:00:00Z");
    let faulty = json!([threat("low", "lab"), threat("none", ""), {"title": 7}, "x", early, late]);
    let reply = api.post(&crawler, "/api/threats", faulty).await;
    assert_eq!(reply.status, 422);
    let mut fields = reply.fields();
    fields.sort_unstable();
    let of_third = ["[2].indicator", "[2].severity", "[2].source", "[2].title"];
    let expected =
        [&["[1].severity", "[1].source"][..], &of_third, &["[3]", "[4].published_at", "[5].published_at"]]
            .concat();
    assert_eq!(fields, expected);
    assert_eq!(api.post(&crawler, "/api/threats", json!({})).await.status, 422);
    assert_eq!(api.post(&crawler, "/api/threats", json!([])).await.body["inserted"], 0);
    assert_eq!(api.get("", "/api/stats").await.body["total_threats"], 1_000);
});

#[tokio::test]
async fn only_a_crawler_writes_and_whoever_may_not_is_told_before_the_body_is_read() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    assert_eq!(api.post("", "/api/threats", json!("x")).await.status, 401);
    for email in ["owner@acme.test", "admin@larder.test"] {
        let token = api.login(email).await;
        assert_eq!(api.post(&token, "/api/threats", json!("x")).await.status, 403, "{email}");
    }
}

#[tokio::test]
async fn a_value_out_of_range_is_named() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let long = format!("/api/threats?source={}", "x".repeat(101));
    for (path, field) in [
        ("/api/charts/trend?days=0", "days"),
        ("/api/charts/trend?days=-1", "days"),
        ("/api/charts/trend?days=366", "days"),
        ("/api/charts/trend?days=x", "days"),
        ("/api/threats?limit=0", "limit"),
        ("/api/threats?page=1000000000000", "page"),
        ("/api/threats?severity=terrible", "severity"),
        ("/api/threats?source=", "source"),
        (&long, "source"),
    ] {
        let reply = api.get("", path).await;
        assert_eq!((reply.status, reply.fields()), (422, vec![field]), "{path}");
    }
}

/// A client that goes away once its write was begun leaves nothing stale behind.
#[tokio::test]
async fn a_crawler_that_goes_away_leaves_nothing_stale() {
    let (database, _home) = sqlite();
    let (api, crawler) = empty(database).await;
    assert_eq!(api.get_twice("", "/api/stats").await["total_threats"], 0);
    let mut events = api.cache.subscribe();
    let body = json!([threat("low", "lab")]).to_string();
    let request = request("POST", &crawler, "/api/threats").header("content-type", "application/json");
    let mut sending = Box::pin(api.send(request.body(Body::from(body)).unwrap()));
    // Polled until the write is a task of its own, then dropped.
    let statements = api.backend.db.statements();
    while api.backend.db.statements() == statements {
        assert!(futures_util::poll!(&mut sending).is_pending(), "it is dropped before it is answered");
        tokio::task::yield_now().await;
    }
    drop(sending);
    assert!(matches!(events.next().await, Some(larder::Next::Event(_))));
    assert_eq!(api.get("", "/api/stats").await.body["total_threats"], 1);
}
