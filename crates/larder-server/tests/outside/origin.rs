//! Loads are counted where they arrive: at the database and at the upstream, not by the cache itself.

use crate::client::Client;
use crate::routes::{self, People, Who};
use crate::stack::{Kind, Stack, on_every_stack};
use larder_testkit::{Answer, Gate, RedisServer, StubHttp};
use serde_json::json;

on_every_stack!(
    unhurried
    a_hit_asks_the_database_nothing,
    a_hundred_reads_of_a_list_cost_the_queries_of_one,
    a_thousand_requests_to_a_cold_chart_are_one_query,
    the_server_counts_the_statements_that_its_database_has_seen,
);

async fn a_hit_asks_the_database_nothing(stack: Stack) {
    let people = People::of(&stack).await;
    let mut cold = 0;
    for route in routes::all() {
        if route.cached.is_none() {
            continue;
        }
        let before = stack.queries();
        route.call(&people).await.expect(200);
        let miss = stack.queries() - before;
        for _ in 0..3 {
            assert_eq!(route.call(&people).await.expect(200).cache(), "HIT");
        }
        let hits = stack.queries() - before - miss;
        assert_eq!(hits, 0, "{}: {miss} queries for the miss, {hits} for three hits", route.operation());
        cold += usize::from(miss > 0);
    }
    assert!(cold >= 12, "only {cold} routes were seen to ask the database when cold");
}

async fn a_hundred_reads_of_a_list_cost_the_queries_of_one(stack: Stack) {
    let acme = stack.acme().await;
    let before = stack.queries();
    for _ in 0..100 {
        acme.get("/api/v1/campaigns").await.expect(200);
    }
    let asked = stack.queries() - before;
    assert!((1..=3).contains(&asked), "{asked} queries for 100 reads");
}

async fn a_thousand_requests_to_a_cold_chart_are_one_query(stack: Stack) {
    let client = stack.anyone();
    let before = stack.queries();
    let calls = (0..1000).map(|_| {
        let client = client.clone();
        tokio::spawn(async move { client.get("/api/charts/trend").await })
    });
    for call in calls.collect::<Vec<_>>() {
        // As many as MAX_CONCURRENT_REQUESTS, so none is turned away.
        call.await.unwrap().expect(200);
    }
    assert_eq!(stack.queries() - before, 1, "{:#?}", stack.statements());
    assert_eq!(client.get("/api/charts/trend").await.expect(200).cache(), "HIT");
    assert_eq!(stack.queries() - before, 1, "a second read asks nothing");
    // Another chart is another query: it is the origin that is counted.
    client.get("/api/charts/trend?days=31").await.expect(200);
    assert_eq!(stack.queries() - before, 2, "{:#?}", stack.statements());
}

async fn the_server_counts_the_statements_that_its_database_has_seen(stack: Stack) {
    let (people, admin) = (People::of(&stack).await, stack.admin().await);
    let counted = async || {
        let metrics = admin.get("/api/v1/cache/metrics").await.expect(200).json();
        usize::try_from(metrics["database_statements"].as_u64().unwrap()).unwrap()
    };
    // Not what begins and ends a transaction, nor what sets up a connection.
    let seen = || {
        let data = |statement: &&String| {
            let begin = statement.trim_start().to_lowercase();
            ["select", "with", "insert", "update", "delete"].iter().any(|verb| begin.starts_with(verb))
        };
        stack.statements().iter().filter(data).count()
    };
    let before = (counted().await, seen());
    // A sign of life is counted at the database only, and no operation of the cache asks anything.
    for route in routes::all().iter().filter(|r| r.path.starts_with("/api/") && !r.path.contains("/cache/")) {
        route.call(&people).await;
    }
    let (counted, seen) = (counted().await - before.0, seen() - before.1);
    assert_eq!(counted, seen, "{:#?}", stack.statements());
    assert!(seen > 30, "{seen}");
}

#[tokio::test]
async fn a_request_is_one_call_upstream_however_many_ask_at_once() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let gate = Gate::new();
    stack.ai.on(crate::stack::CHAT, [Answer::chat("slow").behind(&gate)]);
    let acme = stack.acme().await;
    let ask =
        |client: Client| async move { client.post("/api/v1/ai/generate", json!({"prompt": "x"})).await };
    let calls: Vec<_> = (0..50).map(|_| tokio::spawn(ask(acme.clone()))).collect();
    stack.ai.called(crate::stack::CHAT, 1).await;
    gate.open();
    for call in calls {
        assert_eq!(call.await.unwrap().expect(200).json()["text"], "slow");
    }
    assert_eq!(stack.ai.calls(crate::stack::CHAT), 1);
}

