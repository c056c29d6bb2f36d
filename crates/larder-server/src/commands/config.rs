//! `larder config`: every value with the place it comes from.

use std::fmt::Write as _;

use super::out;
use crate::cli::SettingFlags;
use crate::config::{self, Loaded};
use crate::failure::Failure;

pub(crate) fn run(flags: SettingFlags) -> Result<(), Failure> {
    let loaded = config::load(flags.0)?;
    crate::warn(&loaded.warnings);
    out(&table(&loaded))
}

fn table(loaded: &Loaded) -> String {
    let rows = loaded
        .shown
        .iter()
        .map(|row| (row.name.as_str(), row.value.as_deref().unwrap_or("(unset)"), row.source));
    let names = rows.clone().map(|(name, ..)| name.len()).max().unwrap_or(0);
    let values = rows.clone().map(|(_, value, _)| value.len()).max().unwrap_or(0).min(48);
    let mut table = String::new();
    for (name, value, source) in rows {
        writeln!(table, "{name:names$}  {value:values$}  {source}").expect("a String can be written to");
    }
    table
}
