//! Live updates: between windows, over a network that goes away, past a server that dies.

use super::ACME;
use super::chromium::Chromium;
use super::gate::NoWebSockets;
use super::page::Page;
use crate::client::Client;
use crate::live::Socket;
use crate::routes::a_campaign;
use crate::server::{Dir, Server, command_with_input};
use crate::stack::{Kind, Stack};
use larder_testkit::{Fault, TcpProxy};
use serde_json::json;

const GLOBEX: &str = "owner@globex.test";

fn changed(kind: &str, name: &str) -> (String, String, bool) {
    (format!("campaign.{kind}"), name.to_owned(), false)
}

fn missed(kind: &str, name: &str) -> (String, String, bool) {
    (format!("campaign.{kind}"), name.to_owned(), true)
}

async fn make(client: &Client, name: &str) {
    client.post("/api/v1/campaigns", a_campaign(name)).await.expect(201);
}

#[tokio::test]
async fn a_change_appears_in_every_window_of_its_tenant_and_in_no_other() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let one = Page::live(&browser, server.url(), ACME).await;
    let two = Page::live(&browser, server.url(), ACME).await;
    let other = Page::live(&browser, server.url(), GLOBEX).await;

    one.create("Spring").await;
    two.until_listed("Spring", true).await;
    two.row("Edit", "Spring").await;
    two.fill("Summer", "10").await;
    one.until_listed("Summer", true).await;
    one.until_listed("Spring", false).await;
    one.row("Delete", "Summer").await;
    one.click("#remove").await;
    two.until_listed("Summer", false).await;
    // What is published after all that has reached this window too: had there been anything else, it would be there.
    other.create("Elsewhere").await;

    let all = [changed("created", "Spring"), changed("updated", "Summer"), changed("deleted", "Summer")];
    assert_eq!(one.feed_of(3).await, all);
    assert_eq!(two.feed_of(3).await, all);
    assert_eq!(other.feed_of(1).await, [changed("created", "Elsewhere")]);
    assert_eq!(other.text("#tenant").await, "globex");
    for page in [one, two, other] {
        assert_eq!(page.text("#transport").await, "WebSocket");
        page.was_well();
    }
}

#[tokio::test]
async fn somebody_who_edits_what_is_changed_elsewhere_is_told() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let one = Page::live(&browser, server.url(), ACME).await;
    let two = Page::live(&browser, server.url(), ACME).await;
    one.create("Shared").await;
    two.row("Edit", "Shared").await;
    two.until("document.querySelector('#editor').open").await;
    one.row("Edit", "Shared").await;
    one.fill("Taken", "10").await;
    two.until("!document.querySelector('#editor-changed').hidden").await;
    two.click("#editor-reload").await;
    two.until("document.querySelector('#editor-form').elements.name.value === 'Taken'").await;
}

#[tokio::test]
async fn who_else_is_looking_is_shown() {
    let server = Server::start(&[]).await;
    let output = command_with_input(
        server.dir(),
        &["user", "add", "mia@acme.test", "--tenant", "acme", "--role", "member"],
        "larder-demo\n",
    );
    assert!(output.status.success(), "{output:?}");
    let browser = Chromium::start().await;
    let one = Page::live(&browser, server.url(), ACME).await;
    one.until("document.querySelector('#people .me')").await;
    let two = Page::live(&browser, server.url(), ACME).await;
    let mia = Page::open(&browser, server.url()).await;
    mia.eval(
        "(({ elements }) => { elements.email.value = 'mia@acme.test'; elements.password.value = 'larder-demo'; })(document.querySelector('#login'))",
    )
    .await;
    mia.click("#login button").await;
    mia.until_live().await;
    let other = Page::live(&browser, server.url(), GLOBEX).await;
    for page in [&one, &two, &mia] {
        page.until("document.querySelectorAll('#people [data-user]').length === 2").await;
    }
    other.until("document.querySelectorAll('#people [data-user]').length === 1").await;
    mia.click("#sign-out").await;
    one.until("document.querySelectorAll('#people [data-user]').length === 1").await;
    one.was_well();
}

