//! The pages in a real Chromium: the campaigns application at `/demo`, where what one window changes the others of its tenant see,
//! the dashboard, and the guide's script.

mod chromium;
mod dashboard;
mod gate;
mod guide;
mod live;
mod page;

use crate::server::Server;
use chromium::Chromium;
use page::Page;

const ACME: &str = "owner@acme.test";

#[tokio::test]
async fn the_list_shows_what_the_cache_did_and_takes_changes() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let page = Page::signed_in(&browser, server.url(), ACME).await;
    page.click("#again").await;
    page.until("document.querySelector('#x-cache').textContent === 'HIT'").await;
    assert!(page.text("#took").await.ends_with(" ms"));
    assert_eq!(page.text("#load").await, "from memory");

    page.create("Made by hand").await;
    page.until_listed("Made by hand", true).await;
    page.row("Edit", "Made by hand").await;
    page.fill("Changed by hand", "99").await;
    page.until_listed("Changed by hand", true).await;
    page.until_listed("Made by hand", false).await;
    page.row("Delete", "Changed by hand").await;
    page.until("document.querySelector('#remover').open").await;
    page.click("#remove").await;
    page.until_listed("Changed by hand", false).await;
    page.was_well();
}

#[tokio::test]
async fn bad_input_is_said_beside_its_field_and_a_wrong_password_beside_the_form() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let page = Page::open(&browser, server.url()).await;
    page.eval(
        "(({ elements, ...form }) => { elements.email.value = 'owner@acme.test'; elements.password.value = 'wrong'; })(document.querySelector('#login'))",
    )
    .await;
    page.click("#login button").await;
    page.until("document.querySelector('#login-error').textContent.includes('wrong')").await;
    page.click("[data-email='owner@acme.test']").await;
    page.until("document.querySelectorAll('#rows tr').length > 0").await;

    page.click("#create").await;
    page.fill("", "much").await;
    page.until("document.querySelector('#error-name').textContent && document.querySelector('#error-budget').textContent").await;
    assert_eq!(page.eval("document.querySelectorAll('[aria-invalid]').length").await, 2);
    // The server's own refusal of what the page takes for good.
    page.fill("Rich", "99999999999999").await;
    page.until("document.querySelector('#error-budget').textContent.includes('be')").await;
    assert_eq!(page.eval("document.querySelector('#editor').open").await, true);
    page.was_well();
}

#[tokio::test]
async fn a_keyboard_is_enough() {
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let page = Page::open(&browser, server.url()).await;
    let focused = "document.activeElement";
    // The link to skip the bar, then the first sample login.
    for _ in 0..2 {
        page.press("Tab").await;
    }
    assert_eq!(page.eval(&format!("{focused}.dataset.email")).await, ACME);
    page.press("Enter").await;
    page.until("document.querySelectorAll('#rows tr').length > 0").await;
    page.eval("document.querySelector('#create').focus()").await;
    page.press("Enter").await;
    page.until(&format!("document.querySelector('#editor').open && {focused}.name === 'name'")).await;
    page.write("Typed").await;
    page.eval("document.querySelector('#editor-form').elements.budget.focus()").await;
    page.write("5").await;
    page.press("Enter").await;
    page.until_listed("Typed", true).await;
    page.until(&format!("{focused}.id === 'create'")).await;
    page.eval("document.querySelector(\"[aria-label='Edit Typed']\").focus()").await;
    page.press("Enter").await;
    page.until("document.querySelector('#editor').open").await;
    page.press("Escape").await;
    page.until(&format!(
        "!document.querySelector('#editor').open && {focused}.dataset.focus?.startsWith('Edit')"
    ))
    .await;
    page.was_well();
}

#[tokio::test]
async fn it_can_be_read_and_hit_on_every_screen() {
    const CHECK: &str = include_str!("contrast.js");
    let server = Server::start(&[]).await;
    let browser = Chromium::start().await;
    let page = Page::open(&browser, server.url()).await;
    let screens = [(1280, false), (1280, true), (320, false), (320, true)];
    let everywhere = async || {
        for (width, dark) in screens {
            page.screen(width, dark).await;
            let complaints = page.eval(CHECK).await;
            assert_eq!(complaints, serde_json::json!([]), "{width} px, dark: {dark}");
        }
    };
    everywhere().await;
    page.click("[data-email='owner@acme.test']").await;
    page.until("document.querySelectorAll('#rows tr').length > 0").await;
    everywhere().await;
    page.click("#create").await;
    page.fill("", "").await;
    everywhere().await;
    // The check would have seen it.
    page.eval("document.documentElement.style.setProperty('--soft', 'light-dark(#bbb, #444)')").await;
    assert!(!page.eval(CHECK).await.as_array().unwrap().is_empty());
}
