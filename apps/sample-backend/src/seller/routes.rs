//! `/api/v1/dashboard/*` but stats, `/api/v1/products`, `/api/v1/pricing`, `/api/v1/sentiment`, `/api/v1/forecast`,
//! `/api/v1/orders`

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::StatusCode;
use larder::{Event, Selector, key};
use larder_http::{Body, Conditions, Errors, Fields, FromQuery, Json, PathId, Problem, Query};
use serde::Serialize;
use serde_json::{Value, json};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use uuid::Uuid;

use super::upstream::Change;
use crate::app::App;
use crate::auth::User;
use crate::cached::cached_rendered;
use crate::campaigns::MAX_CENTS;
use crate::ttl::{Endpoint, SELLER_TAG};

pub(crate) fn routes() -> OpenApiRouter<App> {
    OpenApiRouter::new()
        .routes(routes!(kpis))
        .routes(routes!(trends))
        .routes(routes!(alerts))
        .routes(routes!(insights))
        .routes(routes!(activity))
        .routes(routes!(products))
        .routes(routes!(set_price))
        .routes(routes!(pricing))
        .routes(routes!(sentiment))
        .routes(routes!(forecast))
        .routes(routes!(order))
}

/// What the seller-data API said.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
struct Payload {
    /// Its answer, as it is.
    payload: Value,
}

/// How far back.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
struct Days {
    /// Days, today included.
    #[param(minimum = 1, maximum = 365, default = 30, required = false)]
    days: i64,
}

impl FromQuery for Days {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        f.integer_or("days", 1..=365, 30).map(|days| Self { days })
    }
}

/// How many.
#[derive(Debug, Clone, Copy, IntoParams)]
#[into_params(parameter_in = Query)]
struct Limit {
    /// Entries, newest first.
    #[param(minimum = 1, maximum = 100, default = 10, required = false)]
    limit: i64,
}

impl FromQuery for Limit {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        f.integer_or("limit", 1..=100, 10).map(|limit| Self { limit })
    }
}

/// A new price.
#[derive(Debug, Clone, ToSchema)]
struct NewPrice {
    /// The price, in cents.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_i64)]
    price_cents: i64,
}

impl Body for NewPrice {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let price_cents = Fields::of(value, path, errors)?.integer("price_cents", 1..=MAX_CENTS)?;
        Some(Self { price_cents })
    }
}

/// An order.
#[derive(Debug, Clone, ToSchema)]
struct NewOrder {
    /// What is bought.
    product_id: Uuid,
    /// How many of it.
    #[schema(minimum = 1, maximum = 10_000)]
    quantity: i64,
}

impl Body for NewOrder {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let product_id = f.choice("product_id", "the ids of products");
        let quantity = f.integer("quantity", 1..=10_000);
        Some(Self { product_id: product_id?, quantity: quantity? })
    }
}

type Asked = (State<App>, User, Conditions);

/// One endpoint of the dashboard. The key is its name with the parameters that were used.
async fn show(
    (State(app), user, conditions): Asked,
    endpoint: Endpoint,
    path: &'static [&'static str],
    param: Option<(&'static str, i64)>,
) -> Result<Response, Problem> {
    let mut key = key!(endpoint.name());
    if let Some((name, value)) = param {
        key = key.with(name).with(value);
    }
    let (seller, tenant) = (app.seller.clone(), user.tenant.clone());
    let load = move || async move { seller.get(&tenant, path, param.as_slice()).await };
    cached_rendered(user.scope(), key, app.policy(endpoint), &conditions, load).await
}

/// Shows the key figures of the last thirty days.
#[utoipa::path(
    get, path = "/api/v1/dashboard/kpis", tag = "seller", operation_id = "dashboard_kpis",
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn kpis(app: State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    show((app, user, conditions), Endpoint::DashboardKpis, &["dashboard", "kpis"], None).await
}

/// Shows orders and revenue by day.
#[utoipa::path(
    get, path = "/api/v1/dashboard/trends", tag = "seller", operation_id = "dashboard_trends", params(Days),
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn trends(
    app: State<App>,
    user: User,
    Query(Days { days }): Query<Days>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let path = &["dashboard", "trends"];
    show((app, user, conditions), Endpoint::DashboardTrends, path, Some(("days", days))).await
}

/// Shows what wants attention.
#[utoipa::path(
    get, path = "/api/v1/dashboard/alerts", tag = "seller", operation_id = "dashboard_alerts",
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn alerts(app: State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    show((app, user, conditions), Endpoint::DashboardAlerts, &["dashboard", "alerts"], None).await
}

/// Shows what stands out.
#[utoipa::path(
    get, path = "/api/v1/dashboard/insights", tag = "seller", operation_id = "dashboard_insights",
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn insights(app: State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    show((app, user, conditions), Endpoint::DashboardInsights, &["dashboard", "insights"], None).await
}

