//! HTTP over a larder cache: cached responses, `application/problem+json`, validated input and the cache operations.
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
