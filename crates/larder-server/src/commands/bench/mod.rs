//! `larder bench`: what the cache is worth, measured from outside.

mod load;
mod numbers;
mod origin;
mod plan;
mod single;

use std::time::Duration;

use clap::Args;
use url::Url;

use crate::client::{Client, ClientArgs, SAMPLE_PASSWORD, block_on};
use crate::config::value::{Timeout, Value as _};
use crate::failure::Failure;

#[derive(Args, Clone, Debug)]
pub(crate) struct BenchArgs {
    /// One endpoint to measure; without a path, the server whose heavy reads are measured
    #[arg(value_name = "URL")]
    target: Option<String>,
    /// Instead, a mixed load of so many users at the same time
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=10_000))]
    users: Option<u32>,
    /// How long the mixed load lasts
    #[arg(long = "for", value_name = "DURATION", default_value = "1m", value_parser = span)]
    span: Duration,
    /// Warm requests to each endpoint
    #[arg(long, value_name = "N", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    requests: u32,
    /// Cold requests to each endpoint
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: u32,
    #[command(flatten)]
    client: ClientArgs,
}

fn span(text: &str) -> Result<Duration, String> {
    <Timeout>::parse(text).map(|span| span.0).map_err(|why| format!("{why}; accepted: {}", <Timeout>::form()))
}

pub(crate) fn run(args: &BenchArgs) -> Result<(), Failure> {
    let (place, path) = split(args.target.as_deref())?;
    let client = Client::new(&place.map_or_else(|| args.client.clone(), |url| args.client.at_url(url)))?;
    block_on(async {
        let people = People::of(&client).await?;
        match (args.users, path) {
            (Some(users), _) => load::run(&people, users, args.span).await,
            (None, Some(path)) => single::run(&people, plan::one(path), args.rounds, args.requests).await,
            (None, None) => {
                let plan = plan::heavy(&people).await?;
                single::run(&people, plan, args.rounds, args.requests).await
            }
        }
    })
}

/// The server and, where the URL names one, the endpoint.
fn split(target: Option<&str>) -> Result<(Option<String>, Option<String>), Failure> {
    let Some(target) = target else { return Ok((None, None)) };
    if target.starts_with('/') {
        return Ok((None, Some(target.to_owned())));
    }
    let with_scheme = if target.contains("://") { target.to_owned() } else { format!("http://{target}") };
    let url = Url::parse(&with_scheme).map_err(|error| {
        Failure::new(format!("{target:?} is no URL: {error}"))
            .hint("for example http://127.0.0.1:8000/api/stats")
    })?;
    let base = url.origin().ascii_serialization();
    let path = &url[url::Position::BeforePath..url::Position::AfterQuery];
    Ok((Some(base), Some(path.to_owned()).filter(|path| path != "/")))
}

/// In whose name requests are sent.
pub(super) struct People {
    /// Reads: an owner, or nobody where there is no sign-in.
    pub(super) reader: Client,
    /// Clears caches: an administrator; nobody where there is none.
    pub(super) operator: Option<Client>,
}

impl People {
    /// With a token, whoever that belongs to; otherwise the sample logins, which only a server in development has.
    async fn of(client: &Client) -> Result<Self, Failure> {
        if client.has_token() {
            return Ok(Self { reader: client.clone(), operator: Some(client.clone()) });
        }
        // Fails where nothing listens, rather than be taken for a server without sample logins.
        client.send(client.request(reqwest::Method::GET, client.url("health"))).await?;
        let sign_in = async |email: &str| {
            client.sign_in(email, SAMPLE_PASSWORD).await.map(|token| client.with_token(token))
        };
        let (reader, operator) = (sign_in("owner@acme.test").await, sign_in("admin@larder.test").await);
        if let Err(failure) = reader.as_ref().and(operator.as_ref()) {
            eprintln!(
                "warning: the sample logins are not accepted, so only what needs no token is measured ({failure})"
            );
        }
        Ok(Self { reader: reader.unwrap_or_else(|_| client.clone()), operator: operator.ok() })
    }

    pub(super) fn signed_in(&self) -> bool {
        self.reader.has_token()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_names_a_server_and_maybe_an_endpoint() {
        let parts = |text| split(Some(text)).unwrap();
        let (base, none) = (Some("http://localhost:9000".to_owned()), None);
        assert_eq!(parts("http://localhost:9000"), (base.clone(), none.clone()));
        assert_eq!(parts("localhost:9000/"), (base.clone(), none));
        assert_eq!(parts("http://localhost:9000/api/stats?a=b"), (base, Some("/api/stats?a=b".into())));
        assert_eq!(parts("/api/stats"), (None, Some("/api/stats".into())));
        assert!(split(Some("http://")).is_err());
    }
}
