-- One file for SQLite and PostgreSQL: ids are UUIDs as text, times are microseconds since 1970 in UTC, money is in cents.
-- Ids are version 7, so that ordering by id is ordering by time.

CREATE TABLE settings (
    name  TEXT PRIMARY KEY,
    value TEXT NOT NULL
);

CREATE TABLE tenants (
    id         TEXT PRIMARY KEY,
    name       TEXT NOT NULL UNIQUE,
    created_at BIGINT NOT NULL
);

CREATE TABLE users (
    id            TEXT PRIMARY KEY,
    tenant_id     TEXT NOT NULL REFERENCES tenants (id),
    email         TEXT NOT NULL UNIQUE,
    name          TEXT NOT NULL,
    role          TEXT NOT NULL,
    password_hash TEXT NOT NULL,
    headline      TEXT NOT NULL DEFAULT '',
    bio           TEXT NOT NULL DEFAULT '',
    created_at    BIGINT NOT NULL
);
CREATE INDEX users_of_tenant ON users (tenant_id, id);

CREATE TABLE campaigns (
    id           TEXT PRIMARY KEY,
    tenant_id    TEXT NOT NULL REFERENCES tenants (id),
    name         TEXT NOT NULL,
    channel      TEXT NOT NULL,
    status       TEXT NOT NULL,
    budget_cents BIGINT NOT NULL,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);
CREATE INDEX campaigns_of_tenant ON campaigns (tenant_id, id);

CREATE TABLE leads (
    id          TEXT PRIMARY KEY,
    tenant_id   TEXT NOT NULL REFERENCES tenants (id),
    campaign_id TEXT NOT NULL REFERENCES campaigns (id),
    email       TEXT NOT NULL,
    name        TEXT NOT NULL,
    status      TEXT NOT NULL,
    value_cents BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX leads_of_campaign ON leads (campaign_id, id);
CREATE INDEX leads_of_tenant ON leads (tenant_id);

-- Shared by all tenants.
CREATE TABLE threats (
    id           TEXT PRIMARY KEY,
    title        TEXT NOT NULL,
    severity     TEXT NOT NULL,
    source       TEXT NOT NULL,
    indicator    TEXT NOT NULL,
    published_at BIGINT NOT NULL
);
CREATE INDEX threats_by_time ON threats (published_at, id);

CREATE TABLE posts (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    author_id  TEXT NOT NULL REFERENCES users (id),
    body       TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX posts_of_tenant ON posts (tenant_id, id);
CREATE INDEX posts_of_author ON posts (author_id, id);

CREATE TABLE jobs (
    id               TEXT PRIMARY KEY,
    tenant_id        TEXT NOT NULL REFERENCES tenants (id),
    title            TEXT NOT NULL,
    company          TEXT NOT NULL,
    location         TEXT NOT NULL,
    category         TEXT NOT NULL,
    salary_min_cents BIGINT NOT NULL,
    salary_max_cents BIGINT NOT NULL,
    created_at       BIGINT NOT NULL
);
CREATE INDEX jobs_of_tenant ON jobs (tenant_id, id);

CREATE TABLE categories (
    id        TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name      TEXT NOT NULL,
    UNIQUE (tenant_id, name)
);

CREATE TABLE locations (
    id        TEXT PRIMARY KEY,
    tenant_id TEXT NOT NULL REFERENCES tenants (id),
    name      TEXT NOT NULL,
    UNIQUE (tenant_id, name)
);

CREATE TABLE conversations (
    id           TEXT PRIMARY KEY,
    tenant_id    TEXT NOT NULL REFERENCES tenants (id),
    last_message TEXT,
    created_at   BIGINT NOT NULL,
    updated_at   BIGINT NOT NULL
);

CREATE TABLE participants (
    conversation_id TEXT NOT NULL REFERENCES conversations (id),
    user_id         TEXT NOT NULL REFERENCES users (id),
    PRIMARY KEY (conversation_id, user_id)
);
CREATE INDEX conversations_of_user ON participants (user_id, conversation_id);

CREATE TABLE messages (
    id              TEXT PRIMARY KEY,
    tenant_id       TEXT NOT NULL REFERENCES tenants (id),
    conversation_id TEXT NOT NULL REFERENCES conversations (id),
    sender_id       TEXT NOT NULL REFERENCES users (id),
    body            TEXT NOT NULL,
    created_at      BIGINT NOT NULL
);
CREATE INDEX messages_of_conversation ON messages (conversation_id, id);

CREATE TABLE notifications (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL REFERENCES tenants (id),
    user_id    TEXT NOT NULL REFERENCES users (id),
    kind       TEXT NOT NULL,
    text       TEXT NOT NULL,
    is_read    BIGINT NOT NULL DEFAULT 0,
    created_at BIGINT NOT NULL
);
CREATE INDEX notifications_of_user ON notifications (user_id, id);

-- The state of the built-in seller-data API. It stands for a foreign system, so nothing here refers to the tables above.
CREATE TABLE seller_products (
    id          TEXT PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    name        TEXT NOT NULL,
    category    TEXT NOT NULL,
    price_cents BIGINT NOT NULL,
    stock       BIGINT NOT NULL,
    rating      DOUBLE PRECISION NOT NULL,
    reviews     BIGINT NOT NULL,
    updated_at  BIGINT NOT NULL
);
CREATE INDEX seller_products_of_tenant ON seller_products (tenant_id, id);

CREATE TABLE seller_orders (
    id          TEXT PRIMARY KEY,
    tenant_id   TEXT NOT NULL,
    product_id  TEXT NOT NULL REFERENCES seller_products (id),
    quantity    BIGINT NOT NULL,
    total_cents BIGINT NOT NULL,
    created_at  BIGINT NOT NULL
);
CREATE INDEX seller_orders_of_tenant ON seller_orders (tenant_id, created_at);

CREATE TABLE seller_activity (
    id         TEXT PRIMARY KEY,
    tenant_id  TEXT NOT NULL,
    kind       TEXT NOT NULL,
    text       TEXT NOT NULL,
    product_id TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX seller_activity_of_tenant ON seller_activity (tenant_id, id);