/// Shows what happened last.
#[utoipa::path(
    get, path = "/api/v1/dashboard/activity", tag = "seller", operation_id = "dashboard_activity", params(Limit),
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn activity(
    app: State<App>,
    user: User,
    Query(Limit { limit }): Query<Limit>,
    conditions: Conditions,
) -> Result<Response, Problem> {
    let path = &["dashboard", "activity"];
    show((app, user, conditions), Endpoint::DashboardActivity, path, Some(("limit", limit))).await
}

/// Lists the products.
#[utoipa::path(
    get, path = "/api/v1/products", tag = "seller", operation_id = "list_products",
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn products(app: State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    show((app, user, conditions), Endpoint::Products, &["products"], None).await
}

/// Shows prices by category.
#[utoipa::path(
    get, path = "/api/v1/pricing/trends", tag = "seller", operation_id = "pricing_trends",
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn pricing(app: State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    show((app, user, conditions), Endpoint::PricingTrends, &["pricing", "trends"], None).await
}

/// Shows what customers think.
#[utoipa::path(
    get, path = "/api/v1/sentiment/overview", tag = "seller", operation_id = "sentiment_overview",
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn sentiment(app: State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    show((app, user, conditions), Endpoint::SentimentOverview, &["sentiment", "overview"], None).await
}

/// Shows what will be sold in the coming days.
#[utoipa::path(
    get, path = "/api/v1/forecast/demand", tag = "seller", operation_id = "forecast_demand",
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn forecast(app: State<App>, user: User, conditions: Conditions) -> Result<Response, Problem> {
    show((app, user, conditions), Endpoint::ForecastDemand, &["forecast", "demand"], None).await
}

/// Changes the price of a product.
#[utoipa::path(
    post, path = "/api/v1/products/{id}", tag = "seller", operation_id = "set_price",
    params(("id" = Uuid, Path, description = "The product")), request_body = NewPrice,
    security(("bearer" = [])), responses((status = 200, body = Payload))
)]
async fn set_price(
    State(app): State<App>,
    user: User,
    PathId(id): PathId,
    Json(new): Json<NewPrice>,
) -> Result<Response, Problem> {
    user.may_write()?;
    let on = app.clone();
    let payload = app
        .write(async move {
            let body = json!({ "price_cents": new.price_cents });
            let change = on.seller.put_product(&user.tenant, &id.to_string(), &body).await;
            // Everything on the dashboard is derived from products.
            let event = Event::new("product.updated").id(id.to_string()).data(json!({
                "id": id, "price_cents": new.price_cents,
            }));
            settle(&on, &user, change, event.invalidates([larder::tag(SELLER_TAG)])).await
        })
        .await?;
    Ok(axum::Json(Payload { payload }).into_response())
}

/// Places an order.
#[utoipa::path(
    post, path = "/api/v1/orders", tag = "seller", operation_id = "create_order",
    request_body = NewOrder, security(("bearer" = [])), responses((status = 201, body = Payload))
)]
async fn order(State(app): State<App>, user: User, Json(new): Json<NewOrder>) -> Result<Response, Problem> {
    use Endpoint::{DashboardActivity, DashboardKpis, DashboardTrends, ForecastDemand};
    user.may_write()?;
    let on = app.clone();
    let payload = app
        .write(async move {
            let body = json!({ "product_id": new.product_id, "quantity": new.quantity });
            let change = on.seller.post_order(&user.tenant, &body).await;
            let touched = [DashboardKpis, DashboardActivity, DashboardTrends, ForecastDemand]
                .map(|endpoint| Selector::Prefix(key!(endpoint.name())));
            let event = Event::new("order.created").id(new.product_id.to_string()).data(body);
            settle(&on, &user, change, event.invalidates(touched)).await
        })
        .await?;
    Ok((StatusCode::CREATED, axum::Json(Payload { payload })).into_response())
}

/// What follows from a change: its event, unless nothing was changed. Where that is not known, caches are dropped, but
/// nobody is told that it happened.
async fn settle(app: &App, user: &User, change: Change, event: Event) -> Result<Value, Problem> {
    match change {
        Change::Done(answer) => {
            // Not in one transaction with the change: that was made elsewhere, by HTTP.
            app.changed_elsewhere(&user.cache, event).await;
            Ok(answer)
        }
        Change::Refused(StatusCode::NOT_FOUND) => Err(Problem::not_found()),
        Change::Refused(status) => Err(Problem::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            format!("the seller-data API answered {status}"),
        )),
        Change::Unknown(problem) => {
            if let Err(error) = user.cache.invalidate(larder::tag(SELLER_TAG)).await {
                tracing::warn!(%error, "an invalidation is not through yet");
            }
            Err(problem)
        }
    }
}
