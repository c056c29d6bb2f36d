//! The commands that measure and show: `bench`, `keys --redis`, `config`, `health`.

use crate::client::{Body, Client};
use crate::server::{Dir, Server, command};
use crate::stack::{Kind, Stack, on_every_stack};
use larder_testkit::{Answer, RedisServer, StubHttp, assert_eventually};
use serde_json::json;
use std::time::Duration;

on_every_stack!(what_bench_says_was_saved_is_what_the_database_was_not_asked);

fn printed(output: &std::process::Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// The cells of the line that begins with `name`.
fn row<'a>(table: &'a str, name: &str) -> Vec<&'a str> {
    let line = table.lines().find(|line| line.split("  ").next() == Some(name));
    let line = line.unwrap_or_else(|| panic!("no line {name} in {table}"));
    line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect()
}

#[tokio::test]
async fn bench_measures_the_heavy_reads_cold_and_warm_by_the_sample_logins() {
    let server = Server::start(&[]).await;
    let env = [("LARDER_URL", server.url())];
    let table = printed(&command(server.dir(), &env, &["bench", "--requests", "20", "--rounds", "2"]));
    for name in ["/api/stats", "/api/charts/sources", "those five as one page", "/api/v1/campaigns"] {
        let row = row(&table, name);
        assert_eq!(row.len(), 8, "cold, warm p50, p90, p99, factor, TTL and queries saved: {row:?}");
        assert!(row[1].ends_with(" ms") && row[5].ends_with('x') && row[7].contains("(100.0 %)"), "{row:?}");
    }
}

const THREATS: &str = "/api/threats?severity=high";

fn bench(stack: &Stack, token: &str, requests: &str) -> String {
    let url = format!("{}{THREATS}", stack.server.url());
    let arguments = ["bench", &url, "--requests", requests, "--rounds", "2"];
    printed(&command(stack.server.dir(), &[("LARDER_TOKEN", token)], &arguments))
}

/// What one read costs that finds nothing in any tier, at the database.
async fn cost(stack: &Stack) -> usize {
    let admin = stack.admin().await;
    admin.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
    let before = stack.queries();
    admin.get(THREATS).await.expect(200);
    stack.queries() - before
}

async fn what_bench_says_was_saved_is_what_the_database_was_not_asked(stack: Stack) {
    let cost = cost(&stack).await;
    assert!(cost > 1, "more than a query a request, or requests could be taken for queries");
    let token = stack.admin().await.token.unwrap();
    let before = stack.queries();
    let table = bench(&stack, &token, "10");
    assert_eq!(stack.queries() - before, 2 * cost, "two cold requests and no more");
    let all = 10 * cost;
    assert_eq!(row(&table, THREATS)[7], format!("{all} of {all} (100.0 %)"), "{table}");
    // Who may not clear finds a warm cache: what a cold request costs is not known.
    let token = stack.acme().await.token.unwrap();
    assert_eq!(row(&bench(&stack, &token, "3"), THREATS)[7], "n/a");
}

