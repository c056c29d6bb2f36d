//! Bad input: every refusal is problem details of the right status, and nothing breaks.

use crate::client::{Body, Client};
use crate::openapi::OpenApi;
use crate::routes::{self, People};
use crate::server::Server;
use crate::stack::{Kind, Stack, on_every_stack};
use serde_json::{Value, json};

on_every_stack!(values_out_of_range_and_of_the_wrong_type_are_named, strange_names_are_kept_exactly);

fn fields(problem: &Value) -> Vec<String> {
    let errors = problem["errors"].as_array().unwrap_or_else(|| panic!("no errors in {problem}"));
    let mut fields: Vec<String> =
        errors.iter().map(|error| error["field"].as_str().unwrap().to_owned()).collect();
    assert!(errors.iter().all(|error| error["message"].is_string()), "{problem}");
    fields.sort();
    fields
}

async fn values_out_of_range_and_of_the_wrong_type_are_named(stack: Stack) {
    let people = People::of(&stack).await;
    let acme = &people.acme;
    for query in ["limit=0", "limit=101", "limit=x", "page=0", "page=-1", "page=1000000000000"] {
        for path in
            ["/api/v1/campaigns", "/api/v1/posts", "/api/v1/jobs", "/api/v1/notifications", "/api/threats"]
        {
            let problem = acme.get(&format!("{path}?{query}")).await.expect_problem(422).json();
            assert_eq!(fields(&problem), [query.split('=').next().unwrap()], "{path}?{query}");
        }
    }
    for target in [
        "/api/charts/trend?days=-1",
        "/api/charts/trend?days=0",
        "/api/v1/dashboard/trends?days=-1",
        "/api/v1/dashboard/activity?limit=0",
        "/api/threats?severity=terrible",
        "/api/v1/campaigns?status=gone",
        "/api/v1/campaigns?channel=fax",
    ] {
        assert_eq!(fields(&acme.get(target).await.expect_problem(422).json()).len(), 1, "{target}");
    }
    let wrong = json!({"name": "", "channel": "fax", "budget_cents": -1, "status": "gone"});
    let refusal = acme.post("/api/v1/campaigns", wrong).await.expect_problem(422);
    OpenApi::of(&people.anyone).await.validate("POST /api/v1/campaigns", &refusal);
    assert_eq!(fields(&refusal.json()), ["budget_cents", "channel", "name", "status"]);
    let wrong = json!({"name": 7, "channel": "email", "budget_cents": "x", "status": "active"});
    acme.post("/api/v1/campaigns", wrong).await.expect_problem(422);
    let one_bad = json!([
        {"title": "ok", "severity": "low", "source": "s", "indicator": "i"},
        {"title": "ok", "severity": "none", "source": "s", "indicator": "i"},
    ]);
    people.crawler.post("/api/threats", one_bad).await.expect_problem(422);
    let threat = json!({"title": "t", "severity": "low", "source": "s", "indicator": "i"});
    people.crawler.post("/api/threats", json!(vec![threat; 1001])).await.expect_problem(422);
    // A path id that is none is unknown, not malformed.
    for path in ["/api/v1/campaigns/7", "/api/v1/users/x/profile", "/api/v1/conversations/%00/messages"] {
        acme.get(path).await.expect_problem(404);
    }
}

