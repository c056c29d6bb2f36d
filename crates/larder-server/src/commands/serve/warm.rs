//! `CACHE_WARM`: some answers are loaded for every tenant before anybody asks, and again when they expire.
//!
//! The backend's own routes are asked, in this process, so what is warm is exactly what a client will be served. Of several nodes
//! one loads, since a key has one flight and one lease; the others find the value in Redis.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use futures_util::{StreamExt, stream};
use http::header::AUTHORIZATION;
use http::{Request, StatusCode};
use http_body_util::BodyExt;
use larder_http::{Identity, Role};
use sample_backend::Backend;
use sample_backend::auth::{Tokens, tenants};
use sample_backend::db::Db;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use uuid::Uuid;

use crate::cache_headers;
use crate::config::{Config, ttl};
use crate::limits::{WARM_CONCURRENCY, WARM_PAUSE};

/// One answer that is kept warm.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Dish {
    /// Nobody's where all share it.
    tenant: Option<String>,
    path: &'static str,
}

/// What is needed to ask in the name of each tenant.
#[derive(Clone)]
struct Kitchen {
    routes: Router,
    tokens: Arc<Tokens>,
    db: Db,
    endpoints: Arc<[String]>,
}

/// Begins in the background, where `config` names anything to be warmed.
pub(super) fn begin(config: &Config, backend: &Backend) -> Option<JoinHandle<()>> {
    if config.cache_warm.0.is_empty() {
        return None;
    }
    if !config.cache_enabled {
        tracing::warn!("CACHE_WARM has no effect with CACHE_ENABLED=false");
        return None;
    }
    let kitchen = Kitchen {
        routes: backend.router.clone(),
        tokens: Arc::clone(&backend.tokens),
        db: backend.db.clone(),
        endpoints: config.cache_warm.0.clone().into(),
    };
    Some(tokio::spawn(kitchen.keep_warm()))
}

impl Kitchen {
    async fn keep_warm(self) {
        let mut due: HashMap<Dish, Instant> = HashMap::new();
        let mut first = true;
        loop {
            self.take_orders(&mut due).await;
            let now = Instant::now();
            let ready: Vec<Dish> =
                due.iter().filter(|(_, at)| **at <= now).map(|(dish, _)| dish.clone()).collect();
            let total = ready.len();
            let mut cooking =
                stream::iter(ready).map(|dish| self.cook(dish)).buffer_unordered(WARM_CONCURRENCY);
            let (mut done, mut failed) = (0, 0);
            while let Some((dish, fresh)) = cooking.next().await {
                done += 1;
                failed += usize::from(fresh.is_none());
                // What is fresh for less than a second is looked at again in one, by when it has expired.
                let wait = fresh.map_or(WARM_PAUSE, |fresh| fresh.max(Duration::from_secs(1)));
                due.insert(dish, Instant::now() + wait);
                if first && done * 10 / total > (done - 1) * 10 / total {
                    tracing::info!(done, total, failed, "warming the cache");
                }
            }
            drop(cooking);
            if first {
                tracing::info!(answers = done - failed, failed, "the cache is warm");
            } else if failed > 0 {
                tracing::warn!(failed, "answers could not be loaded again; they are tried once more soon");
            }
            first = false;
            let next =
                due.values().min().copied().unwrap_or(now + WARM_PAUSE).min(Instant::now() + WARM_PAUSE);
            tokio::time::sleep_until(next).await;
        }
    }

    /// Adds what new tenants need, and drops what is of tenants that are gone.
    async fn take_orders(&self, due: &mut HashMap<Dish, Instant>) {
        let tenants = match tenants(&self.db).await {
            Ok(tenants) => tenants,
            Err(error) => {
                tracing::warn!(%error, "the tenants could not be read; those known are kept warm");
                return;
            }
        };
        let wanted: HashSet<Dish> = self.endpoints.iter().flat_map(|name| dishes(name, &tenants)).collect();
        due.retain(|dish, _| wanted.contains(dish));
        for dish in wanted {
            due.entry(dish).or_insert_with(Instant::now);
        }
    }

    /// Loads one answer unless it is there. For how long it is fresh, or nothing where it can't be had.
    async fn cook(&self, dish: Dish) -> (Dish, Option<Duration>) {
        let mut request = Request::get(dish.path);
        if let Some(tenant) = &dish.tenant {
            // Nobody in particular: what is warmed is the same for every user of the tenant.
            let who = Identity { tenant: tenant.clone(), user: Uuid::nil().to_string(), role: Role::Member };
            request = request.header(AUTHORIZATION, format!("Bearer {}", self.tokens.issue(&who)));
        }
        let Ok(request) = request.body(Body::empty()) else { return (dish, None) };
        let response = match tower::ServiceExt::oneshot(self.routes.clone(), request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let status = response.status();
        if status != StatusCode::OK {
            tracing::debug!(path = dish.path, tenant = dish.tenant, %status, "an answer could not be loaded ahead");
            return (dish, None);
        }
        let fresh = cache_headers::ttl(response.headers());
        // Read to its end, so that nothing of it is left behind.
        drop(response.into_body().collect().await);
        (dish, fresh)
    }
}

fn dishes(endpoint: &str, tenants: &[String]) -> Vec<Dish> {
    let paths = ttl::warming(endpoint);
    if ttl::is_shared(endpoint) {
        return paths.iter().map(|path| Dish { tenant: None, path }).collect();
    }
    let of = |tenant: &String| {
        paths.iter().map(|path| Dish { tenant: Some(tenant.clone()), path }).collect::<Vec<_>>()
    };
    tenants.iter().flat_map(of).collect()
}
