//! The pages of the server: the dashboard, the routes to browse, the sample application. Nothing on them comes from elsewhere.

mod dashboard;
mod files;

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use bytes::Bytes;
use http::header::{ACCEPT, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderValue, StatusCode};
use larder_http::ops::is_loopback;
use larder_http::{Authenticate, ClientAddr, Problem, Role};

use files::{CSS, File, HTML, Page, SCRIPT};

/// What is handed out as it is, besides the parts of the dashboard.
const FILES: [File; 10] = [
    File::new("/docs", HTML, include_str!("docs.html")),
    File::new("/assets/docs.js", SCRIPT, include_str!("docs.js")),
    File::new("/assets/page.css", CSS, include_str!("page.css")),
    File::new("/assets/demo/demo.css", CSS, include_str!("demo/demo.css")),
    File::new("/assets/demo/app.js", SCRIPT, include_str!("demo/app.js")),
    File::new("/assets/demo/api.js", SCRIPT, include_str!("demo/api.js")),
    File::new("/assets/demo/dialogs.js", SCRIPT, include_str!("demo/dialogs.js")),
    File::new("/assets/demo/list.js", SCRIPT, include_str!("demo/list.js")),
    File::new("/assets/demo/notices.js", SCRIPT, include_str!("demo/notices.js")),
    File::new("/larder-live.js", SCRIPT, larder_live::CLIENT),
];
/// The campaigns application. It is offered the sample logins where there are some.
const DEMO: &str = include_str!("demo/index.html");

fn files() -> impl Iterator<Item = File> {
    FILES.into_iter().chain(dashboard::FILES)
}

/// Where all pages and their parts are.
pub(crate) fn paths() -> impl Iterator<Item = &'static str> {
    ["/", "/demo", "/openapi.json"].into_iter().chain(files().map(|file| file.path))
}

/// Who may see the dashboard.
#[derive(Clone)]
struct Access {
    tokens: Arc<dyn Authenticate>,
    /// Whether anyone on this machine may.
    loopback: bool,
    /// The page, and the same for those who have to sign in.
    open: Page,
    closed: Page,
}

/// What the pages depend on.
pub(crate) struct Facts {
    /// The document that is drawn.
    pub(crate) openapi: Bytes,
    /// Anyone on loopback sees the dashboard.
    pub(crate) development: bool,
    /// There are sample logins.
    pub(crate) samples: bool,
}

/// The pages, for those whom `tokens` knows.
pub(crate) fn routes(facts: Facts, tokens: Arc<dyn Authenticate>) -> Router {
    let Facts { openapi, development, samples } = facts;
    let access = Access {
        tokens,
        loopback: development,
        open: Page::new(HTML, dashboard::page(true, samples)),
        closed: Page::new(HTML, dashboard::page(false, samples)),
    };
    let home = get(|State(access): State<Access>, request: Request| async move { access.home(&request) });
    let demo = Page::new(HTML, DEMO.replace("{samples}", if samples { "yes" } else { "no" }));
    let plain = |page: Page| get(|headers: HeaderMap| async move { page.answer(&headers) });
    let mut routes = Router::new()
        .route("/", home)
        .route("/demo", plain(demo))
        .route("/openapi.json", plain(Page::new("application/json", openapi)));
    for File { path, kind, text } in files() {
        routes = routes.route(path, plain(Page::new(kind, text)));
    }
    routes.with_state(access)
}

