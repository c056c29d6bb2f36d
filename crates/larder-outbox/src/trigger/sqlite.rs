//! Row triggers: SQLite has no others.

use super::Checked;
use super::quote::{derived, identifier, sqlite_text};
use larder::limits::MAX_KEY_BYTES;

/// The event's last part, what SQLite calls it, and the rows that there are.
const OCCASIONS: [(&str, &str, &[&str]); 3] = [
    ("created", "INSERT", &["NEW"]),
    ("updated", "UPDATE", &["NEW", "OLD"]),
    ("deleted", "DELETE", &["OLD"]),
];

pub(super) fn create(checked: &Checked<'_>) -> String {
    let table = identifier(&checked.trigger.table);
    let mut sql = format!(
        "-- Made by larder-outbox. A column that does not exist is found here, not by the first writer.\n{}",
        probe(checked, &table)
    );
    for (end, op, rows) in OCCASIONS {
        let name = identifier(&name(checked, end));
        let inserts: String = rows.iter().map(|row| insert(checked, end, op, row, rows.len() > 1)).collect();
        sql.push_str(&format!(
            "DROP TRIGGER IF EXISTS {name};\n\
             CREATE TRIGGER {name} AFTER {op} ON {table} FOR EACH ROW BEGIN\n{inserts}END;\n"
        ));
    }
    sql
}

pub(super) fn remove(checked: &Checked<'_>) -> String {
    OCCASIONS
        .iter()
        .map(|(end, ..)| format!("DROP TRIGGER IF EXISTS {};\n", identifier(&name(checked, end))))
        .collect()
}

fn name(checked: &Checked<'_>, end: &str) -> String {
    derived("larder_outbox_", &checked.trigger.table, &format!("_{end}"))
}

/// Fails where a column is missing. Qualified: SQLite takes other quoted names that it does not know for texts.
fn probe(checked: &Checked<'_>, table: &str) -> String {
    [checked.tenant, checked.trigger.key.as_deref()]
        .into_iter()
        .flatten()
        .map(|column| format!("SELECT larder.{} FROM {table} AS larder LIMIT 0;\n", identifier(column)))
        .collect()
}

/// The row for `NEW`, or for `OLD`. An update has one for `OLD` only where the row has left a tenant.
fn insert(checked: &Checked<'_>, end: &str, op: &str, row: &str, is_update: bool) -> String {
    let trigger = checked.trigger;
    let tenant_of = |row: &str| match checked.tenant {
        Some(column) => format!("CAST({row}.{} AS TEXT)", identifier(column)),
        None => "''".to_owned(),
    };
    let key_of =
        |row: &str| trigger.key.as_ref().map(|key| format!("CAST({row}.{} AS TEXT)", identifier(key)));
    // JSON text inside JSON: without `json` it would be a string.
    let keys = match (key_of(row), key_of("OLD")) {
        (None, _) | (_, None) => "NULL".to_owned(),
        (Some(key), Some(old)) if is_update && row == "NEW" => {
            let both = format!(
                "CASE WHEN {key} IS {old} OR {} IS NOT {} THEN json_array({key}) ELSE json_array({old}, {key}) END",
                tenant_of("NEW"),
                tenant_of("OLD")
            );
            whole_if_unfit(&[&key, &old], &both)
        }
        (Some(key), _) => whole_if_unfit(&[&key], &format!("json_array({key})")),
    };
    let condition = if is_update && row == "OLD" {
        format!("{} IS NOT {}", tenant_of("OLD"), tenant_of("NEW"))
    } else {
        "1".to_owned()
    };
    format!(
        "  INSERT INTO larder_outbox (tenant, shared, kind, room, data, invalidates)\n\
         \x20 SELECT {tenant}, {shared}, {kind}, {room},\n\
         \x20   json_object('table', {name}, 'op', {op}, 'keys', json({keys})),\n\
         \x20   {invalidates} WHERE {condition};\n",
        tenant = tenant_of(row),
        shared = u8::from(checked.tenant.is_none()),
        kind = sqlite_text(&format!("{}.{end}", trigger.kind)),
        room = trigger.room.as_deref().map_or_else(|| "NULL".to_owned(), sqlite_text),
        name = sqlite_text(&trigger.table),
        op = sqlite_text(&op.to_lowercase()),
        invalidates = sqlite_text(&checked.invalidates),
    )
}

/// A key that is none, or too long to be one, makes it the whole table.
fn whole_if_unfit(keys: &[&str], fit: &str) -> String {
    let unfit: Vec<String> = keys
        .iter()
        .map(|key| format!("{key} IS NULL OR length(CAST({key} AS BLOB)) > {MAX_KEY_BYTES}"))
        .collect();
    format!("CASE WHEN {} THEN NULL ELSE {fit} END", unfit.join(" OR "))
}