#[tokio::test]
async fn a_failing_generator_is_an_error_that_is_not_kept() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    stack.ai.on(
        crate::stack::CHAT,
        [Answer::status(500), Answer::raw("application/json", "{"), Answer::chat("well")],
    );
    let acme = stack.acme().await;
    let ask = || acme.post("/api/v1/ai/generate", json!({"prompt": "x"}));
    ask().await.expect_problem(502);
    ask().await.expect_problem(502);
    assert_eq!(ask().await.expect(200).json()["text"], "well");
}

#[tokio::test]
async fn a_failing_upstream_leaves_the_last_good_value_and_else_a_502() {
    let upstream = StubHttp::start().await;
    let kpis = "/acme/dashboard/kpis";
    upstream.on(kpis, [Answer::json(json!({"revenue": 1})), Answer::status(500)]);
    let more = [("UPSTREAM_API_URL", &*upstream.url()), ("UPSTREAM_TIMEOUT", "500ms")];
    let file = "[ttl]\ndashboard_kpis = \"1s\"\n";
    let stack = Stack::with(Kind::MemorySqlite, RedisServer::builder(), &more).await;
    // The short TTL comes from a file, so the server is started again in the same directory.
    let dir = stack.server.dir().clone();
    std::fs::write(dir.path().join("larder.toml"), file).unwrap();
    let Stack { server, .. } = stack;
    server.stop();
    let server = crate::server::Server::start_in(&dir, &more).await;
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    let path = "/api/v1/dashboard/kpis";
    let good = acme.get(path).await.expect(200);
    assert_eq!((good.cache(), good.json()), ("MISS", json!({"payload": {"revenue": 1}})));
    larder_testkit::assert_eventually!(
        acme.get(path).await.cache() == "STALE",
        std::time::Duration::from_secs(10),
        "the entry expires and the upstream fails"
    );
    let stale = acme.get(path).await.expect(200);
    assert_eq!(stale.json(), good.json());
    assert!(upstream.calls(kpis) >= 2);
    // Nothing good was ever known of this one.
    acme.get("/api/v1/dashboard/alerts").await.expect_problem(502);
    upstream
        .on("/acme/dashboard/insights", [Answer::json(json!({})).after(std::time::Duration::from_secs(20))]);
    acme.get("/api/v1/dashboard/insights").await.expect_problem(502);
}

#[tokio::test]
async fn the_upstream_is_asked_as_the_contract_says() {
    let upstream = StubHttp::start().await;
    upstream.otherwise(Answer::json(json!({"any": "json"})));
    let stack =
        Stack::with(Kind::MemorySqlite, RedisServer::builder(), &[("UPSTREAM_API_URL", &upstream.url())])
            .await;
    let acme = stack.acme().await;
    for route in
        routes::all().iter().filter(|r| r.who == Who::Tenant && r.shape == Some(crate::shapes::payload()))
    {
        let target = route.path;
        assert_eq!(
            acme.get(target).await.expect(200).json(),
            json!({"payload": {"any": "json"}}),
            "{target}"
        );
    }
    let asked: Vec<String> = upstream
        .requests()
        .iter()
        .map(|r| if r.query.is_empty() { r.path.clone() } else { format!("{}?{}", r.path, r.query) })
        .collect();
    for path in [
        "dashboard/kpis",
        "dashboard/trends?days=30",
        "dashboard/activity?limit=10",
        "products",
        "pricing/trends",
    ] {
        assert!(asked.contains(&format!("/acme/{path}")), "{path}: {asked:?}");
    }
    let id = uuid::Uuid::now_v7().to_string();
    acme.post(&format!("/api/v1/products/{id}"), json!({"price_cents": 5})).await;
    acme.post("/api/v1/orders", json!({"product_id": id, "quantity": 2})).await;
    let requests = upstream.requests();
    let sent = |method: &str, path: &str| {
        requests.iter().find(|r| r.method == method && r.path == path).unwrap().json()
    };
    assert_eq!(sent("PUT", &format!("/acme/products/{id}"))["price_cents"], 5);
    assert_eq!(sent("POST", "/acme/orders"), json!({"product_id": id, "quantity": 2}));
}
