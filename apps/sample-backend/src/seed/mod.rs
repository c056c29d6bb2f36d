//! Sample rows: the same on every machine, put in once, all or nothing.
//!
//! Times are counted back from the hour of seeding, so that charts of the last days show something.

mod feed;
mod marketing;
mod people;
mod rng;
mod seller;
mod threats;
mod words;

use indicatif::{ProgressBar, ProgressStyle};
use sqlx::Row;

use crate::auth::hash_now;
use crate::config::SampleData;
use crate::db::{Arg, Bulk, Db, DbError, Tx};
use crate::time::{DAY, Time};

/// The password of every sample login.
pub const SAMPLE_PASSWORD: &str = "larder-demo";

/// E-mail, tenant and role of those that can sign in to a sample server.
pub const SAMPLE_LOGINS: &[(&str, &str, &str)] = &[
    ("owner@acme.test", "acme", "owner"),
    ("owner@globex.test", "globex", "owner"),
    ("admin@larder.test", "larder", "admin"),
    ("crawler@larder.test", "larder", "ingest"),
];

/// The advisory lock on PostgreSQL ("seed" in ASCII).
const LOCK: i64 = 0x7365_6564;

/// How many rows there will be.
#[derive(Debug, Clone, Copy)]
struct Size {
    users: i64,
    campaigns: i64,
    leads: i64,
    threats: i64,
    posts: i64,
    jobs: i64,
    conversations: i64,
    messages: i64,
    notifications: i64,
    products: i64,
    orders: i64,
}

impl Size {
    const FULL: Self = Self {
        users: 1_000,
        campaigns: 2_000,
        leads: 50_000,
        threats: 200_000,
        posts: 4_000,
        jobs: 3_000,
        conversations: 1_000,
        messages: 8_000,
        notifications: 4_000,
        products: 120,
        orders: 6_000,
    };
    const SMALL: Self = Self {
        users: 40,
        campaigns: 120,
        leads: 600,
        threats: 800,
        posts: 200,
        jobs: 150,
        conversations: 40,
        messages: 250,
        notifications: 120,
        products: 24,
        orders: 200,
    };

    fn total(self) -> i64 {
        self.users
            + self.campaigns
            + self.leads
            + self.threats
            + self.posts
            + self.jobs
            + self.conversations
            + self.messages
            + self.notifications
            + self.products
            + self.orders
    }
}

/// A transaction being filled, and how far it is.
struct Seeding {
    tx: Tx,
    bar: ProgressBar,
    /// The hour of seeding, in microseconds.
    now: i64,
}

impl Seeding {
    async fn push<const N: usize>(&mut self, bulk: &mut Bulk, row: [Arg; N]) -> Result<(), DbError> {
        self.bar.inc(1);
        bulk.push(&mut self.tx, row).await
    }

    async fn flush(&mut self, bulk: &mut Bulk) -> Result<(), DbError> {
        bulk.flush(&mut self.tx).await
    }
}

/// Fills the database, if that was not done before. Returns whether it was done now.
///
/// Processes that start together wait for the one that does it.
///
/// # Errors
/// Where the database refuses; then it is as empty as before.
///
/// # Cancel safety
/// Cancelled, nothing is written.
pub async fn seed(db: &Db, data: SampleData, logins: bool) -> Result<bool, DbError> {
    let size = match data {
        SampleData::Full => Size::FULL,
        SampleData::Small => Size::SMALL,
        SampleData::None => return Ok(false),
    };
    let mut tx = db.begin().await?;
    tx.lock(LOCK).await?;
    let done = sqlx::query("SELECT value FROM settings WHERE name = 'sample_data'")
        .fetch_optional(tx.conn())
        .await?;
    if done.is_some_and(|row| row.try_get::<String, _>(0).is_ok()) {
        return Ok(false);
    }
    let now = Time::now().0;
    let mut seeding = Seeding { tx, bar: bar(size.total()), now: now - now % (DAY / 24) };
    let password = if logins { hash_now(SAMPLE_PASSWORD) } else { None };
    let people = people::seed(&mut seeding, size, password).await?;
    marketing::seed(&mut seeding, size).await?;
    threats::seed(&mut seeding, size).await?;
    feed::seed(&mut seeding, size, &people).await?;
    seller::seed(&mut seeding, size).await?;
    sqlx::query("INSERT INTO settings (name, value) VALUES ('sample_data', $1)")
        .bind(Time(now).to_string())
        .execute(seeding.tx.conn())
        .await?;
    seeding.tx.commit().await?;
    db.compact().await?;
    seeding.bar.finish_and_clear();
    Ok(true)
}

/// On standard error, and only where that is a terminal.
fn bar(total: i64) -> ProgressBar {
    let style = ProgressStyle::with_template("sample data {bar:40} {human_pos}/{human_len} rows {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(u64::try_from(total).unwrap_or(0)).with_style(style)
}
