//! A transactional outbox for [larder](https://docs.rs/larder): what a change invalidates, and the event that tells of it,
//! commit together with the change. Neither the death of the process that made it nor an outage of Redis loses them.
//!
//! ```no_run
//! use larder::{Cache, Event, tag};
//! use larder_outbox::Outbox;
//!
//! # async fn example(pool: sqlx::PgPool, cache: Cache) -> Result<(), Box<dyn std::error::Error>> {
//! // Once: the tables, as a migration of yours.
//! sqlx::raw_sql(larder_outbox::schema::POSTGRES).execute(&pool).await?;
//! let outbox = Outbox::builder(&cache, pool.clone()).start();
//!
//! // Each write:
//! let tenant = cache.tenant("acme");
//! let mut changes = outbox.changes(&tenant);
//! let mut tx = pool.begin().await?;
//! sqlx::query("UPDATE campaigns SET status = 'paused' WHERE id = 17").execute(&mut *tx).await?;
//! let event = Event::new("campaign.updated").id("17").invalidates([tag("campaigns")]);
//! changes.emit(&mut *tx, event).await?;
//! tx.commit().await?;
//! if let Err(error) = changes.publish().await {
//!     // Redis is out of reach, say. The change is committed, and so is the event: it will be delivered.
//!     eprintln!("not told to the other nodes yet: {error}");
//! }
//!
//! // At the end, before the cache and the pool:
//! outbox.shutdown().await;
//! # Ok(())
//! # }
//! ```
//!
//! | what | where |
//! | --- | --- |
//! | the tables | [`schema`] |
//! | events of a process with a cache | [`Outbox::changes`] |
//! | events of a process that only writes | [`emit()`] |
//! | tables whose writers do not know of larder | [`Trigger`] |
//! | who relays, and how it is woken | [`Lock`], [`OutboxBuilder::listen`] |
//! | what waits | [`OutboxStats`] |
//!
//! # What it promises
//! - **Committed means published.** A row that was committed enters its tenant's log; one that was rolled back never does.
//!   A row is deleted when its event is *in the log*, which is after its invalidation was acknowledged by all nodes: not when
//!   Redis was told, nor when that was put off.
//! - **Once.** Published again after a crash, or by two processes at the same time, an event has the same idempotency key
//!   (`ob-<id>-<random>`), and the log takes it once within ten minutes. Beyond that it comes twice, with the same key.
//! - **In order.** An event does not enter the log before those of the same tenant that were committed before it was written.
//!   Two transactions that run at once have the order of their ids.
//! - **Nothing stands in the way.** A row that can't be published (too large, not JSON, nobody's) goes to `larder_outbox_dead`
//!   with a log line and a count. What it may have invalidated is invalidated: its whole tenant.
//!
//! # Features
//! | feature | what it adds |
//! | --- | --- |
//! | `postgres` (default) | `PgPool`, `PgConnection`, waking by `LISTEN` |
//! | `sqlite` (default) | `SqlitePool`, `SqliteConnection` |
//! | `any` | `AnyPool`, `AnyConnection` |

pub mod limits;
pub mod schema;

mod cell;
mod changes;
mod emit;
mod error;
mod outbox;
mod publish;
mod relay;
mod row;
mod selectors;
mod session;
mod shared;
mod statements;
mod stats;
mod trigger;
mod wake;

pub use changes::Changes;
pub use emit::emit;
pub use error::{Error, ErrorKind};
pub use outbox::{Outbox, OutboxBuilder};
pub use relay::Lock;
pub use row::Whose;
pub use session::{ConnectionPool, Dialect, Session};
pub use stats::OutboxStats;
pub use trigger::Trigger;
pub use wake::{CHANNEL, wake};
