//! An id with the name that people know it by.

use serde::Serialize;
use sqlx::Error;
use sqlx::any::AnyRow;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::row;

/// Something or somebody with a name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Named {
    /// Its id.
    pub id: Uuid,
    /// Its name.
    pub name: String,
}

impl Named {
    /// Reads a row that begins with id and name.
    ///
    /// # Errors
    /// Where it does not.
    pub fn of(row: &AnyRow) -> Result<Self, Error> {
        Ok(Self { id: row::id(row, 0)?, name: row::text(row, 1)? })
    }
}