#[tokio::test]
async fn what_was_missed_without_a_network_comes_in_order_when_it_is_back() {
    let server = Server::start(&[]).await;
    let proxy = TcpProxy::start(server.url().trim_start_matches("http://")).await;
    let browser = Chromium::start().await;
    let page = Page::live(&browser, &format!("http://{}", proxy.address()), ACME).await;
    let acme = Client::new(server.url()).sign_in(ACME).await;
    make(&acme, "Before").await;
    page.until_listed("Before", true).await;

    proxy.set(Fault::Refuse).await;
    proxy.cut();
    page.until_state("waiting").await;
    for name in ["One", "Two", "Three"] {
        make(&acme, name).await;
    }
    proxy.heal().await;
    page.until_live().await;
    page.until_listed("Three", true).await;
    let feed = page.feed_of(4).await;
    let expected = [
        changed("created", "Before"),
        missed("created", "One"),
        missed("created", "Two"),
        missed("created", "Three"),
    ];
    assert_eq!(feed, expected);
    page.was_well();
}

#[tokio::test]
async fn a_browser_that_was_offline_catches_up() {
    let server = Server::start(&[]).await;
    let proxy = TcpProxy::start(server.url().trim_start_matches("http://")).await;
    let browser = Chromium::start().await;
    let page = Page::live(&browser, &format!("http://{}", proxy.address()), ACME).await;
    let acme = Client::new(server.url()).sign_in(ACME).await;
    // A network that swallows everything: nobody is told that the connection is of no use, until the browser notices that it is offline and
    // no answer comes to `ping`.
    proxy.set(Fault::Drop).await;
    page.offline(true).await;
    page.until_state("waiting").await;
    make(&acme, "Meanwhile").await;
    proxy.cut();
    proxy.heal().await;
    page.offline(false).await;
    page.until_live().await;
    page.until_listed("Meanwhile", true).await;
    assert_eq!(page.feed_of(1).await, [missed("created", "Meanwhile")]);
    page.was_well();
}

#[tokio::test]
async fn a_server_that_forgot_is_read_anew() {
    let dir = Dir::new();
    let server = Server::start_in(&dir, &[]).await;
    let address = server.url().trim_start_matches("http://").to_owned();
    let browser = Chromium::start().await;
    let page = Page::live(&browser, server.url(), ACME).await;
    server.program().kill();
    page.until_state("waiting").await;
    let server = Server::start_in(&dir, &[("LISTEN", &address)]).await;
    make(&Client::new(server.url()).sign_in(ACME).await, "After").await;
    page.until_live().await;
    // Its log was in memory, so the page can't know what it has missed; what it shows is right all the same.
    page.until("document.querySelector('#feed .note')?.textContent.includes('epoch')").await;
    page.until_listed("After", true).await;
    assert_eq!(page.text("#transport").await, "WebSocket");
    page.was_well();
}

#[tokio::test]
async fn where_web_sockets_are_blocked_events_come_as_a_stream() {
    let server = Server::start(&[]).await;
    let gate = NoWebSockets::before(server.url()).await;
    let browser = Chromium::start().await;
    let page = Page::live(&browser, &gate.url(), ACME).await;
    assert_eq!(page.text("#transport").await, "server-sent events");
    let other = Page::live(&browser, server.url(), ACME).await;
    other.create("Through the gate").await;
    page.until_listed("Through the gate", true).await;
    assert_eq!(page.feed_of(1).await, [changed("created", "Through the gate")]);
    // Commands go by POST: that is how it is asked who is here.
    page.until("document.querySelector('#people .me')").await;
    assert!(page.requests("POST", "/rt/acme/cmd") > 0);
    page.was_well();
}

#[tokio::test]
async fn a_token_is_replaced_on_the_living_connection() {
    let server = Server::start(&[("JWT_TTL", "12s")]).await;
    let browser = Chromium::start().await;
    let page = Page::live(&browser, server.url(), ACME).await;
    assert_eq!(page.requests("POST", "/api/v1/auth/login"), 1);
    page.eval(
        "new MutationObserver((changes) => { window.left = true; })
            .observe(document.querySelector('#connection'), { attributeFilter: ['data-state'] })",
    )
    .await;
    let logins = || page.requests("POST", "/api/v1/auth/login");
    larder_testkit::assert_eventually!(
        logins() >= 3,
        std::time::Duration::from_secs(60),
        "two tokens were fetched"
    );
    page.create("With the third").await;
    assert_eq!(page.feed_of(1).await, [changed("created", "With the third")]);
    assert_eq!(page.eval("window.left === undefined").await, true, "the connection was never lost");
    page.was_well();
}

#[tokio::test]
async fn live_updates_can_be_paused_and_resumed() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let page = Page::live(&browser, server.url(), ACME).await;
    let acme = Client::new(server.url()).sign_in(ACME).await;
    page.click("#connection").await;
    page.until_state("closed").await;
    make(&acme, "While paused").await;
    page.click("#connection").await;
    page.until_live().await;
    assert_eq!(page.feed_of(1).await, [missed("created", "While paused")]);
    page.was_well();
}

