use super::{Origin, acme};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use larder::{Policy, Tenant, key};
use larder_http::{Audience, Conditions, Problem, Rendered, respond::cached};
use std::sync::LazyLock;
use std::time::Duration;

static ROWS: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(60)).tag("rows"));

async fn rows(
    State((acme, database)): State<(Tenant, Origin)>,
    conditions: Conditions, // the client's `If-None-Match`
) -> Result<Response, Problem> {
    let load = move || async move {
        let rows = database.rows("acme").await?;
        Rendered::json(&rows).map_err(std::io::Error::other) // bytes and ETag, made once
    };
    let found = acme.fetch(key!("rows"), &*ROWS, load).await?;
    Ok(cached(Audience::Private, &conditions, &found.value, &found.status))
}

#[tokio::test]
async fn a_response_says_how_the_lookup_ended() {
    let state = (acme().await, Origin::default());
    let ask = async |conditions| {
        rows(State(state.clone()), conditions).await.unwrap_or_else(|_| panic!("no answer"))
    };
    let cold = ask(Conditions::default()).await;
    assert_eq!(
        (cold.status(), &cold.headers()["x-cache"]),
        (200.try_into().unwrap(), &"MISS".parse().unwrap())
    );
    let mut headers = HeaderMap::new();
    headers.insert("if-none-match", cold.headers()["etag"].clone());
    let warm = ask(Conditions::of(&headers)).await;
    assert_eq!(warm.status(), 304);
    assert_eq!(warm.headers()["x-cache"], "HIT");
    assert_eq!(warm.headers()["cache-control"], "private, no-cache");
    assert!(warm.headers()["cache-status"].to_str().unwrap().ends_with("detail=memory"));
    assert_eq!(state.1.asked(), 1);
}
