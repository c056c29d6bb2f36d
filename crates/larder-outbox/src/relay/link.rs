//! The relay's way to the database, and who of all relays works.

use crate::limits::{LEASE, LOCK_EVERY, LOCK_SILENCE, PROBES, STATEMENT};
use crate::session::{Cells, ConnectionPool, Dialect, Session};
use crate::statements::{END_SILENCE, SESSION, Statements, TRY_LOCK, UNLOCK};
use std::io;
use std::time::{Duration, Instant};
use tokio::time::timeout;

/// What decides which of several processes relays.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lock {
    /// PostgreSQL's advisory lock of a session: whoever comes next has it within a second after its holder is gone. Needs a
    /// connection to the server itself, or a pooler in session mode.
    Advisory,
    /// A row that lasts ten seconds and is written only while there is something to relay. For SQLite, and for poolers in
    /// transaction mode.
    Lease,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Link {
    pool: Box<dyn ConnectionPool>,
    /// What the user asked for.
    chosen: Option<Lock>,
    /// Known since the first connection.
    known: Option<(Dialect, Lock)>,
    /// With an advisory lock: the connection that holds it, or will.
    own: Option<Own>,
    /// When the lock was asked for, or the lease renewed, with what came of it.
    asked: Option<(Instant, bool)>,
    /// Under which name this process holds the lease.
    name: String,
}

struct Own {
    session: Box<dyn Session>,
    /// The server's process that serves it, when the lock was taken.
    pid: Option<String>,
}

impl std::fmt::Debug for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Own").field("pid", &self.pid).finish_non_exhaustive()
    }
}

impl Link {
    pub(super) fn new(pool: Box<dyn ConnectionPool>, chosen: Option<Lock>) -> Self {
        let mut random = [0; 8];
        // Without randomness two relays may take each other's lease for theirs: both work, which costs order only.
        let _ = getrandom::fill(&mut random);
        let name = format!("{}-{:016x}", std::process::id(), u64::from_be_bytes(random));
        Self { pool, chosen, known: None, own: None, asked: None, name }
    }

