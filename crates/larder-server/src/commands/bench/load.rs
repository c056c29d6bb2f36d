//! Many users at the same time, each asking for this and that, and now and then writing.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use parking_lot::Mutex;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::People;
use super::numbers::{Latencies, ms, percent};
use super::origin::{between, statements};
use crate::cache_headers;
use crate::client::Client;
use crate::commands::{out, table};
use crate::failure::Failure;

/// How often each read is asked for among all; `{n}` is a number from 1 to the third.
const PUBLIC: [(u32, &str, u32); 5] = [
    (20, "/api/stats", 1),
    (15, "/api/threats?page={n}", 5),
    (10, "/api/charts/trend?days={n}0", 3),
    (8, "/api/charts/severity", 1),
    (7, "/api/charts/sources", 1),
];
const SIGNED_IN: [(u32, &str, u32); 6] = [
    (15, "/api/v1/posts?page={n}", 3),
    (10, "/api/v1/campaigns?page={n}", 5),
    (6, "/api/v1/dashboard/stats", 1),
    (4, "/api/v1/dashboard/kpis", 1),
    (3, "/api/v1/jobs?page={n}", 3),
    (2, "/api/v1/jobs/stats", 1),
];
/// One request in so many is a write.
const WRITE_EVERY: u64 = 200;
/// Users look at a page before they ask for the next.
const PAUSE_MS: std::ops::Range<u64> = 20..180;

