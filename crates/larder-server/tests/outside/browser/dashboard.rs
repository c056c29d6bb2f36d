//! The dashboard, in each state that a server and somebody who looks can be in.

use super::chromium::Chromium;
use super::page::Page;
use crate::client::Client;
use crate::server::{Dir, Server, command_with_input};
use crate::stack::{Kind, Stack};
use larder_testkit::{Fault, TcpProxy};
use serde_json::json;

const LIVE: &str = "document.querySelector('#stream').dataset.state === 'live'";
const ADMIN: &str = "admin@larder.test";

async fn opened(browser: &Chromium, url: &str) -> Page {
    let page = Page::at(browser, url).await;
    page.until(LIVE).await;
    page
}

async fn signed_in(browser: &Chromium, url: &str, email: &str, seen_as: &str) -> Page {
    let page = opened(browser, url).await;
    page.click("#sign-in-open").await;
    page.click(&format!("#login-dialog [data-email='{email}']")).await;
    page.until(&shows("#viewer", seen_as)).await;
    page.until("!document.querySelector('#login-dialog').open").await;
    page
}

fn shows(selector: &str, text: &str) -> String {
    format!("document.querySelector({}).textContent.includes({})", json!(selector), json!(text))
}

fn row(endpoint: &str) -> String {
    format!(
        "[...document.querySelectorAll('#endpoints tbody tr')].some((row) => row.firstChild.textContent === {})",
        json!(endpoint)
    )
}

/// Nothing on it came from elsewhere, and nothing went wrong.
fn was_well(page: &Page, url: &str) {
    page.was_well();
    for asked in page.loaded().urls {
        assert!(asked.starts_with(url) || asked.starts_with("data:"), "{asked}");
    }
}

#[tokio::test]
async fn an_empty_server_says_so_and_shows_the_first_lookups_as_they_come() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let page = opened(&browser, server.url()).await;
    page.until(&shows("#headline", "No lookup yet")).await;
    assert_eq!(page.text("#state-word").await, "Waiting for lookups");
    assert!(page.text("#first-commands").await.contains(&format!("{}/api/charts/trend", server.url())));
    assert_eq!(page.text("#redis .warn, #redis .bad, #redis dd").await, "not configured");
    assert!(page.text("#tenants-note").await.contains("Sign in"));
    assert_eq!(page.eval("document.querySelector('#metrics-link').checkVisibility()").await, true);

    let anyone = Client::new(server.url());
    for _ in 0..4 {
        anyone.get("/api/charts/trend").await.expect(200);
    }
    page.until(&shows("#headline", "75 % of lookups were answered by the cache")).await;
    page.until(&row("charts")).await;
    page.until("document.querySelector('#first-steps').hidden").await;
    assert_eq!(page.text("#state-word").await, "All is well");
    // What is drawn can be read, too.
    page.click("#chart-lookups button").await;
    page.until("document.querySelectorAll('#chart-lookups tbody tr').length > 0").await;
    page.click("#endpoints th:nth-child(6) button").await;
    assert_eq!(
        page.eval("document.querySelector('#endpoints th:nth-child(6)').ariaSort").await,
        "descending"
    );
    page.until("document.querySelector('#theme')").await;
    page.eval("(() => { const theme = document.querySelector('#theme'); theme.value = 'dark'; theme.dispatchEvent(new Event('change')); })()")
        .await;
    let ground = "getComputedStyle(document.body).backgroundColor";
    assert_eq!(page.eval(ground).await, "rgb(16, 19, 16)");
    was_well(&page, server.url());
}

#[tokio::test]
async fn the_first_paint_is_small_and_compressed() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let page = opened(&browser, server.url()).await;
    let loaded = page.loaded();
    assert!(loaded.urls.len() > 15, "{:?}", loaded.urls);
    assert!(loaded.bytes < 100_000, "{} bytes: {:?}", loaded.bytes, loaded.urls);
    for (path, encoding) in loaded.encodings {
        let is_stream = path == "/api/cache/live";
        assert!(
            is_stream || path.contains("theme.js") || path.starts_with("/svg") || !encoding.is_empty(),
            "{path} is not compressed"
        );
    }
    was_well(&page, server.url());
}

