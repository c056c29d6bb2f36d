//! The keys in this process's memory, for administrators.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use larder::{EntryFilter, EntryInfo, Outcome};
use serde::Serialize;
use utoipa::{IntoParams, ToSchema};

use super::Ops;
use super::gate::Admin;
use crate::input::{Fields, FromQuery, Query};
use crate::problem::Problem;

/// Keys of one page.
const PAGE: usize = 200;
/// The longest pattern or cursor: a key, its tenant and some stars.
const LONGEST: usize = 4096;

/// Which keys to list.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Which {
    /// Only keys like this one, with `*` for any text.
    #[param(max_length = 4096)]
    pattern: Option<String>,
    /// Where the page before said to go on.
    #[param(max_length = 4096)]
    cursor: Option<String>,
}

impl FromQuery for Which {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        let (pattern, cursor) =
            (f.optional_text("pattern", 0..=LONGEST), f.optional_text("cursor", 0..=LONGEST));
        // `?pattern=&cursor=`, as a form sends it that nobody filled in, asks for everything from the beginning.
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        Some(Self { pattern: given(pattern?), cursor: given(cursor?) })
    }
}

/// Which of the entries that look the same.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Whose {
    /// The tenant of the entry; a shared entry has none. Without it a shared one comes first.
    #[param(max_length = 128)]
    tenant: Option<String>,
}

impl FromQuery for Whose {
    fn read(f: &mut Fields<'_>) -> Option<Self> {
        Some(Self { tenant: f.optional_text("tenant", 0..=128)? })
    }
}

/// Where an entry was found.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Tier {
    /// In this process's memory.
    Memory,
    /// In Redis, and not in this process's memory.
    Redis,
}

/// How a lookup ended, as `X-Cache` says it.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "UPPERCASE")]
enum LastStatus {
    /// Fresh.
    Hit,
    /// Past its TTL, as its policy allows.
    Stale,
    /// It had to be loaded, or could not be.
    Miss,
}

/// An entry, without its value.
#[derive(Serialize, ToSchema)]
pub(super) struct Entry {
    /// Its key with the tenant as second segment; shared entries have none.
    key: String,
    /// Its tenant; empty where it is shared.
    tenant: String,
    /// Bytes of memory.
    size: u64,
    /// Seconds for which it is fresh; 0 where it is stale.
    #[schema(minimum = 0)]
    ttl: f64,
    /// Seconds since it was loaded.
    #[schema(minimum = 0)]
    age: f64,
    /// What invalidates it besides its key.
    tags: Vec<String>,
    tier: Tier,
    /// How the last lookup of it on this node ended; null where there was none since it came into this node's memory, and
    /// where it was found in Redis.
    #[schema(required)]
    last_status: Option<LastStatus>,
    /// How long its load took, in milliseconds.
    #[schema(minimum = 0)]
    load_ms: f64,
    /// Tenants that have an entry which looks the same; ask for it with `tenant`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    also: Vec<String>,
}

impl From<EntryInfo> for Entry {
    fn from(info: EntryInfo) -> Self {
        Self {
            key: info.key,
            tenant: info.tenant,
            size: info.size,
            ttl: seconds(info.ttl),
            age: seconds(info.age),
            tags: info.tags,
            tier: match info.tier {
                larder::Tier::Redis => Tier::Redis,
                larder::Tier::Memory | larder::Tier::Origin => Tier::Memory,
            },
            last_status: info.last.and_then(|outcome| match outcome {
                Outcome::Hit => Some(LastStatus::Hit),
                Outcome::Stale => Some(LastStatus::Stale),
                Outcome::Miss => Some(LastStatus::Miss),
                // With the cache switched off there are no entries.
                Outcome::Bypass => None,
            }),
            load_ms: seconds(info.load * 1000),
            also: Vec::new(),
        }
    }
}

fn seconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e3).round() / 1e3
}

/// Some keys, in their order.
#[derive(Serialize, ToSchema)]
pub(super) struct Keys {
    keys: Vec<Entry>,
    /// What to send for the next page; null at the end.
    #[schema(required)]
    cursor: Option<String>,
}

/// Lists what this process would serve from its memory.
#[utoipa::path(
    get, path = "/api/cache/keys", tag = "operations", operation_id = "list_cache_keys", params(Which),
    security(("bearer" = [])), responses((status = 200, description = "A page of keys", body = Keys))
)]
pub(super) async fn list(
    State(ops): State<Ops>,
    _: Admin,
    Query(which): Query<Which>,
) -> Result<Json<Keys>, Problem> {
    let mut filter = EntryFilter::default();
    filter.pattern = which.pattern;
    let (cache, cursor) = (ops.cache.clone(), which.cursor);
    let page = at_leisure(move || cache.entries(&filter, cursor.as_deref(), PAGE)).await?;
    Ok(Json(Keys { keys: page.entries.into_iter().map(Entry::from).collect(), cursor: page.next }))
}

/// Looks at every entry in memory, which takes a while where there are many: off the threads that answer requests.
pub(super) async fn at_leisure<T: Send + 'static>(
    look: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Problem> {
    tokio::task::spawn_blocking(look).await.map_err(|_| Problem::internal())
}

/// Shows one entry of this process's memory, or else of Redis; what was invalidated is as if it had never been.
#[utoipa::path(
    get, path = "/api/cache/keys/{key}", tag = "operations", operation_id = "get_cache_key",
    params(("key" = String, Path, description = "The key as the list shows it"), Whose),
    security(("bearer" = [])),
    responses((status = 200, description = "The entry", body = Entry))
)]
pub(super) async fn show(
    State(ops): State<Ops>,
    _: Admin,
    key: Result<Path<String>, axum::extract::rejection::PathRejection>,
    Query(whose): Query<Whose>,
) -> Result<Json<Entry>, Problem> {
    let Path(key) = key.map_err(|_| Problem::not_found())?;
    let mut found = ops.cache.entries_named(&key).await;
    let wanted = |info: &EntryInfo| whose.tenant.as_ref().is_none_or(|tenant| *tenant == info.tenant);
    let at = found.iter().position(wanted).ok_or_else(Problem::not_found)?;
    let mut entry = Entry::from(found.remove(at));
    entry.also = found.into_iter().map(|other| other.tenant).collect();
    Ok(Json(entry))
}