/// What all users see and count together.
struct Shared {
    client: Client,
    menu: Vec<(u32, &'static str, u32)>,
    weights: u32,
    writes: bool,
    until: Instant,
    requests: AtomicU64,
    hits: AtomicU64,
    cached: AtomicU64,
    errors: AtomicU64,
    first_error: Mutex<Option<String>>,
    created: Mutex<Vec<String>>,
}

pub(super) async fn run(people: &People, users: u32, span: Duration) -> Result<(), Failure> {
    let menu: Vec<_> =
        if people.signed_in() { PUBLIC.iter().chain(&SIGNED_IN).copied().collect() } else { PUBLIC.to_vec() };
    let before = statements(people).await;
    let begun = Instant::now();
    let shared = Arc::new(Shared {
        client: people.reader.clone(),
        weights: menu.iter().map(|(weight, ..)| weight).sum(),
        menu,
        writes: people.signed_in(),
        until: begun + span,
        requests: AtomicU64::new(0),
        hits: AtomicU64::new(0),
        cached: AtomicU64::new(0),
        errors: AtomicU64::new(0),
        first_error: Mutex::new(None),
        created: Mutex::new(Vec::new()),
    });
    let mut tasks = JoinSet::new();
    for number in 0..users {
        tasks.spawn(user(Arc::clone(&shared), Dice::new(number)));
    }
    watch(&shared, begun, span).await;
    let mut latencies = Latencies::default();
    while let Some(done) = tasks.join_next().await {
        latencies.extend(done.map_err(|error| Failure::new(format!("a user broke down: {error}")))?);
    }
    let took = begun.elapsed();
    let queries = between(before, statements(people).await);
    tidy(&shared).await;
    out(&report(&shared, users, took, queries, &mut latencies))?;
    match shared.first_error.lock().take() {
        Some(first) => Err(Failure::new(format!("there were errors; the first: {first}"))),
        None => Ok(()),
    }
}

/// Shows how far it is, until the time is over.
async fn watch(shared: &Shared, begun: Instant, span: Duration) {
    let progress = ProgressBar::new(span.as_secs().max(1));
    progress.set_style(
        ProgressStyle::with_template("{bar:30} {pos}/{len} s {msg}")
            .expect("the template holds known keys only"),
    );
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    while Instant::now() < shared.until {
        ticks.tick().await;
        let elapsed = begun.elapsed();
        let (requests, errors) =
            (shared.requests.load(Ordering::Relaxed), shared.errors.load(Ordering::Relaxed));
        progress.set_position(elapsed.as_secs());
        progress.set_message(format!("{} requests/s, {errors} errors", per_second(requests, elapsed)));
    }
    progress.finish_and_clear();
}

fn per_second(requests: u64, elapsed: Duration) -> u128 {
    u128::from(requests) * 1000 / elapsed.as_millis().max(1)
}

async fn user(shared: Arc<Shared>, mut dice: Dice) -> Latencies {
    let mut latencies = Latencies::default();
    // Not all in the same moment.
    tokio::time::sleep(Duration::from_millis(dice.below(PAUSE_MS.end))).await;
    while Instant::now() < shared.until {
        let begun = Instant::now();
        let done = if shared.writes && dice.below(WRITE_EVERY) == 0 {
            write(&shared).await
        } else {
            read(&shared, &mut dice).await
        };
        latencies.add(begun.elapsed());
        shared.requests.fetch_add(1, Ordering::Relaxed);
        if let Err(failure) = done {
            shared.errors.fetch_add(1, Ordering::Relaxed);
            shared.first_error.lock().get_or_insert_with(|| failure.to_string());
        }
        tokio::time::sleep(Duration::from_millis(PAUSE_MS.start + dice.below(PAUSE_MS.end - PAUSE_MS.start)))
            .await;
    }
    latencies
}

async fn read(shared: &Shared, dice: &mut Dice) -> Result<(), Failure> {
    let mut left = dice.below(shared.weights.into());
    let chosen = shared.menu.iter().find(|(weight, ..)| match left.checked_sub((*weight).into()) {
        Some(rest) => {
            left = rest;
            false
        }
        None => true,
    });
    let (_, path, variants) = chosen.expect("the number is below the sum of the weights");
    let path = path.replace("{n}", &(1 + dice.below((*variants).into())).to_string());
    let client = &shared.client;
    let response = client.send(client.request(Method::GET, client.url(&path))).await?;
    if !response.status().is_success() {
        return Err(client.refused(response).await);
    }
    shared.cached.fetch_add(1, Ordering::Relaxed);
    if cache_headers::is_hit(response.headers()) {
        shared.hits.fetch_add(1, Ordering::Relaxed);
    }
    let body = response.bytes().await;
    body.map(drop).map_err(|error| Failure::new(format!("the answer to {path} broke off: {error}")))
}

/// Makes a campaign; it is deleted at the end.
async fn write(shared: &Shared) -> Result<(), Failure> {
    let body = json!({"name": "larder bench", "channel": "email", "budget_cents": 100, "status": "draft"});
    let made: Value = shared.client.post("api/v1/campaigns", &[], &body).await?;
    shared.created.lock().extend(made["id"].as_str().map(str::to_owned));
    Ok(())
}

async fn tidy(shared: &Shared) {
    let created = std::mem::take(&mut *shared.created.lock());
    for id in created {
        let url = shared.client.url(&format!("api/v1/campaigns/{id}"));
        if let Err(failure) = shared.client.send(shared.client.request(Method::DELETE, url)).await {
            eprintln!("warning: the campaign {id} that the load made could not be deleted ({failure})");
        }
    }
}

fn report(
    shared: &Shared,
    users: u32,
    took: Duration,
    queries: Option<u64>,
    latencies: &mut Latencies,
) -> String {
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let [p50, p90, p99] = latencies.percentiles([50, 90, 99]);
    let rows = [
        ("users", users.to_string()),
        ("seconds", format!("{:.1}", took.as_secs_f64())),
        ("requests", latencies.count().to_string()),
        ("requests/s", per_second(count(&shared.requests), took).to_string()),
        ("errors", count(&shared.errors).to_string()),
        ("hit rate", percent(count(&shared.hits), count(&shared.cached))),
        ("SQL queries", queries.map_or_else(|| "n/a".to_owned(), |queries| queries.to_string())),
        ("p50", ms(p50)),
        ("p90", ms(p90)),
        ("p99", ms(p99)),
    ];
    table::plain(rows.map(|(name, value)| vec![name.to_owned(), value]))
}

/// Numbers that are different for each user and the same in every run (SplitMix64).
struct Dice(u64);

impl Dice {
    fn new(seed: u32) -> Self {
        // Mixed: with neighbours as seeds, each user would throw what the one before threw a moment ago.
        Self(mixed(u64::from(seed)))
    }

    /// A number from 0 to `end` - 1.
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(STEP);
        mixed(self.0) % end.max(1)
    }
}

const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

fn mixed(number: u64) -> u64 {
    let mut mixed = number.wrapping_add(STEP);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn no_user_repeats_what_another_threw() {
        let throws = |user| {
            let mut dice = Dice::new(user);
            (0..200).map(move |_| dice.below(u64::MAX)).collect::<Vec<_>>()
        };
        let all: HashSet<u64> = (0..100).flat_map(throws).collect();
        assert_eq!(all.len(), 100 * 200);
        assert_eq!(throws(7), throws(7), "the same in every run");
    }

    #[test]
    fn a_write_comes_about_as_often_as_it_should() {
        let writes: usize = (0..500)
            .map(|user| {
                let mut dice = Dice::new(user);
                (0..400).filter(|_| dice.below(WRITE_EVERY) == 0).count()
            })
            .sum();
        assert!((900..1100).contains(&writes), "{writes} of 200,000");
    }
}
