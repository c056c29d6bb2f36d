//! What SQLite was asked, as the driver that runs the statements logs it.
//!
//! SQLite is a library inside the server, so there is no server to ask what it has seen. The driver logs every statement
//! that it has run on a connection, after the last row was read and before the row is handed on: who has seen an answer
//! of the server finds the statements behind it here. Neither the cache nor the backend has a hand in it.

/// The value of `LOG` that makes the driver log statements.
pub(crate) const LOG: &str = "info,sqlx::query=debug";

/// Every statement in the log of a server, in order, as it was sent.
pub(crate) fn statements(log: &str) -> Vec<String> {
    log.lines().filter_map(statement).collect()
}

/// A short statement is its own summary, of a longer one the summary is the beginning.
fn statement(line: &str) -> Option<String> {
    let (_, fields) = line.split_once(" sqlx::query: ")?;
    let (summary, rest) = quoted(fields.split_once("summary=")?.1)?;
    let (whole, _) = quoted(rest.split_once("db.statement=")?.1)?;
    Some(if whole.is_empty() { summary } else { whole.trim().to_owned() })
}

/// The text between quotation marks at the beginning, with its escapes taken back, and what follows it.
fn quoted(text: &str) -> Option<(String, &str)> {
    let text = text.strip_prefix('"')?;
    let (mut out, mut chars) = (String::new(), text.char_indices());
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((out, &text[at + 1..])),
            '\\' => match chars.next()?.1 {
                'n' => out.push('\n'),
                't' => out.push('\t'),
                other => out.push(other),
            },
            other => out.push(other),
        }
    }
    None
}

#[test]
fn statements_are_read_from_lines_of_the_driver_only() {
    let log = concat!(
        "2026-01-01T00:00:00Z  INFO larder: db.statement=\"SELECT 0\"\n",
        r#"2026-01-01T00:00:00Z DEBUG sqlx::query: summary="SELECT 1" db.statement="" rows_affected=0"#,
        "\n",
        r#"2026-01-01T00:00:00Z DEBUG load: sqlx::query: summary="SELECT a, \"b\" FROM …" db.statement="\n\nSELECT a, \"b\" FROM t\n\tWHERE c = $1\n" rows_affected=0"#,
        "\n",
    );
    assert_eq!(statements(log), ["SELECT 1", "SELECT a, \"b\" FROM t\n\tWHERE c = $1"]);
}
