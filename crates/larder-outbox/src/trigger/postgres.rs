//! Statement-level triggers with transition tables.

use super::Checked;
use super::quote::{body, derived, identifier, pg_text};
use crate::limits::{MAX_TRIGGER_KEY_BYTES, MAX_TRIGGER_KEYS};
use crate::wake::CHANNEL;

/// What a trigger does on which occasion: the event's last part, `TG_OP`, and where the changed rows are.
const OCCASIONS: [(&str, &str, &[&str]); 4] = [
    ("created", "INSERT", &["larder_new"]),
    ("updated", "UPDATE", &["larder_old", "larder_new"]),
    ("deleted", "DELETE", &["larder_old"]),
    ("truncated", "TRUNCATE", &[]),
];

pub(super) fn create(checked: &Checked<'_>) -> String {
    let trigger = checked.trigger;
    let table = format!("{}.{}", identifier(&trigger.schema), identifier(&trigger.table));
    let function = function(checked);
    let branches: String = OCCASIONS
        .iter()
        .enumerate()
        .map(|(n, (end, op, rows))| {
            let branch = if n == 0 { "IF" } else { "ELSIF" };
            format!("  {branch} TG_OP = '{op}' THEN\n{}", insert(checked, &table, end, rows))
        })
        .collect();
    let notify = if trigger.notify {
        format!("  PERFORM pg_catalog.pg_notify({}, '');\n", pg_text(CHANNEL))
    } else {
        String::new()
    };
    let code = body(&format!("\nBEGIN\n{branches}  END IF;\n{notify}  RETURN NULL;\nEND\n"));
    let mut sql = format!(
        "-- Made by larder-outbox. A column that does not exist is found here, not by the first writer.\n{}\
         CREATE OR REPLACE FUNCTION {function}() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER\n\
         SET search_path = pg_catalog, pg_temp AS {code};\n\
         REVOKE ALL ON FUNCTION {function}() FROM PUBLIC;\n",
        probe(checked, &table),
    );
    for (end, op, rows) in OCCASIONS {
        let name = identifier(&name(checked, end));
        let tables: String = rows
            .iter()
            .map(|rows| format!(" {} TABLE AS {rows}", if *rows == "larder_old" { "OLD" } else { "NEW" }))
            .collect();
        let when = if rows.is_empty() { "BEFORE" } else { "AFTER" };
        let referencing = if rows.is_empty() { String::new() } else { format!(" REFERENCING{tables}") };
        sql.push_str(&format!(
            "DROP TRIGGER IF EXISTS {name} ON {table};\n\
             CREATE TRIGGER {name} {when} {op} ON {table}{referencing}\n\
             FOR EACH STATEMENT EXECUTE FUNCTION {function}();\n"
        ));
    }
    sql
}

pub(super) fn remove(checked: &Checked<'_>) -> String {
    let trigger = checked.trigger;
    let table = format!("{}.{}", identifier(&trigger.schema), identifier(&trigger.table));
    let drops: String = OCCASIONS
        .iter()
        .map(|(end, ..)| format!("DROP TRIGGER IF EXISTS {} ON {table};\n", identifier(&name(checked, end))))
        .collect();
    format!("{drops}DROP FUNCTION IF EXISTS {}();\n", function(checked))
}

/// Beside the table, so that tables of the same name in two schemas do not share it.
fn function(checked: &Checked<'_>) -> String {
    let trigger = checked.trigger;
    format!("{}.{}", identifier(&trigger.schema), identifier(&derived("larder_outbox_", &trigger.table, "")))
}

fn name(checked: &Checked<'_>, end: &str) -> String {
    derived("larder_outbox_", &checked.trigger.table, &format!("_{end}"))
}

/// Fails where a column is missing.
fn probe(checked: &Checked<'_>, table: &str) -> String {
    let columns: Vec<String> = [checked.tenant, checked.trigger.key.as_deref()]
        .into_iter()
        .flatten()
        .map(|column| format!("PERFORM larder.{} FROM {table} AS larder LIMIT 0;", identifier(column)))
        .collect();
    if columns.is_empty() {
        String::new()
    } else {
        format!("DO {};\n", body(&format!("BEGIN {} END", columns.join(" "))))
    }
}

/// One outbox row for each tenant that is concerned.
fn insert(checked: &Checked<'_>, table: &str, end: &str, rows: &[&str]) -> String {
    let trigger = checked.trigger;
    // Qualified: a column may be called as one of PL/pgSQL's variables.
    let text_of = |rows: &str, column: Option<&str>| match column {
        Some(column) => format!("CAST({rows}.{} AS text)", identifier(column)),
        None => "CAST(NULL AS text)".to_owned(),
    };
    let changed_in = |rows: &str, key: Option<&str>| {
        let tenant = match checked.tenant {
            Some(column) => text_of(rows, Some(column)),
            None => "CAST('' AS text)".to_owned(),
        };
        format!("SELECT DISTINCT {tenant} AS tenant, {} AS key FROM {rows}", text_of(rows, key))
    };
    let sources: Vec<String> = match rows {
        // Before it is emptied, under its exclusive lock: these are the tenants that lose rows.
        [] => vec![changed_in(table, None)],
        _ => rows.iter().map(|rows| changed_in(rows, trigger.key.as_deref())).collect(),
    };
    let shared = u8::from(checked.tenant.is_none());
    format!(
        "    INSERT INTO {outbox}.larder_outbox (tenant, shared, kind, room, data, invalidates)\n\
         \x20   SELECT tenant, {shared}, {kind}, {room},\n\
         \x20     jsonb_build_object('table', {name}, 'op', {op}, 'keys',\n\
         \x20       CASE WHEN count(*) <= {MAX_TRIGGER_KEYS} AND count(*) = count(key) AND sum(octet_length(key)) <= {MAX_TRIGGER_KEY_BYTES}\n\
         \x20            THEN jsonb_agg(key) FILTER (WHERE place <= {MAX_TRIGGER_KEYS}) END)::text,\n\
         \x20     {invalidates}\n\
         \x20   FROM (SELECT tenant, key, row_number() OVER (PARTITION BY tenant ORDER BY key) AS place\n\
         \x20         FROM ({sources}) AS changed) AS numbered\n\
         \x20   GROUP BY tenant;\n",
        outbox = identifier(&trigger.outbox_schema),
        kind = pg_text(&format!("{}.{end}", trigger.kind)),
        room = trigger.room.as_deref().map_or_else(|| "NULL".to_owned(), pg_text),
        name = pg_text(&trigger.table),
        op = pg_text(op(end)),
        invalidates = pg_text(&checked.invalidates),
        sources = sources.join(" UNION "),
    )
}

fn op(end: &str) -> &'static str {
    match end {
        "created" => "insert",
        "updated" => "update",
        "deleted" => "delete",
        _ => "truncate",
    }
}
