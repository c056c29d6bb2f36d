//! The cache at a glance: one snapshot for everybody who looks, taken at most once a second, and never while nobody does.

mod alerts;
mod leaders;
mod percentile;
mod reading;
mod sample;
mod shape;
mod stream;
mod view;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::{FromRequestParts, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::HeaderMap;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use tokio::sync::{Mutex, Semaphore, watch};

use super::gate::is_loopback;
use super::process::Process;
use super::{Ops, Shared};
use crate::problem::Problem;
use crate::who::{ClientAddr, Role};
use reading::{FORGOTTEN, History};
use sample::Sample;
use shape::Overview;
use view::Viewer;

pub(super) use percentile::Histogram;
pub(super) use stream::live;

/// Open streams of it. A dashboard is for people; beyond it somebody forgot to close theirs.
const WATCHERS: usize = 100;
/// How often it is taken while somebody looks.
const EVERY: Duration = Duration::from_secs(1);
/// The number of no snapshot: there will be no more.
const ENDED: u64 = u64::MAX;
/// Tenants whose readings and views are kept while they look: a stream each at most, and some that ask once.
const TENANTS: usize = 2 * WATCHERS;

/// What everybody who looks shares.
pub(super) struct Overviews {
    state: Mutex<Looked>,
    /// Told the number of each snapshot, and [`ENDED`] when the server ends.
    news: watch::Sender<u64>,
    places: Arc<Semaphore>,
    /// Whether a task takes snapshots.
    ticking: parking_lot::Mutex<bool>,
}

impl Default for Overviews {
    fn default() -> Self {
        Self {
            state: Mutex::default(),
            news: watch::Sender::new(0),
            places: Arc::new(Semaphore::new(WATCHERS)),
            ticking: parking_lot::Mutex::default(),
        }
    }
}

/// The last snapshot, and what it is compared with.
#[derive(Default)]
struct Looked {
    seq: u64,
    sample: Option<Sample>,
    node: History,
    tenants: HashMap<String, History>,
    /// As it goes out, by who asks; of this snapshot only.
    shown: HashMap<Viewer, Bytes>,
    process: Option<Process>,
}

impl Looked {
    fn is_older_than(&self, age: Duration) -> bool {
        self.sample.as_ref().is_none_or(|sample| sample.at.elapsed() >= age)
    }

    /// Takes another snapshot.
    async fn look(&mut self, ops: &Shared) {
        let (sample, reading) = sample::take(ops, ops.overviews.watchers(), self.process).await;
        self.seq += 1;
        self.process = sample.looked;
        self.node.push(reading);
        self.shown.clear();
        let at = sample.at;
        let is_watched =
            |history: &History| history.last().is_some_and(|last| at.duration_since(last.at) < FORGOTTEN);
        self.tenants.retain(|_, history| is_watched(history));
        self.sample = Some(sample);
    }

    /// What this viewer is shown of the last snapshot.
    fn show(&mut self, ops: &Shared, viewer: &Viewer) -> Result<Bytes, Problem> {
        if let Some(shown) = self.shown.get(viewer) {
            return Ok(shown.clone());
        }
        let overview = self.view(ops, viewer).ok_or_else(Problem::internal)?;
        let json = serde_json::to_vec(&overview).map_err(|error| {
            tracing::error!(%error, "the overview can't be written");
            Problem::internal()
        })?;
        let shown = Bytes::from(json);
        if self.shown.len() < TENANTS {
            self.shown.insert(viewer.clone(), shown.clone());
        }
        Ok(shown)
    }

    fn view(&mut self, ops: &Shared, viewer: &Viewer) -> Option<Overview> {
        let sample = self.sample.as_ref()?;
        match viewer {
            Viewer::Admin => view::of_node(ops, self.seq, sample, &self.node, true),
            Viewer::Node => view::of_node(ops, self.seq, sample, &self.node, false),
            Viewer::Tenant(name) => {
                let (reading, held) = sample::of_tenant(ops, name, sample.at);
                let mut once = History::default();
                let is_kept = self.tenants.contains_key(name) || self.tenants.len() < TENANTS;
                let history = if is_kept { self.tenants.entry(name.clone()).or_default() } else { &mut once };
                history.push(reading);
                view::of_tenant(ops, self.seq, sample, history, held)
            }
        }
    }
}

impl Overviews {
    /// Ends the streams.
    pub(super) fn end(&self) {
        self.news.send_replace(ENDED);
    }

