//! Every statement that is run, for both databases. All arguments and columns are text: see [`crate::session`].

use crate::cell::{self, Cell};
use crate::session::Dialect;

/// What is asked of a database.
pub(crate) struct Statements {
    /// `tenant`, `shared`, `how many` → ids of the tenant's rows that this transaction sees.
    pub(crate) older: &'static str,
    /// `tenant`, `shared`, `events, as JSON`, `grace` in milliseconds; -1 where the relay is to publish them at once →
    /// `id, nonce`.
    pub(crate) insert: &'static str,
    /// `tenants to leave out, as JSON`, `bytes` → [`crate::row::Row`], its columns to be read by `open`. Fields that are too long
    /// are left out.
    pub(crate) read: &'static str,
    /// What a column that came with `read` holds.
    pub(crate) open: fn(Option<String>) -> Cell,
    /// `ids, as JSON`.
    pub(crate) delete: &'static str,
    /// `ids, as JSON`: they are the relay's.
    pub(crate) hand_over: &'static str,
    /// `id, reason`.
    pub(crate) bury: &'static str,
    /// `how many to keep`.
    pub(crate) forget: &'static str,
    /// `how far to count` → waiting, age of the oldest in milliseconds, dead.
    pub(crate) count: &'static str,
    /// `holder, milliseconds` → a row if it is ours.
    pub(crate) lease: &'static str,
    /// `holder`.
    pub(crate) release: &'static str,
    /// One row if there is any.
    pub(crate) any: &'static str,
}

impl Statements {
    pub(crate) const fn of(dialect: Dialect) -> &'static Self {
        match dialect {
            Dialect::Postgres => &POSTGRES,
            Dialect::Sqlite => &SQLITE,
        }
    }
}

// All of them name the outbox, so that whoever reads a server's log can tell them from the application's.

/// The advisory lock of the one who relays: "lard", and the table, since a database may have several in its schemas.
pub(crate) const TRY_LOCK: &str = "SELECT CAST(pg_try_advisory_lock(1818325604, \
     CAST(CAST('larder_outbox' AS regclass) AS oid)::int) AS TEXT), CAST(pg_backend_pid() AS TEXT)";

/// Gives all locks of the session back.
pub(crate) const UNLOCK: &str = "SELECT CAST(pg_advisory_unlock_all() AS TEXT) AS larder_outbox";

/// Wakes those who listen.
pub(crate) const NOTIFY: &str = "SELECT CAST(pg_notify('larder_outbox', '') AS TEXT)";

/// Whether the session is still the one that holds the lock: behind a pooler of transactions it may be another.
pub(crate) const SESSION: &str = "SELECT CAST(pg_backend_pid() AS TEXT) AS larder_outbox";

/// PostgreSQL 14: a session that says nothing for so many milliseconds is ended, and its lock with it.
pub(crate) const END_SILENCE: &str = "SELECT set_config('idle_session_timeout', $1, false) AS larder_outbox";

macro_rules! pg_now {
    () => {
        "CAST(EXTRACT(EPOCH FROM clock_timestamp()) * 1000 AS BIGINT)"
    };
}

macro_rules! sqlite_now {
    () => {
        "CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER)"
    };
}

/// A column of somebody else's row, as text that can be read whatever it holds.
macro_rules! pg_cell {
    ($column:literal) => {
        concat!("CAST(", $column, " AS TEXT)")
    };
}

/// SQLite's columns hold anything: see [`cell::of_sqlite`].
macro_rules! sqlite_cell {
    ($column:literal) => {
        concat!("substr(typeof(", $column, "), 1, 1) || hex(", $column, ")")
    };
}

