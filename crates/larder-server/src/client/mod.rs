//! Speaking to a running server.

mod place;

use std::time::Duration;

use clap::Args;
use http::StatusCode;
use reqwest::{Method, RequestBuilder, Response};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use url::Url;

pub(crate) use place::Place;
pub(crate) use sample_backend::seed::SAMPLE_PASSWORD;

use crate::failure::Failure;

/// A server that says nothing for so long is taken for hung.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Which server, and who is asking.
#[derive(Args, Clone, Debug, Default)]
pub(crate) struct ClientArgs {
    /// The server [env: LARDER_URL] [default: the address that `larder serve` listens on here]
    #[arg(long, value_name = "URL")]
    url: Option<String>,
    /// A bearer token [env: LARDER_TOKEN]
    #[arg(long, value_name = "TOKEN", hide_env_values = true)]
    token: Option<String>,
}

impl ClientArgs {
    /// The same person asking another server, unless a flag names one.
    pub(crate) fn at_url(&self, url: String) -> Self {
        Self { url: Some(self.url.clone().unwrap_or(url)), token: self.token.clone() }
    }
}

/// A running server, and the token to show it.
#[derive(Clone)]
pub(crate) struct Client {
    base: Url,
    token: Option<String>,
    http: reqwest::Client,
}

impl Client {
    /// The server that flags, environment, `.env` or the configured address name.
    pub(crate) fn new(args: &ClientArgs) -> Result<Self, Failure> {
        let place = Place::find(args.url.as_deref(), args.token.as_deref())?;
        Self::at(place)
    }

    pub(crate) fn at(place: Place) -> Result<Self, Failure> {
        let http = reqwest::Client::builder()
            .user_agent(concat!("larder/", env!("CARGO_PKG_VERSION")))
            .timeout(TIMEOUT)
            // A token must not follow a redirect elsewhere.
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .map_err(|error| Failure::new(format!("the HTTP client could not be made: {error}")))?;
        Ok(Self { base: place.url, token: place.token, http })
    }

    /// The same server, asked with `token`.
    pub(crate) fn with_token(&self, token: String) -> Self {
        Self { token: Some(token), ..self.clone() }
    }

    pub(crate) fn has_token(&self) -> bool {
        self.token.is_some()
    }

    /// The address of `path` there; a `/` in front or not makes no difference.
    pub(crate) fn url(&self, path: &str) -> Url {
        let mut base = self.base.clone();
        if !base.path().ends_with('/') {
            base.set_path(&format!("{}/", base.path()));
        }
        base.join(path.trim_start_matches('/')).unwrap_or(base)
    }

    pub(crate) fn request(&self, method: Method, url: Url) -> RequestBuilder {
        let request = self.http.request(method, url);
        match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// The answer to `GET path` as `T`.
    pub(crate) async fn get<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, Failure> {
        self.json(self.request(Method::GET, self.url(path)).query(query)).await
    }

    /// The answer to `POST path` as `T`.
    pub(crate) async fn post<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: &(impl Serialize + Sync),
    ) -> Result<T, Failure> {
        self.json(self.request(Method::POST, self.url(path)).query(query).json(body)).await
    }

    /// Sends `request` as it is.
    pub(crate) async fn send(&self, request: RequestBuilder) -> Result<Response, Failure> {
        request.send().await.map_err(|error| self.unreachable(&error))
    }

    async fn json<T: DeserializeOwned>(&self, request: RequestBuilder) -> Result<T, Failure> {
        let response = self.send(request).await?;
        if !response.status().is_success() {
            return Err(self.refused(response).await);
        }
        let text = response.text().await.map_err(|error| self.unreachable(&error))?;
        serde_json::from_str(&text).map_err(|error| {
            Failure::new(format!("the answer of {} can't be read: {error}", self.base))
                .hint("is that a larder server, of the same version as this program?")
        })
    }

    /// Signs in and returns the token.
    pub(crate) async fn sign_in(&self, email: &str, password: &str) -> Result<String, Failure> {
        let body = json!({"email": email, "password": password});
        let answer: Value = self.post("api/v1/auth/login", &[], &body).await?;
        let token = answer["access_token"].as_str();
        token.map(str::to_owned).ok_or_else(|| Failure::new(format!("{} gave no token", self.base)))
    }

    fn unreachable(&self, error: &reqwest::Error) -> Failure {
        if error.is_timeout() {
            return Failure::new(format!("{} did not answer within {} s", self.base, TIMEOUT.as_secs()));
        }
        let mut cause: &dyn std::error::Error = error;
        while let Some(source) = cause.source() {
            cause = source;
        }
        Failure::new(format!("{} can't be reached: {cause}", self.base))
            .hint("start the server with `larder serve`, or name another with --url or LARDER_URL")
    }

    /// What `response`, which is none of the good ones, says.
    pub(crate) async fn refused(&self, response: Response) -> Failure {
        let status = response.status();
        let path = response.url().path().to_owned();
        let problem: Value = response.json().await.unwrap_or_default();
        let detail =
            problem["detail"].as_str().unwrap_or_else(|| status.canonical_reason().unwrap_or("refused"));
        let mut message = format!("{} answered {} to {path}: {detail}", self.base, status.as_u16());
        for error in problem["errors"].as_array().into_iter().flatten() {
            let (field, why) = (error["field"].as_str(), error["message"].as_str());
            message.push_str(&format!("\n  {}: {}", field.unwrap_or("?"), why.unwrap_or("not valid")));
        }
        let failure = Failure::new(message);
        match status {
            StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => failure.hint(self.how_to_sign_in(&path)),
            StatusCode::NOT_FOUND => failure.hint("does --url name a larder server?"),
            _ => failure,
        }
    }

    fn how_to_sign_in(&self, path: &str) -> String {
        // Threats are taken from crawlers alone; for the rest an administrator may do everything.
        let login = if path.ends_with("/api/threats") { "crawler@larder.test" } else { "admin@larder.test" };
        let refused = if self.has_token() {
            "this token is expired, of another server or of the wrong role; "
        } else {
            ""
        };
        format!(
            "{refused}pass a token with --token or LARDER_TOKEN. A server in development has sample logins; this one may do \
             it:\n  export LARDER_TOKEN=$(curl -s {} -H 'content-type: application/json' \\\n    -d \
             '{{\"email\":\"{login}\",\"password\":\"{SAMPLE_PASSWORD}\"}}' | sed 's/.*\"access_token\":\"\\([^\"]*\\)\".*/\\1/')",
            self.url("api/v1/auth/login")
        )
    }
}

/// Runs `work` of a client command to its end.
pub(crate) fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime
        .map_err(|error| Failure::new(format!("the worker threads could not be started: {error}")))?
        .block_on(work)
}
