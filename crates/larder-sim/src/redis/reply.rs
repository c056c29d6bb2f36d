//! What a server answers, and how it is written in either version of the protocol.

use std::fmt::Write as _;

/// An answer.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// `+OK`
    Status(String),
    /// `-ERR …`: code and words.
    Error(String),
    /// `:1`
    Int(i64),
    /// Bytes.
    Bulk(Vec<u8>),
    /// Nothing.
    Null,
    /// A list.
    Array(Vec<Reply>),
    /// A score.
    Double(f64),
    /// Names and values.
    Map(Vec<(Reply, Reply)>),
    /// Text of `INFO`.
    Text(String),
    /// What was not asked for.
    Push(Vec<Reply>),
}

impl Reply {
    /// `+OK`
    pub fn ok() -> Self {
        Self::Status("OK".to_owned())
    }

    /// An error with the usual code.
    pub fn err(words: &str) -> Self {
        Self::Error(format!("ERR {words}"))
    }

    /// Bytes.
    pub fn bulk(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Bulk(bytes.into())
    }

    /// Bytes or nothing.
    pub fn maybe(bytes: Option<Vec<u8>>) -> Self {
        bytes.map_or(Self::Null, Self::Bulk)
    }

    /// A score or nothing.
    pub fn score(score: Option<f64>) -> Self {
        score.map_or(Self::Null, Self::Double)
    }

    /// A count.
    pub fn count(count: usize) -> Self {
        Self::Int(i64::try_from(count).expect("a count fits"))
    }

    /// Writes it as RESP3.
    pub fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Status(text) => line(out, b'+', text.as_bytes()),
            Self::Error(text) => line(out, b'-', text.as_bytes()),
            Self::Int(number) => line(out, b':', number.to_string().as_bytes()),
            Self::Bulk(bytes) => block(out, b'$', bytes),
            Self::Null => out.extend(b"_\r\n"),
            Self::Array(items) => list(out, b'*', items),
            Self::Push(items) => list(out, b'>', items),
            Self::Double(number) => line(out, b',', number_text(*number).as_bytes()),
            Self::Map(pairs) => {
                line(out, b'%', pairs.len().to_string().as_bytes());
                for (name, value) in pairs {
                    name.write(out);
                    value.write(out);
                }
            }
            Self::Text(text) => block(out, b'=', format!("txt:{text}").as_bytes()),
        }
    }
}

fn line(out: &mut Vec<u8>, kind: u8, text: &[u8]) {
    out.push(kind);
    out.extend(text);
    out.extend(b"\r\n");
}

fn block(out: &mut Vec<u8>, kind: u8, bytes: &[u8]) {
    line(out, kind, bytes.len().to_string().as_bytes());
    out.extend(bytes);
    out.extend(b"\r\n");
}

fn list(out: &mut Vec<u8>, kind: u8, items: &[Reply]) {
    line(out, kind, items.len().to_string().as_bytes());
    items.iter().for_each(|item| item.write(out));
}

/// A double as Redis 7.0 writes it: seventeen significant digits.
pub(super) fn number_text(number: f64) -> String {
    if number.is_infinite() {
        return if number > 0.0 { "inf".to_owned() } else { "-inf".to_owned() };
    }
    if number.fract() == 0.0 && number.abs() < 1e17 {
        return format!("{number:.0}");
    }
    // %.17g
    let scientific = format!("{number:.16e}");
    let (digits, exponent) = scientific.split_once('e').expect("this form has an exponent");
    let exponent: i32 = exponent.parse().expect("it is a number");
    let mut text = if (-4..17).contains(&exponent) {
        let places = usize::try_from(16 - exponent).expect("at most 20 places");
        format!("{number:.places$}")
    } else {
        digits.to_owned()
    };
    if text.contains('.') {
        text.truncate(text.trim_end_matches('0').trim_end_matches('.').len());
    }
    if !(-4..17).contains(&exponent) {
        let _ = write!(text, "e{}{:02}", if exponent < 0 { '-' } else { '+' }, exponent.abs());
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_are_written_as_redis_writes_them() {
        for (number, text) in [
            (0.0, "0"),
            (-1.0, "-1"),
            (1_763_640_000_000_001.0, "1763640000000001"),
            (0.1, "0.10000000000000001"),
            (1.5, "1.5"),
            (1e20, "1e+20"),
            (2.5e-7, "2.4999999999999999e-07"),
            (f64::NEG_INFINITY, "-inf"),
        ] {
            assert_eq!(number_text(number), text);
        }
    }
}