async fn strange_names_are_kept_exactly(stack: Stack) {
    let people = People::of(&stack).await;
    for name in
        ["a:b", "*", "?", "[x]", "{0}", "with spaces", "emoji 🦀", "'; DROP TABLE campaigns; --", "<script>"]
    {
        let made = people.acme.post("/api/v1/campaigns", routes::a_campaign(name)).await.expect(201).json();
        let path = format!("/api/v1/campaigns/{}", made["id"].as_str().unwrap());
        for _ in 0..2 {
            assert_eq!(people.acme.get(&path).await.expect(200).json()["name"], name);
        }
    }
    // Tenants whose names differ in nothing but such characters are strangers.
    let mut tokens: Vec<(String, Client)> = Vec::new();
    for (number, name) in
        ["umbrella", "umbrella:x", "umbrella*", "{umbrella}", "umbrella 🦀"].iter().enumerate()
    {
        let email = format!("owner{number}@strange.test");
        let body =
            json!({"tenant_name": name, "email": email, "password": crate::client::PASSWORD, "name": "O"});
        let answer = people.anyone.post("/api/v1/auth/register", body).await;
        if answer.status == 422 {
            answer.expect_problem(422);
            continue;
        }
        answer.expect(201);
        let client = people.anyone.sign_in(&email).await;
        client.post("/api/v1/campaigns", routes::a_campaign(&email)).await.expect(201);
        tokens.push((email, client));
    }
    assert!(!tokens.is_empty());
    for (email, client) in &tokens {
        for _ in 0..2 {
            let list = client.get("/api/v1/campaigns").await.expect(200).json();
            assert_eq!((&list["total"], &list["items"][0]["name"]), (&json!(1), &json!(email)));
        }
    }
    // Only the tenant itself is cleared.
    tokens[0].1.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
    for (_, client) in &tokens[1..] {
        assert_eq!(client.get("/api/v1/campaigns").await.cache(), "HIT");
    }
}

#[tokio::test]
async fn what_is_no_request_of_ours_is_refused_as_a_problem() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let acme = stack.acme().await;
    let text = |kind, text: &str| Body::Text(kind, text.to_owned());
    let path = "/api/v1/campaigns";
    acme.get("/nowhere").await.expect_problem(404);
    acme.send("PATCH", path, &Body::Nothing).await.expect_problem(405);
    acme.send("POST", path, &text("application/json", "{\"name\":")).await.expect_problem(400);
    acme.send("POST", path, &text("application/json", "")).await.expect_problem(400);
    acme.send("POST", path, &text("text/plain", "{}")).await.expect_problem(415);
    acme.send("POST", path, &Body::Nothing).await.expect_problem(415);
    let mebibyte = "x".repeat((1 << 20) + 1);
    acme.send("POST", path, &text("application/json", &format!("\"{mebibyte}\""))).await.expect_problem(413);
    let campaign = acme.get(path).await.json()["items"][0]["id"].as_str().unwrap().to_owned();
    let import = format!("{path}/{campaign}/leads/import");
    acme.post(&import, json!([])).await.expect_problem(415);
    let wide = format!("email,name\na@b.test,{mebibyte}\n");
    acme.send("POST", &import, &text("text/csv", &wide)).await.expect(200);
    let huge = "a@b.test,A\n".repeat(1 << 20);
    acme.send("POST", &import, &text("text/csv", &format!("email,name\n{huge}"))).await.expect_problem(413);
    acme.send("POST", &import, &text("text/csv", "no,such,header\n1,2,3\n")).await.expect_problem(422);
}

#[tokio::test]
async fn an_import_for_which_there_is_no_room_names_what_is_missing_and_so_does_the_start() {
    let kind = Kind::MemorySqlite;
    let nowhere = [("TMPDIR", "/dev/null/x")];
    let stack = Stack::with(kind, larder_testkit::RedisServer::builder(), &nowhere).await;
    assert!(stack.server.log().contains("/dev/null/x"), "{}", stack.server.log());
    let acme = stack.acme().await;
    let list = acme.get("/api/v1/campaigns").await.expect(200).json();
    let import = format!("/api/v1/campaigns/{}/leads/import", list["items"][0]["id"].as_str().unwrap());
    let leads = |lines| Body::Text("text/csv", format!("email,name\n{}", "a@b.test,A\n".repeat(lines)));
    acme.send("POST", &import, &leads(100)).await.expect(200);
    let answer = acme.send("POST", &import, &leads(30_000)).await.expect_problem(503);
    assert!(answer.text().contains("TMPDIR"), "{}", answer.text());
    assert_eq!(answer.header("retry-after"), "60");
    assert!(stack.server.log().contains("an upload can't be kept"), "{}", stack.server.log());
    assert!(!Stack::start(kind).await.server.log().contains("TMPDIR"), "nothing is said where there is room");
}

