//! The servers that a test runs against, and the people who use them.

use crate::client::Client;
use crate::server::{Dir, Server};
use crate::sqlite;
use larder_testkit::redis::RedisOptions;
use larder_testkit::{Answer, PostgresServer, RedisServer, StubHttp};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The three ways to run it that everything is tested on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    MemorySqlite,
    RedisSqlite,
    RedisPostgres,
}

/// Makes one test of each stack out of `async fn name(stack: Stack)`. `unhurried` before the names: see [`Stack::unhurried`].
macro_rules! on_every_stack {
    (unhurried $($name:ident),+ $(,)?) => { $( on_every_stack!(@unhurried $name); )+ };
    ($($name:ident),+ $(,)?) => { $( on_every_stack!(@start $name); )+ };
    (@$start:ident $name:ident) => {
        mod $name {
            use crate::stack::{Kind, Stack};

            #[tokio::test]
            async fn on_memory_and_sqlite() {
                super::$name(Stack::$start(Kind::MemorySqlite).await).await;
            }

            #[tokio::test]
            async fn on_redis_and_sqlite() {
                super::$name(Stack::$start(Kind::RedisSqlite).await).await;
            }

            #[tokio::test]
            async fn on_redis_and_postgresql() {
                super::$name(Stack::$start(Kind::RedisPostgres).await).await;
            }
        }
    };
}
pub(crate) use on_every_stack;

/// One server and what it stands on.
pub(crate) struct Stack {
    pub(crate) server: Server,
    pub(crate) redis: Option<RedisServer>,
    /// The database of this test, for counting what it is asked.
    pub(crate) postgres: Option<(Arc<PostgresServer>, String)>,
    /// The OpenAI-compatible server.
    pub(crate) ai: StubHttp,
    pub(crate) env: BTreeMap<String, String>,
}

pub(crate) const CHAT: &str = "/v1/chat/completions";

impl Stack {
    pub(crate) async fn start(kind: Kind) -> Self {
        Self::with(kind, RedisServer::builder(), &[]).await
    }

    /// For tests of what is a hit: a machine on which the server stands still for a second costs it its lease, and what it has
    /// in memory is then no hit until Redis has answered, as it has to be. So the lease is long, and no answer of Redis is late.
    pub(crate) async fn unhurried(kind: Kind) -> Self {
        let more = [("COHERENCE_LEASE", "60s"), ("REDIS_READ_TIMEOUT", "30s")];
        Self::with(kind, RedisServer::builder(), if kind == Kind::MemorySqlite { &[] } else { &more }).await
    }

    /// With other options of Redis, and more variables.
    pub(crate) async fn with(kind: Kind, redis: RedisOptions, more: &[(&str, &str)]) -> Self {
        let redis = (kind != Kind::MemorySqlite).then(|| redis.start());
        let postgres = (kind == Kind::RedisPostgres).then(|| {
            let server = PostgresServer::shared();
            let database = server.fresh_database();
            (server, database)
        });
        let ai = StubHttp::start().await;
        ai.on(CHAT, [Answer::chat("generated")]);
        let mut env = BTreeMap::from([
            ("AI_BASE_URL".to_owned(), format!("{}/v1", ai.url())),
            ("AI_API_KEY".to_owned(), "stub-key".to_owned()),
            ("AI_MODEL".to_owned(), "stub".to_owned()),
        ]);
        if let Some(redis) = &redis {
            env.insert("REDIS_URL".to_owned(), redis.url());
        }
        if let Some((_, database)) = &postgres {
            env.insert("DATABASE_URL".to_owned(), database.clone());
        } else {
            env.insert("LOG".to_owned(), sqlite::LOG.to_owned());
        }
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        let server = Server::start_in(&Dir::new(), &pairs(&env)).await;
        Self { server, redis, postgres, ai, env }
    }

    /// Another server on the same Redis and database.
    pub(crate) async fn second(&self) -> Server {
        self.another(&[]).await
    }

    /// Another server on the same Redis and database, with more variables.
    pub(crate) async fn another(&self, more: &[(&str, &str)]) -> Server {
        let mut env = self.env.clone();
        env.extend(more.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())));
        // The other one's directory is its own; the database of SQLite is the first one's.
        let database = format!("sqlite://{}", self.server.dir().path().join("larder.db").display());
        env.entry("DATABASE_URL".to_owned()).or_insert(database);
        Server::start_in(&Dir::new(), &pairs(&env)).await
    }

    /// Nobody in particular.
    pub(crate) fn anyone(&self) -> Client {
        Client::new(self.server.url())
    }

    /// The owner of the tenant `acme`.
    pub(crate) async fn acme(&self) -> Client {
        self.anyone().sign_in("owner@acme.test").await
    }

    /// The owner of the tenant `globex`.
    pub(crate) async fn globex(&self) -> Client {
        self.anyone().sign_in("owner@globex.test").await
    }

    /// Role admin.
    pub(crate) async fn admin(&self) -> Client {
        self.anyone().sign_in("admin@larder.test").await
    }

    /// Role ingest.
    pub(crate) async fn crawler(&self) -> Client {
        self.anyone().sign_in("crawler@larder.test").await
    }

    /// The statements that the database has run for this test, in order: PostgreSQL's own log, or what the driver of
    /// SQLite has logged in the first server. Without those of the outbox, which looks into its table all the time.
    pub(crate) fn statements(&self) -> Vec<String> {
        let mut statements = match &self.postgres {
            Some((server, database)) => server.statements(database),
            None => sqlite::statements(&self.server.log()),
        };
        statements.retain(|statement| !statement.contains("larder_outbox"));
        statements
    }

    /// How many statements that read rows the database has run: not the pool's own, nor transactions.
    pub(crate) fn queries(&self) -> usize {
        let reads = |statement: &&String| {
            let begin = statement.trim_start().to_lowercase();
            (begin.starts_with("select") || begin.starts_with("with")) && statement.contains("FROM")
        };
        self.statements().iter().filter(reads).count()
    }
}

fn pairs(env: &BTreeMap<String, String>) -> Vec<(&str, &str)> {
    env.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect()
}
