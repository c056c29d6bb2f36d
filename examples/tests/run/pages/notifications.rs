use super::cache;
use axum::Router;
use larder::{Cache, Event, tag};
use larder_live::{Claims, Live, TokenError};
use serde_json::json;

fn verify(token: &str) -> Result<Claims, TokenError> {
    let (tenant, user) = token.split_once('/').ok_or(TokenError::Invalid)?;
    Ok(Claims::new(tenant, user, 4_102_444_800))
}

fn with_limits(app: Router) -> Router {
    app.layer(axum::extract::DefaultBodyLimit::max(1 << 20))
}

#[tokio::test]
async fn a_change_is_published() {
    let cache = cache().await;
    let mut log = cache.event_log().watch("acme").await.unwrap();
    publish(&cache).await.unwrap();
    assert!(
        matches!(log.next().await, Some(larder::WatchNext::Event(event)) if event.kind() == "campaign.updated")
    );
}

async fn publish(cache: &Cache) -> Result<(), larder::Error> {
    let event = Event::new("campaign.updated")
        .id("17")
        .data(json!({"id": 17}))
        .invalidates([tag("campaigns"), tag("campaign:17")]);
    cache.tenant("acme").publish(event).await?; // in force here; the event follows when all nodes have acknowledged it
    Ok(())
}

#[tokio::test]
async fn routes_are_mounted() {
    assert!(routes(&cache().await, Router::new()).is_ok());
}

const NODES_KNOW: &str = "an example's secret";

fn routes(cache: &Cache, app: Router) -> Result<Router, larder_live::ConfigError> {
    let live = Live::builder(cache.clone(), verify)
        .secret(NODES_KNOW) // what all nodes know and nobody else
        .allow_origin(|origin| origin == "https://app.example")
        .build()?;
    let app = app.merge(live.requests()); // ordinary requests: inside of the application's limits
    let app = with_limits(app).merge(live.streams()); // what stays open: outside of compression, time-outs and limits
    Ok(app)
}
