//! Starting and stopping: what is printed, what is refused and how, and the exit codes.

use crate::client::Client;
use crate::server::{Dir, Server, command, command_with_input, launch, launch_logging_to, log};
use crate::stack::{Kind, Stack, on_every_stack};
use larder_testkit::{PostgresServer, RedisServer, assert_eventually};
use std::time::Duration;

const LONG: Duration = Duration::from_secs(60);

/// Runs `serve` to its end, and gives the exit code and all that it said.
fn refused(dir: &Dir, env: &[(&str, &str)]) -> (i32, String) {
    let program = launch(dir, env);
    let status = program.wait(LONG).unwrap_or_else(|| panic!("it serves: {}", program.output()));
    (status.code().unwrap(), program.output() + &log(dir))
}

#[tokio::test]
async fn the_start_says_what_runs_and_where() {
    let server = Server::start(&[("WORKERS", "4")]).await;
    let printed = server.printed();
    let cores = std::thread::available_parallelism().unwrap();
    for line in [
        "development",
        &format!("Workers: 4 (CPU cores: {cores})"),
        "sqlite://",
        "memory",
        "owner@acme.test",
        server.url(),
    ] {
        assert!(printed.contains(line), "{line:?} is not in {printed}");
    }
    let last = printed.trim_end().lines().last().unwrap();
    assert!(last.contains(server.url()), "the address comes last: {printed}");
    assert!(server.dir().path().join("larder.db").exists());
}

#[tokio::test]
async fn a_second_start_finds_the_data_of_the_first() {
    let server = Server::start(&[]).await;
    let dir = server.dir().clone();
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    let made = acme.post("/api/v1/campaigns", crate::routes::a_campaign("Kept")).await.expect(201).json();
    assert_eq!(server.stop().code(), Some(0));
    let server = Server::start_in(&dir, &[]).await;
    // The secret of the tokens is kept in development, so the old token is still good.
    let acme = acme.at(server.url());
    let list = acme.get("/api/v1/campaigns").await.expect(200).json();
    assert_eq!(list["items"][0], made);
}

on_every_stack!(a_write_that_was_answered_survives_the_death_of_the_server);

async fn a_write_that_was_answered_survives_the_death_of_the_server(stack: Stack) {
    let acme = stack.acme().await;
    let mut made = Vec::new();
    for number in 0..20 {
        let campaign = crate::routes::a_campaign(&format!("Kept {number}"));
        made.push(acme.post("/api/v1/campaigns", campaign).await.expect(201).json());
    }
    stack.server.program().kill();
    let env: Vec<(&str, &str)> =
        stack.env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let server = Server::start_in(stack.server.dir(), &env).await;
    let list = acme.at(server.url()).get("/api/v1/campaigns").await.expect(200).json();
    made.reverse();
    assert_eq!(list["items"], serde_json::Value::Array(made));
}

