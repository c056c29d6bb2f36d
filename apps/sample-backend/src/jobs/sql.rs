//! The questions that jobs ask the database.

use larder_http::{Page, PageParams};
use sqlx::any::AnyRow;
use sqlx::{Error, Row};
use uuid::Uuid;

use super::model::{Job, JobsStats, NewJob};
use crate::db::{Db, DbError, Tx};
use crate::row;
use crate::time::Time;

fn job(row: &AnyRow) -> Result<Job, Error> {
    Ok(Job {
        id: row::id(row, 0)?,
        title: row::text(row, 1)?,
        company: row::text(row, 2)?,
        location: row::text(row, 3)?,
        category: row::text(row, 4)?,
        salary_min_cents: row::number(row, 5)?,
        salary_max_cents: row::number(row, 6)?,
        created_at: Time::of(row, 7)?,
    })
}

/// One page, newest first.
pub(super) async fn list(db: &Db, tenant: &str, page: PageParams) -> Result<Page<Job>, DbError> {
    let total = sqlx::query("SELECT COUNT(*) FROM jobs WHERE tenant_id = $1")
        .bind(tenant)
        .fetch_one(db.read())
        .await?
        .try_get(0)?;
    let items = sqlx::query(
        "SELECT id, title, company, location, category, salary_min_cents, salary_max_cents, created_at \
         FROM jobs WHERE tenant_id = $1 ORDER BY id DESC LIMIT $2 OFFSET $3",
    )
    .bind(tenant)
    .bind(page.limit)
    .bind(page.offset())
    .try_map(|row: AnyRow| job(&row))
    .fetch_all(db.read())
    .await?;
    Ok(page.of(items, total))
}

/// All numbers in one statement, so that they are of one moment.
pub(super) async fn stats(db: &Db, tenant: &str) -> Result<JobsStats, DbError> {
    // Sums are cast: PostgreSQL makes a NUMERIC of them. Whole numbers are divided alike by both databases.
    let rows = sqlx::query(
        "SELECT 0, '', COUNT(*), COALESCE( \
             CAST(SUM(salary_min_cents + salary_max_cents) AS BIGINT) / NULLIF(2 * COUNT(*), 0), 0) \
             FROM jobs WHERE tenant_id = $1 \
         UNION ALL SELECT 1, category, COUNT(*), 0 FROM jobs WHERE tenant_id = $1 GROUP BY category \
         UNION ALL SELECT 2, location, COUNT(*), 0 FROM jobs WHERE tenant_id = $1 GROUP BY location",
    )
    .bind(tenant)
    .fetch_all(db.read())
    .await?;
    let mut stats = JobsStats::default();
    for row in rows {
        let (name, count) = (row::text(&row, 1)?, row::number(&row, 2)?);
        match row.try_get::<i32, _>(0)? {
            0 => (stats.total, stats.average_salary_cents) = (count, row::number(&row, 3)?),
            1 => drop(stats.by_category.insert(name, count)),
            _ => drop(stats.by_location.insert(name, count)),
        }
    }
    Ok(stats)
}

pub(super) async fn create(tx: &mut Tx, tenant: &str, new: NewJob) -> Result<Job, DbError> {
    let NewJob { title, company, location, category, salary_min_cents, salary_max_cents } = new;
    let made = Job {
        id: Uuid::now_v7(),
        title,
        company,
        location,
        category,
        salary_min_cents,
        salary_max_cents,
        created_at: Time::now(),
    };
    sqlx::query(
        "INSERT INTO jobs \
         (id, tenant_id, title, company, location, category, salary_min_cents, salary_max_cents, created_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
    )
    .bind(made.id.to_string())
    .bind(tenant)
    .bind(made.title.clone())
    .bind(made.company.clone())
    .bind(made.location.clone())
    .bind(made.category.clone())
    .bind(made.salary_min_cents)
    .bind(made.salary_max_cents)
    .bind(made.created_at.0)
    .execute(tx.conn())
    .await?;
    Ok(made)
}
