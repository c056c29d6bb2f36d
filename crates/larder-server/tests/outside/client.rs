//! HTTP, as a client of the server speaks it.

use reqwest::Method;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};
use std::sync::Once;
use std::time::Duration;

/// The password of the sample logins.
pub(crate) const PASSWORD: &str = "larder-demo";

/// What is sent besides the path.
#[derive(Clone, Debug)]
pub(crate) enum Body {
    Nothing,
    Json(Value),
    Text(&'static str, String),
}

/// A client, signed in or not.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
    pub(crate) token: Option<String>,
    /// Where it calls from, if that was chosen.
    pub(crate) address: Option<std::net::IpAddr>,
}

impl Client {
    pub(crate) fn new(base: &str) -> Self {
        static PROVIDER: Once = Once::new();
        // reqwest was built without a provider of its own.
        PROVIDER.call_once(|| rustls::crypto::ring::default_provider().install_default().unwrap());
        let http = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30)).build().unwrap();
        Self { http, base: base.to_owned(), token: None, address: None }
    }

    /// The same person, calling from another address of this machine.
    pub(crate) fn from(&self, address: std::net::IpAddr) -> Self {
        let builder = reqwest::Client::builder().no_proxy().timeout(Duration::from_secs(30));
        let http = builder.local_address(address).build().unwrap();
        Self { http, address: Some(address), ..self.clone() }
    }

    /// The same person, at another server.
    pub(crate) fn at(&self, base: &str) -> Self {
        Self { base: base.to_owned(), ..self.clone() }
    }

    pub(crate) fn with_token(&self, token: impl Into<String>) -> Self {
        Self { token: Some(token.into()), ..self.clone() }
    }

    /// Signs in with a sample login.
    pub(crate) async fn sign_in(&self, email: &str) -> Self {
        let answer = self.post("/api/v1/auth/login", json!({"email": email, "password": PASSWORD})).await;
        assert_eq!(answer.status, 200, "{email} signs in: {}", answer.text());
        self.with_token(answer.json()["access_token"].as_str().unwrap())
    }

    pub(crate) async fn get(&self, path: &str) -> Answer {
        self.send("GET", path, &Body::Nothing).await
    }

    pub(crate) async fn post(&self, path: &str, body: Value) -> Answer {
        self.send("POST", path, &Body::Json(body)).await
    }

    pub(crate) async fn put(&self, path: &str, body: Value) -> Answer {
        self.send("PUT", path, &Body::Json(body)).await
    }

    pub(crate) async fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, &Body::Nothing).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, body: &Body) -> Answer {
        self.send_with(method, path, body, &[]).await
    }

    pub(crate) async fn send_with(
        &self,
        method: &str,
        path: &str,
        body: &Body,
        headers: &[(&str, &str)],
    ) -> Answer {
        self.try_send(method, path, body, headers).await.unwrap_or_else(|e| panic!("{method} {path}: {e:?}"))
    }

    pub(crate) async fn try_send(
        &self,
        method: &str,
        path: &str,
        body: &Body,
        headers: &[(&str, &str)],
    ) -> reqwest::Result<Answer> {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let mut request = self.http.request(method.clone(), format!("{}{path}", self.base));
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        request = match body {
            Body::Nothing => request,
            Body::Json(value) => request.json(value),
            Body::Text(kind, text) => request.header("content-type", *kind).body(text.clone()),
        };
        for (name, value) in headers {
            request =
                request.header(HeaderName::try_from(*name).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let response = request.send().await?;
        let what = format!("{method} {path}");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        Ok(Answer { what, status, headers, body: response.bytes().await?.to_vec() })
    }
}

/// An answer, with what was asked.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) what: String,
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header, empty where there is none.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// `HIT`, `MISS`, `STALE`, `BYPASS`, or nothing.
    pub(crate) fn cache(&self) -> &str {
        self.header("x-cache")
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{} answered no JSON ({e}): {self:?}", self.what))
    }

    /// Asserts the status, saying what was answered instead.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}: {}", self.what, self.text());
        self
    }

    /// Asserts that it is problem details of this status, and that they give away nothing.
    #[track_caller]
    pub(crate) fn expect_problem(self, status: u16) -> Self {
        let answer = self.expect(status);
        assert_eq!(answer.header("content-type"), "application/problem+json", "{}", answer.what);
        let problem = answer.json();
        assert_eq!(problem["status"], status, "{}: {problem}", answer.what);
        for field in ["type", "title", "detail"] {
            assert!(problem[field].is_string(), "{} without {field}: {problem}", answer.what);
        }
        let text = answer.text().to_lowercase();
        for secret in ["select ", "insert ", "sqlx", "panicked", "src/", "redis://", "postgres://", "sqlite:"]
        {
            assert!(!text.contains(secret), "{} gives away {secret:?}: {text}", answer.what);
        }
        answer
    }
}
