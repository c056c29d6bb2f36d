//! What comes in: JSON bodies, query strings, pages and path ids, with all faults of a request answered together.
//!
//! | what is wrong | answer |
//! | --- | --- |
//! | the body is no JSON | 400 |
//! | a path id is none | 404 |
//! | the body is too long | 413 |
//! | the content type is missing or another | 415 |
//! | fields or query values are missing, of a wrong type or out of range | 422, each of them |

mod fields;
mod json;
mod page;
mod path;
mod query;

pub use fields::{Body, Errors, Fields, is_email};
pub use json::{BODY_LIMIT, Json};
pub use page::{MAX_LIMIT, MAX_PAGE, Page, PageParams};
pub use path::PathId;
pub use query::{FromQuery, Query};
