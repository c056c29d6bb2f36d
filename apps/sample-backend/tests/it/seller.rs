//! The seller dashboard, fed over HTTP.

use std::sync::Arc;
use std::time::Duration;

use larder::{Cache, ManualClock};
use larder_testkit::{Answer, Gate, StubHttp};
use sample_backend::SampleConfig;
use sample_backend::config::{DatabaseConfig, SellerApi};
use serde_json::{Value, json};

use crate::support::{Api, on_each_database, sqlite};

/// Every endpoint with its key in the tenant `acme`.
const ENDPOINTS: [(&str, &str); 9] = [
    ("/api/v1/dashboard/kpis", "dashboard_kpis:acme"),
    ("/api/v1/dashboard/trends?days=30", "dashboard_trends:acme:days:30"),
    ("/api/v1/dashboard/alerts", "dashboard_alerts:acme"),
    ("/api/v1/dashboard/insights", "dashboard_insights:acme"),
    ("/api/v1/dashboard/activity?limit=10", "dashboard_activity:acme:limit:10"),
    ("/api/v1/products", "products:acme"),
    ("/api/v1/pricing/trends", "pricing_trends:acme"),
    ("/api/v1/sentiment/overview", "sentiment_overview:acme"),
    ("/api/v1/forecast/demand", "forecast_demand:acme"),
];

fn from(upstream: &StubHttp) -> impl FnOnce(&mut SampleConfig) {
    let url = upstream.url();
    move |config| {
        config.seller = SellerApi::Upstream(url.parse().unwrap());
        config.upstream_timeout = Duration::from_millis(300);
    }
}

async fn present(api: &Api, token: &str) -> Vec<&'static str> {
    let _ = token;
    ENDPOINTS.iter().map(|(_, key)| *key).filter(|key| api.has(key)).collect()
}

on_each_database!(
    every_endpoint_is_fed_over_http_and_cached_under_its_name,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let acme = api.login("owner@acme.test").await;
        for (path, key) in ENDPOINTS {
            let body = api.get_twice(&acme, path).await;
            assert!(!body["payload"].is_null(), "{path}: {body}");
            assert!(api.has(key), "{key}");
        }
        let trends = api.get(&acme, "/api/v1/dashboard/trends").await;
        assert_eq!(trends.x_cache(), "HIT", "30 days is the default");
        let points = trends.body["payload"]["points"].as_array().unwrap().clone();
        assert_eq!(points.len(), 30);
        assert!(points.iter().any(|p| p["orders"].as_i64() > Some(0)));
        assert_eq!(
            api.get(&acme, "/api/v1/dashboard/activity").await.body["payload"].as_array().unwrap().len(),
            10
        );
        let other = api.get_twice(&acme, "/api/v1/dashboard/trends?days=7").await;
        assert_eq!(other["payload"]["points"].as_array().unwrap().len(), 7);
        for bad in
            ["trends?days=-1", "trends?days=0", "trends?days=366", "activity?limit=0", "activity?limit=101"]
        {
            assert_eq!(api.get(&acme, &format!("/api/v1/dashboard/{bad}")).await.status, 422, "{bad}");
        }
    }
);

on_each_database!(a_price_change_is_seen_everywhere_at_once, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let (acme, globex) = (api.login("owner@acme.test").await, api.login("owner@globex.test").await);
    for (path, _) in ENDPOINTS {
        api.get_twice(&acme, path).await;
    }
    let theirs = api.get_twice(&globex, "/api/v1/products").await;
    let product = api.get(&acme, "/api/v1/products").await.body["payload"][0].clone();
    let path = format!("/api/v1/products/{}", product["id"].as_str().unwrap());
    let mut events = api.cache.subscribe();
    let changed = api.post(&acme, &path, json!({"price_cents": 123_456})).await;
    assert_eq!((changed.status, &changed.body["payload"]["price_cents"]), (200, &json!(123_456)));
    assert!(present(&api, &acme).await.is_empty(), "all of it is derived from products");
    assert_eq!(api.get_twice(&acme, "/api/v1/products").await["payload"][0]["price_cents"], 123_456);
    let activity = api.get_twice(&acme, "/api/v1/dashboard/activity").await;
    assert_eq!(activity["payload"][0]["kind"], "price");
    let Some(larder::Next::Event(event)) = events.next().await else { panic!("no event") };
    assert_eq!(
        (event.kind(), event.tenant(), event.changed_id()),
        ("product.updated", "acme", product["id"].as_str())
    );

    assert_eq!(api.post(&globex, &path, json!({"price_cents": 1})).await.status, 404, "another tenant's");
    let again = api.get(&globex, "/api/v1/products").await;
    assert_eq!((again.x_cache(), &again.body), ("HIT", &theirs));
    for bad in [json!({"price_cents": 0}), json!({"price_cents": "1"}), json!({})] {
        assert_eq!(api.post(&acme, &path, bad).await.fields(), ["price_cents"]);
    }
    assert_eq!(api.post(&acme, "/api/v1/products/17", json!({"price_cents": 1})).await.status, 404);
});

