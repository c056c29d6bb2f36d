-- Larder's outbox, version 1, for SQLite 3.38 and later. Times are milliseconds since 1970 by this machine's clock.
CREATE TABLE larder_outbox (
    id          INTEGER PRIMARY KEY AUTOINCREMENT,
    -- With the id it makes the idempotency key: ids alone begin again in a file that is made anew.
    nonce       TEXT NOT NULL DEFAULT (lower(hex(randomblob(6)))),
    v           INTEGER NOT NULL DEFAULT 1,
    -- Empty where shared is 1. Without a NOT NULL: a trigger must not make somebody's statement fail.
    tenant      TEXT,
    shared      INTEGER NOT NULL DEFAULT 0,
    kind        TEXT NOT NULL,
    -- What changed: an id.
    entity      TEXT,
    room        TEXT,
    -- The user who caused it.
    sender      TEXT,
    -- JSON.
    data        TEXT,
    -- JSON: what nobody may be served any more.
    invalidates TEXT NOT NULL DEFAULT '[]',
    -- Until then the process that wrote the row publishes it itself.
    not_before  INTEGER NOT NULL DEFAULT 0,
    created_at  INTEGER NOT NULL DEFAULT (CAST((julianday('now') - 2440587.5) * 86400000 AS INTEGER))
);
CREATE INDEX larder_outbox_of_tenant ON larder_outbox (tenant, id);

-- Rows that can't be published.
CREATE TABLE larder_outbox_dead (
    id          INTEGER PRIMARY KEY,
    nonce       TEXT NOT NULL,
    v           INTEGER NOT NULL,
    tenant      TEXT,
    shared      INTEGER NOT NULL,
    kind        TEXT NOT NULL,
    entity      TEXT,
    room        TEXT,
    sender      TEXT,
    data        TEXT,
    invalidates TEXT NOT NULL,
    created_at  INTEGER NOT NULL,
    reason      TEXT NOT NULL,
    failed_at   INTEGER NOT NULL
);

-- Who relays.
CREATE TABLE larder_outbox_lease (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    holder TEXT NOT NULL,
    until  INTEGER NOT NULL
);