#[tokio::test]
async fn requests_in_flight_are_finished_after_sigterm() {
    let upstream = larder_testkit::StubHttp::start().await;
    let gate = larder_testkit::Gate::new();
    upstream.otherwise(larder_testkit::Answer::json(serde_json::json!({"late": true})).behind(&gate));
    let env = [("UPSTREAM_API_URL", &*upstream.url()), ("UPSTREAM_TIMEOUT", "20s"), ("LOAD_TIMEOUT", "20s")];
    let server = Server::start(&env).await;
    let acme = Client::new(server.url()).sign_in("owner@acme.test").await;
    let request = tokio::spawn(async move { acme.get("/api/v1/products").await });
    upstream.called("/acme/products", 1).await;
    server.program().terminate();
    let anyone = Client::new(server.url());
    let refused = || anyone.try_send("GET", "/health/live", &crate::client::Body::Nothing, &[]);
    assert_eventually!(refused().await.is_err(), LONG, "no new connections are taken");
    assert_eq!(server.program().exited(), None);
    gate.open();
    assert_eq!(request.await.unwrap().expect(200).json()["payload"]["late"], true);
    assert_eq!(server.program().wait(LONG).unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_log_that_nobody_reads_holds_no_request_up() {
    let (unread, log) = std::io::pipe().unwrap();
    let dir = Dir::new();
    let server = Server::listening(&dir, launch_logging_to(log, &dir, &[])).await;
    let anyone = Client::new(server.url());
    // Two lines each of some 200 bytes: several times what a pipe holds.
    for _ in 0..1000 {
        anyone.get("/api/stats").await.expect(200);
    }
    drop(unread);
    assert_eq!(server.stop().code(), Some(0));
}

#[tokio::test]
async fn ctrl_c_ends_it_well() {
    let server = Server::start(&[]).await;
    server.program().interrupt();
    assert_eq!(server.program().wait(LONG).unwrap().code(), Some(0));
}

#[test]
fn every_problem_of_the_configuration_is_named_at_once() {
    let env = [
        ("WORKERS", "many"),
        ("CACHE_MEMORY", "lots"),
        ("REDIS_URL", "http://user:hunter2@x"),
        ("COHERENCE_LEASE", "0s"),
        ("JWT_TTL", "soon"),
    ];
    let (code, said) = refused(&Dir::new(), &env);
    assert_eq!(code, 2, "{said}");
    for (name, _) in env {
        assert!(said.contains(name), "{name} is not named in {said}");
    }
    assert!(!said.contains("hunter2"), "{said}");
}

#[test]
fn an_unknown_key_of_the_file_is_answered_with_the_nearest_one() {
    let dir = Dir::new();
    std::fs::write(dir.path().join("larder.toml"), "cache_memry = \"64mb\"\n[ttl]\ncampains = \"1m\"\n")
        .unwrap();
    let (code, said) = refused(&dir, &[]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("cache_memory") && said.contains("campaigns"), "{said}");
}

#[test]
fn production_wants_a_secret() {
    let (code, said) = refused(&Dir::new(), &[("ENV", "production")]);
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("JWT_SECRET"), "{said}");
}

#[tokio::test]
async fn production_has_no_sample_logins_and_logs_json() {
    let secret = "0123456789abcdef0123456789abcdef";
    let server = Server::start(&[("ENV", "production"), ("JWT_SECRET", secret), ("SAMPLE_DATA", "")]).await;
    let login = serde_json::json!({"email": "owner@acme.test", "password": crate::client::PASSWORD});
    Client::new(server.url()).post("/api/v1/auth/login", login).await.expect_problem(401);
    assert!(!server.printed().contains("owner@acme.test"));
    for line in server.log().lines() {
        serde_json::from_str::<serde_json::Value>(line).unwrap_or_else(|e| panic!("{line}: {e}"));
    }
}

#[tokio::test]
async fn an_address_in_use_is_named_with_the_way_out() {
    let server = Server::start(&[]).await;
    let address = server.url().trim_start_matches("http://");
    let (code, said) = refused(&Dir::new(), &[("LISTEN", address)]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(address) && said.contains("--listen"), "{said}");
}

#[test]
fn an_unreachable_database_is_named_without_its_password() {
    let postgres = PostgresServer::start();
    let url = format!("postgres://me:hunter2@127.0.0.1:{}/nowhere", postgres.port());
    postgres.kill();
    let (code, said) = refused(&Dir::new(), &[("DATABASE_URL", &url)]);
    assert_eq!(code, 1, "{said}");
    assert!(said.contains(&format!("127.0.0.1:{}", postgres.port())) && said.contains("hint"), "{said}");
    assert!(!said.contains("hunter2"), "{said}");
}

#[tokio::test]
async fn a_pool_larger_than_postgresql_allows_is_a_warning() {
    let postgres = PostgresServer::shared();
    let database = postgres.fresh_database();
    let start = async |overflow| {
        let env = [("DATABASE_URL", &*database), ("DB_MAX_OVERFLOW", overflow)];
        Server::start(&env).await.log()
    };
    assert!(start("5000").await.contains("more connections than PostgreSQL allows"));
    assert!(!start("1").await.contains("more connections than PostgreSQL allows"));
}

#[tokio::test]
async fn so_are_the_pools_of_two_servers_that_are_too_large_together() {
    let stack = Stack::with(
        Kind::RedisPostgres,
        RedisServer::builder(),
        // 100 each, of the 200 of which PostgreSQL keeps three back.
        &[("DB_POOL_SIZE", "20"), ("DB_MAX_OVERFLOW", "80")],
    )
    .await;
    let warning = "more connections than PostgreSQL allows";
    assert!(!stack.server.log().contains(warning), "{}", stack.server.log());
    let other = stack.second().await;
    for server in [&stack.server, &other] {
        assert_eventually!(server.log().contains(warning), LONG, "both say so: {}", server.log());
        assert!(server.log().contains("servers=2"), "{}", server.log());
    }
}

#[tokio::test]
async fn a_misspelt_variable_is_a_warning() {
    let server = Server::start(&[("REDIS_ULR", "redis://x"), ("CACHE_MEMROY", "1gb")]).await;
    let log = server.log();
    assert!(log.contains("REDIS_ULR") && log.contains("CACHE_MEMROY"), "{log}");
}

#[test]
fn check_without_redis_says_so_and_is_no_failure() {
    let output = command(&Dir::new(), &[], &["check"]);
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("REDIS_URL"), "{output:?}");
}