/// What the two have in common. `$events` are the elements of a JSON array with their places, `$list` makes rows of a JSON array of texts, `$bytes` and `$of` around a text tell its bytes,
/// `$cell` makes a column readable, and `$open` reads it.
macro_rules! statements {
    ($now:expr, $events:expr, $list:expr, $ids:expr, $bytes:literal, $of:literal, $cell:ident, $open:expr) => {
        Statements {
            older: "SELECT CAST(id AS TEXT) FROM larder_outbox \
                WHERE tenant = $1 AND shared = CAST($2 AS BIGINT) LIMIT CAST($3 AS BIGINT)",
            insert: concat!(
                "INSERT INTO larder_outbox \
                 (tenant, shared, kind, entity, room, sender, data, invalidates, not_before) \
                 SELECT $1, CAST($2 AS BIGINT), e.value ->> 'kind', e.value ->> 'entity', e.value ->> 'room', \
                     e.value ->> 'sender', e.value ->> 'data', e.value ->> 'invalidates', \
                     CASE WHEN CAST($4 AS BIGINT) < 0 THEN 0 ELSE ",
                $now,
                " + CAST($4 AS BIGINT) END FROM ",
                $events,
                " ORDER BY e.key RETURNING CAST(id AS TEXT), nonce"
            ),
            read: concat!(
                "WITH page AS (SELECT *, ",
                $bytes, "COALESCE(tenant, '')", $of, " AS tenant_bytes, ",
                $bytes, "kind", $of, " AS kind_bytes, ",
                $bytes, "COALESCE(entity, '')", $of, " AS entity_bytes, ",
                $bytes, "COALESCE(room, '')", $of, " AS room_bytes, ",
                $bytes, "COALESCE(sender, '')", $of, " AS sender_bytes, ",
                $bytes, "COALESCE(data, '')", $of, " AS data_bytes, ",
                $bytes, "invalidates", $of, " AS invalidates_bytes \
                 FROM larder_outbox WHERE tenant IS NULL OR CAST(tenant AS TEXT) NOT IN (",
                $list,
                ") ORDER BY id LIMIT 500), \
                 fit AS (SELECT *, \
                     CASE WHEN tenant_bytes > 128 THEN 'tenant' WHEN kind_bytes > 128 THEN 'kind' \
                          WHEN entity_bytes > 256 THEN 'entity' WHEN room_bytes > 200 THEN 'room' WHEN sender_bytes > 128 THEN 'sender' \
                          WHEN data_bytes > 65536 THEN 'data' WHEN invalidates_bytes > 131072 THEN 'invalidates' \
                     END AS too_long, \
                     CASE WHEN CAST(not_before AS BIGINT) > ", $now, " AND CAST(not_before AS BIGINT) <= ", $now, " + 3600000 \
                          AND CAST(created_at AS BIGINT) <= ", $now, " THEN 1 ELSE 0 END AS held, \
                     SUM(CASE WHEN data_bytes > 65536 OR invalidates_bytes > 131072 THEN 0 \
                         ELSE data_bytes + invalidates_bytes END) \
                         OVER (ORDER BY id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before FROM page) \
                 SELECT ",
                $cell!("id"), ", ", $cell!("nonce"), ", ", $cell!("v"), ", ", $cell!("shared"), ", ", $cell!("held"), ", ",
                $cell!("too_long"), ", CASE WHEN tenant_bytes <= 128 THEN ", $cell!("tenant"), " END, \
                 CASE WHEN too_long IS NULL THEN ", $cell!("kind"), " END, \
                 CASE WHEN too_long IS NULL THEN ", $cell!("entity"), " END, \
                 CASE WHEN too_long IS NULL THEN ", $cell!("room"), " END, \
                 CASE WHEN too_long IS NULL THEN ", $cell!("sender"), " END, \
                 CASE WHEN too_long IS NULL THEN ", $cell!("data"), " END, \
                 CASE WHEN too_long IS NULL THEN ", $cell!("invalidates"), " END \
                 FROM fit WHERE COALESCE(before, 0) < CAST($2 AS BIGINT) ORDER BY fit.id"
            ),
            open: $open,
            delete: concat!("DELETE FROM larder_outbox WHERE id IN (", $ids, ")"),
            hand_over: concat!("UPDATE larder_outbox SET not_before = 0 WHERE id IN (", $ids, ")"),
            bury: concat!(
                "INSERT INTO larder_outbox_dead \
                 (id, nonce, v, tenant, shared, kind, entity, room, sender, data, invalidates, created_at, reason, failed_at) \
                 SELECT id, nonce, v, substr(tenant, 1, 1024), shared, substr(kind, 1, 1024), substr(entity, 1, 1024), \
                     substr(room, 1, 1024), substr(sender, 1, 1024), substr(data, 1, 65536), substr(invalidates, 1, 131072), created_at, $2, ",
                $now,
                " FROM larder_outbox WHERE id = CAST($1 AS BIGINT) ON CONFLICT (id) DO NOTHING"
            ),
            forget: "DELETE FROM larder_outbox_dead WHERE id <= \
                (SELECT id FROM larder_outbox_dead ORDER BY id DESC LIMIT 1 OFFSET CAST($1 AS BIGINT))",
            count: concat!(
                "SELECT CAST((SELECT COUNT(*) FROM (SELECT 1 FROM larder_outbox LIMIT CAST($1 AS BIGINT)) AS counted) AS TEXT), \
                 CAST((SELECT ",
                $now,
                " - created_at FROM larder_outbox ORDER BY id LIMIT 1) AS TEXT), \
                 CAST((SELECT COUNT(*) FROM larder_outbox_dead) AS TEXT)"
            ),
            lease: concat!(
                "INSERT INTO larder_outbox_lease (one, holder, until) SELECT 1, $1, ",
                $now,
                " + CAST($2 AS BIGINT) WHERE 1 = 1 \
                 ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, until = excluded.until \
                 WHERE larder_outbox_lease.holder = excluded.holder OR larder_outbox_lease.until < ",
                $now,
                " RETURNING holder"
            ),
            release: "DELETE FROM larder_outbox_lease WHERE holder = $1",
            any: "SELECT '1' FROM larder_outbox LIMIT 1",
        }
    };
}

static POSTGRES: Statements = statements!(
    pg_now!(),
    "json_array_elements(CAST($3 AS JSON)) WITH ORDINALITY AS e (value, key)",
    "SELECT jsonb_array_elements_text(CAST($1 AS JSONB))",
    "SELECT CAST(jsonb_array_elements_text(CAST($1 AS JSONB)) AS BIGINT)",
    "octet_length(",
    ")",
    pg_cell,
    Cell::Ok
);

static SQLITE: Statements = statements!(
    sqlite_now!(),
    "json_each($3) AS e",
    "SELECT value FROM json_each($1)",
    "SELECT value FROM json_each($1)",
    "length(CAST(",
    " AS BLOB))",
    sqlite_cell,
    cell::of_sqlite
);
