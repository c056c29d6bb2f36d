//! Which page of a list.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::fields::Fields;
use super::query::FromQuery;

/// The most items on one page.
pub const MAX_LIMIT: i64 = 100;
/// The last page that can be asked for. Deep pages cost the database a walk over all before them.
pub const MAX_PAGE: i64 = 1_000_000;
const DEFAULT_LIMIT: i64 = 20;

/// Which page of a list: `page` from 1, `limit` 20 unless told, at most 100.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct PageParams {
    /// The page, from 1.
    #[param(minimum = 1, maximum = 1_000_000, default = 1, required = false)]
    pub page: i64,
    /// Items on a page.
    #[param(minimum = 1, maximum = 100, default = 20, required = false)]
    pub limit: i64,
}

impl PageParams {
    /// How many items come before this page.
    #[must_use]
    pub fn offset(self) -> i64 {
        (self.page - 1) * self.limit
    }

    /// Puts items and their total number on this page.
    #[must_use]
    pub fn of<T>(self, items: Vec<T>, total: i64) -> Page<T> {
        Page { items, page: self.page, limit: self.limit, total }
    }
}

impl FromQuery for PageParams {
    fn read(fields: &mut Fields<'_>) -> Option<Self> {
        let page = fields.integer_or("page", 1..=MAX_PAGE, 1);
        let limit = fields.integer_or("limit", 1..=MAX_LIMIT, DEFAULT_LIMIT);
        Some(Self { page: page?, limit: limit? })
    }
}

/// One page of a list, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Page<T> {
    /// What is on it.
    pub items: Vec<T>,
    /// Which page this is, from 1.
    #[schema(minimum = 1)]
    pub page: i64,
    /// Items on a full page.
    #[schema(minimum = 1, maximum = 100)]
    pub limit: i64,
    /// Items on all pages.
    #[schema(minimum = 0)]
    pub total: i64,
}
