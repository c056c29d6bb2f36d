//! HTTP over a larder cache: cached responses, `application/problem+json`, validated input and the cache operations.
//!
//! ```no_run
//! use axum::{Router, extract::State, response::Response, routing::get};
//! use larder::{Cache, Policy, Tenant, key};
//! use larder_http::{Audience, Conditions, Problem, Rendered, respond::cached};
//! use std::{sync::LazyLock, time::Duration};
//!
//! static ROWS: LazyLock<Policy> = LazyLock::new(|| Policy::ttl(Duration::from_secs(60)).tag("rows"));
//!
//! // What is cached is the answer itself: bytes with their `ETag`, made once. A client that has them gets 304.
//! async fn rows(State(acme): State<Tenant>, conditions: Conditions) -> Result<Response, Problem> {
//!     let load = || async { Rendered::json(&["a row"]).map_err(std::io::Error::other) };
//!     let found = acme.fetch(key!("rows"), &*ROWS, load).await?;
//!     Ok(cached(Audience::Private, &conditions, &found.value, &found.status)) // X-Cache, Cache-Status, Age …
//! }
//!
//! # async fn example() -> Result<(), larder::Error> {
//! let cache = Cache::builder("shop").build().await?;
//! let app: Router = Router::new().route("/rows", get(rows)).with_state(cache.tenant("acme"));
//! # Ok(()) }
//! ```
//!
//! | module | what it is for |
//! | --- | --- |
//! | [`problem`] | the one error of every route (RFC 9457) |
//! | [`input`] | JSON bodies, query strings, pages and path ids; all faults of one request are answered together |
//! | [`ops`] | health, statistics, keys, clearing and metrics |
//! | [`rendered`] | what a route caches: body, content type and `ETag`, made once |
//! | [`respond`] | cached values as responses, with the headers that say how the lookup ended |
//! | [`who`] | who is asking, as far as HTTP needs to know |

mod failure;
pub mod input;
pub mod ops;
pub mod problem;
pub mod rendered;
pub mod respond;
pub mod who;

pub use input::{Body, Errors, Fields, FromQuery, Json, Page, PageParams, PathId, Query};
pub use problem::{FieldError, Problem};
pub use rendered::Rendered;
pub use respond::{Audience, Conditions};
pub use who::{Authenticate, ClientAddr, Identity, Role};