#[tokio::test]
async fn an_administrator_finds_a_key_invalidates_it_and_sees_it_gone() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let (url, acme) = (stack.server.url(), stack.acme().await);
    acme.get("/api/v1/campaigns").await.expect(200);
    let browser = Chromium::start().await;
    let page = signed_in(&browser, url, ADMIN, "administrator").await;
    page.until("document.querySelector('#tenants tbody').textContent.includes('acme')").await;
    page.until(&shows("#redis", "Connected")).await;

    page.type_into("#keys-pattern", "campaigns").await;
    page.press("Enter").await;
    let key = "campaigns:acme:page:1:limit:20";
    page.until(&shows("#keys-found", key)).await;
    page.click("#keys-found button").await;
    page.until(&shows("#entry", "HIT, from memory")).await;
    page.until(&shows("#entry", "MISS, on this node")).await;
    acme.get("/api/v1/campaigns").await.expect(200);
    page.click("#keys-found button").await;
    page.until(&shows("#entry", "HIT, on this node")).await;
    page.click("#entry > button").await;
    page.until("document.querySelector('#confirm').open").await;
    assert_eq!(page.text("#confirm-scope").await, "tenant acme: key campaigns:page:1:limit:20");
    let text = page.text("#confirm-text").await;
    assert!(
        text.contains("in memory and in Redis") && text.contains("1 entry of it, in 1 endpoint: campaigns 1"),
        "{text}"
    );
    // Whoever presses Enter by mistake changes nothing.
    page.press("Enter").await;
    page.until("!document.querySelector('#confirm').open").await;
    assert_eq!(acme.get("/api/v1/campaigns").await.expect(200).header("x-cache"), "HIT");

    page.click("#entry > button").await;
    page.until("document.querySelector('#confirm').open").await;
    page.click("#confirm-yes").await;
    page.until(&shows("#invalidate-told", "Invalidated tenant acme: key campaigns:page:1:limit:20")).await;
    page.until(&shows("#keys-told", "No such key")).await;
    page.until(&shows("#recent", "key campaigns:page:1:limit:20")).await;
    assert_eq!(acme.get("/api/v1/campaigns").await.expect(200).header("x-cache"), "MISS");

    page.eval("document.querySelector('#invalidate').elements.kind.value = 'prefix'").await;
    page.type_into("#invalidate [name=tenant]", "nobody\u{1}").await;
    page.type_into("#invalidate [name=name]", "campaigns:%zz").await;
    page.press("Enter").await;
    page.until("document.querySelector('#invalidate-error').textContent.startsWith('prefix')").await;
    was_well(&page, url);
}

#[tokio::test]
async fn a_tenant_sees_its_own_figures_and_nothing_of_others() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let (url, acme, globex) = (stack.server.url(), stack.acme().await, stack.globex().await);
    for _ in 0..2 {
        acme.get("/api/v1/jobs/stats").await.expect(200);
    }
    globex.get("/api/v1/campaigns").await.expect(200);
    globex.send("POST", "/api/cache/clear", &crate::client::Body::Nothing).await.expect(200);
    let browser = Chromium::start().await;
    let page = signed_in(&browser, url, "owner@acme.test", "tenant acme").await;
    page.until(&shows("#headline", "50 % of lookups of acme")).await;
    page.until(&row("jobs_stats")).await;
    assert_eq!(page.eval(&row("campaigns")).await, false);
    for hidden in
        ["#facts", "#tenants-panel", "#keys-part", "#invalidate-tenant", "#chart-latency", "#first-steps"]
    {
        assert_eq!(
            page.eval(&format!("document.querySelector('{hidden}').checkVisibility()")).await,
            false,
            "{hidden}"
        );
    }
    assert!(!page.text("body").await.contains("globex"));
    page.eval("document.querySelector('#invalidate').elements.kind.value = 'tenant'").await;
    page.click("#invalidate .careful").await;
    page.until("document.querySelector('#confirm').open").await;
    assert_eq!(page.text("#confirm-scope").await, "tenant acme: everything");
    page.click("#confirm-yes").await;
    page.until(&shows("#invalidate-told", "tenant acme: everything")).await;
    page.until(&shows("#recent", "everything")).await;
    assert_eq!(acme.get("/api/v1/jobs/stats").await.expect(200).header("x-cache"), "MISS");
    // Signed out, on this machine, the node is seen and no tenant.
    page.click("#sign-out").await;
    page.until(&shows("#viewer", "not signed in")).await;
    was_well(&page, url);
}

