//! Which server a command means.

use std::path::Path;

use url::Url;

use crate::config::{self, DEFAULT_LISTEN, value::without_password};
use crate::failure::Failure;

/// A server, and the token that was given for it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Place {
    pub(crate) url: Url,
    pub(crate) token: Option<String>,
}

impl Place {
    /// Flag > environment > `.env`; otherwise the address that `larder serve` would listen on in this directory.
    pub(super) fn find(url: Option<&str>, token: Option<&str>) -> Result<Self, Failure> {
        let here = Path::new(".");
        let said = config::said(here, &["LARDER_URL", "LARDER_TOKEN"]);
        let [url_said, token_said] = said.as_slice() else { unreachable!("one answer for each question") };
        let url = match url.or(url_said.as_deref()) {
            Some(url) => parse(url)?,
            None => of_listen(&config::listens(here)),
        };
        Ok(Self { url, token: token.map(str::to_owned).or_else(|| token_said.clone()) })
    }
}

fn parse(text: &str) -> Result<Url, Failure> {
    let refuse = |why: String| {
        Failure::new(format!("{:?} is no address of a server: {why}", without_password(text)))
            .hint("--url and LARDER_URL take one such as http://127.0.0.1:8000")
    };
    let with_scheme = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&with_scheme).map_err(|error| refuse(error.to_string()))?;
    if matches!(url.scheme(), "http" | "https") { Ok(url) } else { Err(refuse("it is not of HTTP".into())) }
}

/// Every address of the machine is reached by its own.
fn of_listen(address: &str) -> Url {
    let address = address.replace("0.0.0.0:", "127.0.0.1:").replace("[::]:", "[::1]:");
    let fallback = || Url::parse(&format!("http://{DEFAULT_LISTEN}")).expect("the default address is one");
    Url::parse(&format!("http://{address}")).unwrap_or_else(|_| fallback())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_server_is_where_it_would_listen_unless_told_otherwise() {
        let url = |listen| of_listen(listen).to_string();
        assert_eq!(url("0.0.0.0:9000"), "http://127.0.0.1:9000/");
        assert_eq!(url("[::]:9000"), "http://[::1]:9000/");
        assert_eq!(url("127.0.0.1:8000"), "http://127.0.0.1:8000/");
        assert_eq!(url("nonsense nonsense"), "http://127.0.0.1:8000/");
    }

    #[test]
    fn a_url_may_lack_its_scheme_but_not_its_sense() {
        assert_eq!(parse("localhost:8000").unwrap().as_str(), "http://localhost:8000/");
        assert_eq!(parse("https://cache.example/base").unwrap().as_str(), "https://cache.example/base");
        assert!(parse("redis://localhost").is_err());
        assert!(parse("").is_err());
    }
}