#[test]
fn check_shows_each_step_and_fails_with_a_hint() {
    let redis = larder_testkit::RedisServer::start();
    let env = [("REDIS_URL", &*redis.url())];
    let output = command(&Dir::new(), &env, &["check"]);
    let printed = String::from_utf8_lossy(&output.stdout).to_lowercase();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    for step in ["ping", "set", "get", "delete", "ms"] {
        assert!(printed.contains(step), "{step} is not in {printed}");
    }
    redis.kill();
    let output = command(&Dir::new(), &env, &["check"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).to_lowercase();
    assert!(said.contains("hint"), "{said}");
}

#[tokio::test]
async fn a_redis_that_can_t_be_used_is_told_at_the_start_with_the_remedy_and_the_risk() {
    let primary = RedisServer::start();
    let replica = RedisServer::start();
    replica.command(&["REPLICAOF", "127.0.0.1", &primary.port().to_string()]);
    let poor = RedisServer::builder().acl("user app on >pw ~ld1:* &ld1:* +@all -zmscore").start();
    let (replica, poor) = (replica.url(), poor.url_of("app", "pw"));
    for (url, why, remedy) in [
        (&*replica, "is a replica", "name the primary in the URL"),
        (&*poor, "refuses this user zmscore", "ACL SETUSER <user> ~ld1:<namespace>:*"),
    ] {
        let server = Server::start(&[("REDIS_URL", url)]).await;
        let (log, printed) = (server.log(), server.printed());
        let line = printed.lines().find(|line| line.starts_with("Cache: ")).unwrap();
        let warning = log.lines().find(|line| line.contains("Redis unavailable, using memory cache"));
        for said in [line, warning.unwrap_or_else(|| panic!("{log}"))] {
            for part in [why, remedy, "does not learn what others", "keeps what it loads for 5s"] {
                assert!(said.contains(part), "{part} is not in {said}");
            }
        }
        assert!(!printed.contains("pw@"), "{printed}");
    }
}

#[tokio::test]
async fn the_commands_speak_to_a_running_server() {
    let server = Server::start(&[]).await;
    let client = Client::new(server.url());
    let token = client.sign_in("admin@larder.test").await.token.unwrap();
    client.get("/api/stats").await.expect(200);
    let run = |arguments: &[&str]| {
        let output = server.command(&token, arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert!(run(&["keys", "stats:*"]).contains("stats:"));
    assert!(run(&["keys", "--show", "stats:"]).contains("stats:"));
    assert!(!run(&["stats"]).is_empty());
    run(&["clear", "stats:*"]);
    assert_eq!(client.get("/api/stats").await.cache(), "MISS");
    let output = command(server.dir(), &[("LARDER_URL", "http://127.0.0.1:1")], &["stats"]);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
}

#[tokio::test]
async fn a_user_is_added_with_a_password_from_standard_input() {
    let server = Server::start(&[]).await;
    let arguments = ["user", "add", "new@acme.test", "--tenant", "acme", "--role", "member"];
    let output = command_with_input(server.dir(), &arguments, "larder-demo\n");
    assert!(output.status.success(), "{output:?}");
    let member = Client::new(server.url()).sign_in("new@acme.test").await;
    assert_eq!(member.get("/api/v1/auth/me").await.expect(200).json()["role"], "member");
}

#[tokio::test]
async fn the_first_administrator_in_production_is_added_as_the_checklist_says() {
    let secret = ("JWT_SECRET", "0123456789abcdef0123456789abcdef");
    let server = Server::start(&[("ENV", "production"), secret, ("SAMPLE_DATA", "")]).await;
    let page = crate::deployment::text("docs/production.md");
    let line = page.lines().find_map(|line| line.strip_prefix("    larder user add ")).unwrap();
    let arguments: Vec<&str> = ["user", "add"].into_iter().chain(line.split(' ')).collect();
    let output = command_with_input(server.dir(), &arguments, "larder-demo\n");
    assert!(output.status.success(), "{output:?}");
    let anyone = Client::new(server.url());
    let admin = anyone.sign_in(arguments[2]).await;
    for path in ["/api/cache/keys", "/api/v1/cache/metrics", "/api/cache/overview"] {
        anyone.get(path).await.expect_problem(401);
        admin.get(path).await.expect(200);
    }
    for path in ["compose.yaml", "deploy/kubernetes/larder.yaml"] {
        assert!(crate::deployment::text(path).contains(&format!("user add {line}")), "{path}");
    }
}

#[tokio::test]
async fn threats_are_crawled_from_json_lines() {
    let server = Server::start(&[]).await;
    let client = Client::new(server.url());
    let token = client.sign_in("crawler@larder.test").await.token.unwrap();
    let total = async || client.get("/api/stats").await.expect(200).json()["total_threats"].as_i64().unwrap();
    let before = total().await;
    let threat = r#"{"title":"Worm","severity":"high","source":"lab","indicator":"198.51.100.7"}"#;
    std::fs::write(server.dir().path().join("threats.jsonl"), format!("{threat}\n").repeat(1500)).unwrap();
    let output = server.command(&token, &["crawl", "threats.jsonl"]);
    assert!(output.status.success(), "{output:?}");
    assert_eq!(total().await, before + 1500);
}
