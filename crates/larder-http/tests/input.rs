//! What each kind of bad input is answered with.

#![allow(clippy::unwrap_used, reason = "helpers of tests")]

use axum::body::Body as HttpBody;
use axum::routing::{get, post};
use axum::{Json as Answer, Router};
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use larder_http::{Body, Errors, Fields, FromQuery, Json, PageParams, PathId, Query};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tower::ServiceExt;

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Channel {
    Email,
    Sms,
}

#[derive(Debug, Serialize)]
struct Campaign {
    name: String,
    channel: Channel,
    budget: i64,
}

impl Body for Campaign {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (name, channel, budget) =
            (f.text("name", 1..=10), f.choice("channel", "email, sms"), f.integer("budget", 0..=100));
        Some(Self { name: name?, channel: channel?, budget: budget? })
    }
}

struct Filter(Option<Channel>);

impl FromQuery for Filter {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        f.optional_choice("channel", "email, sms").map(Self)
    }
}

fn app() -> Router {
    let router = Router::new()
        .route("/one", post(|Json(c): Json<Campaign>| async { Answer(c) }))
        .route("/many", post(|Json(c): Json<Vec<Campaign>>| async { Answer(c) }))
        .route("/page", get(|Query(p): Query<PageParams>| async move { format!("{} {}", p.page, p.limit) }))
        .route("/filter", get(|Query(f): Query<Filter>| async move { format!("{:?}", f.0) }))
        .route("/id/{id}", get(|PathId(id): PathId| async move { id.to_string() }));
    larder_http::problem::with_fallbacks(router)
}

async fn ask(request: Request<HttpBody>) -> (StatusCode, Value) {
    let response = app().oneshot(request).await.unwrap();
    let status = response.status();
    if !status.is_success() {
        assert_eq!(response.headers()["content-type"], "application/problem+json");
    }
    let bytes = response.into_body().collect().await.unwrap().to_bytes();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    (status, serde_json::from_str(&text).unwrap_or(Value::String(text)))
}

async fn post_to(path: &str, content_type: Option<&str>, body: impl Into<HttpBody>) -> (StatusCode, Value) {
    let mut request = Request::post(path);
    if let Some(content_type) = content_type {
        request = request.header("content-type", content_type);
    }
    ask(request.body(body.into()).unwrap()).await
}

async fn get_from(path: &str) -> (StatusCode, Value) {
    ask(Request::get(path).body(HttpBody::empty()).unwrap()).await
}

fn fields(problem: &Value) -> Vec<&str> {
    problem["errors"].as_array().unwrap().iter().map(|e| e["field"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_good_body_is_taken_whatever_the_charset_parameter_says() {
    let body = json!({"name": " spring ", "channel": "sms", "budget": 5}).to_string();
    let (status, answer) = post_to("/one", Some("application/json; charset=utf-8"), body).await;
    assert_eq!((status, &answer["name"]), (StatusCode::OK, &json!("spring")));
}

#[tokio::test]
async fn malformed_json_is_400() {
    let (status, _) = post_to("/one", Some("application/json"), "{\"name\": ").await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
    let (status, _) = post_to("/one", Some("application/json"), vec![0xff, 0xfe]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_missing_or_wrong_content_type_is_415() {
    for content_type in [None, Some("text/plain"), Some("application/jsonx")] {
        let (status, _) = post_to("/one", content_type, "{}").await;
        assert_eq!(status, StatusCode::UNSUPPORTED_MEDIA_TYPE, "{content_type:?}");
    }
}

#[tokio::test]
async fn every_faulty_field_is_named_at_once() {
    let body = json!({"name": "", "channel": "pigeon", "budget": 2.5}).to_string();
    let (status, problem) = post_to("/one", Some("application/json"), body).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(fields(&problem), ["name", "channel", "budget"]);
    let (_, problem) = post_to("/one", Some("application/json"), "{\"name\": null, \"budget\": \"7\"}").await;
    assert_eq!(fields(&problem), ["name", "channel", "budget"]);
}

#[tokio::test]
async fn an_item_of_an_array_is_named_by_its_place() {
    let good = json!({"name": "a", "channel": "sms", "budget": 0});
    let body = json!([good, {"name": "b", "channel": "sms", "budget": 101}]).to_string();
    let (_, problem) = post_to("/many", Some("application/json"), body).await;
    assert_eq!(fields(&problem), ["[1].budget"]);
    let (_, problem) = post_to("/many", Some("application/json"), "{}").await;
    assert_eq!(fields(&problem), ["body"]);
}

#[tokio::test]
async fn a_body_of_one_byte_too_many_is_413_announced_or_not() {
    let body = " ".repeat((1 << 20) + 1);
    let (status, _) = post_to("/one", Some("application/json"), body.clone()).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(body)]);
    let (status, _) = post_to("/one", Some("application/json"), HttpBody::from_stream(chunks)).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE);
    let (status, _) = post_to("/one", Some("application/json"), " ".repeat(1 << 20)).await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "at the limit it is read, and found to be no JSON");
}

#[tokio::test]
async fn a_page_out_of_range_is_422_and_never_clamped() {
    assert_eq!(get_from("/page").await, (StatusCode::OK, json!("1 20")));
    assert_eq!(get_from("/page?page=1000000&limit=100").await.0, StatusCode::OK);
    for query in
        ["limit=0", "limit=101", "page=0", "page=-1", "page=1000000000000", "page=1e3", "page=x", "page="]
    {
        assert_eq!(get_from(&format!("/page?{query}")).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{query}");
    }
    let (_, problem) = get_from("/page?page=0&limit=0").await;
    assert_eq!(fields(&problem), ["page", "limit"]);
}

#[tokio::test]
async fn a_query_value_that_is_no_choice_is_422() {
    assert_eq!(get_from("/filter?channel=sms").await, (StatusCode::OK, json!("Some(Sms)")));
    assert_eq!(get_from("/filter").await, (StatusCode::OK, json!("None")));
    assert_eq!(fields(&get_from("/filter?channel=Sms").await.1), ["channel"]);
}

#[tokio::test]
async fn a_path_id_that_is_none_is_404() {
    let id = "0190163d-8694-739b-aea5-966c26f8ad91";
    assert_eq!(get_from(&format!("/id/{id}")).await, (StatusCode::OK, json!(id)));
    let (upper, bare) = (id.to_uppercase(), id.replace('-', ""));
    for other in ["17", "%00", "..%2f", upper.as_str(), bare.as_str()] {
        assert_eq!(get_from(&format!("/id/{other}")).await.0, StatusCode::NOT_FOUND, "{other}");
    }
}

#[tokio::test]
async fn unknown_paths_and_methods_are_problems_too() {
    assert_eq!(get_from("/nowhere").await.0, StatusCode::NOT_FOUND);
    let (status, problem) = get_from("/one").await;
    assert_eq!((status, &problem["status"]), (StatusCode::METHOD_NOT_ALLOWED, &json!(405)));
}
