//! Threats of the last ninety days, more of them on working days.

use super::rng::Rng;
use super::words::{SOURCES, TARGETS, THREATS};
use super::{Seeding, Size};
use crate::db::{Bulk, DbError};
use crate::time::DAY;

const SEVERITIES: &[&str] = &["low", "medium", "high", "critical"];

pub(super) async fn seed(s: &mut Seeding, size: Size) -> Result<(), DbError> {
    let mut bulk = Bulk::new("INSERT INTO threats (id, title, severity, source, indicator, published_at)");
    let mut rng = Rng::new("threats");
    for _ in 0..size.threats {
        let published = s.now - age(&mut rng, s.now);
        let row = [
            rng.id(published).to_string().into(),
            format!("{} against {}", rng.pick(THREATS), rng.pick(TARGETS)).into(),
            (*rng.pick_skewed(SEVERITIES)).into(),
            (*rng.pick_skewed(SOURCES)).into(),
            format!("198.51.{}.{}", rng.below(256), rng.below(256)).into(),
            published.into(),
        ];
        s.push(&mut bulk, row).await?;
    }
    s.flush(&mut bulk).await
}

/// How long ago, in microseconds. Days 2 and 3 after a Thursday (1970 began on one) are a weekend: half of what falls
/// on them is drawn again.
fn age(rng: &mut Rng, now: i64) -> i64 {
    let age = rng.below(90 * DAY);
    let weekday = (now - age) / DAY % 7;
    if matches!(weekday, 2 | 3) && rng.below(2) == 0 { rng.below(90 * DAY) } else { age }
}