    fn watchers(&self) -> u64 {
        (WATCHERS - self.places.available_permits()) as u64
    }
}

impl Ops {
    /// The overview, at most a second old.
    async fn overview(&self, viewer: &Viewer) -> Result<Bytes, Problem> {
        let mut looked = self.overviews.state.lock().await;
        // While snapshots are taken regularly the last is new enough, if a moment late.
        let age = if *self.overviews.ticking.lock() { 2 * EVERY } else { EVERY };
        if looked.is_older_than(age) {
            looked.look(self).await;
        }
        looked.show(self, viewer)
    }

    /// Takes a snapshot every second until nobody watches any more.
    fn tick(&self) {
        let mut ticking = self.overviews.ticking.lock();
        if std::mem::replace(&mut *ticking, true) {
            return;
        }
        let ops = self.clone();
        tokio::spawn(async move {
            let began = Instant::now();
            let mut interval = tokio::time::interval_at((began + EVERY).into(), EVERY);
            interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                interval.tick().await;
                {
                    let mut ticking = ops.overviews.ticking.lock();
                    if ops.overviews.news.receiver_count() == 0 {
                        *ticking = false;
                        return;
                    }
                }
                let seq = {
                    let mut looked = ops.overviews.state.lock().await;
                    looked.look(&ops).await;
                    looked.seq
                };
                ops.overviews
                    .news
                    .send_if_modified(|last| *last != ENDED && std::mem::replace(last, seq) != seq);
            }
        });
    }
}

impl Viewer {
    /// Who asks; or why they may not.
    fn of(ops: &Ops, headers: &HeaderMap, here: bool) -> Result<Self, Problem> {
        match ops.who.identify(headers)? {
            Some(who) if who.role == Role::Admin => Ok(Self::Admin),
            Some(who) => Ok(Self::Tenant(who.tenant)),
            None if ops.open_on_loopback && here => Ok(Self::Node),
            None => Err(Problem::unauthorized()),
        }
    }
}

/// Somebody who may see an overview: with a token, or on this machine in development.
pub(super) struct Looking {
    viewer: Viewer,
    headers: HeaderMap,
    here: bool,
}

impl FromRequestParts<Ops> for Looking {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, ops: &Ops) -> Result<Self, Problem> {
        let client = parts.extensions.get::<ClientAddr>();
        let here = client.is_some_and(|client| is_loopback(client.0, &parts.headers, &parts.uri));
        let viewer = Viewer::of(ops, &parts.headers, here)?;
        Ok(Self { viewer, headers: parts.headers.clone(), here })
    }
}

/// Tells what the cache does at this moment: to an admin of all, to others of their tenant; in development on loopback to
/// anyone of the node.
#[utoipa::path(
    get, path = "/api/cache/overview", tag = "operations", operation_id = "cache_overview", security((), ("bearer" = [])),
    responses((status = 200, description = "A snapshot, at most a second old", body = Overview))
)]
pub(super) async fn overview(State(ops): State<Ops>, looking: Looking) -> Result<Response, Problem> {
    let json = ops.overview(&looking.viewer).await?;
    Ok(([(CONTENT_TYPE, "application/json")], json).into_response())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ops::{Endpoints, Operations, Requests};
    use crate::who::{Authenticate, Identity};
    use larder::Cache;
    use larder_testkit::assert_eventually;

    struct Nobody;

    impl Authenticate for Nobody {
        fn identify(&self, _: &HeaderMap) -> Result<Option<Identity>, Problem> {
            Ok(None)
        }
    }

    async fn ops() -> Ops {
        let operations = Operations {
            cache: Cache::builder("test").build().await.unwrap(),
            who: Arc::new(Nobody),
            database: None,
            endpoints: Endpoints::default(),
            requests: Requests::default(),
            connections: Arc::new(Vec::new),
            measures: Arc::new(Vec::new),
            open_on_loopback: true,
            metrics_token: None,
            version: "1",
            stopping: Arc::default(),
        };
        Ops(Arc::new(Shared::new(operations)))
    }

    #[tokio::test]
    async fn nothing_is_taken_while_nobody_looks() {
        let ops = ops().await;
        assert_eq!(ops.overviews.state.lock().await.seq, 0);
        let (one, other) = (ops.overviews.news.subscribe(), ops.overviews.news.subscribe());
        ops.tick();
        ops.tick();
        drop(one);
        let mut news = other;
        news.changed().await.unwrap();
        assert!(*ops.overviews.ticking.lock());
        drop(news);
        assert_eventually!(!*ops.overviews.ticking.lock(), Duration::from_secs(30), "it has ended");
        let seq = ops.overviews.state.lock().await.seq;
        // And begins again for the next.
        let mut news = ops.overviews.news.subscribe();
        ops.tick();
        news.changed().await.unwrap();
        assert_eq!(ops.overviews.state.lock().await.seq, seq + 1);
    }
}
