//! One endpoint after the other: cold, then warm.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use http::{HeaderMap, StatusCode};
use indicatif::{ProgressBar, ProgressStyle};
use reqwest::Method;

use super::People;
use super::numbers::{Latencies, ms, percent};
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
    /// Requests, and those of them that the cache answered.
    requests: u64,
    hits: u64,
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
    let (mut ttl, mut hits, mut asked) = (None, 0, 0);
    // Nobody measures the making of a connection.
    people.reader.send(people.reader.request(Method::GET, people.reader.url("health/live"))).await?;
    let rounds = if people.operator.is_some() { rounds } else { 1 };
    for _ in 0..rounds {
        if let Some(operator) = &people.operator {
            make_cold(operator, target).await?;
        }
        let answer = ask(&people.reader, target).await?;
        if answer.hits == 0 {
            cold.add(answer.took);
        }
        ttl = answer.ttl.or(ttl);
        progress.inc(1);
    }
    for _ in 0..requests {
        let answer = ask(&people.reader, target).await?;
        warm.add(answer.took);
        hits += answer.hits;
        asked += answer.asked;
        progress.inc(1);
    }
    let cold = (cold.count() > 0).then(|| cold.percentiles([50])[0]);
    Ok(Report {
        name: target.name.clone(),
        cold,
        warm: warm.percentiles([50, 90, 99]),
        ttl,
        requests: asked,
        hits,
    })
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
    asked: u64,
    hits: u64,
    ttl: Option<Duration>,
}

async fn ask(client: &Client, target: &Target) -> Result<Answer, Failure> {
    let begun = Instant::now();
    let headers = try_join_all(target.paths.iter().map(|path| get(client, path))).await?;
    let took = begun.elapsed();
    let hits = headers.iter().filter(|headers| cache_headers::is_hit(headers)).count() as u64;
    let ttl = headers.first().and_then(cache_headers::ttl);
    Ok(Answer { took, asked: headers.len() as u64, hits, ttl })
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
            format!("{} of {} ({})", report.hits, report.requests, percent(report.hits, report.requests)),
        ]
    });
    table::plain([head.map(str::to_owned).to_vec()].into_iter().chain(rows))
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
            requests: 200,
            hits: 200,
        }]);
        assert!(
            report.contains("100x") && report.contains("200 of 200 (100.0 %)") && report.contains("1m"),
            "{report}"
        );
    }
}
