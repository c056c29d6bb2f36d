//! Requests, counted by route, method and status class.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode};

use super::super::overview::Histogram;
use super::exposition::Exposition;

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// What is counted under a path that is no known route.
const OTHER: &str = "other";

/// Counts requests. Cheap to clone; clones count together.
///
/// The routes are known before the first request, so counting one takes no lock.
#[derive(Debug, Clone, Default)]
pub struct Requests(Arc<Counted>);

#[derive(Debug, Default)]
struct Counted {
    table: OnceLock<Table>,
    /// How long those took that the cache answered.
    hits: Histogram,
    /// How long those took that it did not.
    misses: Histogram,
}

#[derive(Debug)]
struct Table {
    routes: HashMap<String, Counters>,
    other: Counters,
}

#[derive(Debug, Default)]
struct Counters([[AtomicU64; CLASSES.len()]; METHODS.len()]);

impl Counters {
    fn add(&self, method: usize, status: StatusCode) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.0[method][class].fetch_add(1, Relaxed);
    }

    fn describe(&self, route: &str, each: &mut impl FnMut(&[(&str, &str)], u64)) {
        for (method, classes) in METHODS.iter().zip(&self.0) {
            for (class, count) in CLASSES.iter().zip(classes) {
                match count.load(Relaxed) {
                    0 => {}
                    count => each(&[("route", route), ("method", method), ("status", class)], count),
                }
            }
        }
    }
}

impl Requests {
    /// Counts what `router` answers. `routes` are its paths; what comes under another path is counted as `other`. Only
    /// the first call says which they are.
    pub fn count(&self, router: Router, routes: impl IntoIterator<Item = impl Into<String>>) -> Router {
        self.0.table.get_or_init(|| Table {
            routes: routes.into_iter().map(|route| (route.into(), Counters::default())).collect(),
            other: Counters::default(),
        });
        router.layer(from_fn_with_state(self.clone(), count))
    }

    /// By duration, those that were answered with `X-Cache: HIT`.
    pub(in super::super) fn hits(&self) -> &Histogram {
        &self.0.hits
    }

    /// By duration, those that were answered with `X-Cache: MISS`.
    pub(in super::super) fn misses(&self) -> &Histogram {
        &self.0.misses
    }

    pub(super) fn describe(&self, out: &mut Exposition) {
        let mut family =
            out.counter("larder_http_requests_total", "Requests answered, by route, method and status class");
        let Some(table) = self.0.table.get() else { return };
        let mut each = |labels: &[(&str, &str)], count| family.number(labels, count);
        let mut routes: Vec<_> = table.routes.iter().collect();
        routes.sort_unstable_by_key(|(route, _)| *route);
        for (route, counters) in routes {
            counters.describe(route, &mut each);
        }
        table.other.describe(OTHER, &mut each);
    }
}

/// A request that is cut off before it is answered is not counted.
async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let method = place_of(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    match response.headers().get("x-cache").map(HeaderValue::as_bytes) {
        Some(b"HIT") => requests.0.hits.add(began.elapsed()),
        Some(b"MISS") => requests.0.misses.add(began.elapsed()),
        _ => {}
    }
    if let Some(table) = requests.0.table.get() {
        let counters = route.and_then(|route| table.routes.get(route.as_str())).unwrap_or(&table.other);
        counters.add(method, response.status());
    }
    response
}

fn place_of(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}