on_each_database!(
    an_order_shows_in_figures_trends_activity_and_forecast,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let acme = api.login("owner@acme.test").await;
        for (path, _) in ENDPOINTS {
            api.get_twice(&acme, path).await;
        }
        let before = api.get(&acme, "/api/v1/dashboard/kpis").await.body["payload"].clone();
        let product = api.get(&acme, "/api/v1/products").await.body["payload"][0].clone();
        let order =
            api.post(&acme, "/api/v1/orders", json!({"product_id": product["id"], "quantity": 3})).await;
        assert_eq!((order.status, &order.body["payload"]["quantity"]), (201, &json!(3)), "{order:?}");
        let untouched = [
            "dashboard_alerts:acme",
            "dashboard_insights:acme",
            "products:acme",
            "pricing_trends:acme",
            "sentiment_overview:acme",
        ];
        assert_eq!(present(&api, &acme).await, untouched);
        let after = api.get_twice(&acme, "/api/v1/dashboard/kpis").await["payload"].clone();
        assert_eq!(after["orders"].as_i64(), before["orders"].as_i64().map(|n| n + 1));
        let paid = 3 * product["price_cents"].as_i64().unwrap();
        assert_eq!(after["revenue_cents"].as_i64(), before["revenue_cents"].as_i64().map(|n| n + paid));
        assert_eq!(api.get_twice(&acme, "/api/v1/dashboard/activity").await["payload"][0]["kind"], "order");

        let globex = api.login("owner@globex.test").await;
        let theirs = json!({"product_id": product["id"], "quantity": 1});
        assert_eq!(api.post(&globex, "/api/v1/orders", theirs).await.status, 404);
        let bad = json!({"product_id": "x", "quantity": 0});
        assert_eq!(api.post(&acme, "/api/v1/orders", bad).await.fields(), ["product_id", "quantity"]);
    }
);

#[tokio::test]
async fn the_upstream_is_asked_as_documented_and_any_json_is_the_payload() {
    let (upstream, (database, _home)) = (StubHttp::start().await, sqlite());
    upstream.on("/acme/dashboard/trends", [Answer::json(json!([1, {"any": null}]))]);
    let api = Api::start_with(database, from(&upstream)).await;
    let acme = api.login("owner@acme.test").await;
    let body = api.get_twice(&acme, "/api/v1/dashboard/trends?days=5").await;
    assert_eq!(body, json!({"payload": [1, {"any": null}]}));
    let asked = &upstream.requests()[0];
    assert_eq!((asked.method.as_str(), asked.query.as_str()), ("GET", "days=5"));
    assert_eq!(upstream.calls("/acme/dashboard/trends"), 1, "the second read was a hit");

    upstream.on("/acme/products/0190163d-8694-739b-aea5-966c26f8ad91", [Answer::json(json!({"ok": true}))]);
    let path = "/api/v1/products/0190163d-8694-739b-aea5-966c26f8ad91";
    assert_eq!(api.post(&acme, path, json!({"price_cents": 7})).await.body, json!({"payload": {"ok": true}}));
    let put = upstream.requests().pop().unwrap();
    assert_eq!((put.method.as_str(), put.json()), ("PUT", json!({"price_cents": 7})));
}

