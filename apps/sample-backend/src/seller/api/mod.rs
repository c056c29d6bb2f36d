//! The built-in seller-data API: a second small HTTP server on loopback that stands for a foreign system.
//!
//! It is reached over TCP like any other and keeps its state in the database, so that several servers agree.

mod reports;
mod shop;

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::extract::{Path, State};
use axum::routing::{get, post, put};
use axum::{Json as Answer, Router};
use http::StatusCode;
use larder_http::problem::with_fallbacks;
use larder_http::{Body, Errors, Fields, FromQuery, Json, Problem, Query};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::db::Db;

/// A running seller-data API.
#[derive(Debug)]
pub(crate) struct Serving {
    /// Where it listens.
    pub(crate) address: SocketAddr,
    /// Ends when it has stopped.
    pub(crate) task: tokio::task::JoinHandle<()>,
}

#[derive(Debug, Clone)]
struct Shop {
    db: Db,
    delay: Duration,
}

/// Serves until `stop`. Where the port is taken, any free one is used.
pub(crate) async fn serve(
    db: Db,
    port: u16,
    delay: Duration,
    stop: CancellationToken,
) -> io::Result<Serving> {
    let listener = match TcpListener::bind((Ipv4Addr::LOCALHOST, port)).await {
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
            let address = listener.local_addr()?;
            tracing::warn!(port, %address, "SELLER_API_PORT is taken; the built-in seller-data API uses another");
            listener
        }
        other => other?,
    };
    let address = listener.local_addr()?;
    let routes = routes(Shop { db, delay });
    let task = tokio::spawn(async move {
        let served = axum::serve(listener, routes).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the built-in seller-data API stopped");
        }
    });
    Ok(Serving { address, task })
}

fn routes(shop: Shop) -> Router {
    let router = Router::new()
        .route("/{tenant}/dashboard/{report}", get(report))
        .route("/{tenant}/pricing/trends", get(pricing))
        .route("/{tenant}/sentiment/overview", get(sentiment))
        .route("/{tenant}/forecast/demand", get(forecast))
        .route("/{tenant}/products", get(products))
        .route("/{tenant}/products/{id}", put(set_price))
        .route("/{tenant}/orders", post(order));
    with_fallbacks(router).layer(axum::middleware::from_fn_with_state(shop.clone(), wait)).with_state(shop)
}

/// A far-away system takes its time.
async fn wait(
    State(shop): State<Shop>,
    request: axum::extract::Request,
    next: axum::middleware::Next,
) -> axum::response::Response {
    if !shop.delay.is_zero() {
        tokio::time::sleep(shop.delay).await;
    }
    next.run(request).await
}

type Reply = Result<Answer<Value>, Problem>;

struct Params {
    days: i64,
    limit: i64,
}

impl FromQuery for Params {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        let (days, limit) = (f.integer_or("days", 1..=365, 30), f.integer_or("limit", 1..=100, 10));
        Some(Self { days: days?, limit: limit? })
    }
}

async fn report(
    State(shop): State<Shop>,
    Path((tenant, report)): Path<(String, String)>,
    Query(params): Query<Params>,
) -> Reply {
    let db = &shop.db;
    let answer = match report.as_str() {
        "kpis" => reports::kpis(db, &tenant).await?,
        "trends" => reports::trends(db, &tenant, params.days).await?,
        "alerts" => shop::alerts(db, &tenant).await?,
        "insights" => shop::insights(db, &tenant).await?,
        "activity" => reports::activity(db, &tenant, params.limit).await?,
        _ => return Err(Problem::not_found()),
    };
    Ok(Answer(answer))
}

async fn pricing(State(shop): State<Shop>, Path(tenant): Path<String>) -> Reply {
    Ok(Answer(shop::pricing(&shop.db, &tenant).await?))
}

async fn sentiment(State(shop): State<Shop>, Path(tenant): Path<String>) -> Reply {
    Ok(Answer(shop::sentiment(&shop.db, &tenant).await?))
}

async fn forecast(State(shop): State<Shop>, Path(tenant): Path<String>) -> Reply {
    Ok(Answer(reports::forecast(&shop.db, &tenant).await?))
}

async fn products(State(shop): State<Shop>, Path(tenant): Path<String>) -> Reply {
    Ok(Answer(shop::products(&shop.db, &tenant).await?))
}

struct Price(i64);

impl Body for Price {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        Fields::of(value, path, errors)?.integer("price_cents", 1..=i64::MAX).map(Self)
    }
}

async fn set_price(
    State(shop): State<Shop>,
    Path((tenant, id)): Path<(String, Uuid)>,
    Json(Price(cents)): Json<Price>,
) -> Reply {
    shop::set_price(&shop.db, &tenant, id, cents).await?.map(Answer).ok_or_else(Problem::not_found)
}

struct Order {
    product: Uuid,
    quantity: i64,
}

impl Body for Order {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (product, quantity) = (f.choice("product_id", "ids"), f.integer("quantity", 1..=10_000));
        Some(Self { product: product?, quantity: quantity? })
    }
}

async fn order(
    State(shop): State<Shop>,
    Path(tenant): Path<String>,
    Json(order): Json<Order>,
) -> Result<(StatusCode, Answer<Value>), Problem> {
    let placed = shop::order(&shop.db, &tenant, order.product, order.quantity).await?;
    placed.map(|order| (StatusCode::CREATED, Answer(order))).ok_or_else(Problem::not_found)
}
