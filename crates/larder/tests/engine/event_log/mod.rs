//! The tenants' event logs on Redis, seen from several nodes.

mod faults;
mod following;
mod read_after_notify;
mod servers;

use larder::{Cache, Event, EventLog, Gap, Position, Watch, WatchNext};
use serde_json::json;
use std::time::Duration;

/// Within which anything must have happened.
const SOON: Duration = Duration::from_secs(60);

fn numbered(number: u64) -> Event {
    Event::new("thing.changed").data(json!(number))
}

/// Publishes numbered events; their places.
async fn publish(cache: &Cache, numbers: std::ops::Range<u64>) -> Vec<Position> {
    publish_of(cache, "acme", numbers).await
}

async fn publish_of(cache: &Cache, tenant: &str, numbers: std::ops::Range<u64>) -> Vec<Position> {
    let acme = cache.tenant(tenant);
    let mut logged = Vec::new();
    for number in numbers {
        let mut publication = acme.publish(numbered(number));
        logged.push(publication.logged());
        publication.await.unwrap();
    }
    let mut places = Vec::new();
    for place in logged {
        places.push(tokio::time::timeout(SOON, place).await.expect("it is logged").unwrap());
    }
    places
}

/// What a watcher has seen, and what it must be: every event once and in order, or a reset.
struct Follower {
    watch: Watch,
    /// The numbers of the events since the beginning, or the last reset.
    seen: Vec<u64>,
    resets: Vec<Gap>,
    at: Position,
}

impl Follower {
    async fn of(cache: &Cache) -> Self {
        Self::of_tenant(cache, "acme").await
    }

    async fn of_tenant(cache: &Cache, tenant: &str) -> Self {
        let watch = cache.event_log().watch(tenant).await.unwrap();
        Self { at: watch.head(), watch, seen: Vec::new(), resets: Vec::new() }
    }

    async fn step(&mut self) {
        let next = tokio::time::timeout(SOON, self.watch.next()).await.expect("something comes");
        match next.expect("the cache is open") {
            WatchNext::Event(event) => {
                let expected = (self.at.epoch().to_owned(), self.at.offset() + 1);
                let at = event.position().clone();
                assert_eq!(
                    (at.epoch().to_owned(), at.offset()),
                    expected,
                    "the next, and of the same history"
                );
                assert_eq!(at, self.watch.head());
                let value: serde_json::Value = serde_json::from_slice(event.json()).unwrap();
                self.seen.push(value["data"].as_u64().unwrap());
                self.at = at;
            }
            WatchNext::Reset { head, gap } => {
                self.resets.push(gap);
                self.seen.clear();
                self.at = head;
            }
            _ => {}
        }
    }

    /// Until it is at this place, or after a reset beyond it.
    async fn until(&mut self, place: &Position) {
        while self.at.epoch() != place.epoch() || self.at.offset() < place.offset() {
            self.step().await;
        }
    }

    async fn until_reset(&mut self) -> Gap {
        let before = self.resets.len();
        while self.resets.len() == before {
            self.step().await;
        }
        self.resets[before]
    }
}

/// Until the node knows where the tenant's log ends.
async fn head(log: &EventLog) -> Position {
    let asked = async {
        loop {
            if let Ok(head) = log.head("acme").await {
                return head;
            }
        }
    };
    tokio::time::timeout(SOON, asked).await.expect("Redis is in reach")
}