#[tokio::test]
async fn with_the_cache_off_bench_says_that_nothing_is_saved() {
    let stack = Stack::with(Kind::MemorySqlite, RedisServer::builder(), &[("CACHE_ENABLED", "false")]).await;
    let cost = cost(&stack).await;
    let token = stack.admin().await.token.unwrap();
    let before = stack.queries();
    let table = bench(&stack, &token, "10");
    assert_eq!(stack.queries() - before, 12 * cost);
    assert_eq!(row(&table, THREATS)[7], format!("0 of {} (0.0 %)", 10 * cost), "{table}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_does_not_tell_what_its_database_is_asked_makes_it_not_available() {
    let stub = StubHttp::start().await;
    stub.otherwise(Answer::json(json!({"cleared": true})));
    for hidden in ["/metrics", "/api/v1/cache/metrics"] {
        stub.on(hidden, [Answer::status(403)]);
    }
    let url = format!("{}/anything", stub.url());
    let output = command(&Dir::new(), &[("LARDER_TOKEN", "t")], &["bench", &url, "--requests", "3"]);
    assert_eq!(row(&printed(&output), "/anything").last(), Some(&"n/a"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("role admin"), "{output:?}");
    assert!(stub.calls("/metrics") > 0);
}

#[tokio::test]
async fn bench_of_one_endpoint_without_a_token_that_may_clear_says_that_nothing_was_cold() {
    let server = Server::start(&[]).await;
    let token = Client::new(server.url()).sign_in("owner@acme.test").await.token.unwrap();
    Client::new(server.url()).get("/api/threats?severity=high").await.expect(200);
    let url = format!("{}/api/threats?severity=high", server.url());
    let output = command(server.dir(), &[("LARDER_TOKEN", &token)], &["bench", &url, "--requests", "5"]);
    let table = printed(&output);
    assert_eq!(row(&table, "/api/threats?severity=high")[1], "-", "{table}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("role admin"), "{output:?}");
}

#[tokio::test]
async fn bench_of_many_users_ends_without_errors_and_leaves_nothing_behind() {
    let server = Server::start(&[]).await;
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    let campaigns =
        async || acme.get("/api/v1/campaigns").await.expect(200).json()["total"].as_i64().unwrap();
    let before = campaigns().await;
    let env = [("LARDER_URL", server.url())];
    let report = printed(&command(server.dir(), &env, &["bench", "--users", "40", "--for", "2s"]));
    assert_eq!(row(&report, "users"), ["users", "40"]);
    assert_eq!(row(&report, "errors"), ["errors", "0"]);
    assert!(row(&report, "SQL queries")[1].parse::<u64>().unwrap() > 0, "{report}");
    for number in ["requests/s", "hit rate", "p50", "p90", "p99"] {
        assert_eq!(row(&report, number).len(), 2, "{report}");
    }
    assert_eq!(campaigns().await, before);
}

#[tokio::test]
async fn raw_keys_of_redis_are_listed_by_pattern() {
    let redis = RedisServer::start();
    let redis_url = redis.url();
    let server = Server::start(&[("REDIS_URL", &redis_url)]).await;
    Client::new(server.url()).get("/api/stats").await.expect(200);
    let env = [("REDIS_URL", &*redis_url)];
    let all = printed(&command(server.dir(), &env, &["keys", "--redis"]));
    let entries = printed(&command(server.dir(), &env, &["keys", "--redis", "ld1:larder:*:e:*stats:"]));
    assert_eq!(entries.lines().count(), 1, "{entries}\nof\n{all}");
    assert!(all.contains(entries.trim()), "{all}");
    assert!(all.lines().all(|key| key.starts_with("ld1:larder:")), "{all}");
    let without = command(&Dir::new(), &[], &["keys", "--redis"]);
    assert_eq!(without.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&without.stderr).contains("REDIS_URL"), "{without:?}");
}

#[test]
fn config_shows_each_value_with_its_source_and_no_secret() {
    let dir = Dir::new();
    std::fs::write(
        dir.path().join(".env"),
        "# mine\nexport JWT_SECRET=\"do-not-show-this-to-anybody-at-all\" # never\n",
    )
    .unwrap();
    std::fs::write(dir.path().join("larder.toml"), "workers = 3\n[ttl]\njobs = \"7m\"\n").unwrap();
    let env = [("REDIS_URL", "redis://me:hunter2@cache.example:6379/0"), ("WORKERS", "5")];
    let table = printed(&command(&dir, &env, &["config", "--single-node"]));
    assert_eq!(row(&table, "JWT_SECRET"), ["JWT_SECRET", "(hidden)", ".env line 2"]);
    assert_eq!(row(&table, "WORKERS"), ["WORKERS", "5", "environment"]);
    assert_eq!(row(&table, "SINGLE_NODE"), ["SINGLE_NODE", "true", "flag"]);
    assert_eq!(row(&table, "ttl.jobs"), ["ttl.jobs", "7m", "larder.toml"]);
    assert_eq!(row(&table, "CACHE_MEMORY"), ["CACHE_MEMORY", "256mb", "default"]);
    assert_eq!(row(&table, "REDIS_URL")[1], "redis://me:***@cache.example:6379/0");
    assert!(!table.contains("hunter2") && !table.contains("do-not-show"), "{table}");
}

#[tokio::test]
async fn a_command_that_may_not_tells_how_to_sign_in() {
    let server = Server::start(&[]).await;
    let output = command(server.dir(), &[("LARDER_URL", server.url())], &["keys"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(
        said.contains("401") && said.contains("LARDER_TOKEN") && said.contains("admin@larder.test"),
        "{said}"
    );
}

#[tokio::test]
async fn crawling_names_the_line_that_is_wrong() {
    let server = Server::start(&[]).await;
    let token = Client::new(server.url()).sign_in("crawler@larder.test").await.token.unwrap();
    let good = r#"{"title":"Worm","severity":"high","source":"lab","indicator":"198.51.100.7"}"#;
    let wrong = good.replace("high", "dreadful");
    for (third, why) in [(&*wrong, "severity"), ("nonsense", "no JSON"), ("[]", "no object")] {
        std::fs::write(server.dir().path().join("threats.jsonl"), format!("{good}\n\n{third}\n{good}\n"))
            .unwrap();
        let output = server.command(&token, &["crawl", "threats.jsonl"]);
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(said.contains("line 3") && said.contains(why), "{said}");
    }
}

/// What `larder health` says of a server that is named by its port alone, as in the image, and with which exit code.
fn health(port: &str, more: &[&str]) -> (Option<i32>, String) {
    let arguments: Vec<&str> = ["health"].iter().chain(more).copied().collect();
    let output = command(&Dir::new(), &[("PORT", port)], &arguments);
    let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
    (output.status.code(), said)
}

#[tokio::test(flavor = "multi_thread")]
async fn health_is_told_of_a_server_that_has_no_place_for_another_request() {
    let (upstream, gate) = (StubHttp::start().await, larder_testkit::Gate::new());
    upstream.otherwise(Answer::json(json!({})).behind(&gate));
    let url = upstream.url();
    let env = [("UPSTREAM_API_URL", &*url), ("UPSTREAM_TIMEOUT", "60s"), ("MAX_CONCURRENT_REQUESTS", "1")];
    let server = Server::start(&env).await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    let request = tokio::spawn(async move { acme.get("/api/v1/products").await });
    upstream.called("/acme/products", 1).await;
    assert_eq!(command(server.dir(), &[("PORT", &port)], &["stats"]).status.code(), Some(1), "it is full");
    let expected = |word: &str| (Some(0), format!("{}/ is {word}\n", server.url()));
    assert_eq!(health(&port, &[]), expected("live"));
    assert_eq!(health(&port, &["--ready"]), expected("ready"));
    // As the server itself, it takes the port of the environment before the address of the file.
    std::fs::write(server.dir().path().join("larder.toml"), "listen = \"127.0.0.1:1\"\n").unwrap();
    assert!(command(server.dir(), &[("PORT", &port)], &["health"]).status.success());
    gate.open();
    request.await.unwrap();
}

#[tokio::test]
async fn health_fails_where_nobody_listens_and_readiness_where_the_server_stops() {
    let server = Server::start(&[("SHUTDOWN_DELAY", "20s")]).await;
    let port = server.url().rsplit(':').next().unwrap().to_owned();
    server.program().terminate();
    assert_eventually!(health(&port, &["--ready"]).0 == Some(1), Duration::from_secs(20), "it is not ready");
    let (_, said) = health(&port, &["--ready"]);
    assert!(said.contains("503 to /health/ready"), "{said}");
    assert_eq!(health(&port, &[]).0, Some(0));
    server.program().kill();
    let (code, said) = health(&port, &[]);
    assert!(code == Some(1) && said.contains("can't be reached"), "{said}");
}
