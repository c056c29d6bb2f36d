//! Names and texts as SQL. Everything that a caller gives passes through here; nothing else makes SQL of it.

use crate::limits::MAX_IDENTIFIER_BYTES;

/// Why a name can't be an identifier; `None` if it can.
pub(super) fn fault(name: &str) -> Option<String> {
    if name.is_empty() || name.len() > MAX_IDENTIFIER_BYTES {
        return Some(format!("has {} bytes, and may have 1 to {MAX_IDENTIFIER_BYTES}", name.len()));
    }
    name.contains('\0').then(|| "holds a NUL".to_owned())
}

/// An identifier, as it is: case and spaces are kept.
pub(super) fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text for PostgreSQL, whichever way `standard_conforming_strings` is set.
pub(super) fn pg_text(text: &str) -> String {
    let quoted = text.replace('\'', "''");
    if quoted.contains('\\') { format!("E'{}'", quoted.replace('\\', "\\\\")) } else { format!("'{quoted}'") }
}

/// A text for SQLite.
pub(super) fn sqlite_text(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// The body of a function, quoted by a tag that does not occur in it.
pub(super) fn body(body: &str) -> String {
    let tags = std::iter::once("$larder$".to_owned()).chain((1..).map(|n| format!("$larder{n}$")));
    let tag =
        tags.into_iter().find(|tag| !body.contains(tag.as_str())).expect("a text holds finitely many tags");
    format!("{tag}{body}{tag}")
}

/// A name made of another, short enough: what is cut off is stood for by a hash of the whole.
pub(super) fn derived(prefix: &str, name: &str, suffix: &str) -> String {
    let whole = format!("{prefix}{name}{suffix}");
    if whole.len() <= MAX_IDENTIFIER_BYTES {
        return whole;
    }
    let hash = name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let mut room = MAX_IDENTIFIER_BYTES.saturating_sub(prefix.len() + suffix.len() + 17);
    while !name.is_char_boundary(room) {
        room -= 1;
    }
    format!("{prefix}{}_{hash:016x}{suffix}", &name[..room])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_never_ends_what_it_is_in() {
        assert_eq!(identifier(r#"a" ; DROP TABLE x; --"#), r#""a"" ; DROP TABLE x; --""#);
        assert_eq!(pg_text(r"it's \ here"), r"E'it''s \\ here'");
        assert_eq!(pg_text("it's"), "'it''s'");
        assert_eq!(sqlite_text(r"it's \ here"), r"'it''s \ here'");
        assert_eq!(body("a $larder$ b $larder1$"), "$larder2$a $larder$ b $larder1$$larder2$");
    }

    #[test]
    fn names_that_no_database_takes_whole_are_faults() {
        assert!(fault("").is_some() && fault(&"x".repeat(64)).is_some() && fault("a\0b").is_some());
        assert_eq!(fault(&"x".repeat(63)), None);
        assert_eq!(fault("Ünïcode \" table"), None);
    }

    #[test]
    fn derived_names_are_short_and_different() {
        let (a, b) = (format!("{}a", "ü".repeat(31)), format!("{}b", "ü".repeat(31)));
        let (one, two) = (derived("larder_outbox_", &a, "_ins"), derived("larder_outbox_", &b, "_ins"));
        assert!(one.len() <= MAX_IDENTIFIER_BYTES && one.ends_with("_ins"), "{one}");
        assert_ne!(one, two);
        assert_eq!(derived("larder_outbox_", "campaigns", "_ins"), "larder_outbox_campaigns_ins");
    }
}
