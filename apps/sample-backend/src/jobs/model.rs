//! What a job is.

use std::collections::BTreeMap;

use larder_http::{Body, Errors, Fields};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;
use uuid::Uuid;

use crate::time::Time;

/// The most that a job may pay, in cents: a billion, so that the sum of millions stays far from the end of 64 bits.
const MAX_SALARY_CENTS: i64 = 100_000_000_000;

/// A job that somebody can apply for.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Job {
    /// Its id.
    pub id: Uuid,
    /// What it is called.
    pub title: String,
    /// Who offers it.
    pub company: String,
    /// Where it is.
    pub location: String,
    /// What kind of work it is.
    pub category: String,
    /// The least it pays.
    #[schema(minimum = 0)]
    pub salary_min_cents: i64,
    /// The most it pays.
    #[schema(minimum = 0)]
    pub salary_max_cents: i64,
    /// When it was posted.
    pub created_at: Time,
}

/// A job to be posted.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct NewJob {
    /// What it is called.
    #[schema(min_length = 1, max_length = 200)]
    pub title: String,
    /// Who offers it.
    #[schema(min_length = 1, max_length = 200)]
    pub company: String,
    /// Where it is.
    #[schema(min_length = 1, max_length = 100)]
    pub location: String,
    /// What kind of work it is.
    #[schema(min_length = 1, max_length = 100)]
    pub category: String,
    /// The least it pays.
    #[schema(minimum = 0, maximum = 100_000_000_000_i64)]
    pub salary_min_cents: i64,
    /// The most it pays: not less than the least.
    #[schema(minimum = 0, maximum = 100_000_000_000_i64)]
    pub salary_max_cents: i64,
}

impl Body for NewJob {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (title, company) = (f.text("title", 1..=200), f.text("company", 1..=200));
        let (location, category) = (f.text("location", 1..=100), f.text("category", 1..=100));
        let least = f.integer("salary_min_cents", 0..=MAX_SALARY_CENTS);
        let mut most = f.integer("salary_max_cents", 0..=MAX_SALARY_CENTS);
        if least.zip(most).is_some_and(|(least, most)| most < least) {
            most = f.fault("salary_max_cents", "must not be less than salary_min_cents");
        }
        Some(Self {
            title: title?,
            company: company?,
            location: location?,
            category: category?,
            salary_min_cents: least?,
            salary_max_cents: most?,
        })
    }
}

/// A tenant's jobs in numbers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct JobsStats {
    /// How many there are.
    #[schema(minimum = 0)]
    pub total: i64,
    /// The middle between least and most, on average; 0 where there are none.
    #[schema(minimum = 0)]
    pub average_salary_cents: i64,
    /// How many there are of each category.
    pub by_category: BTreeMap<String, i64>,
    /// How many there are in each place.
    pub by_location: BTreeMap<String, i64>,
}
