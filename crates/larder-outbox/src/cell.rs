//! Columns of rows that others wrote. SQLite keeps in a column whatever it is given: bytes, and texts that are none.

/// What a column holds. `Err`: no text; what it would say if its bytes were meant as one.
pub(crate) type Cell = Result<Option<String>, Option<String>>;

/// A column as SQLite's statement gives it: the first letter of its type, and its bytes in hexadecimal digits. So neither a
/// driver nor the conversion to text stumbles over one row and fails them all.
pub(crate) fn of_sqlite(cell: Option<String>) -> Cell {
    let Some(cell) = cell else { return Ok(None) };
    let (kind, digits) = cell.split_at_checked(1).ok_or(None)?;
    let text = || hex::decode(digits).ok().and_then(|bytes| String::from_utf8(bytes).ok());
    match kind {
        "n" => Ok(None),
        "b" => Err(text()),
        _ => text().map(Some).ok_or(None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_column_holds_is_told_from_what_it_does_not() {
        let of = |cell: &str| of_sqlite(Some(cell.to_owned()));
        assert_eq!(of("t61C3B6"), Ok(Some("aö".to_owned())));
        assert_eq!(of("i3432"), Ok(Some("42".to_owned())));
        assert_eq!((of("t"), of("n"), of_sqlite(None)), (Ok(Some(String::new())), Ok(None), Ok(None)));
        assert_eq!(of("b61"), Err(Some("a".to_owned())), "bytes that would be a text");
        assert_eq!((of("t61FF"), of("bFF"), of("")), (Err(None), Err(None), Err(None)));
    }
}
