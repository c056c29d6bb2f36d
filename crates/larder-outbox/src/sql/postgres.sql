-- Larder's outbox, version 1, for PostgreSQL 11 and later. Times are milliseconds since 1970 by this server's clock.
CREATE TABLE larder_outbox (
    id          BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    -- With the id it makes the idempotency key: ids alone begin again in a database that is restored.
    nonce       TEXT NOT NULL DEFAULT lpad(to_hex((random() * 281474976710655)::bigint), 12, '0'),
    v           SMALLINT NOT NULL DEFAULT 1,
    -- Empty where shared is 1. Without a NOT NULL: a trigger must not make somebody's statement fail.
    tenant      TEXT,
    shared      SMALLINT NOT NULL DEFAULT 0,
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
    not_before  BIGINT NOT NULL DEFAULT 0,
    created_at  BIGINT NOT NULL DEFAULT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000)::bigint
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000,
        autovacuum_analyze_scale_factor = 0, autovacuum_analyze_threshold = 50000);
CREATE INDEX larder_outbox_of_tenant ON larder_outbox (tenant, id);

-- Rows that can't be published.
CREATE TABLE larder_outbox_dead (
    id          BIGINT PRIMARY KEY,
    nonce       TEXT NOT NULL,
    v           SMALLINT NOT NULL,
    tenant      TEXT,
    shared      SMALLINT NOT NULL,
    kind        TEXT NOT NULL,
    entity      TEXT,
    room        TEXT,
    sender      TEXT,
    data        TEXT,
    invalidates TEXT NOT NULL,
    created_at  BIGINT NOT NULL,
    reason      TEXT NOT NULL,
    failed_at   BIGINT NOT NULL
);

-- Who relays, where that is not an advisory lock.
CREATE TABLE larder_outbox_lease (
    one    SMALLINT PRIMARY KEY CHECK (one = 1),
    holder TEXT NOT NULL,
    until  BIGINT NOT NULL
);