impl Access {
    /// Who may not see it is shown where to sign in, if they can see pages at all. What it shows it asks for by the token.
    fn home(&self, request: &Request) -> Response {
        let headers = request.headers();
        match self.allows(request) {
            Ok(()) => self.open.answer(headers),
            Err(problem) if !is_browser(headers) => problem.into_response(),
            Err(problem) => {
                let refused = problem.into_response();
                let mut response = self.closed.with(refused.status(), headers);
                if refused.status() == StatusCode::UNAUTHORIZED {
                    response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
                }
                response
            }
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

/// Whether a page is asked for, as somebody does who opens an address.
fn is_browser(headers: &HeaderMap) -> bool {
    let accepts = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepts.flat_map(|value| value.split(',')).any(|kind| kind.trim().starts_with("text/html"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::header::{AUTHORIZATION, HOST};
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

    async fn home(development: bool, client: &str, host: &str, role: Option<&str>) -> StatusCode {
        asked(development, client, host, role, "*/*").await.0
    }

    async fn asked(
        development: bool,
        client: &str,
        host: &str,
        role: Option<&str>,
        accept: &str,
    ) -> (StatusCode, String) {
        let mut request = Request::get("/").header(HOST, host).extension(ClientAddr(client.parse().unwrap()));
        if let Some(role) = role {
            request = request.header(AUTHORIZATION, role);
        }
        let routes = routes(facts(development), Arc::new(Roles));
        let request = request.header(ACCEPT, accept).body(Body::empty()).unwrap();
        body_of(routes.oneshot(request).await.unwrap()).await
    }

    async fn body_of(response: Response) -> (StatusCode, String) {
        let status = response.status();
        let body = axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap();
        (status, String::from_utf8(body.to_vec()).unwrap())
    }

    fn facts(samples: bool) -> Facts {
        Facts { openapi: Bytes::from_static(b"{}"), development: samples, samples }
    }

    #[tokio::test]
    async fn on_loopback_in_development_anyone_sees_the_dashboard() {
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

    #[tokio::test]
    async fn who_opens_it_in_a_browser_is_shown_where_to_sign_in() {
        let firefox = "text/html,application/xhtml+xml,*/*;q=0.8";
        for (role, status) in [(None, 401), (Some("owner"), 403), (Some("nonsense"), 401)] {
            let (told, page) = asked(false, "203.0.113.1", "larder.example", role, firefox).await;
            assert!(told == status && page.contains("data-open=\"no\""), "{role:?}: {told} {page}");
            let (_, problem) = asked(false, "203.0.113.1", "larder.example", role, "*/*").await;
            assert!(problem.starts_with('{'), "a program is told why: {problem}");
        }
        let (status, page) = asked(true, "127.0.0.1", "localhost", None, firefox).await;
        assert!(status == 200 && page.contains("data-open=\"yes\""));
    }

    async fn served(samples: bool, path: &str) -> (StatusCode, String) {
        let request = Request::get(path).body(Body::empty()).unwrap();
        body_of(routes(facts(samples), Arc::new(Roles)).oneshot(request).await.unwrap()).await
    }

    #[tokio::test]
    async fn sample_logins_are_offered_where_there_are_some() {
        assert!(served(true, "/demo").await.1.contains("data-samples=\"yes\""));
        assert!(served(false, "/demo").await.1.contains("data-samples=\"no\""));
    }

    #[tokio::test]
    async fn all_that_a_page_asks_for_is_there() {
        let pages = [File::new("/demo", HTML, DEMO), File::new("/", HTML, dashboard::PAGE)];
        for File { path: page, text, .. } in
            files().chain(pages).filter(|file| !file.path.ends_with("uplot.js"))
        {
            let (directory, _) = page.rsplit_once('/').unwrap();
            let asked = text.split(['"', '\'']).filter(|word| {
                word.starts_with("/assets/") || word.starts_with("./") && word.ends_with(".js")
            });
            let asked = asked.map(|path| path.replace("./", &format!("{directory}/")));
            for path in asked.chain(["/larder-live.js".into()]) {
                assert_eq!(served(true, &path).await.0, 200, "{page}: {path}");
                assert!(paths().any(|known| known == path), "{path} is counted by its name");
            }
        }
    }

    #[test]
    fn the_pages_name_no_other_host() {
        // uPlot says where it comes from.
        let ours = files().filter(|file| !file.path.ends_with("uplot.js")).map(|file| file.text);
        for page in ours.chain([DEMO, dashboard::PAGE]) {
            let page = page.replace("http:%2F%2Fwww.w3.org", "");
            assert!(!page.contains("http://") && !page.contains("https://") && !page.contains("src=\"//"));
        }
    }

    #[test]
    fn the_charts_are_drawn_by_the_file_that_was_published() {
        let note = include_str!("dashboard/vendor/README.md");
        let sum = ring::digest::digest(&ring::digest::SHA256, include_bytes!("dashboard/vendor/uplot.js"));
        let sum: String = sum.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        assert!(note.contains(&sum), "{sum}");
    }
}
