//! The script of the guide's last step, as it stands there, in a browser.

use super::chromium::Chromium;
use super::page::Page;
use crate::markdown::{blocks, root};
use axum::Router;
use axum::response::Html;
use axum::routing::get;
use http::header::CONTENT_TYPE;
use larder::{Cache, Event};
use larder_live::{CLIENT, Claims, Live, TokenError};

/// As in the guide.
fn verify(token: &str) -> Result<Claims, TokenError> {
    let (tenant, user) = token.split_once('/').ok_or(TokenError::Invalid)?;
    Ok(Claims::new(tenant, user, 4_102_444_800))
}

/// A page with the guide's script, and what the guide leaves to its reader: a session, and a report that is read.
fn page() -> String {
    let guide = std::fs::read_to_string(root().join("docs/guide.md")).unwrap();
    let scripts: Vec<_> = blocks(&guide).into_iter().filter(|block| block.language() == "html").collect();
    let [script] = scripts.as_slice() else { panic!("{scripts:#?}") };
    format!(
        "<!doctype html><link rel=icon href='data:,'><script>
            let reads = 0;
            const session = {{ token: () => 'acme/user-1' }};
            const readTop = () => {{ reads += 1; }};
        </script>\n{}",
        script.lines.join("\n")
    )
}

#[tokio::test]
async fn the_script_of_the_guide_reads_again_when_it_is_told() {
    let cache = Cache::builder("guide").build().await.unwrap();
    let live = Live::builder(cache.clone(), verify).build().unwrap();
    let client = || async { ([(CONTENT_TYPE, "text/javascript")], CLIENT) };
    let routes = Router::new()
        .route("/", get(|| async { Html(page()) }))
        .route("/larder-live.js", get(client))
        .merge(live.requests())
        .merge(live.streams());
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let server = tokio::spawn(async move { axum::serve(listener, routes).await });

    let browser = Chromium::start().await;
    let page = Page::at(&browser, &url).await;
    // Connected for the first time, it reads what there is: `reset`.
    page.until("reads === 1").await;
    cache.tenant("globex").publish(Event::new("lead.added")).await.unwrap();
    cache.tenant("acme").publish(Event::new("another.kind")).await.unwrap();
    cache.tenant("acme").publish(Event::new("lead.added")).await.unwrap();
    page.until("reads > 1").await;
    assert_eq!(page.eval("reads").await, 2);
    page.was_well();
    server.abort();
}
