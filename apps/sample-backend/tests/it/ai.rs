//! The text generator.

use larder_testkit::{Answer, StubHttp};
use sample_backend::config::AiConfig;
use serde_json::{Value, json};

use crate::support::{Api, sqlite};

const PATH: &str = "/v1/chat/completions";
const GENERATE: &str = "/api/v1/ai/generate";

async fn api_on(upstream: &StubHttp) -> (Api, Box<dyn std::any::Any>) {
    let (database, home) = sqlite();
    let base_url = format!("{}/v1/", upstream.url()).parse().unwrap();
    let api = Api::start_with(database, |config| {
        config.ai = Some(AiConfig { base_url, api_key: Some("s3cret".into()), model: "tiny".into() });
    })
    .await;
    (api, home)
}

fn ask(prompt: &str) -> Value {
    json!({"prompt": prompt, "max_tokens": 10, "temperature": 0.5})
}

#[tokio::test]
async fn the_same_request_is_written_once_however_many_ask_at_once() {
    let upstream = StubHttp::start().await;
    upstream.on(PATH, [Answer::chat("Once upon a time")]);
    let (api, _home) = api_on(&upstream).await;
    let acme = api.login("owner@acme.test").await;
    let many =
        futures_util::future::join_all((0..50).map(|_| api.post(&acme, GENERATE, ask("a tale")))).await;
    assert!(many.iter().all(|reply| reply.status == 200 && reply.body["text"] == "Once upon a time"));
    assert_eq!(upstream.calls(PATH), 1);
    let again = api.post(&acme, GENERATE, ask("a tale")).await;
    assert_eq!(again.body, json!({"text": "Once upon a time", "model": "tiny", "cached": true}));
    assert_eq!(again.x_cache(), "HIT");
    let sent = &upstream.requests()[0];
    assert_eq!(sent.headers["authorization"], "Bearer s3cret");
    let messages = json!([{"role": "user", "content": "a tale"}]);
    let expected = json!({"model": "tiny", "messages": messages, "max_tokens": 10, "temperature": 0.5});
    assert_eq!(sent.json(), expected);

    let other = api.post(&acme, GENERATE, ask("another")).await;
    assert_eq!((other.x_cache(), &other.body["cached"]), ("MISS", &json!(false)));
    let globex = api.login("owner@globex.test").await;
    assert_eq!(
        api.post(&globex, GENERATE, ask("a tale")).await.body["cached"],
        false,
        "another tenant's text"
    );
    assert_eq!(upstream.calls(PATH), 3);
}

#[tokio::test]
async fn a_generator_that_fails_is_502_and_nothing_is_kept() {
    let upstream = StubHttp::start().await;
    let (api, _home) = api_on(&upstream).await;
    let acme = api.login("owner@acme.test").await;
    for answer in [Answer::status(500), Answer::status(401), Answer::json(json!({"choices": []}))] {
        upstream.on(PATH, [answer]);
        let reply = api.post(&acme, GENERATE, ask("a tale")).await;
        assert_eq!(reply.status, 502);
        assert!(!reply.body.to_string().contains("s3cret"));
    }
    upstream.on(PATH, [Answer::chat("at last")]);
    assert_eq!(api.post(&acme, GENERATE, ask("a tale")).await.body["text"], "at last");
}

#[tokio::test]
async fn without_a_generator_the_answer_says_what_to_set() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let reply = api.post(&acme, GENERATE, ask("a tale")).await;
    assert_eq!(reply.status, 503);
    assert!(reply.body["detail"].as_str().unwrap().contains("AI_BASE_URL"));
}

#[tokio::test]
async fn every_fault_of_a_request_is_named() {
    let upstream = StubHttp::start().await;
    let (api, _home) = api_on(&upstream).await;
    let acme = api.login("owner@acme.test").await;
    let bad = json!({"prompt": " ", "max_tokens": 0, "temperature": 3});
    assert_eq!(api.post(&acme, GENERATE, bad).await.fields(), ["prompt", "max_tokens", "temperature"]);
    let defaults = api.post(&acme, GENERATE, json!({"prompt": "x"})).await;
    assert_eq!(defaults.status, 502, "defaults are taken; the stub has no answer");
}
