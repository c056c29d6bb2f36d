//! One document for all routes.

use bytes::Bytes;
use utoipa::openapi::{InfoBuilder, OpenApi, Paths};

use crate::failure::Failure;

/// Renders `parts`, the documents of the areas, as one.
pub(super) fn render(parts: impl IntoIterator<Item = OpenApi>) -> Result<Bytes, Failure> {
    let info = InfoBuilder::new()
        .title("larder")
        .version(env!("CARGO_PKG_VERSION"))
        .description(Some("A multi-tenant backend whose slow reads go through the larder cache."))
        .build();
    let mut document = OpenApi::new(info, Paths::new());
    for part in parts {
        document.merge(part);
    }
    let json = serde_json::to_vec(&document);
    json.map(Bytes::from)
        .map_err(|error| Failure::new(format!("the OpenAPI document can't be rendered: {error}")))
}