    /// Finds out what database it is.
    pub(super) async fn open(&mut self) -> Result<&'static Statements, sqlx::Error> {
        if let Some((dialect, lock)) = self.known
            && (lock == Lock::Lease || self.own.is_some())
        {
            return Ok(Statements::of(dialect));
        }
        let mut lent = within(self.pool.lend()).await?;
        let unknown = || sqlx::Error::Configuration("an outbox is in PostgreSQL or SQLite".into());
        let dialect = lent.session().dialect().ok_or_else(unknown)?;
        let mut lock = match (dialect, self.chosen) {
            (Dialect::Postgres, chosen) => chosen.unwrap_or(Lock::Advisory),
            (Dialect::Sqlite, _) => Lock::Lease,
        };
        if lock == Lock::Advisory {
            // Out of the pool before it has the lock: back there it would keep it.
            let mut session = lent.keep();
            if self.chosen.is_none() && shares_sessions(&*self.pool, &mut *session).await? {
                lock = Lock::Lease;
                say_lease();
            } else {
                let silence = LOCK_SILENCE.as_millis().to_string();
                if within(session.ask(END_SILENCE, vec![Some(silence)])).await.is_err() {
                    tracing::debug!(target: "larder::outbox", "this PostgreSQL can't end silent sessions");
                }
                self.own = Some(Own { session, pid: None });
            }
        }
        self.known = Some((dialect, lock));
        Ok(Statements::of(dialect))
    }

    /// From here on the lease decides, unless the user has chosen the lock.
    pub(super) fn lease_instead(&mut self) -> bool {
        let may = self.chosen.is_none() && self.known.is_some();
        if may {
            self.lose();
            self.known = self.known.map(|(dialect, _)| (dialect, Lock::Lease));
            say_lease();
        }
        may
    }

    /// Runs a statement. After a failure the connection is not used again, and a lock is taken for lost.
    pub(super) async fn ask(
        &mut self,
        sql: &'static str,
        arguments: Vec<Option<String>>,
    ) -> Result<Vec<Cells>, sqlx::Error> {
        let answer = match &mut self.own {
            Some(own) => within(own.session.ask(sql, arguments)).await,
            None => {
                within(async {
                    let mut lent = self.pool.lend().await?;
                    lent.session().ask(sql, arguments).await
                })
                .await
            }
        };
        if answer.is_err() {
            self.lose();
        }
        answer
    }

    /// Nothing is held any more.
    pub(super) fn lose(&mut self) {
        self.own = None;
        self.asked = None;
    }

    /// Whether this process is the one that works. Asks at most once a second while another does.
    pub(super) async fn leads(&mut self) -> Result<bool, sqlx::Error> {
        let statements = self.open().await?;
        let lock = self.known.map_or(Lock::Lease, |(_, lock)| lock);
        if let Some((at, is_ours)) = self.asked {
            let is_settled = match (is_ours, lock) {
                (true, Lock::Advisory) => true,
                (true, Lock::Lease) => at.elapsed() < LEASE / 3,
                (false, _) => at.elapsed() < LOCK_EVERY,
            };
            if is_settled {
                return Ok(is_ours);
            }
        }
        let asked_at = Instant::now();
        let is_ours = match lock {
            Lock::Advisory => self.try_lock().await?,
            Lock::Lease => {
                // Where there is nothing to do, nothing is written.
                if self.ask(statements.any, Vec::new()).await?.is_empty() {
                    return Ok(self.asked.is_some_and(|(at, is_ours)| is_ours && at.elapsed() < LEASE / 2));
                }
                let until = LEASE.as_millis().to_string();
                let arguments = vec![Some(self.name.clone()), Some(until)];
                !self.ask(statements.lease, arguments).await?.is_empty()
            }
        };
        self.asked = Some((asked_at, is_ours));
        Ok(is_ours)
    }

    async fn try_lock(&mut self) -> Result<bool, sqlx::Error> {
        let row = self.ask(TRY_LOCK, Vec::new()).await?.pop().unwrap_or_default();
        let [is_ours, pid] = row.as_slice() else { return Ok(false) };
        if let Some(own) = &mut self.own {
            own.pid.clone_from(pid);
        }
        Ok(is_ours.as_deref() == Some("true"))
    }

    /// Whether the lock is still in the session that is used: behind a pooler of transactions it need not be.
    pub(super) async fn is_one_session(&mut self) -> Result<bool, sqlx::Error> {
        let Some(pid) = self.own.as_ref().and_then(|own| own.pid.clone()) else { return Ok(true) };
        let now = self.ask(SESSION, Vec::new()).await?;
        Ok(cell(now).as_ref() == Some(&pid))
    }

    /// Gives the lock back.
    pub(super) async fn release(&mut self) {
        let Some((dialect, lock)) = self.known else { return };
        let holds = self.asked.is_some_and(|(_, is_ours)| is_ours);
        if holds {
            let (sql, arguments) = match lock {
                Lock::Advisory => (UNLOCK, Vec::new()),
                Lock::Lease => (Statements::of(dialect).release, vec![Some(self.name.clone())]),
            };
            let _ = timeout(Duration::from_secs(1), self.ask(sql, arguments)).await;
        }
        self.lose();
    }
}

/// Whether other connections of the pool reach the session of this one: a pooler in transaction mode is in between. A server gives
/// each connection a process of its own.
async fn shares_sessions(pool: &dyn ConnectionPool, session: &mut dyn Session) -> Result<bool, sqlx::Error> {
    let mut other = within(pool.lend()).await?;
    let mut first = None;
    for _ in 0..PROBES {
        let (here, there) = (process(session).await?, process(other.session()).await?);
        if here == there || *first.get_or_insert_with(|| here.clone()) != here {
            return Ok(true);
        }
    }
    Ok(false)
}

fn say_lease() {
    tracing::info!(
        target: "larder::outbox",
        "the database is reached through a pooler in transaction mode, where locks of sessions mean nothing: a lease decides who \
         relays, and a relay that is killed is replaced after 10 s"
    );
}

/// The server's process that runs this session's statements.
async fn process(session: &mut dyn Session) -> Result<Option<String>, sqlx::Error> {
    within(session.ask(SESSION, Vec::new())).await.map(cell)
}

fn cell(rows: Vec<Cells>) -> Option<String> {
    rows.into_iter().next()?.into_iter().next()?
}

