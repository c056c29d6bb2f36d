//! Without the feature.

use http::{HeaderMap, Method, StatusCode};
use tracing::Span;

use super::AnyLayer;
use crate::failure::Failure;

/// There is none.
pub(crate) struct Export;

#[expect(clippy::unnecessary_wraps, reason = "with the feature it may fail")]
pub(crate) fn start() -> Result<Option<(Export, AnyLayer)>, Failure> {
    Ok(None)
}

pub(crate) fn begun(_: &Span, _: &Method, _: &str, _: &HeaderMap) {}

pub(crate) fn answered(_: &Span, _: StatusCode) {}