#[tokio::test]
async fn when_redis_is_gone_the_page_says_what_that_means() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let redis = stack.redis.as_ref().unwrap();
    let browser = Chromium::start().await;
    let page = signed_in(&browser, stack.server.url(), ADMIN, "administrator").await;
    page.until(&shows("#redis", "Connected")).await;
    redis.kill();
    page.until(&shows("#state-word", "Something is broken")).await;
    let text = page.text("[data-code=redis_unavailable]").await;
    assert!(
        text.contains("Requests go on") && text.contains("invalidations are delivered when Redis is back"),
        "{text}"
    );
    page.until(&shows("#redis", "Out of reach")).await;
    page.until(&shows("#coherence", "Not trusted")).await;
    page.until(&shows("#coherence", "Open")).await;

    page.type_into("#invalidate [name=tenant]", "acme").await;
    page.eval("document.querySelector('#invalidate').elements.kind.value = 'tenant'").await;
    page.click("#invalidate .careful").await;
    page.click("#confirm-yes").await;
    page.until(&shows("#invalidate-told", "on this node; the others follow when Redis is back")).await;
    page.until(&shows("#recent", "waits for Redis")).await;
    page.until("document.querySelector('[data-code=undelivered]')").await;

    redis.restart();
    page.until("!document.querySelector('[data-code=redis_unavailable], [data-code=undelivered]')").await;
    page.until(&shows("#redis", "Connected")).await;
    page.until(&shows("#coherence", "Trusted")).await;
    page.was_well();
}

#[tokio::test]
async fn figures_of_a_server_that_can_t_be_reached_are_said_to_be_old() {
    let server = Server::start(&[]).await;
    let proxy = TcpProxy::start(server.url().trim_start_matches("http://")).await;
    let url = format!("http://{}", proxy.address());
    let browser = Chromium::start().await;
    let page = opened(&browser, &url).await;
    proxy.set(Fault::Refuse).await;
    proxy.cut();
    page.until("document.querySelector('#stream').dataset.state === 'lost'").await;
    page.until("document.querySelector('#old').checkVisibility()").await;
    assert!(page.text("#old-why").await.contains("These figures are old."));
    page.until(&shows("#old-age", "old.")).await;
    assert_eq!(page.text("#state-word").await, "Not known now");
    let anyone = Client::new(server.url());
    anyone.get("/api/charts/trend").await.expect(200);
    proxy.heal().await;
    page.eval("document.querySelector('#old-now').click()").await;
    page.until(LIVE).await;
    page.until("document.querySelector('#old').hidden").await;
    page.until("document.querySelector('#state-word').textContent !== 'Not known now'").await;
    page.until(&row("charts")).await;
    page.was_well();
}

#[tokio::test]
async fn in_production_it_is_for_administrators() {
    let dir = Dir::new();
    let production =
        [("ENV", "production"), ("JWT_SECRET", "0123456789abcdef0123456789abcdef"), ("SELLER_API_PORT", "0")];
    let server = Server::start_in(&dir, &production).await;
    for (email, role) in [("ada@acme.test", "admin"), ("otto@acme.test", "owner")] {
        let arguments = ["user", "add", email, "--tenant", "acme", "--role", role];
        let output = command_with_input(&dir, &arguments, "a-long-password\n");
        assert!(output.status.success(), "{output:?}");
    }
    let browser = Chromium::start().await;
    let page = Page::at(&browser, server.url()).await;
    page.until("document.querySelector('#welcome').checkVisibility()").await;
    assert_eq!(page.eval("document.querySelector('#board').hidden").await, true);
    assert_eq!(page.requests("GET", "/api/cache/live"), 0, "nothing is asked for that is refused");
    assert_eq!(page.eval("document.querySelector('#welcome .samples').hidden").await, true);
    let enter = async |email: &str, password: &str| {
        page.type_into("#welcome [name=email]", email).await;
        page.type_into("#welcome [name=password]", password).await;
        page.press("Enter").await;
    };
    enter("ada@acme.test", "wrong").await;
    page.until("document.querySelector('#welcome .login .problem').textContent !== ''").await;
    enter("otto@acme.test", "a-long-password").await;
    page.until(&shows("#welcome-why", "this page is for administrators")).await;
    enter("ada@acme.test", "a-long-password").await;
    page.until(LIVE).await;
    page.until(&shows("#viewer", "administrator")).await;
    let link = "document.querySelector('#metrics-link').checkVisibility()";
    assert_eq!(page.eval(link).await, false, "metrics want a token of their own");
    // A reload of the tab keeps it; signing out does not.
    page.eval("location.reload()").await;
    page.until(LIVE).await;
    page.click("#sign-out").await;
    page.until("document.querySelector('#welcome').checkVisibility()").await;
    assert_eq!(page.eval("sessionStorage.length").await, 0);
    was_well(&page, server.url());
}

