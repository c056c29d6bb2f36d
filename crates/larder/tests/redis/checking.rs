//! `larder check`.

use crate::support::*;
use larder::store::redis::{CheckStep, RedisConfig, check};
use larder_testkit::{RedisServer, TlsFiles};
use std::time::Duration;

fn failures(steps: &[CheckStep]) -> Vec<(&str, &str)> {
    steps.iter().filter_map(|step| Some((step.name.as_str(), step.result.as_ref().err()?.as_str()))).collect()
}

#[tokio::test]
async fn a_sound_server_passes_every_step_and_is_left_as_it_was() {
    let server = RedisServer::start();
    let steps = check(config(&server), "ns").await;
    assert_eq!(failures(&steps), []);
    let names: Vec<_> = steps.iter().map(|step| step.name.as_str()).collect();
    for name in [
        "connect",
        "authenticate",
        "ping",
        "server",
        "command ZMSCORE",
        "command SPUBLISH",
        "script flags",
        "set",
        "get",
        "delete",
        "sharded pub/sub",
        "eviction policy",
    ] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    assert!(steps.iter().any(|step| !step.took.is_zero()));
    assert_eq!(server.command(&["DBSIZE"]).int(), Some(0));
}

/// The only failure, and what is said of it.
async fn only_failure(config: RedisConfig, step: &str) -> String {
    let steps = check(config, "ns").await;
    let failed = failures(&steps);
    let [(name, words)] = failed[..] else { panic!("{failed:?}") };
    assert_eq!(name, step, "{words}");
    words.to_owned()
}

fn assert_hint(words: &str, part: &str) {
    assert!(words.contains("(hint: ") && words.contains(part), "{part} in {words}");
}

#[tokio::test]
async fn each_way_to_fail_has_its_hint() {
    let server = RedisServer::builder().password("right").start();
    let mut wrong = config(&server);
    wrong.url = server.url_of("", "wr0ng");
    let words = only_failure(wrong, "authenticate").await;
    assert_hint(&words, "check user and password");
    assert!(!words.contains("wr0ng"));
    let mut none = config(&server);
    none.url = server.url_of("", "");
    assert_hint(&only_failure(none, "authenticate").await, "wants a password");

    server.pause();
    let mut hasty = config(&server);
    hasty.command_timeout = Duration::from_millis(200);
    assert_hint(&only_failure(hasty, "authenticate").await, "paused or overloaded");
    server.resume();
    server.kill();
    assert_hint(&only_failure(config(&server), "connect").await, "is Redis running there?");
}

#[tokio::test]
async fn each_way_that_tls_fails_has_its_hint() {
    let files = TlsFiles::generate(["redis.example.com"]);
    let server = RedisServer::builder().tls(&files).start();
    let mut config = config(&server);
    config.tls.ca = Some(files.ca().into());
    assert_hint(&only_failure(config.clone(), "connect").await, "a name that the certificate is for");
    config.tls.ca = Some(files.unrelated_ca().into());
    assert_hint(&only_failure(config.clone(), "connect").await, "REDIS_TLS_CA");
    config.tls.ca = None;
    config.url = config.url.replace("rediss", "redis");
    assert_hint(&only_failure(config.clone(), "authenticate").await, "write rediss://");

    let plain = RedisServer::start();
    config.url = format!("rediss://localhost:{}", plain.port());
    config.tls.ca = Some(files.ca().into());
    config.connect_timeout = Duration::from_millis(500);
    assert_hint(&only_failure(config, "connect").await, "write redis://");
}

#[tokio::test]
async fn a_client_certificate_that_is_missing_is_asked_for() {
    let files = TlsFiles::generate(["localhost"]);
    let server = RedisServer::builder().mutual_tls(&files).start();
    let mut config = config(&server);
    config.tls.ca = Some(files.ca().into());
    assert_hint(&only_failure(config, "authenticate").await, "REDIS_TLS_CERT");
}

#[tokio::test]
async fn what_the_access_list_refuses_is_told_command_by_command() {
    let rules = "user app on >pw ~ld1:ns:* &ld1:ns:* +@all -zmscore -ssubscribe";
    let server = RedisServer::builder().acl(rules).start();
    let mut config = config(&server);
    config.url = server.url_of("app", "pw");
    let steps = check(config, "ns").await;
    let failed = failures(&steps);
    let names: Vec<_> = failed.iter().map(|(name, _)| *name).collect();
    assert_eq!(names, ["command ZMSCORE", "sharded pub/sub"]);
    for (_, words) in failed {
        assert_hint(words, "ACL SETUSER");
    }
}

#[tokio::test]
async fn a_risky_policy_is_a_warning_and_no_failure() {
    let server = RedisServer::builder().maxmemory(64 << 20, "allkeys-lru").start();
    let steps = check(config(&server), "ns").await;
    assert_eq!(failures(&steps), []);
    let last = steps.last().unwrap();
    assert_eq!(last.name, "eviction policy");
    assert!(last.result.as_ref().unwrap().contains("allkeys-lru"));
}

#[tokio::test]
async fn a_full_server_is_told_by_the_set() {
    let server = RedisServer::builder().maxmemory(1 << 20, "noeviction").start();
    assert_hint(&only_failure(config(&server), "set").await, "maxmemory");
}

#[tokio::test]
async fn a_configuration_that_is_unsound_is_one_step() {
    let mut config = RedisConfig::new("redis+cluster://a,b/3");
    config.pool_size = 0;
    let steps = check(config, "ns").await;
    assert_eq!(steps.len(), 1);
    let words = steps[0].result.as_ref().unwrap_err();
    assert!(words.contains("database 0 only") && words.contains("pool size"), "{words}");
}
