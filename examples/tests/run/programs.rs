//! Each example is started, and what it prints is what its comments promise.

use larder_testkit::{Program, RedisCluster, RedisServer, assert_eventually};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::time::Duration;

const LONG: Duration = Duration::from_secs(110);

/// Starts an example with these variables and no other.
pub(crate) fn start(binary: &str, arguments: &[&str], env: &[(&str, &str)], dir: &Path) -> Program {
    Program::start(Path::new(binary), &dir.join("out.txt"), |command| {
        // Where the servers are that some start.
        let path = std::env::var("PATH").unwrap_or_default();
        command.env_clear().env("PATH", path).envs(env.iter().copied()).args(arguments).current_dir(dir);
    })
}

/// Runs an example to its end: what it printed.
pub(crate) fn run(binary: &str, arguments: &[&str], env: &[(&str, &str)]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let program = start(binary, arguments, env, dir.path());
    let status = program.wait(LONG).unwrap_or_else(|| panic!("it does not end: {}", program.output()));
    assert!(status.success(), "{status}: {}", program.output());
    program.output()
}

fn lines(printed: &str) -> Vec<&str> {
    printed.lines().collect()
}

#[test]
fn cached_attribute() {
    let printed = run(env!("CARGO_BIN_EXE_cached-attribute"), &[], &[]);
    let expected = [
        "user 17, asked 100 times: loads 1",
        "after the invalidation of its tag: loads 1",
        "user 18, 100 at once: loads 1",
        "user 13: Err(\"the database is broken\")",
        "a search that finds nobody, 100 times: loads 1",
        "two months, twice each: loads 2",
        "in the cache under report:11: true",
    ];
    assert_eq!(lines(&printed), expected);
}

const TAGS: [&str; 11] = [
    "at first: 1/1 1/2 2/1 2/2 3/1",
    "after a tag: 1/1 1/2",
    "after a prefix: 2/1 2/2",
    "after a key: 3/1",
    "after a pattern: 1/2 2/2",
    "after two tags in one step: 2/1 2/2 3/1",
    "after an expiration: 1/1 1/2 2/1 2/2 3/1",
    "after all of another tenant: nothing",
    "told in this process: campaign.updated 1",
    "told by the log: campaign.updated at 1",
    "after the event: 1/1 1/2",
];

#[test]
fn tags_and_events() {
    assert_eq!(lines(&run(env!("CARGO_BIN_EXE_tags-and-events"), &[], &[])), TAGS);
}

#[test]
fn tags_and_events_on_two_nodes() {
    let redis = RedisServer::start();
    let env = [("REDIS_URL", &*redis.url())];
    assert_eq!(lines(&run(env!("CARGO_BIN_EXE_tags-and-events"), &[], &env)), TAGS);
}

#[test]
fn bulk() {
    let redis = RedisServer::start();
    let expected = [
        "500 keys: found 450, loader calls [500]",
        "200 keys, half of them known: found 180, loader calls [100]",
        "100 keys that were set: found 100, loader calls []",
        "after the invalidation of their tag: found 0",
    ];
    for env in [&[][..], &[("REDIS_URL", &*redis.url())]] {
        assert_eq!(lines(&run(env!("CARGO_BIN_EXE_bulk"), &[], env)), expected);
    }
}

#[test]
fn redis_cluster() {
    let cluster = RedisCluster::start();
    let printed = run(env!("CARGO_BIN_EXE_redis-cluster"), &[], &[("REDIS_URL", &cluster.url())]);
    let lines = lines(&printed);
    assert!(lines[0].starts_with("connected to a Cluster of "), "{printed}");
    let expected = [
        "first node: loads 60",
        "second node: loads 0",
        "second node, after an invalidation at the first: loads 1",
        "second node, after all of the divided tenant: loads 10",
        "second node, after everything: loads 60",
    ];
    assert_eq!(lines[1..], expected);
}

#[test]
fn warming() {
    let redis = RedisServer::start();
    let env = [("REDIS_URL", &*redis.url())];
    let first = [
        "1 of 4",
        "2 of 4",
        "3 of 4",
        "4 of 4",
        "warmed 3, failed 1: the loader failed: its tables are being moved",
        "loads 4",
        "the first reader: HIT from memory",
        "refreshed with 10 s to go: loads 0",
        "refreshed whatever is left: loads 1",
    ];
    let binary = env!("CARGO_BIN_EXE_warming");
    assert_eq!(lines(&run(binary, &[], &[])), first);
    assert_eq!(lines(&run(binary, &[], &env)), first);
    let again = run(binary, &[], &env);
    assert!(again.contains("\nloads 1\n"), "the three that went well are in Redis: {again}");
}

/// One request, by hand: the status line and headers, and the body.
fn http(address: &str, method: &str, path: &str, more: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!("{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n{more}");
    write!(stream, "{head}content-length: {length}\r\n\r\n{body}").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[tokio::test]
async fn axum_service() {
    let dir = tempfile::tempdir().unwrap();
    let program = start(env!("CARGO_BIN_EXE_axum-service"), &[], &[("LISTEN", "127.0.0.1:0")], dir.path());
    assert_eventually!(program.output().contains('\n'), LONG, "it listens");
    let printed = program.output();
    let address = printed.trim().strip_prefix("Listening on http://").unwrap();
    let get = |path, more| http(address, "GET", path, more, "");

    let cold = get("/acme/campaigns", "");
    assert!(
        cold.starts_with("HTTP/1.1 200") && cold.contains("x-cache: MISS") && cold.ends_with("[]"),
        "{cold}"
    );
    let warm = get("/acme/campaigns", "");
    assert!(warm.contains("x-cache: HIT") && warm.contains("detail=memory"), "{warm}");
    let (_, rest) = warm.split_once("etag: ").unwrap();
    let etag = format!("if-none-match: {}\r\n", rest.lines().next().unwrap());
    assert!(get("/acme/campaigns", &etag).starts_with("HTTP/1.1 304"));

    let json = "content-type: application/json\r\n";
    assert!(http(address, "POST", "/acme/campaigns", json, "\"Spring\"").starts_with("HTTP/1.1 201"));
    let after = get("/acme/campaigns", &etag);
    assert!(after.contains("x-cache: MISS") && after.ends_with("[\"Spring\"]"), "{after}");
    assert!(get("/globex/campaigns", "").ends_with("[]"));
    assert!(get("/health", "").contains("hit rate 0.40, 2 entries"), "{}", get("/health", ""));

    program.interrupt();
    assert!(program.wait(LONG).unwrap().success());
    assert!(program.output().ends_with("ended well\n"));
}

/// The directories under `examples/` are the programs of this file, and `testing`, which is a module of these tests.
#[test]
fn every_directory_is_started_here() {
    let here = include_str!("programs.rs");
    let manifest = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("Cargo.toml")).unwrap();
    for entry in std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap().map(|entry| entry.unwrap()) {
        let name = entry.file_name().into_string().unwrap();
        if !entry.file_type().unwrap().is_dir() || ["src", "tests", "testing", "target"].contains(&&*name) {
            continue;
        }
        assert!(manifest.contains(&format!("path = \"{name}/main.rs\"")), "{name} is no program");
        let guide = include_str!("guide.rs");
        let variable = format!("CARGO_BIN_EXE_{name}\"");
        assert!(here.contains(&variable) || guide.contains(&variable), "{name} is not started");
    }
}
