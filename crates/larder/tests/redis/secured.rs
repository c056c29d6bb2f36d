//! Passwords, access lists and TLS.

use crate::support::*;
use larder::store::{StoreErrorKind, redis::RedisConfig};
use larder_testkit::{RedisServer, TlsFiles, redis::RedisOptions};
use std::time::Duration;

/// What an application's user needs, and nothing more. It is what `docs` and `larder check` recommend.
const ACL: &str = "~ld1:ns:* &ld1:ns:* +@read +@write +@pubsub +evalsha +script|load +hello -@dangerous +info +time \
                   +ping +select +scan";

fn with_acl(rules: &str) -> RedisOptions {
    RedisServer::builder().acl(format!("user app on >pw {rules}"))
}

fn as_app(server: &RedisServer) -> RedisConfig {
    let mut config = config(server);
    config.url = server.url_of("app", "pw");
    config
}

#[tokio::test]
async fn a_user_of_the_recommended_access_list_can_do_everything() {
    let server = with_acl(ACL).start();
    let mut config = as_app(&server);
    config.url = config.url.replace("/0", "/2");
    let mut node = try_join(config, "n1").await.unwrap();
    node.link.heartbeat(LEASE, false, LONG).await.unwrap();
    node.store(&[scope(1)]).await;
    assert!(node.value().await.is_some());
    node.granted_after_invalidation().await;
    node.link.release(ENTRY, key_scope(), "t", Duration::from_millis(1), LONG).await.unwrap();
    node.link.info(LONG).await.unwrap();
    node.link.scan(0, 10, LONG).await.unwrap();
    node.link.ping(LONG).await.unwrap();
    node.link.leave(LONG).await.unwrap();
    assert_eq!(node.queued().len(), 1, "its own invalidation");
}

impl Node {
    async fn granted_after_invalidation(&self) {
        self.invalidate_both(&[scope(1)], &[(ENTRY, key_scope())]).await;
        self.granted("t").await;
    }
}

#[tokio::test]
async fn a_memory_limit_that_the_access_list_refuses_is_advice() {
    let server = with_acl(ACL).start();
    let mut config = as_app(&server);
    config.maxmemory = Some(64 << 20);
    let node = try_join(config, "n1").await.unwrap();
    let advice = node.link.advice().join("\n");
    assert!(advice.contains("refused to set maxmemory to 67108864"), "{advice}");
    assert_eq!(server.info("memory")["maxmemory"], "0");
}

#[tokio::test]
async fn a_command_that_the_access_list_refuses_is_named() {
    let server = with_acl(&format!("{ACL} -time -zmscore")).start();
    let error = try_join(as_app(&server), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
    assert!(error.detail.contains("zmscore, time"), "{error}");
}

#[tokio::test]
async fn keys_and_channels_that_the_access_list_refuses_are_denied() {
    for rules in [ACL.replace("~ld1:ns:*", "~other:*"), ACL.replace("&ld1:ns:*", "&other:*")] {
        let server = with_acl(&rules).start();
        let error = try_join(as_app(&server), "n1").await.err().unwrap();
        assert_eq!(error.kind, StoreErrorKind::Denied, "{rules}: {error}");
    }
}

#[tokio::test]
async fn a_wrong_password_and_a_missing_one_are_denied_and_not_repeated() {
    let server = RedisServer::builder().password("right").start();
    let mut config = config(&server);
    for (user, password, part) in
        [("", "", "NOAUTH"), ("", "s3cret", "WRONGPASS"), ("nobody", "s3cret", "WRONGPASS")]
    {
        config.url = server.url_of(user, password);
        let error = try_join(config.clone(), "n1").await.err().unwrap();
        assert_eq!(error.kind, StoreErrorKind::Denied, "{error}");
        assert!(error.detail.contains(part) && !error.to_string().contains("s3cret"), "{error}");
    }
}

#[tokio::test]
async fn a_password_with_every_special_character_works() {
    let server = RedisServer::builder().password("p@ss:w/or?d#%").start();
    let mut config = config(&server);
    config.url = server.url_of("", "p%40ss%3Aw%2For%3Fd%23%25");
    assert!(try_join(config, "n1").await.is_ok());
}

fn trusting(server: &RedisServer, files: &TlsFiles) -> RedisConfig {
    let mut config = config(server);
    config.tls.ca = Some(files.ca().into());
    config
}

#[tokio::test]
async fn tls_with_the_right_authority_and_name_serves() {
    let files = TlsFiles::generate(["localhost", "127.0.0.1"]);
    let server = RedisServer::builder().tls(&files).start();
    let mut config = trusting(&server, &files);
    let node = try_join(config.clone(), "n1").await.unwrap();
    assert!(node.link.tls());
    node.link.heartbeat(LEASE, false, LONG).await.unwrap();
    node.store(&[]).await;
    assert!(node.value().await.is_some());
    // An address stands in the certificate as well.
    config.url = config.url.replace("localhost", "127.0.0.1");
    assert!(try_join(config, "n2").await.is_ok());
}

#[tokio::test]
async fn a_certificate_of_an_unknown_authority_is_refused() {
    let files = TlsFiles::generate(["localhost"]);
    let server = RedisServer::builder().tls(&files).start();
    let mut own = trusting(&server, &files);
    own.tls.ca = Some(files.unrelated_ca().into());
    let system = config(&server);
    for config in [own, system] {
        let error = try_join(config, "n1").await.err().unwrap();
        assert_eq!(error.kind, StoreErrorKind::Tls, "{error}");
        let known =
            error.detail.contains("known authority") || error.detail.contains("no certificate authorities");
        assert!(known, "{error}");
    }
}

#[tokio::test]
async fn a_certificate_for_another_host_is_refused() {
    let files = TlsFiles::generate(["redis.example.com"]);
    let server = RedisServer::builder().tls(&files).start();
    let error = try_join(trusting(&server, &files), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Tls, "{error}");
    assert!(error.detail.contains("not for localhost"), "{error}");
}

#[tokio::test]
async fn a_server_that_wants_a_client_certificate_gets_the_configured_one() {
    let files = TlsFiles::generate(["localhost"]);
    let server = RedisServer::builder().mutual_tls(&files).start();
    let mut config = trusting(&server, &files);
    let error = try_join(config.clone(), "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Tls, "{error}");
    assert!(error.detail.contains("client certificate"), "{error}");
    config.tls.cert = Some(files.client_cert().into());
    config.tls.key = Some(files.client_key().into());
    assert!(try_join(config, "n1").await.is_ok());
}

#[tokio::test]
async fn tls_and_plain_ports_are_not_taken_for_outages() {
    let files = TlsFiles::generate(["localhost"]);
    let encrypted = RedisServer::builder().tls(&files).start();
    let mut config = config(&encrypted);
    config.url = config.url.replace("rediss://", "redis://");
    let error = try_join(config, "n1").await.err().unwrap();
    assert_eq!(error.kind, StoreErrorKind::Disconnected, "{error}");

    let plain = RedisServer::start();
    let mut config = trusting(&plain, &files);
    config.connect_timeout = Duration::from_millis(500);
    config.url = format!("rediss://localhost:{}", plain.port());
    let error = try_join(config, "n1").await.err().unwrap();
    assert!(matches!(error.kind, StoreErrorKind::Tls | StoreErrorKind::Timeout), "{error}");
    assert!(error.detail.contains("TLS"), "{error}");
}
