//! The pages of the server: a first one with links, and the routes to browse. Nothing on them comes from elsewhere.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HOST};
use larder_http::ops::is_loopback;
use larder_http::{Authenticate, ClientAddr, Problem, Role};

use crate::http::address::Client;

/// Scripts and styles come from files of ours, and from nowhere else.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
                      base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

const HTML: &str = "text/html; charset=utf-8";
const CSS: &str = "text/css; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";

/// What is handed out as it is: where, its type, what.
const FILES: [(&str, &str, &str); 10] = [
    ("/docs", HTML, include_str!("docs.html")),
    ("/assets/docs.js", SCRIPT, include_str!("docs.js")),
    ("/assets/page.css", CSS, include_str!("page.css")),
    ("/assets/demo/demo.css", CSS, include_str!("demo/demo.css")),
    ("/assets/demo/app.js", SCRIPT, include_str!("demo/app.js")),
    ("/assets/demo/api.js", SCRIPT, include_str!("demo/api.js")),
    ("/assets/demo/dialogs.js", SCRIPT, include_str!("demo/dialogs.js")),
    ("/assets/demo/list.js", SCRIPT, include_str!("demo/list.js")),
    ("/assets/demo/notices.js", SCRIPT, include_str!("demo/notices.js")),
    ("/larder-live.js", SCRIPT, larder_live::CLIENT),
];
/// The campaigns application. It is offered the sample logins where there are some.
const DEMO: &str = include_str!("demo/index.html");

/// Where all pages and their parts are.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    ["/", "/demo", "/openapi.json"].into_iter().chain(FILES.iter().map(|(path, ..)| *path))
}

/// Who may see the first page.
#[derive(Clone)]
struct Access {
    tokens: Arc<dyn Authenticate>,
    /// Whether anyone on this machine may.
    loopback: bool,
}

/// What the pages depend on.
pub(crate) struct Facts {
    /// The document that is drawn.
    pub(crate) openapi: Bytes,
    /// Anyone on loopback sees the first page.
    pub(crate) development: bool,
    /// There are sample logins.
    pub(crate) samples: bool,
}

/// The pages, for those whom `tokens` knows.
pub(crate) fn routes(facts: Facts, tokens: Arc<dyn Authenticate>) -> Router {
    let Facts { openapi, development, samples } = facts;
    let home = get(|State(access): State<Access>, request: Request| async move { access.home(&request) });
    let demo = Bytes::from(DEMO.replace("{samples}", if samples { "yes" } else { "no" }));
    let mut routes = Router::new()
        .route("/", home)
        .route("/demo", get(|| async { page(HTML, demo) }))
        .route("/openapi.json", get(|| async { page("application/json", openapi) }));
    for (path, kind, text) in FILES {
        routes = routes.route(path, get(move || async move { page(kind, text) }));
    }
    routes.with_state(Access { tokens, loopback: development })
}

fn page(kind: &'static str, body: impl IntoResponse) -> Response {
    // Another version of the program has other pages, so they are asked for again.
    let headers = [(CONTENT_TYPE, kind), (CONTENT_SECURITY_POLICY, POLICY), (CACHE_CONTROL, "no-cache")];
    (headers, body).into_response()
}

/// Where the browser found this server, so that what the page says can be copied.
fn origin(request: &Request) -> String {
    let host = request.headers().get(HOST).and_then(|host| host.to_str().ok());
    let host = host.or_else(|| request.uri().authority().map(|authority| authority.as_str()));
    // The rest has no place in the name of a host, and could be markup.
    let plain =
        |host: &&str| host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-:[]".contains(&byte));
    let https = request.extensions().get::<Client>().is_some_and(|client| client.https);
    format!("{}://{}", if https { "https" } else { "http" }, host.filter(plain).unwrap_or("localhost:8000"))
}

impl Access {
    fn home(&self, request: &Request) -> Response {
        match self.allows(request) {
            Ok(()) => page(HTML, include_str!("home.html").replace("{origin}", &origin(request))),
            Err(problem) => problem.into_response(),
        }
    }

