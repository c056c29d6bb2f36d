//! The campaigns application in a window of a browser, as somebody uses it.

use super::chromium::{Chromium, Loaded, Tab};
use serde_json::{Value, json};

/// Everything here happens within moments; a machine that is busy with other tests is slower.
const SOON_MS: u32 = 40_000;

/// The page in a window, signed in or not.
pub(crate) struct Page(Tab);

impl Page {
    /// Opens it.
    pub(crate) async fn open(browser: &Chromium, server: &str) -> Self {
        let page = Self(browser.window().await);
        page.0.call("Page.navigate", json!({"url": format!("{server}/demo")})).await;
        page.until("document.readyState === 'complete' && !document.querySelector('#samples')?.hidden").await;
        page
    }

    /// Another page of the server.
    pub(crate) async fn at(browser: &Chromium, url: &str) -> Self {
        let page = Self(browser.window().await);
        page.0.call("Page.navigate", json!({"url": url})).await;
        page.until("document.readyState === 'complete'").await;
        page
    }

    /// Opens it and signs in with one click.
    pub(crate) async fn signed_in(browser: &Chromium, server: &str, email: &str) -> Self {
        let page = Self::open(browser, server).await;
        page.click(&format!("[data-email='{email}']")).await;
        page.until("document.querySelectorAll('#rows tr').length > 0").await;
        page
    }

    /// The same, and connected.
    pub(crate) async fn live(browser: &Chromium, server: &str, email: &str) -> Self {
        let page = Self::signed_in(browser, server, email).await;
        page.until_live().await;
        page
    }

    /// Waits, in the page, until the expression is true.
    pub(crate) async fn until(&self, expression: &str) {
        let waiting = format!(
            "new Promise((done) => {{
                const end = Date.now() + {SOON_MS};
                const look = () => {{
                    let is = false;
                    try {{ is = Boolean({expression}); }} catch {{}}
                    if (is || Date.now() > end) done(is); else setTimeout(look, 20);
                }};
                look();
            }})"
        );
        if self.0.eval(&waiting).await != true {
            let shown = self.0.eval("document.body?.innerText").await;
            panic!("never: {expression}\n{shown}\n{:#?}", self.0.complaints());
        }
    }

    pub(crate) async fn eval(&self, expression: &str) -> Value {
        self.0.eval(expression).await
    }

    pub(crate) async fn until_state(&self, state: &str) {
        self.until(&format!("document.querySelector('#connection').dataset.state === '{state}'")).await;
    }

    pub(crate) async fn until_live(&self) {
        self.until_state("live").await;
    }

    pub(crate) async fn click(&self, selector: &str) {
        let selector = json!(selector);
        self.until(&format!(
            "document.querySelector({selector})?.checkVisibility() && !document.querySelector({selector}).disabled"
        ))
        .await;
        self.eval(&format!("document.querySelector({selector}).click()")).await;
    }

    /// The text of what is there.
    pub(crate) async fn text(&self, selector: &str) -> String {
        let text = self.eval(&format!("document.querySelector({})?.textContent", json!(selector))).await;
        text.as_str().unwrap_or_else(|| panic!("there is no {selector}")).to_owned()
    }

    /// Waits until a campaign of this name is in the list, or no more.
    pub(crate) async fn until_listed(&self, name: &str, listed: bool) {
        let names = "[...document.querySelectorAll('#rows .name')].map((cell) => cell.textContent)";
        self.until(&format!("{names}.includes({}) === {listed}", json!(name))).await;
    }

    /// What happened, the first first: the kind, the name, and whether it had been missed.
    pub(crate) async fn feed(&self) -> Vec<(String, String, bool)> {
        let items = self
            .eval(
                "[...document.querySelectorAll('#feed li[data-kind]')].reverse().map((item) => ({
                    kind: item.dataset.kind,
                    name: item.querySelector('.what').firstChild?.textContent ?? '',
                    missed: item.querySelector('.when').textContent.includes('missed'),
                }))",
            )
            .await;
        let text = |value: &Value| value.as_str().unwrap().to_owned();
        let items = items.as_array().unwrap().iter();
        items.map(|item| (text(&item["kind"]), text(&item["name"]), item["missed"] == true)).collect()
    }

    /// Waits until so many events have come, and gives them.
    pub(crate) async fn feed_of(&self, events: usize) -> Vec<(String, String, bool)> {
        self.until(&format!("document.querySelectorAll('#feed li[data-kind]').length >= {events}")).await;
        let feed = self.feed().await;
        assert_eq!(feed.len(), events, "{feed:?}");
        feed
    }

    /// Fills the form and saves it.
    pub(crate) async fn fill(&self, name: &str, budget: &str) {
        self.until("document.querySelector('#editor').open").await;
        let fill = format!(
            "(({{ elements }}) => {{ elements.name.value = {}; elements.budget.value = {}; }})(document.querySelector('#editor-form'))",
            json!(name),
            json!(budget)
        );
        self.eval(&fill).await;
        self.click("#save").await;
    }

    pub(crate) async fn create(&self, name: &str) {
        self.click("#create").await;
        self.fill(name, "1200.50").await;
        self.until("!document.querySelector('#editor').open").await;
    }

    /// The button of a row: `Edit` or `Delete`.
    pub(crate) async fn row(&self, verb: &str, name: &str) {
        self.until_listed(name, true).await;
        self.click(&format!("#rows [aria-label='{verb} {name}']")).await;
    }

    /// Presses a key, as on a keyboard.
    pub(crate) async fn press(&self, key: &str) {
        let text = match key {
            "Enter" => "\r",
            " " => " ",
            _ => "",
        };
        let code = match key {
            "Enter" => 13,
            "Escape" => 27,
            "Tab" => 9,
            _ => 32,
        };
        for kind in ["keyDown", "keyUp"] {
            let mut params = json!({"type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code});
            if kind == "keyDown" && !text.is_empty() {
                params["text"] = text.into();
            }
            self.0.call("Input.dispatchKeyEvent", params).await;
        }
    }

    /// Types into what has the focus.
    pub(crate) async fn write(&self, text: &str) {
        self.0.call("Input.insertText", json!({"text": text})).await;
    }

    /// A screen of this width in pixels, of somebody who likes it dark or not.
    pub(crate) async fn screen(&self, width: u32, dark: bool) {
        let size = json!({"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 600});
        self.0.call("Emulation.setDeviceMetricsOverride", size).await;
        let scheme = if dark { "dark" } else { "light" };
        let media = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
        self.0.call("Emulation.setEmulatedMedia", media).await;
    }

    pub(crate) async fn offline(&self, offline: bool) {
        let params =
            json!({"offline": offline, "latency": 0, "downloadThroughput": -1, "uploadThroughput": -1});
        self.0.call("Network.emulateNetworkConditions", params).await;
    }

    pub(crate) fn loaded(&self) -> Loaded {
        self.0.loaded()
    }

    /// Writes into a field, as somebody who types.
    pub(crate) async fn type_into(&self, selector: &str, text: &str) {
        self.until(&format!("document.querySelector({})?.checkVisibility()", json!(selector))).await;
        self.eval(&format!("document.querySelector({}).focus()", json!(selector))).await;
        self.eval(&format!("document.querySelector({}).value = ''", json!(selector))).await;
        self.write(text).await;
    }

    pub(crate) fn requests(&self, method: &str, path: &str) -> usize {
        self.0.requests(method, path)
    }

    /// Nothing went wrong in the page.
    pub(crate) fn was_well(&self) {
        let complaints = self.0.complaints();
        assert!(complaints.is_empty(), "{complaints:#?}");
    }
}