#[tokio::test]
async fn the_dashboard_can_be_read_and_hit_on_every_screen_and_by_keyboard() {
    const CHECK: &str = include_str!("contrast.js");
    const CUT: &str = include_str!("cut.js");
    let stack = Stack::start(Kind::RedisSqlite).await;
    let (url, acme) = (stack.server.url(), stack.acme().await);
    for path in ["/api/v1/campaigns", "/api/charts/trend", "/api/v1/campaigns"] {
        acme.get(path).await.expect(200);
    }
    acme.post("/api/v1/campaigns", crate::routes::a_campaign("Spring")).await.expect(201);
    let browser = Chromium::start().await;
    let page = opened(&browser, url).await;
    let everywhere = async |what: &str| {
        for width in [1280, 1024, 768, 390, 320] {
            page.screen(width, false).await;
            assert_eq!(page.eval(CUT).await, json!([]), "{what}, {width} px");
            for dark in [false, true] {
                page.screen(width, dark).await;
                assert_eq!(page.eval(CHECK).await, json!([]), "{what}, {width} px, dark: {dark}");
            }
        }
    };
    everywhere("not signed in").await;
    page.screen(1280, false).await;
    page.eval("document.querySelector('#sign-in-open').focus()").await;
    page.press("Enter").await;
    page.until("document.querySelector('#login-dialog').open").await;
    everywhere("signing in").await;
    page.screen(1280, false).await;
    page.eval(&format!("document.querySelector(\"#login-dialog [data-email='{ADMIN}']\").focus()")).await;
    page.press("Enter").await;
    page.until(&shows("#viewer", "administrator")).await;
    page.until(&shows("#recent", "campaign.created")).await;
    page.type_into("#keys-pattern", "charts").await;
    page.press("Enter").await;
    page.until("document.querySelector('#keys-found button')").await;
    page.eval("document.querySelector('#keys-found button').focus()").await;
    page.press("Enter").await;
    page.until("document.querySelector('#entry').checkVisibility()").await;
    everywhere("an administrator").await;
    page.eval("document.querySelector('#entry > button').focus()").await;
    page.press("Enter").await;
    page.until("document.querySelector('#confirm').open && document.activeElement.id === 'confirm-no'").await;
    everywhere("asked once more").await;
    page.press("Escape").await;
    page.until("!document.querySelector('#confirm').open").await;
    stack.redis.as_ref().unwrap().kill();
    page.until("document.querySelector('[data-code=redis_unavailable]')").await;
    everywhere("without Redis").await;
    // Every region has a name, and the order of headings has no hole.
    let nameless = "[...document.querySelectorAll('section, [role=region], [role=img], nav, dialog')].filter((node) => !(node.ariaLabel || document.getElementById(node.getAttribute('aria-labelledby') ?? '')?.textContent)).map((node) => node.id)";
    assert_eq!(page.eval(nameless).await, json!([]));
    // The checks would have seen it.
    page.eval("document.documentElement.style.setProperty('--soft', 'light-dark(#bbb, #444)')").await;
    assert!(!page.eval(CHECK).await.as_array().unwrap().is_empty());
    page.screen(1280, false).await;
    page.eval("document.querySelector('#chart-rate p').style.cssText = 'width: 5rem; overflow: hidden; white-space: nowrap'").await;
    assert!(page.eval(CUT).await.to_string().contains("over the last minute"));
}
