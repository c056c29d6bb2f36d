//! Reading columns.

use sqlx::any::AnyRow;
use sqlx::{Error, Row};
use uuid::Uuid;

/// An id.
///
/// # Errors
/// Where the column is missing or holds no id.
pub(crate) fn id(row: &AnyRow, column: usize) -> Result<Uuid, Error> {
    let text: &str = row.try_get(column)?;
    Uuid::try_parse(text).map_err(|e| Error::Decode(e.into()))
}

/// A number that counts something.
///
/// # Errors
/// Where the column is missing or no number.
pub(crate) fn number(row: &AnyRow, column: usize) -> Result<i64, Error> {
    row.try_get(column)
}

/// Text.
///
/// # Errors
/// Where the column is missing or no text.
pub(crate) fn text(row: &AnyRow, column: usize) -> Result<String, Error> {
    row.try_get(column)
}