async fn within<T>(work: impl Future<Output = Result<T, sqlx::Error>>) -> Result<T, sqlx::Error> {
    let late = || sqlx::Error::Io(io::Error::new(io::ErrorKind::TimedOut, "no answer from the database"));
    timeout(STATEMENT, work).await.unwrap_or_else(|_| Err(late()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema;
    use futures_util::future::BoxFuture;
    use larder_testkit::PostgresServer;
    use sqlx::{Connection, PgConnection, PgPool};
    use std::sync::Arc;
    use tokio::sync::Mutex;

    use crate::session::Lent;

    /// What a pooler in transaction mode makes of a pool: statements of all connections reach the same session of the server.
    #[derive(Clone, Debug)]
    struct Pooled(Arc<Mutex<PgConnection>>);

    impl crate::session::sealed::Sealed for Pooled {}

    impl Session for Pooled {
        fn dialect(&self) -> Option<Dialect> {
            Some(Dialect::Postgres)
        }

        fn ask<'c>(
            &'c mut self,
            sql: &'static str,
            arguments: Vec<Option<String>>,
        ) -> BoxFuture<'c, Result<Vec<Cells>, sqlx::Error>> {
            Box::pin(async move { self.0.lock().await.ask(sql, arguments).await })
        }
    }

    impl ConnectionPool for Pooled {
        fn lend(&self) -> BoxFuture<'_, Result<Box<dyn Lent>, sqlx::Error>> {
            Box::pin(async { Ok(Box::new(self.clone()) as Box<dyn Lent>) })
        }
    }

    impl Lent for Pooled {
        fn session(&mut self) -> &mut dyn Session {
            self
        }

        fn keep(self: Box<Self>) -> Box<dyn Session> {
            self
        }
    }

    /// A database with one row to relay.
    fn database() -> (Arc<PostgresServer>, String) {
        let server = PostgresServer::shared();
        let url = server.fresh_database();
        server.execute(&url, schema::POSTGRES);
        server.execute(&url, "INSERT INTO larder_outbox (tenant, kind) VALUES ('acme', 'changed')");
        (server, url)
    }

    #[tokio::test]
    async fn behind_a_pooler_of_transactions_one_of_two_relays_works_and_by_a_lease() {
        let (_server, url) = database();
        let pool = Pooled(Arc::new(Mutex::new(PgConnection::connect(&url).await.unwrap())));
        let mut links = [None, None].map(|lock| Link::new(Box::new(pool.clone()), lock));
        let [first, second] = &mut links;
        assert!(first.leads().await.unwrap() && !second.leads().await.unwrap());
        for link in &mut links {
            assert_eq!(link.known, Some((Dialect::Postgres, Lock::Lease)));
            link.release().await;
        }
        // Who insists on the lock has it, for what it is worth there.
        let mut insists = Link::new(Box::new(pool), Some(Lock::Advisory));
        assert!(insists.leads().await.unwrap());
        assert!(!insists.lease_instead());
        assert_eq!(insists.known, Some((Dialect::Postgres, Lock::Advisory)));
    }

    #[tokio::test]
    async fn on_connections_to_the_server_itself_the_lock_decides() {
        let (_server, url) = database();
        let pool = PgPool::connect(&url).await.unwrap();
        let mut links = [None, None].map(|lock| Link::new(Box::new(pool.clone()), lock));
        let [first, second] = &mut links;
        assert!(first.leads().await.unwrap() && !second.leads().await.unwrap());
        assert!(first.is_one_session().await.unwrap());
        for link in &mut links {
            assert_eq!(link.known, Some((Dialect::Postgres, Lock::Advisory)));
            link.release().await;
        }
    }

    #[tokio::test]
    async fn a_pooler_that_is_noticed_later_changes_lock_for_lease_too() {
        let (_server, url) = database();
        let pool = PgPool::connect(&url).await.unwrap();
        let mut link = Link::new(Box::new(pool), None);
        assert!(link.leads().await.unwrap());
        // The session is another one than that which took the lock.
        link.own.as_mut().unwrap().pid = Some("0".to_owned());
        assert!(!link.is_one_session().await.unwrap() && link.lease_instead());
        assert!(link.leads().await.unwrap());
        assert_eq!((link.known.unwrap().1, link.own.is_none()), (Lock::Lease, true));
        link.release().await;
    }
}
