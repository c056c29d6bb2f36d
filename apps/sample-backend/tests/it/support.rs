//! A database for each test, and the backend on it.

use std::time::Duration;

use axum::Router;
use axum::body::Body;
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use larder::Cache;
use larder_testkit::PostgresServer;
use sample_backend::config::{DatabaseConfig, SampleData, SellerApi};
use sample_backend::{Backend, SampleConfig};
use serde_json::{Value, json};
use tower::ServiceExt;

/// Keeps a database there.
pub(crate) type Home = Box<dyn std::any::Any>;

pub(crate) fn sqlite() -> (DatabaseConfig, Home) {
    let path = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", path.path().join("sample.db").display());
    (DatabaseConfig::new(url), Box::new(path))
}

pub(crate) fn postgres() -> (DatabaseConfig, Home) {
    let server = PostgresServer::shared();
    (DatabaseConfig::new(server.fresh_database()), Box::new(server))
}

/// Runs a test on both databases: `on_each_database!(it_holds, |database: DatabaseConfig| async move { … });`
macro_rules! on_each_database {
    ($(#[$meta:meta])* $name:ident, $test:expr) => {
        $(#[$meta])*
        mod $name {
            use super::*;

            #[tokio::test]
            async fn on_sqlite() {
                let (test, (database, _home)) = ($test, $crate::support::sqlite());
                test(database).await;
            }

            #[tokio::test]
            async fn on_postgres() {
                let (test, (database, _home)) = ($test, $crate::support::postgres());
                test(database).await;
            }
        }
    };
}
pub(crate) use on_each_database;

/// A running backend, asked without a socket between.
pub(crate) struct Api {
    pub(crate) backend: Backend,
    pub(crate) cache: Cache,
    routes: Router,
}

/// An answer.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Value,
}

impl Reply {
    /// How the lookup ended.
    pub(crate) fn x_cache(&self) -> &str {
        self.headers["x-cache"].to_str().unwrap()
    }

    /// The names of the fields at fault.
    pub(crate) fn fields(&self) -> Vec<&str> {
        self.body["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect()
    }
}

impl Api {
    /// With few sample rows and memory only.
    pub(crate) async fn start(database: DatabaseConfig) -> Self {
        Self::start_with(database, |_| ()).await
    }

    pub(crate) async fn start_with(database: DatabaseConfig, change: impl FnOnce(&mut SampleConfig)) -> Self {
        Self::start_as(database, Cache::builder("test").build().await.unwrap(), change).await
    }

    /// With few sample rows and this cache.
    pub(crate) async fn start_on(database: DatabaseConfig, cache: Cache) -> Self {
        Self::start_as(database, cache, |_| ()).await
    }

    pub(crate) async fn start_as(
        database: DatabaseConfig,
        cache: Cache,
        change: impl FnOnce(&mut SampleConfig),
    ) -> Self {
        let mut config = SampleConfig::new("");
        config.database = database;
        config.data = SampleData::Small;
        config.seller = SellerApi::BuiltIn { port: 0, delay: Duration::ZERO };
        change(&mut config);
        let backend = sample_backend::start(config, cache.clone()).await.unwrap();
        let routes = larder_http::problem::with_fallbacks(backend.router.clone());
        Self { backend, cache, routes }
    }

    pub(crate) async fn send(&self, request: Request<Body>) -> Reply {
        let response = self.routes.clone().oneshot(request).await.unwrap();
        let (head, body) = response.into_parts();
        let bytes = body.collect().await.unwrap().to_bytes();
        if head.status.is_client_error() || head.status.is_server_error() {
            assert_eq!(head.headers["content-type"], "application/problem+json");
        }
        let body = if bytes.is_empty() { Value::Null } else { serde_json::from_slice(&bytes).unwrap() };
        Reply { status: head.status.as_u16(), headers: head.headers, body }
    }

    pub(crate) async fn get(&self, token: &str, path: &str) -> Reply {
        self.send(request("GET", token, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn delete(&self, token: &str, path: &str) -> Reply {
        self.send(request("DELETE", token, path).body(Body::empty()).unwrap()).await
    }

    pub(crate) async fn post(&self, token: &str, path: &str, body: Value) -> Reply {
        self.json("POST", token, path, body).await
    }

    pub(crate) async fn put(&self, token: &str, path: &str, body: Value) -> Reply {
        self.json("PUT", token, path, body).await
    }

    async fn json(&self, method: &str, token: &str, path: &str, body: Value) -> Reply {
        let request = request(method, token, path).header("content-type", "application/json");
        self.send(request.body(body.to_string().into()).unwrap()).await
    }

    /// The token of a sample login.
    pub(crate) async fn login(&self, email: &str) -> String {
        let ask = json!({ "email": email, "password": "larder-demo" });
        let reply = self.post("", "/api/v1/auth/login", ask).await;
        assert_eq!(reply.status, 200, "{reply:?}");
        reply.body["access_token"].as_str().unwrap().to_owned()
    }

    /// The id of the user with this token.
    pub(crate) async fn me(&self, token: &str) -> String {
        self.get(token, "/api/v1/auth/me").await.body["id"].as_str().unwrap().to_owned()
    }

    /// The token of the owner of a new tenant without any rows.
    pub(crate) async fn register(&self, tenant: &str) -> String {
        let email = format!("owner@{}.test", tenant.to_lowercase());
        let ask = json!({"tenant_name": tenant, "email": email, "password": "12345678", "name": "Owner"});
        let reply = self.post("", "/api/v1/auth/register", ask).await;
        reply.body["access_token"].as_str().unwrap().to_owned()
    }

    /// Reads twice: the second answer is a hit with the same body.
    pub(crate) async fn get_twice(&self, token: &str, path: &str) -> Value {
        let first = self.get(token, path).await;
        assert_eq!((first.status, first.x_cache()), (200, "MISS"), "{path}: {}", first.body);
        let second = self.get(token, path).await;
        assert_eq!((second.status, second.x_cache()), (200, "HIT"), "{path}");
        assert_eq!(first.body, second.body, "{path}");
        first.body
    }

    /// Whether this node's memory has the entry of this rendered key.
    pub(crate) fn has(&self, key: &str) -> bool {
        self.cache.entry(key).is_some()
    }
}

pub(crate) fn request(method: &str, token: &str, path: &str) -> http::request::Builder {
    let builder = Request::builder().method(method).uri(path);
    if token.is_empty() { builder } else { builder.header("authorization", format!("Bearer {token}")) }
}
