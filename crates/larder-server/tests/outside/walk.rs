//! The walk: every operation of the served document is called as the contract says, and answers as both say.

use crate::client::{Answer, Body};
use crate::openapi::OpenApi;
use crate::routes::{self, People, Route};
use crate::shape::assert_shape;
use crate::stack::{Stack, on_every_stack};
use std::collections::BTreeSet;

on_every_stack!(unhurried every_cached_route_is_a_hit_on_its_second_read, a_generated_text_is_asked_for_once);

on_every_stack!(
    every_operation_answers_as_the_contract_and_the_document_say,
    every_secured_operation_wants_a_token_and_no_other_does,
);

/// What stays open, and what is of use only while it does: the tests `live` call it.
const STREAMS: [&str; 3] = ["GET /ws/notifications/{}", "GET /sse/notifications/{}", "POST /rt/{}/cmd"];

async fn every_operation_answers_as_the_contract_and_the_document_say(stack: Stack) {
    let mut people = People::of(&stack).await;
    let document = OpenApi::of(&people.anyone).await;
    // An entry that none of the writes touches.
    people.sample.insert("key", "categories:acme".to_owned());
    let mut called = BTreeSet::new();
    for route in routes::all() {
        let operation = route.operation();
        let answer = route.call(&people).await.expect(route.status);
        if let Some(shape) = &route.shape {
            assert_shape(&operation, &answer.json(), shape);
        }
        assert_headers(&answer);
        document.validate(&operation, &answer);
        called.insert(operation);
    }
    let described: BTreeSet<String> =
        document.operations().into_iter().filter(|name| !STREAMS.contains(&name.as_str())).collect();
    let missing: Vec<_> = described.symmetric_difference(&called).collect();
    assert!(missing.is_empty(), "described but not called, or the other way round: {missing:#?}");
}

/// What every answer carries.
#[track_caller]
fn assert_headers(answer: &Answer) {
    let what = &answer.what;
    assert!(!answer.header("x-request-id").is_empty(), "{what} without X-Request-Id");
    assert_eq!(answer.header("x-content-type-options"), "nosniff", "{what}");
    assert!(!answer.header("content-security-policy").is_empty(), "{what} without Content-Security-Policy");
    assert!(!answer.header("referrer-policy").is_empty(), "{what} without Referrer-Policy");
    assert_eq!(answer.header("server"), "", "{what} says what it runs");
}

async fn every_cached_route_is_a_hit_on_its_second_read(stack: Stack) {
    let people = People::of(&stack).await;
    let cached: Vec<Route> = routes::all().into_iter().filter(|route| route.cached.is_some()).collect();
    for route in &cached {
        // A page of posts brings its authors along, for instance.
        people.admin.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
        let miss = route.call(&people).await.expect(200);
        assert_eq!(miss.cache(), "MISS", "{}", miss.what);
        let hit = route.call(&people).await.expect(200);
        assert_eq!(hit.cache(), "HIT", "{}", hit.what);
        assert_eq!(hit.text(), miss.text(), "{}", hit.what);
        assert_eq!(hit.header("etag"), miss.header("etag"), "{}", hit.what);
        assert_cached(&hit, route);
        assert_not_modified(&people, route, &hit).await;
    }
    for route in &cached {
        route.call(&people).await.expect(200);
    }
    let keys: Vec<String> = cached.iter().map(|route| route.key(&people.sample).unwrap()).collect();
    let listed = listed(&stack, &people);
    let missing: Vec<_> = keys.iter().filter(|key| !listed.contains(*key)).collect();
    assert!(missing.is_empty(), "not in `larder keys`: {missing:#?}\nthere: {listed:#?}");
    for (route, key) in cached.iter().zip(&keys) {
        let entry = people.admin.get(&key_path(key)).await.expect(200).json();
        let ttl = entry["ttl"].as_f64().unwrap_or_else(|| panic!("{key} has no ttl: {entry}"));
        assert!(kept_for(ttl, route), "{key} is kept for {ttl} s");
    }
}

