//! A query string.

use axum::extract::FromRequestParts;
use http::request::Parts;
use serde_json::{Map, Value};

use super::fields::{Errors, Fields};
use crate::problem::Problem;

/// A query string whose parameters are read like the fields of a body; of a repeated parameter the last one counts.
#[derive(Debug)]
pub struct Query<T>(pub T);

/// Reads a type out of query parameters.
pub trait FromQuery: Sized {
    /// Returns `None` only after it noted an error.
    fn read(fields: &mut Fields<'_>) -> Option<Self>;
}

impl<T: FromQuery, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Problem> {
        let axum::extract::Query(pairs) =
            axum::extract::Query::<Vec<(String, String)>>::try_from_uri(&parts.uri)
                .map_err(|_| Problem::bad_request("the query string can't be read"))?;
        let map: Map<String, Value> = pairs.into_iter().map(|(k, v)| (k, Value::String(v))).collect();
        let mut errors = Errors::default();
        let value = T::read(&mut Fields::of_query(map, &mut errors));
        errors.finish(value).map(Query)
    }
}
