//! The questions that threats ask the database.

use std::collections::BTreeMap;

use larder_http::Page;
use sqlx::any::AnyRow;
use sqlx::{AssertSqlSafe, Error, Row};
use uuid::Uuid;

use super::model::{
    Filter, NewThreat, Severity, SeverityChart, SeverityCount, SourceChart, SourceCount, Threat, ThreatStats,
    Trend, TrendPoint,
};
use crate::db::{Bulk, Db, DbError, Tx};
use crate::row;
use crate::time::{DAY, Time, date};

fn threat(row: &AnyRow) -> Result<Threat, Error> {
    Ok(Threat {
        id: row::id(row, 0)?,
        title: row::text(row, 1)?,
        severity: Severity::of(row, 2)?,
        source: row::text(row, 3)?,
        indicator: row::text(row, 4)?,
        published_at: Time::of(row, 5)?,
    })
}

/// One page, newest first.
pub(super) async fn list(db: &Db, filter: Filter) -> Result<Page<Threat>, DbError> {
    // A condition that is always there, such as `$1 = '' OR severity = $1`, would keep the indexes out of it.
    let (condition, words) = match (filter.severity, filter.source) {
        (None, None) => ("", vec![]),
        (Some(severity), None) => ("WHERE severity = $1 ", vec![severity.as_str().to_owned()]),
        (None, Some(source)) => ("WHERE source = $1 ", vec![source]),
        (Some(severity), Some(source)) => {
            ("WHERE severity = $1 AND source = $2 ", vec![severity.as_str().to_owned(), source])
        }
    };
    let mut query = sqlx::query(AssertSqlSafe(format!("SELECT COUNT(*) FROM threats {condition}")));
    for word in &words {
        query = query.bind(word.clone());
    }
    let total: i64 = query.fetch_one(db.read()).await?.try_get(0)?;
    if filter.page.offset() >= total {
        return Ok(filter.page.of(Vec::new(), total));
    }
    let (limit, offset) = (words.len() + 1, words.len() + 2);
    let mut query = sqlx::query(AssertSqlSafe(format!(
        "SELECT id, title, severity, source, indicator, published_at FROM threats {condition}\
         ORDER BY published_at DESC, id DESC LIMIT ${limit} OFFSET ${offset}"
    )));
    for word in words {
        query = query.bind(word);
    }
    let query = query.bind(filter.page.limit).bind(filter.page.offset());
    let items = query.try_map(|row: AnyRow| threat(&row)).fetch_all(db.read()).await?;
    Ok(filter.page.of(items, total))
}

/// All threats in numbers.
pub(super) async fn stats(db: &Db) -> Result<ThreatStats, DbError> {
    // The sum is cast: PostgreSQL makes a NUMERIC of it.
    let rows = sqlx::query(
        "SELECT severity, COUNT(*), CAST(SUM(CASE WHEN published_at > $1 THEN 1 ELSE 0 END) AS BIGINT), \
         (SELECT COUNT(DISTINCT source) FROM threats) FROM threats GROUP BY severity",
    )
    .bind(Time::now().0 - DAY)
    .fetch_all(db.read())
    .await?;
    let none = Severity::ALL.iter().map(|severity| (*severity, 0)).collect::<BTreeMap<_, _>>();
    let mut stats = ThreatStats { total_threats: 0, last_24h: 0, sources: 0, by_severity: none };
    for row in &rows {
        let count = row::number(row, 1)?;
        stats.by_severity.insert(Severity::of(row, 0)?, count);
        stats.total_threats += count;
        stats.last_24h += row::number(row, 2)?;
        stats.sources = row::number(row, 3)?;
    }
    Ok(stats)
}

/// Threats by day; days without any, too.
pub(super) async fn trend(db: &Db, days: i64) -> Result<Trend, DbError> {
    let today = Time::now().0 / DAY;
    let first = today - days + 1;
    let rows = sqlx::query(
        "SELECT published_at / $1 AS day, COUNT(*) FROM threats WHERE published_at >= $2 AND published_at < $3 \
         GROUP BY day",
    )
    .bind(DAY)
    .bind(first * DAY)
    .bind((today + 1) * DAY)
    .try_map(|row: AnyRow| Ok((row::number(&row, 0)?, row::number(&row, 1)?)))
    .fetch_all(db.read())
    .await?;
    let counts: BTreeMap<i64, i64> = rows.into_iter().collect();
    let point = |day| TrendPoint { date: date(day), count: counts.get(&day).copied().unwrap_or(0) };
    Ok(Trend { days, points: (first..=today).map(point).collect() })
}

/// Threats by severity; those without any, too.
pub(super) async fn severities(db: &Db) -> Result<SeverityChart, DbError> {
    let counts: BTreeMap<Severity, i64> =
        sqlx::query("SELECT severity, COUNT(*) FROM threats GROUP BY severity")
            .try_map(|row: AnyRow| Ok((Severity::of(&row, 0)?, row::number(&row, 1)?)))
            .fetch_all(db.read())
            .await?
            .into_iter()
            .collect();
    let count = |&severity| SeverityCount { severity, count: counts.get(&severity).copied().unwrap_or(0) };
    Ok(SeverityChart { items: Severity::ALL.iter().map(count).collect() })
}

/// The sources with the most threats.
pub(super) async fn sources(db: &Db) -> Result<SourceChart, DbError> {
    let items = sqlx::query(
        "SELECT source, COUNT(*) AS count FROM threats GROUP BY source ORDER BY count DESC, source LIMIT 100",
    )
    .try_map(|row: AnyRow| Ok(SourceCount { source: row::text(&row, 0)?, count: row::number(&row, 1)? }))
    .fetch_all(db.read())
    .await?;
    Ok(SourceChart { items })
}

/// All of them, or none.
pub(super) async fn insert(tx: &mut Tx, threats: Vec<NewThreat>) -> Result<(), DbError> {
    let mut bulk = Bulk::new("INSERT INTO threats (id, title, severity, source, indicator, published_at)");
    for new in threats {
        let row = [
            Uuid::now_v7().to_string().into(),
            new.title.into(),
            new.severity.as_str().into(),
            new.source.into(),
            new.indicator.into(),
            new.published_at.0.into(),
        ];
        bulk.push(tx, row).await?;
    }
    bulk.flush(tx).await
}
