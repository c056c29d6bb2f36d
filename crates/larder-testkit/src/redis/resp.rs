//! A Redis client of a page: blocking, RESP2, one connection.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// A server that does not answer for this long is an error (a paused one never does).
const DEADLINE: Duration = Duration::from_secs(5);

/// What Redis answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// A status such as `OK`.
    Status(String),
    /// An error, with its code: `WRONGTYPE …`.
    Error(String),
    /// An integer.
    Int(i64),
    /// A string of bytes.
    Bulk(Vec<u8>),
    /// Several replies.
    Array(Vec<Reply>),
    /// Absence.
    Nil,
}

impl Reply {
    /// A status, an error, an integer or a string as text; empty for the rest.
    #[must_use]
    pub fn text(&self) -> String {
        match self {
            Self::Status(text) | Self::Error(text) => text.clone(),
            Self::Int(number) => number.to_string(),
            Self::Bulk(bytes) => String::from_utf8_lossy(bytes).into_owned(),
            Self::Array(_) | Self::Nil => String::new(),
        }
    }

    /// A string of bytes.
    #[must_use]
    pub fn bytes(&self) -> Option<&[u8]> {
        if let Self::Bulk(bytes) = self { Some(bytes) } else { None }
    }

    /// An integer, also one that came as a string.
    #[must_use]
    pub fn int(&self) -> Option<i64> {
        match self {
            Self::Int(number) => Some(*number),
            Self::Bulk(_) | Self::Status(_) => self.text().parse().ok(),
            _ => None,
        }
    }

    /// The parts of an array; empty for the rest.
    #[must_use]
    pub fn items(&self) -> &[Self] {
        if let Self::Array(items) = self { items } else { &[] }
    }

    /// Whether there was no value.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        *self == Self::Nil
    }

    /// Whether it is an error.
    #[must_use]
    pub fn is_error(&self) -> bool {
        matches!(self, Self::Error(_))
    }
}

/// A connection to one server, from [`RedisServer::connect`](super::RedisServer::connect): what it answers comes from one
/// process.
#[derive(Debug)]
pub struct Connection(BufReader<UnixStream>);

impl Connection {
    pub(super) fn open(socket: &Path) -> io::Result<Self> {
        let stream = UnixStream::connect(socket)?;
        stream.set_read_timeout(Some(DEADLINE))?;
        stream.set_write_timeout(Some(DEADLINE))?;
        Ok(Self(BufReader::new(stream)))
    }

    /// Sends one command and returns the answer, errors of Redis included.
    ///
    /// # Errors
    /// When there is no answer within 5 s. The connection is of no use then.
    pub fn call<A: AsRef<[u8]>>(&mut self, arguments: &[A]) -> io::Result<Reply> {
        let mut frame = format!("*{}\r\n", arguments.len()).into_bytes();
        for argument in arguments.iter().map(AsRef::as_ref) {
            frame.extend_from_slice(format!("${}\r\n", argument.len()).as_bytes());
            frame.extend_from_slice(argument);
            frame.extend_from_slice(b"\r\n");
        }
        self.0.get_mut().write_all(&frame)?;
        read(&mut self.0)
    }
}

fn read(from: &mut impl BufRead) -> io::Result<Reply> {
    let mut line = String::new();
    from.read_line(&mut line)?;
    let line = line.trim_end_matches("\r\n");
    let Some(kind) = line.chars().next() else {
        return Err(io::ErrorKind::UnexpectedEof.into());
    };
    let rest = &line[kind.len_utf8()..];
    let number = || rest.parse::<i64>().map_err(|_| malformed(line));
    Ok(match kind {
        '+' => Reply::Status(rest.to_owned()),
        '-' => Reply::Error(rest.to_owned()),
        ':' => Reply::Int(number()?),
        '$' => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(length) => {
                let mut bytes = vec![0; length + 2];
                from.read_exact(&mut bytes)?;
                bytes.truncate(length);
                Reply::Bulk(bytes)
            }
        },
        '*' => match usize::try_from(number()?) {
            Err(_) => Reply::Nil,
            Ok(length) => Reply::Array((0..length).map(|_| read(from)).collect::<io::Result<_>>()?),
        },
        _ => return Err(malformed(line)),
    })
}

fn malformed(line: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("not RESP: {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_of_reply_is_read() {
        let mut wire: &[u8] = b"*6\r\n+OK\r\n-ERR no\r\n:-7\r\n$3\r\na\r\n\r\n$-1\r\n*-1\r\n";
        let expected = vec![
            Reply::Status("OK".into()),
            Reply::Error("ERR no".into()),
            Reply::Int(-7),
            Reply::Bulk(b"a\r\n".to_vec()),
            Reply::Nil,
            Reply::Nil,
        ];
        assert_eq!(read(&mut wire).unwrap(), Reply::Array(expected));
    }

    #[test]
    fn a_closed_connection_and_foreign_bytes_are_errors() {
        assert_eq!(read(&mut &b""[..]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(read(&mut &b"HTTP/1.1 400\r\n"[..]).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(read(&mut &b"$5\r\nab"[..]).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
