//! Requests, counted by route, method and status class, and how long they took.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use http::{HeaderValue, Method, StatusCode};

use super::super::overview::Histogram;
use super::durations::Durations;
use super::exposition::{Exposition, Observed};

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "other"];
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The place of what the server failed to do.
const FAILED: usize = CLASSES.len() - 1;
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

/// Of one route.
#[derive(Debug, Default)]
struct Counters {
    /// By method, then by class.
    counts: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    /// By class.
    durations: [Durations; CLASSES.len()],
}

/// Requests that were answered since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(in super::super) struct Answered {
    pub(in super::super) requests: u64,
    /// Of these, those that were answered with 5xx.
    pub(in super::super) failed: u64,
}

impl Counters {
    fn add(&self, method: usize, status: StatusCode, took: Duration) {
        let class = usize::from(status.as_u16() / 100).clamp(1, CLASSES.len()) - 1;
        self.counts[method][class].fetch_add(1, Relaxed);
        self.durations[class].add(took);
    }

    fn add_to(&self, sum: &mut Answered) {
        for classes in &self.counts {
            sum.requests += classes.iter().map(|count| count.load(Relaxed)).sum::<u64>();
            sum.failed += classes[FAILED].load(Relaxed);
        }
    }

    fn describe(&self, route: &str, each: &mut impl FnMut(&[(&str, &str)], u64)) {
        for (method, classes) in METHODS.iter().zip(&self.counts) {
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

    /// All routes together.
    pub(in super::super) fn answered(&self) -> Answered {
        let mut sum = Answered::default();
        let table = self.0.table.get();
        table.iter().flat_map(|table| table.each()).for_each(|(_, counters)| counters.add_to(&mut sum));
        sum
    }

    pub(super) fn describe(&self, out: &mut Exposition) {
        let mut routes: Vec<_> = self.0.table.get().iter().flat_map(|table| table.each()).collect();
        routes.sort_unstable_by_key(|(route, _)| *route);
        let mut family =
            out.counter("larder_http_requests_total", "Requests answered, by route, method and status class");
        for (route, counters) in &routes {
            counters.describe(route, &mut |labels, count| family.number(labels, count));
        }
        let help = "Time until the answer to a request began, by route and status class";
        let mut family = out.histogram("larder_http_request_duration_seconds", help);
        for (route, counters) in &routes {
            for (class, durations) in CLASSES.iter().zip(&counters.durations) {
                durations.describe(&[("route", route), ("status", class)], &mut family);
            }
        }
        let help = "Time until the answer to a request began, of those whose X-Cache is HIT or MISS";
        let mut family = out.histogram("larder_http_cached_duration_seconds", help);
        for (word, histogram) in [("hit", self.hits()), ("miss", self.misses())] {
            let (bounds, counts, sum) = histogram.coarse();
            family.observed(&[("cache", word)], &Observed { bounds: &bounds, counts: &counts, sum });
        }
    }
}

impl Table {
    fn each(&self) -> impl Iterator<Item = (&str, &Counters)> {
        let known = self.routes.iter().map(|(route, counters)| (route.as_str(), counters));
        known.chain([(OTHER, &self.other)])
    }
}

/// A request that is cut off before it is answered is not counted.
async fn count(State(requests): State<Requests>, request: Request, next: Next) -> Response {
    let method = place_of(request.method());
    let route = request.extensions().get::<MatchedPath>().cloned();
    let began = Instant::now();
    let response = next.run(request).await;
    let took = began.elapsed();
    match response.headers().get("x-cache").map(HeaderValue::as_bytes) {
        Some(b"HIT") => requests.0.hits.add(took),
        Some(b"MISS") => requests.0.misses.add(took),
        _ => {}
    }
    if let Some(table) = requests.0.table.get() {
        let counters = route.and_then(|route| table.routes.get(route.as_str())).unwrap_or(&table.other);
        counters.add(method, response.status(), took);
    }
    response
}

fn place_of(method: &Method) -> usize {
    METHODS.iter().position(|known| *known == method.as_str()).unwrap_or(METHODS.len() - 1)
}
