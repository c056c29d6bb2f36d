//! One endpoint after the other: cold, then warm.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use http::{HeaderMap, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;

use super::People;
use super::numbers::{Latencies, ms, percent};
use super::origin::{between, statements};
use super::plan::Target;
use crate::cache_headers;
use crate::client::Client;
use crate::commands::clear::clear;
use crate::commands::{out, table};
use crate::config::value::written;
use crate::failure::Failure;

/// What one target came to.
struct Report {
    name: String,
    /// Nothing where the cache could not be cleared, so that it answered at once.
    cold: Option<Duration>,
    warm: [Duration; 3],
    ttl: Option<Duration>,
    /// Nothing where it is not known what the database was asked.
    queries: Option<Queries>,
}

/// What the database was asked.
#[derive(Clone, Copy)]
struct Queries {
    /// For the warm requests.
    asked: u64,
    /// What as many requests cost without the cache: each as much as a cold one, whose cost was counted.
    without: u64,
}

impl Queries {
    fn saved(self) -> u64 {
        self.without.saturating_sub(self.asked)
    }
}

pub(super) async fn run(
    people: &People,
    plan: Vec<Target>,
    rounds: u32,
    requests: u32,
) -> Result<(), Failure> {
    let progress = ProgressBar::new(plan.len() as u64 * u64::from(rounds + requests));
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}")
            .expect("the template holds known keys only"),
    );
    let mut reports = Vec::new();
    for target in plan {
        progress.set_message(target.name.clone());
        reports.push(measure(people, &target, rounds, requests, &progress).await?);
    }
    progress.finish_and_clear();
    if reports.iter().any(|report| report.cold.is_none()) {
        eprintln!(
            "warning: where no cold time is shown, the cache could not be cleared first: that takes the role admin"
        );
    }
    if reports.iter().any(|report| report.cold.is_some() && report.queries.is_none()) {
        eprintln!(
            "warning: what the database was asked (n/a) is told to the role admin, and on the server's own machine"
        );
    }
    out(&report(&reports))
}

async fn measure(
    people: &People,
    target: &Target,
    rounds: u32,
    requests: u32,
    progress: &ProgressBar,
) -> Result<Report, Failure> {
    let (mut cold, mut warm) = (Latencies::default(), Latencies::default());
    let (mut ttl, mut costs) = (None, Vec::new());
    // Nobody measures the making of a connection.
    people.reader.send(people.reader.request(Method::GET, people.reader.url("health/live"))).await?;
    let rounds = if people.operator.is_some() { rounds } else { 1 };
    for _ in 0..rounds {
        if let Some(operator) = &people.operator {
            make_cold(operator, target).await?;
        }
        let before = statements(people).await;
        let answer = ask(&people.reader, target).await?;
        if answer.hits == 0 {
            cold.add(answer.took);
            costs.extend(between(before, statements(people).await));
        }
        ttl = answer.ttl.or(ttl);
        progress.inc(1);
    }
    let before = statements(people).await;
    for _ in 0..requests {
        warm.add(ask(&people.reader, target).await?.took);
        progress.inc(1);
    }
    let asked = between(before, statements(people).await);
    let queries =
        asked.zip(median(costs)).map(|(asked, cost)| Queries { asked, without: cost * u64::from(requests) });
    let cold = (cold.count() > 0).then(|| cold.percentiles([50])[0]);
    Ok(Report { name: target.name.clone(), cold, warm: warm.percentiles([50, 90, 99]), ttl, queries })
}

/// The middle one, the lower of two: a statement of somebody else now and then does not count.
fn median(mut costs: Vec<u64>) -> Option<u64> {
    costs.sort_unstable();
    costs.get(costs.len().checked_sub(1)? / 2).copied()
}

async fn make_cold(operator: &Client, target: &Target) -> Result<(), Failure> {
    if target.patterns.is_empty() {
        return clear(operator, None).await.map(drop);
    }
    for pattern in &target.patterns {
        clear(operator, Some(pattern)).await?;
    }
    Ok(())
}

/// What came back for all paths of a target.
struct Answer {
    took: Duration,
    hits: usize,
    ttl: Option<Duration>,
}

async fn ask(client: &Client, target: &Target) -> Result<Answer, Failure> {
    let begun = Instant::now();
    let headers = try_join_all(target.paths.iter().map(|path| get(client, path))).await?;
    let took = begun.elapsed();
    let hits = headers.iter().filter(|headers| cache_headers::is_hit(headers)).count();
    let ttl = headers.first().and_then(cache_headers::ttl);
    Ok(Answer { took, hits, ttl })
}

async fn get(client: &Client, path: &str) -> Result<HeaderMap, Failure> {
    let response = client.send(client.request(Method::GET, client.url(path))).await?;
    if response.status() != StatusCode::OK {
        return Err(client.refused(response).await);
    }
    let headers = response.headers().clone();
    let body = response.bytes().await;
    body.map_err(|error| Failure::new(format!("the answer to {path} broke off: {error}")))?;
    Ok(headers)
}

fn report(reports: &[Report]) -> String {
    let unknown = || "-".to_owned();
    let head = ["endpoint", "cold", "warm p50", "p90", "p99", "factor", "TTL", "SQL queries saved"];
    let rows = reports.iter().map(|report| {
        let [p50, p90, p99] = report.warm;
        let factor = report.cold.map(|cold| cold.as_secs_f64() / p50.as_secs_f64().max(1e-6));
        vec![
            report.name.clone(),
            report.cold.map_or_else(unknown, ms),
            ms(p50),
            ms(p90),
            ms(p99),
            factor.map_or_else(unknown, |factor| format!("{factor:.0}x")),
            report.ttl.map_or_else(unknown, written),
            saved(report.queries),
        ]
    });
    table::plain([head.map(str::to_owned).to_vec()].into_iter().chain(rows))
}

fn saved(queries: Option<Queries>) -> String {
    match queries {
        None => "n/a".to_owned(),
        Some(Queries { without: 0, asked: 0 }) => "none needed".to_owned(),
        Some(queries) => {
            let (saved, without) = (queries.saved(), queries.without);
            format!("{saved} of {without} ({})", percent(saved, without))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_factor_is_cold_over_warm() {
        let report = report(&[Report {
            name: "/api/stats".into(),
            cold: Some(Duration::from_millis(100)),
            warm: [Duration::from_millis(1); 3],
            ttl: Some(Duration::from_secs(60)),
            queries: Some(Queries { asked: 0, without: 400 }),
        }]);
        assert!(
            report.contains("100x") && report.contains("400 of 400 (100.0 %)") && report.contains("1m"),
            "{report}"
        );
    }

    #[test]
    fn what_is_saved_is_what_the_database_was_not_asked() {
        let text = |asked, without| saved(Some(Queries { asked, without }));
        assert_eq!(text(3, 400), "397 of 400 (99.2 %)");
        assert_eq!(text(400, 400), "0 of 400 (0.0 %)");
        assert_eq!(text(500, 400), "0 of 400 (0.0 %)", "never less than nothing");
        assert_eq!(text(0, 0), "none needed");
        assert_eq!(saved(None), "n/a");
        assert_eq!(median(vec![2, 9, 2]), Some(2));
        assert_eq!((median(vec![4]), median(vec![])), (Some(4), None));
    }
}
