//! What a threat is, and what charts show of many.

use std::collections::BTreeMap;

use larder_http::{Body, Errors, Fields, FromQuery, PageParams};
use serde::Serialize;
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use crate::choice::choice;
use crate::time::{DAY, Time};

/// The most threats that are taken at once.
pub(super) const MAX_AT_ONCE: usize = 1_000;
/// The longest name of a source, in characters.
const MAX_SOURCE: usize = 100;

choice! {
    /// How bad a threat is.
    #[derive(PartialOrd, Ord)]
    pub enum Severity { Low = "low", Medium = "medium", High = "high", Critical = "critical" }
}

/// A threat.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Threat {
    /// Its id.
    pub id: Uuid,
    /// What it is.
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Who reported it.
    pub source: String,
    /// What it is known by: an address, a domain, a hash.
    pub indicator: String,
    /// When it was published.
    pub published_at: Time,
}

/// What a crawler says of a threat.
#[derive(Debug, Clone, PartialEq, Eq, ToSchema)]
pub struct NewThreat {
    /// What it is.
    #[schema(min_length = 1, max_length = 300)]
    pub title: String,
    /// How bad it is.
    pub severity: Severity,
    /// Who reported it.
    #[schema(min_length = 1, max_length = 100)]
    pub source: String,
    /// What it is known by: an address, a domain, a hash.
    #[schema(min_length = 1, max_length = 500)]
    pub indicator: String,
    /// When it was published; now, unless told.
    #[schema(required = false)]
    pub published_at: Time,
}

impl Body for NewThreat {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let (title, severity) = (f.text("title", 1..=300), f.choice("severity", Severity::EXPECTED));
        let (source, indicator) = (f.text("source", 1..=MAX_SOURCE), f.text("indicator", 1..=500));
        let published_at = published(&mut f);
        Some(Self {
            title: title?,
            severity: severity?,
            source: source?,
            indicator: indicator?,
            published_at: published_at?,
        })
    }
}

/// A day ahead is still taken for a clock that is wrong.
fn published(f: &mut Fields<'_>) -> Option<Time> {
    let now = Time::now();
    match f.take("published_at") {
        None => Some(now),
        Some(value) => match value.as_str().and_then(|text| text.parse::<Time>().ok()) {
            Some(time) if (0..=now.0 + DAY).contains(&time.0) => Some(time),
            Some(_) => f.fault("published_at", "must lie between 1970 and now"),
            None => f.fault("published_at", "must be a time as in 2026-01-31T12:00:00Z"),
        },
    }
}

/// What a crawler sends at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewThreats(pub Vec<NewThreat>);

impl Body for NewThreats {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        if value.as_array().is_some_and(|items| items.len() > MAX_AT_ONCE) {
            errors.add("body", format!("must be an array of at most {MAX_AT_ONCE} threats"));
            return None;
        }
        Vec::read(value, path, errors).map(Self)
    }
}

/// How many were taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct Inserted {
    /// All that were sent.
    pub inserted: usize,
}

/// Which threats to list.
#[derive(Debug, Clone, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Filter {
    /// Only those that are this bad.
    pub severity: Option<Severity>,
    /// Only those that this source reported.
    #[param(min_length = 1, max_length = 100)]
    pub source: Option<String>,
    /// Which page.
    #[param(ignore)]
    pub page: PageParams,
}

impl FromQuery for Filter {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        let severity = f.optional_choice("severity", Severity::EXPECTED);
        let source = f.optional_text("source", 1..=MAX_SOURCE);
        let page = PageParams::read(f);
        Some(Self { severity: severity?, source: source?, page: page? })
    }
}

/// How far back a chart goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Days {
    /// Days, today included.
    #[param(minimum = 1, maximum = 365, default = 10, required = false)]
    pub(super) days: i64,
}

impl FromQuery for Days {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        Some(Self { days: f.integer_or("days", 1..=365, 10)? })
    }
}

/// All threats in numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ThreatStats {
    /// Threats.
    #[schema(minimum = 0)]
    pub total_threats: i64,
    /// Those of the last 24 hours.
    #[schema(minimum = 0)]
    pub last_24h: i64,
    /// Sources that reported any.
    #[schema(minimum = 0)]
    pub sources: i64,
    /// Threats by severity; each severity is there.
    pub by_severity: BTreeMap<Severity, i64>,
}

/// Threats by day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Trend {
    /// How many days.
    #[schema(minimum = 1, maximum = 365)]
    pub days: i64,
    /// Every day in UTC, the last of them today.
    pub points: Vec<TrendPoint>,
}

/// The threats of a day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct TrendPoint {
    /// The day.
    #[schema(format = Date)]
    pub date: String,
    /// Threats published on it.
    #[schema(minimum = 0)]
    pub count: i64,
}

/// Threats by severity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeverityChart {
    /// Each severity, from low to critical.
    pub items: Vec<SeverityCount>,
}

/// The threats of one severity.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct SeverityCount {
    /// The severity.
    pub severity: Severity,
    /// Its threats.
    #[schema(minimum = 0)]
    pub count: i64,
}

/// Threats by source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourceChart {
    /// The hundred sources with the most threats, most first.
    pub items: Vec<SourceCount>,
}

/// The threats of one source.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SourceCount {
    /// The source.
    pub source: String,
    /// Its threats.
    #[schema(minimum = 1)]
    pub count: i64,
}