    /// On loopback in development anyone, otherwise whoever is signed in as an administrator.
    fn allows(&self, request: &Request) -> Result<(), Problem> {
        let client = request.extensions().get::<ClientAddr>();
        let here = |client: &ClientAddr| is_loopback(client.0, request.headers(), request.uri());
        if self.loopback && client.is_some_and(here) {
            return Ok(());
        }
        match self.tokens.identify(request.headers())? {
            Some(who) if who.role == Role::Admin => Ok(()),
            Some(_) => Err(Problem::forbidden("this page is for administrators")),
            None => Err(Problem::unauthorized()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::header::{AUTHORIZATION, HOST};
    use http::{HeaderMap, StatusCode};
    use larder_http::Identity;
    use tower::ServiceExt;

    /// Takes the role itself for a token of it.
    struct Roles;

    impl Authenticate for Roles {
        fn identify(&self, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
            let Some(role) = headers.get(AUTHORIZATION) else { return Ok(None) };
            let role = role.to_str().unwrap().parse().map_err(|_| Problem::unauthorized())?;
            Ok(Some(Identity { tenant: "acme".into(), user: "u".into(), role }))
        }
    }

    #[test]
    fn the_first_page_names_the_host_that_was_asked_unless_it_is_markup() {
        let asked = |host: &str| origin(&Request::get("/").header(HOST, host).body(Body::empty()).unwrap());
        assert_eq!(asked("localhost:9000"), "http://localhost:9000");
        assert_eq!(asked("[::1]:9000"), "http://[::1]:9000");
        assert_eq!(asked("<script>"), "http://localhost:8000");
        assert!(include_str!("home.html").contains("{origin}"));
    }

    async fn home(development: bool, client: &str, host: &str, role: Option<&str>) -> StatusCode {
        let mut request = Request::get("/").header(HOST, host).extension(ClientAddr(client.parse().unwrap()));
        if let Some(role) = role {
            request = request.header(AUTHORIZATION, role);
        }
        let routes = routes(facts(development), Arc::new(Roles));
        routes.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().status()
    }

    fn facts(samples: bool) -> Facts {
        Facts { openapi: Bytes::from_static(b"{}"), development: samples, samples }
    }

    #[tokio::test]
    async fn on_loopback_in_development_anyone_sees_the_first_page() {
        assert_eq!(home(true, "127.0.0.1", "localhost:8000", None).await, 200);
        assert_eq!(home(true, "127.0.0.1", "evil.example", None).await, 401);
        assert_eq!(home(true, "203.0.113.1", "localhost:8000", None).await, 401);
        assert_eq!(home(false, "127.0.0.1", "localhost:8000", None).await, 401);
    }

    #[tokio::test]
    async fn elsewhere_only_an_administrator_does() {
        for (role, status) in [("admin", 200), ("owner", 403), ("ingest", 403), ("nonsense", 401)] {
            assert_eq!(home(false, "203.0.113.1", "larder.example", Some(role)).await, status, "{role}");
        }
    }

    async fn served(samples: bool, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        let response = routes(facts(samples), Arc::new(Roles)).oneshot(request).await.unwrap();
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    #[tokio::test]
    async fn sample_logins_are_offered_where_there_are_some() {
        assert!(served(true, "/demo").await.1.contains("data-samples=\"yes\""));
        assert!(served(false, "/demo").await.1.contains("data-samples=\"no\""));
    }

    #[tokio::test]
    async fn all_that_a_page_asks_for_is_there() {
        for (_, _, text) in FILES.into_iter().chain([("/demo", HTML, DEMO)]) {
            let asked = text.split(['"', '\'']).filter(|word| {
                word.starts_with("/assets/") || word.starts_with("./") && word.ends_with(".js")
            });
            for path in
                asked.map(|path| path.replace("./", "/assets/demo/")).chain(["/larder-live.js".into()])
            {
                assert_eq!(served(true, &path).await.0, 200, "{path}");
                assert!(paths().any(|known| known == path), "{path} is counted by its name");
            }
        }
    }

    #[test]
    fn the_pages_name_no_other_host() {
        let files = FILES.iter().map(|(_, _, text)| *text);
        for page in files.chain([include_str!("home.html"), DEMO]) {
            assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src=\"//"));
        }
    }
}