#[tokio::test]
async fn every_bad_token_is_refused_alike() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let anyone = stack.anyone();
    let token = stack.acme().await.token.unwrap();
    let parts: Vec<&str> = token.split('.').collect();
    // {"alg":"none","typ":"JWT"}
    let none = format!("eyJhbGciOiJub25lIiwidHlwIjoiSldUIn0.{}.", parts[1]);
    let other =
        Stack::with(Kind::MemorySqlite, larder_testkit::RedisServer::builder(), &[("JWT_TTL", "1s")]).await;
    let foreign = other.acme().await;
    let mut answers = vec![anyone.get("/api/v1/campaigns").await];
    let cut = format!("{}.{}.{}", parts[0], parts[1], &parts[2][1..]);
    for bad in ["x", "", &cut, &none, foreign.token.as_deref().unwrap()] {
        answers.push(anyone.with_token(bad).get("/api/v1/campaigns").await);
    }
    larder_testkit::assert_eventually!(
        foreign.get("/api/v1/campaigns").await.status == 401,
        std::time::Duration::from_secs(10),
        "a token of one second expires"
    );
    answers.push(foreign.get("/api/v1/campaigns").await);
    let details: std::collections::BTreeSet<String> = answers
        .into_iter()
        .map(|answer| {
            let answer = answer.expect_problem(401);
            assert!(answer.header("www-authenticate").starts_with("Bearer"), "{answer:?}");
            answer.json()["detail"].as_str().unwrap().to_owned()
        })
        .collect();
    assert!(details.len() <= 2, "missing and bad, no more: {details:?}");
    let wrong = json!({"email": "owner@acme.test", "password": "wrong"});
    let unknown = json!({"email": "nobody@acme.test", "password": "wrong"});
    let answers =
        [anyone.post("/api/v1/auth/login", wrong).await, anyone.post("/api/v1/auth/login", unknown).await];
    let [wrong, unknown] = answers.map(|answer| answer.expect_problem(401).json()["detail"].clone());
    assert_eq!(wrong, unknown);
}

#[tokio::test]
async fn roles_open_what_is_theirs_and_nothing_else() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let (acme, crawler, anyone) = (stack.acme().await, stack.crawler().await, stack.anyone());
    for path in ["/api/cache/keys", "/api/v1/cache/metrics"] {
        anyone.get(path).await.expect_problem(401);
        acme.get(path).await.expect_problem(403);
    }
    let threat = || json!([{"title": "t", "severity": "low", "source": "s", "indicator": "i"}]);
    anyone.post("/api/threats", threat()).await.expect_problem(401);
    acme.post("/api/threats", threat()).await.expect_problem(403);
    anyone.send("POST", "/api/cache/clear", &Body::Nothing).await.expect_problem(401);
    // Shared entries are nobody's tenant's.
    anyone.get("/api/stats").await.expect(200);
    acme.send("POST", "/api/cache/clear?pattern=stats:*", &Body::Nothing).await;
    assert_eq!(anyone.get("/api/stats").await.cache(), "HIT");
    crawler.send("POST", "/api/cache/clear?pattern=stats:*", &Body::Nothing).await.expect(200);
    assert_eq!(anyone.get("/api/stats").await.cache(), "MISS");
}

#[tokio::test]
async fn logins_are_throttled_by_address_and_email() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let try_it = |email: &'static str| {
        let client = stack.anyone();
        async move { client.post("/api/v1/auth/login", json!({"email": email, "password": "wrong"})).await }
    };
    for _ in 0..10 {
        try_it("owner@acme.test").await.expect_problem(401);
    }
    let refused = try_it("owner@acme.test").await.expect_problem(429);
    assert!(refused.header("retry-after").parse::<u64>().is_ok_and(|seconds| (1..=60).contains(&seconds)));
    try_it("owner@globex.test").await.expect_problem(401);
}

#[tokio::test]
async fn a_rate_limit_names_its_end_and_spares_the_health_routes() {
    let server = Server::start(&[("RATE_LIMIT_API", "2/s")]).await;
    let client = Client::new(server.url());
    let mut refused = 0;
    for _ in 0..20 {
        let answer = client.get("/api/stats").await;
        if answer.status == 429 {
            assert!(!answer.header("retry-after").is_empty());
            answer.expect_problem(429);
            refused += 1;
        }
        client.get("/health").await.expect(200);
    }
    assert!(refused > 0, "a burst of four and two a second");
}