/// The keys that `larder keys` prints.
pub(crate) fn listed(stack: &Stack, people: &People) -> BTreeSet<String> {
    let output = stack.server.command(people.admin.token.as_deref().unwrap(), &["keys"]);
    assert!(output.status.success(), "larder keys: {}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    printed.lines().filter_map(|line| line.split_whitespace().next()).map(str::to_owned).collect()
}

/// The route that shows one entry.
pub(crate) fn key_path(key: &str) -> String {
    let encoded: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
    format!("/api/cache/keys/{}", encoded.replace('+', "%20"))
}

#[track_caller]
fn assert_cached(hit: &Answer, route: &Route) {
    let what = &hit.what;
    let public = route.who == routes::Who::Anyone;
    let expected = if public { "no-cache" } else { "private, no-cache" };
    assert_eq!(hit.header("cache-control"), expected, "{what}");
    let vary: Vec<_> = hit.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["Authorization, Accept-Encoding, origin"], "{what}");
    assert!(hit.header("etag").starts_with("W/\""), "{what}: {}", hit.header("etag"));
    assert!(
        hit.header("age").parse::<u64>().is_ok_and(|age| age < 30),
        "{what} has Age {:?}",
        hit.header("age")
    );
    assert!(!hit.header("server-timing").is_empty(), "{what} without Server-Timing");
    let status = hit.header("cache-status");
    assert!(status.contains("; hit"), "{what} has Cache-Status {status:?}");
    let ttl = status.split(';').find_map(|part| part.trim().strip_prefix("ttl=")?.parse::<f64>().ok());
    assert!(ttl.is_some_and(|ttl| kept_for(ttl, route)), "{what} has Cache-Status {status:?}");
}

/// Whether this is the time that is left of the TTL: jitter takes a tenth at most, and this test some seconds.
fn kept_for(left: f64, route: &Route) -> bool {
    let full = route.cached.map_or(0.0, |(_, seconds)| f64::from(seconds));
    (full * 0.9 - 20.0..=full).contains(&left)
}

async fn assert_not_modified(people: &People, route: &Route, hit: &Answer) {
    let target = route.target(&people.sample);
    let client = people.as_who(route.who);
    let body = Body::Nothing;
    let asked = [("if-none-match", hit.header("etag"))];
    let same = client.send_with("GET", &target, &body, &asked).await.expect(304);
    assert!(same.body.is_empty(), "{}", same.what);
    for header in ["etag", "cache-control", "vary"] {
        assert_eq!(same.header(header), hit.header(header), "{header} of {}", same.what);
    }
    let other =
        client.send_with("GET", &target, &body, &[("if-none-match", "W/\"other\"")]).await.expect(200);
    assert_eq!(other.text(), hit.text());
}

async fn every_secured_operation_wants_a_token_and_no_other_does(stack: Stack) {
    let mut people = People::of(&stack).await;
    let document = OpenApi::of(&people.anyone).await;
    people.sample.insert("key", "categories:acme".to_owned());
    let secured = document.secured();
    assert!(secured.len() > 30, "{secured:#?}");
    for route in routes::all() {
        let (operation, target) = (route.operation(), route.target(&people.sample));
        let answer = people.anyone.send(route.method, &target, &(route.body)(&people.sample)).await;
        assert_eq!(answer.status == 401, secured.contains(&operation), "{operation}: {}", answer.text());
        if answer.status == 401 {
            let refusal = answer.expect_problem(401);
            document.validate(&operation, &refusal);
            assert_headers(&refusal);
        }
    }
}

async fn a_generated_text_is_asked_for_once(stack: Stack) {
    let people = People::of(&stack).await;
    let ask =
        |prompt: &'static str| people.acme.post("/api/v1/ai/generate", serde_json::json!({"prompt": prompt}));
    let first = ask("one").await.expect(200);
    assert_eq!(
        (first.json()["text"].as_str(), first.json()["cached"].as_bool()),
        (Some("generated"), Some(false))
    );
    let second = ask("one").await.expect(200);
    assert_eq!((second.cache(), second.json()["cached"].as_bool()), ("HIT", Some(true)));
    assert_eq!(stack.ai.calls(crate::stack::CHAT), 1);
    ask("two").await.expect(200);
    assert_eq!(stack.ai.calls(crate::stack::CHAT), 2);
    let request = &stack.ai.requests()[0];
    assert_eq!(request.headers["authorization"], "Bearer stub-key");
    assert_eq!(request.json()["model"], "stub");
    let hash = |key: &String| key.strip_prefix("ai_generation:acme:").is_some_and(|hash| hash.len() == 64);
    assert_eq!(listed(&stack, &people).iter().filter(|key| hash(key)).count(), 2);
}