/// A client of the page's own, in the room `chat:1`, which remembers what comes.
const CLIENT: &str = "(async () => {
    const { LarderLive } = await import('/larder-live.js');
    const headers = { 'content-type': 'application/json' };
    const body = JSON.stringify({ email: 'owner@acme.test', password: 'larder-demo' });
    const me = await (await fetch('/api/v1/auth/login', { method: 'POST', headers, body })).json();
    const live = new LarderLive({ tenant: me.tenant_id, token: () => me.access_token });
    const room = live.join('chat:1');
    const got = [];
    live.on('event', ({ type, room, kind, from, data }) => got.push([type, room, kind, from === me.user.id, data]));
    const joined = Promise.all([new Promise((done) => room.on('joined', done)), new Promise((done) => live.on('reset', done))]);
    live.connect();
    await joined;
    await new Promise((done) => live.state.name === 'live' ? done() : live.on('state', ({ name }) => name === 'live' && done()));
    Object.assign(window, { live, room, got, me, since: live.position });
})()";

#[tokio::test]
async fn messages_of_users_reach_their_room_their_reader_and_the_history() {
    let server = Server::start(&[]).await;
    messages(server.url(), "websocket").await;
}

#[tokio::test]
async fn the_same_goes_for_streams_and_requests() {
    let server = Server::start(&[]).await;
    let gate = NoWebSockets::before(server.url()).await;
    messages(&gate.url(), "sse").await;
}

async fn messages(server: &str, transport: &str) {
    let browser = Chromium::start().await;
    let (one, two) = (Page::open(&browser, server).await, Page::open(&browser, server).await);
    for page in [&one, &two] {
        page.eval(CLIENT).await;
    }
    assert_eq!(two.eval("live.state.transport").await, transport);
    let said = two
        .eval(
            "(async () => {
                const first = await room.publish({ text: 'once' }, { key: 'k1' });
                const again = await room.publish({ text: 'once' }, { key: 'k1' });
                await room.publish('typing', { ephemeral: true });
                const direct = await live.send(me.user.id, 'psst');
                const refused = async (promise) => promise.then(() => 'done', ({ code }) => code);
                return [
                    first.offset === again.offset, direct.offset > first.offset,
                    await refused(live.publish('tenant', 'a change')),
                    await refused(room.publish('x'.repeat(70_000))),
                    await refused(new Promise((_, no) => live.join('user:nobody').on('error', no))),
                ];
            })()",
        )
        .await;
    assert_eq!(said, json!([true, true, "forbidden", "too_large", "forbidden"]));
    let me = one.eval("me.user.id").await;
    let user = format!("user:{}", me.as_str().unwrap());
    let expected = json!([
        ["event", "chat:1", "message", true, {"text": "once"}],
        ["message", "chat:1", "message", true, "typing"],
        ["event", user, "message", true, "psst"],
    ]);
    for page in [&one, &two] {
        page.until("got.length >= 3").await;
        assert_eq!(page.eval("got").await, expected);
        let history = page
            .eval(
                "room.history({ since }).then(({ events, more }) => [events.map(({ data }) => data), more])",
            )
            .await;
        assert_eq!(history, json!([[{"text": "once"}], false]));
    }
    one.eval("live.close()").await;
    let rest = "room.publish('late').catch(({ code }) => code)";
    assert_eq!(one.eval(rest).await, "closed");
    one.was_well();
    two.was_well();
}

#[tokio::test]
async fn a_server_that_died_is_found_again_and_nothing_is_missing_with_redis() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let node = stack.second().await;
    let address = node.url().trim_start_matches("http://").to_owned();
    let browser = Chromium::start().await;
    let page = Page::live(&browser, node.url(), ACME).await;
    node.program().kill();
    page.until_state("waiting").await;
    let acme = stack.acme().await;
    let mut witness = Socket::open(&acme, stack.server.url(), "acme", "").await;
    make(&acme, "Elsewhere").await;
    // It enters the log when the lease of the node that died has run out: before that nobody can have missed it.
    while witness.next().await["type"] != "event" {}
    let _again = stack.another(&[("LISTEN", &address)]).await;
    page.until_live().await;
    page.until_listed("Elsewhere", true).await;
    assert_eq!(page.feed_of(1).await, [missed("created", "Elsewhere")]);
    make(&acme, "Live again").await;
    page.until_listed("Live again", true).await;
    page.was_well();
}
