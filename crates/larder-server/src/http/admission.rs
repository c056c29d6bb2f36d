//! Which requests are let in: by rate, by how many are being served, and by size.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::Method;
use larder_http::{ClientAddr, Problem};
use tokio::sync::Semaphore;

use super::body;
use super::rate::Limiter;
use crate::config::Config;
use crate::limits::{BODY_BYTES, IMPORT_BYTES};

/// The gate in front of the routes.
pub(super) struct Admission {
    places: Semaphore,
    api: Option<Limiter>,
    uploads: Option<Limiter>,
}

impl Admission {
    pub(super) fn new(config: &Config) -> Self {
        Self {
            places: Semaphore::new(config.max_concurrent_requests.as_usize()),
            api: Limiter::new(config.rate_limit_api),
            uploads: Limiter::new(config.rate_limit_uploads),
        }
    }

    fn check_rate(&self, address: IpAddr, upload: bool) -> Result<(), Problem> {
        let limiter = if upload { &self.uploads } else { &self.api };
        let Some(limiter) = limiter else { return Ok(()) };
        let after = limiter.check(address);
        after.map_err(|after| Problem::too_many_requests("too many requests from this address", after))
    }
}

/// Whether `path` is for orchestrators, which must get an answer however busy the server is.
pub(super) fn is_health(path: &str) -> bool {
    path == "/health" || path.starts_with("/health/")
}

fn is_import(method: &Method, path: &str) -> bool {
    method == Method::POST && path.starts_with("/api/v1/campaigns/") && path.ends_with("/leads/import")
}

fn is_upload(method: &Method, path: &str) -> bool {
    is_import(method, path) || (method == Method::POST && path == "/api/threats")
}

pub(super) async fn admit(State(gate): State<Arc<Admission>>, request: Request, next: Next) -> Response {
    let path = request.uri().path();
    let import = is_import(request.method(), path);
    let size = if import { IMPORT_BYTES } else { BODY_BYTES };
    if !is_health(path) {
        let address =
            request.extensions().get::<ClientAddr>().map_or(IpAddr::from([0, 0, 0, 0]), |client| client.0);
        if let Err(problem) = gate.check_rate(address, is_upload(request.method(), path)) {
            return problem.into_response();
        }
    }
    let _place = if is_health(path) {
        None
    } else {
        match gate.places.try_acquire() {
            Ok(place) => Some(place),
            Err(_) => {
                let busy = Problem::unavailable("as many requests as this server takes are being served");
                return busy.retry_after(Duration::from_secs(1)).into_response();
            }
        }
    };
    match body::limit(request, size).await {
        Ok(request) => next.run(request).await,
        Err(problem) => problem.into_response(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uploads_are_the_imports_and_what_the_crawler_posts() {
        let import = "/api/v1/campaigns/0198/leads/import";
        assert!(is_upload(&Method::POST, import));
        assert!(is_upload(&Method::POST, "/api/threats"));
        assert!(!is_upload(&Method::GET, "/api/threats"));
        assert!(!is_upload(&Method::POST, "/api/v1/campaigns"));
        assert!(is_import(&Method::POST, import));
        assert!(!is_import(&Method::POST, "/api/threats"));
    }

    #[test]
    fn health_routes_are_told_by_whole_segments() {
        for (path, health) in [
            ("/health", true),
            ("/health/live", true),
            ("/health/cache", true),
            ("/healthy", false),
            ("/", false),
        ] {
            assert_eq!(is_health(path), health, "{path}");
        }
    }
}