#[tokio::test]
async fn while_the_upstream_fails_the_last_good_value_is_served_for_a_day_and_then_502() {
    let (upstream, (database, _home)) = (StubHttp::start().await, sqlite());
    upstream.on("/acme/dashboard/kpis", [Answer::json(json!({"orders": 5})), Answer::status(500)]);
    let clock = Arc::new(ManualClock::default());
    let cache = Cache::builder("test").clock(clock.clone()).build().await.unwrap();
    let api = Api::start_as(database, cache, from(&upstream)).await;
    let acme = api.login("owner@acme.test").await;
    let kpis = "/api/v1/dashboard/kpis";
    let good = api.get_twice(&acme, kpis).await;
    clock.advance(Duration::from_secs(301));
    let stale = api.get(&acme, kpis).await;
    assert_eq!((stale.status, stale.x_cache(), &stale.body), (200, "STALE", &good));
    clock.advance(Duration::from_secs(23 * 3600));
    assert_eq!(api.get(&acme, kpis).await.x_cache(), "STALE");
    clock.advance(Duration::from_secs(2 * 3600));
    assert_eq!(api.get(&acme, kpis).await.status, 502);

    upstream.on("/acme/dashboard/kpis", [Answer::json(json!({"orders": 6}))]);
    clock.advance(Duration::from_secs(5));
    let back = api.get(&acme, kpis).await;
    assert_eq!((back.x_cache(), &back.body["payload"]["orders"]), ("MISS", &json!(6)));
}

#[tokio::test]
async fn an_upstream_that_fails_hangs_or_babbles_is_502_without_a_word_of_where_it_is() {
    let (upstream, (database, _home)) = (StubHttp::start().await, sqlite());
    let api = Api::start_with(database, from(&upstream)).await;
    let acme = api.login("owner@acme.test").await;
    let gate = Gate::new();
    for answer in [
        Answer::status(500),
        Answer::status(404),
        Answer::raw("text/html", "<html>"),
        Answer::json(json!(1)).behind(&gate),
    ] {
        upstream.on("/acme/products", [answer]);
        let reply = api.get(&acme, "/api/v1/products").await;
        assert_eq!(reply.status, 502, "{reply:?}");
        assert!(!reply.body.to_string().contains("127.0.0.1"), "{reply:?}");
    }
    gate.open();
}

#[tokio::test]
async fn a_change_whose_answer_is_lost_drops_what_it_may_have_changed() {
    let (upstream, (database, _home)) = (StubHttp::start().await, sqlite());
    upstream.on("/acme/products", [Answer::json(json!(["old"])), Answer::json(json!(["new"]))]);
    let path = "/products/0190163d-8694-739b-aea5-966c26f8ad91";
    let api = Api::start_with(database, from(&upstream)).await;
    let acme = api.login("owner@acme.test").await;
    let mut events = api.cache.subscribe();
    api.get_twice(&acme, "/api/v1/products").await;
    for (status, expected, cached) in [(409, 422, "HIT"), (404, 404, "HIT"), (500, 502, "MISS")] {
        upstream.on(&format!("/acme{path}"), [Answer::status(status)]);
        let reply = api.post(&acme, &format!("/api/v1{path}"), json!({"price_cents": 7})).await;
        assert_eq!(reply.status, expected);
        assert_eq!(api.get(&acme, "/api/v1/products").await.x_cache(), cached, "after {status}");
    }
    api.post(&acme, "/api/v1/campaigns", json!({"name": "x", "channel": "sms", "budget_cents": 1})).await;
    let Some(larder::Next::Event(event)) = events.next().await else { panic!("no event") };
    assert_eq!(event.kind(), "campaign.created", "nobody was told of a change that may not have been");
}

#[tokio::test]
async fn a_cold_dashboard_asks_the_upstream_once_however_many_wait() {
    let (upstream, (database, _home)) = (StubHttp::start().await, sqlite());
    let gate = Gate::new();
    upstream.on("/acme/products", [Answer::json(json!([])).behind(&gate)]);
    let api = Api::start_with(database, |config| {
        from(&upstream)(config);
        config.upstream_timeout = Duration::from_secs(30);
    })
    .await;
    let acme = api.login("owner@acme.test").await;
    let readers = futures_util::future::join_all((0..200).map(|_| api.get(&acme, "/api/v1/products")));
    let open = async {
        upstream.called("/acme/products", 1).await;
        gate.open();
    };
    let (replies, ()) = tokio::join!(readers, open);
    assert!(replies.iter().all(|reply| reply.status == 200 && reply.body == json!({"payload": []})));
    assert_eq!(upstream.calls("/acme/products"), 1);
}

#[tokio::test]
async fn a_taken_port_falls_back_to_a_free_one() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let (database, _home) = sqlite();
    let api = Api::start_with(database, |config| {
        config.seller = SellerApi::BuiltIn { port, delay: Duration::ZERO };
    })
    .await;
    assert_ne!(api.backend.seller_address.unwrap().port(), port);
    let acme = api.login("owner@acme.test").await;
    let body: Value = api.get_twice(&acme, "/api/v1/products").await;
    assert_eq!(body["payload"].as_array().unwrap().len(), 12);
}
