//! TLS, passwords and users of Redis, with certificates made here.

use crate::client::Client;
use crate::server::Server;
use crate::stack::{Kind, Stack};
use larder_testkit::{RedisServer, TlsFiles};

async fn redis_cache(env: &[(&str, &str)]) -> (String, Server) {
    let server = Server::start(env).await;
    let health = Client::new(server.url()).get("/health").await.expect(200).json();
    (health["redis_cache"].as_str().unwrap().to_owned(), server)
}

fn path(path: &std::path::Path) -> &str {
    path.to_str().unwrap()
}

#[tokio::test]
async fn a_certificate_is_accepted_from_its_authority_for_its_name_only() {
    let files = TlsFiles::generate(["localhost"]);
    let redis = RedisServer::builder().tls(&files).start();
    let (state, server) =
        redis_cache(&[("REDIS_URL", &redis.url()), ("REDIS_TLS_CA", path(files.ca()))]).await;
    assert_eq!(state, "connected", "{}", server.log());
    assert!(server.log().contains("Redis connected (TLS)"), "{}", server.log());

    let wrong = [("REDIS_URL", &*redis.url()), ("REDIS_TLS_CA", path(files.unrelated_ca()))];
    let (state, server) = redis_cache(&wrong).await;
    assert_eq!(state, "unavailable", "{}", server.log());

    let other_name = redis.url_at(&format!("127.0.0.1:{}", redis.port()), "", "");
    let (state, server) =
        redis_cache(&[("REDIS_URL", &other_name), ("REDIS_TLS_CA", path(files.ca()))]).await;
    assert_eq!(state, "unavailable", "{}", server.log());

    let (state, server) = redis_cache(&[("REDIS_URL", &redis.url())]).await;
    assert_eq!(state, "unavailable", "{}", server.log());
}

#[tokio::test]
async fn a_client_certificate_is_shown_where_one_is_wanted() {
    let files = TlsFiles::generate(["localhost"]);
    let redis = RedisServer::builder().mutual_tls(&files).password("secret").start();
    let url = redis.url();
    let mut env = vec![("REDIS_URL", &*url), ("REDIS_TLS_CA", path(files.ca()))];
    let (state, server) = redis_cache(&env).await;
    assert_eq!(state, "unavailable", "{}", server.log());
    env.extend([("REDIS_TLS_CERT", path(files.client_cert())), ("REDIS_TLS_KEY", path(files.client_key()))]);
    let (state, server) = redis_cache(&env).await;
    assert_eq!(state, "connected", "{}", server.log());
    assert!(!server.log().contains("secret") && !server.printed().contains("secret"));
}

#[tokio::test]
async fn a_wrong_password_is_said_and_memory_is_used() {
    let redis = RedisServer::builder().password("right").start();
    let (state, server) = redis_cache(&[("REDIS_URL", &redis.url_of("", "wrong"))]).await;
    assert_eq!(state, "unavailable");
    let log = server.log();
    assert!(log.to_lowercase().contains("password"), "{log}");
    assert!(!log.contains("wrong@") && !server.printed().contains("wrong@"), "{log}");
    let client = Client::new(server.url());
    for expected in ["MISS", "HIT"] {
        assert_eq!(client.get("/api/stats").await.expect(200).cache(), expected);
    }
}

#[tokio::test]
async fn a_unix_socket_and_a_user_of_few_rights_serve_as_well() {
    let rights = "user app on >pw ~ld1:larder:* &ld1:larder:* +@all -@dangerous +info +keys";
    for redis in [RedisServer::builder().acl(rights), RedisServer::builder().acl(rights).unix_socket()] {
        let redis = redis.start();
        let (state, server) = redis_cache(&[("REDIS_URL", &redis.url_of("app", "pw"))]).await;
        assert_eq!(state, "connected", "{}", server.log());
        let client = Client::new(server.url());
        for expected in ["MISS", "HIT"] {
            assert_eq!(client.get("/api/stats").await.expect(200).cache(), expected);
        }
    }
}

#[tokio::test]
async fn the_memory_of_redis_is_limited_where_it_was_asked_for() {
    let more = [("REDIS_MAXMEMORY", "64mb"), ("REDIS_MAXMEMORY_POLICY", "volatile-lru")];
    let stack = Stack::with(Kind::RedisSqlite, RedisServer::builder(), &more).await;
    let memory = stack.redis.as_ref().unwrap().info("memory");
    assert_eq!(memory["maxmemory"], (64 << 20).to_string());
    assert_eq!(memory["maxmemory_policy"], "volatile-lru");
}

#[tokio::test]
async fn two_namespaces_share_a_redis_without_meeting() {
    let redis = RedisServer::start();
    let url = redis.url();
    let (_, one) = redis_cache(&[("REDIS_URL", &url), ("CACHE_NAMESPACE", "one")]).await;
    let (_, two) = redis_cache(&[("REDIS_URL", &url), ("CACHE_NAMESPACE", "two")]).await;
    let (one, two) = (Client::new(one.url()), Client::new(two.url()));
    one.get("/api/stats").await.expect(200);
    assert_eq!(two.get("/api/stats").await.expect(200).cache(), "MISS");
    let admin = two.sign_in("admin@larder.test").await;
    admin.send("POST", "/api/cache/clear", &crate::client::Body::Nothing).await.expect(200);
    assert_eq!(one.get("/api/stats").await.cache(), "HIT");
}
