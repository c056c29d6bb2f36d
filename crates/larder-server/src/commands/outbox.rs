//! `larder outbox sql`: the tables of an outbox, and triggers for tables whose writers do not know of larder.

use clap::{Args, Subcommand, ValueEnum};
use larder::{Key, Selector, all, glob, tag};
use larder_outbox::{Trigger, schema};

use super::out;
use crate::failure::Failure;

/// Stands for the key of a changed row.
const PLACE: &str = "{key}";

#[derive(Clone, Debug, Subcommand)]
pub(crate) enum OutboxVerb {
    /// Print the SQL of the tables, and of the triggers of one table where it is named; for a migration.
    ///
    /// Every change of that table then leaves a row in the outbox, whoever makes it: psql, a crawler, another service. A server that
    /// uses the database relays it. The triggers' part can be run again.
    Sql(Box<SqlArgs>),
}

/// The database that the SQL is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Dialect {
    Postgres,
    Sqlite,
}

#[derive(Args, Clone, Debug)]
pub(crate) struct SqlArgs {
    /// The database that the SQL is for
    #[arg(long, value_enum, default_value = "postgres")]
    database: Dialect,
    /// The table that gets triggers; without it only the tables of the outbox are printed
    #[arg(long, requires = "whose")]
    table: Option<String>,
    #[command(flatten)]
    whose: Whose,
    /// The column that names what changed: the primary key, as a rule
    #[arg(long, requires = "table", value_name = "COLUMN")]
    key_column: Option<String>,
    /// What the events are called, before .created, .updated and .deleted; the table's name unless told
    #[arg(long, requires = "table")]
    kind: Option<String>,
    /// The room that the events are for; all connections of the tenant unless told
    #[arg(long, requires = "table")]
    room: Option<String>,
    /// What a change invalidates, as often as needed: tag:campaigns, prefix:campaigns, key:campaign:{key}, glob:… or all. {key} stands
    /// for the key of each changed row
    #[arg(long, requires = "table", value_name = "WHAT", value_parser = what)]
    invalidate: Vec<What>,
    /// PostgreSQL: wake relays that listen. Not for databases with many writers
    #[arg(long, requires = "table")]
    notify: bool,
    /// PostgreSQL: the schema of the table
    #[arg(long, requires = "table", default_value = "public")]
    schema: String,
    /// Only the triggers: the tables are there
    #[arg(long, requires = "table")]
    no_tables: bool,
    /// Take the triggers away again
    #[arg(long, requires = "table")]
    drop: bool,
}

#[derive(Args, Clone, Debug)]
#[group(id = "whose", multiple = false)]
struct Whose {
    /// The column that names the tenant
    #[arg(long, requires = "table", value_name = "COLUMN")]
    tenant_column: Option<String>,
    /// All tenants share the table
    #[arg(long, requires = "table")]
    shared: bool,
}

/// What a change invalidates: once, or for each changed row.
#[derive(Clone, Debug, PartialEq, Eq)]
enum What {
    Once(Selector),
    EachKey(Vec<String>),
    EachPrefix(Vec<String>),
    EachTag(String),
}

fn what(text: &str) -> Result<What, String> {
    if text == "all" {
        return Ok(What::Once(all()));
    }
    let key = |text: &str| Key::from_encoded(text).map_err(|error| error.to_string());
    let segments = |text: &str| text.split(':').map(str::to_owned).collect();
    let each = text.contains(PLACE);
    match text.split_once(':') {
        Some(("key", rest)) if each => Ok(What::EachKey(segments(rest))),
        Some(("prefix", rest)) if each => Ok(What::EachPrefix(segments(rest))),
        Some(("tag", rest)) if each => Ok(What::EachTag(rest.to_owned())),
        Some(("key", rest)) => Ok(What::Once(Selector::Key(key(rest)?))),
        Some(("prefix", rest)) => Ok(What::Once(Selector::Prefix(key(rest)?))),
        Some(("tag", rest)) if !rest.is_empty() => Ok(What::Once(tag(rest))),
        Some(("glob", rest)) if !rest.is_empty() && !each => Ok(What::Once(glob(rest))),
        _ => Err("it is key:…, prefix:…, tag:…, glob:… or all".to_owned()),
    }
}

pub(crate) fn run(verb: &OutboxVerb) -> Result<(), Failure> {
    let OutboxVerb::Sql(args) = verb;
    out(&sql(args)?)
}

fn sql(args: &SqlArgs) -> Result<String, Failure> {
    let mut sql = String::new();
    if !args.no_tables && !args.drop {
        sql.push_str(match args.database {
            Dialect::Postgres => schema::POSTGRES,
            Dialect::Sqlite => schema::SQLITE,
        });
    }
    if let Some(table) = &args.table {
        if !sql.is_empty() {
            sql.push('\n');
        }
        let trigger = trigger(table, args);
        let triggers = match (args.database, args.drop) {
            (Dialect::Postgres, false) => trigger.postgres(),
            (Dialect::Postgres, true) => trigger.drop_postgres(),
            (Dialect::Sqlite, false) => trigger.sqlite(),
            (Dialect::Sqlite, true) => trigger.drop_sqlite(),
        };
        sql.push_str(&triggers.map_err(|error| Failure::configuration(error.to_string()))?);
    }
    Ok(sql)
}

fn trigger(table: &str, args: &SqlArgs) -> Trigger {
    let mut trigger = Trigger::on(table).schema(&args.schema);
    trigger = match &args.whose.tenant_column {
        Some(column) => trigger.tenant_column(column),
        None => trigger.shared(),
    };
    if let Some(column) = &args.key_column {
        trigger = trigger.key_column(column);
    }
    if let Some(kind) = &args.kind {
        trigger = trigger.kind(kind);
    }
    if let Some(room) = &args.room {
        trigger = trigger.room(room);
    }
    for what in &args.invalidate {
        trigger = match what.clone() {
            What::Once(selector) => trigger.invalidates([selector]),
            What::EachKey(segments) => trigger.each_key(segments),
            What::EachPrefix(segments) => trigger.each_prefix(segments),
            What::EachTag(tag) => trigger.each_tag(tag),
        };
    }
    if args.notify { trigger.notify() } else { trigger }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_invalidated_is_written_as_it_is_elsewhere() {
        assert_eq!(what("tag:campaigns"), Ok(What::Once(tag("campaigns"))));
        assert_eq!(what("tag:campaign:{key}"), Ok(What::EachTag("campaign:{key}".to_owned())));
        assert_eq!(what("key:campaign:17"), Ok(What::Once(Selector::Key(larder::key!("campaign", 17)))));
        let segments = |texts: [&str; 2]| texts.map(str::to_owned).to_vec();
        assert_eq!(what("key:campaign:{key}"), Ok(What::EachKey(segments(["campaign", "{key}"]))));
        assert_eq!(what("prefix:leads:{key}"), Ok(What::EachPrefix(segments(["leads", "{key}"]))));
        assert_eq!(what("all"), Ok(What::Once(all())));
        for bad in ["", "campaigns", "tag:", "shelf:x", "glob:a:{key}"] {
            assert!(what(bad).is_err(), "{bad}");
        }
    }
}
