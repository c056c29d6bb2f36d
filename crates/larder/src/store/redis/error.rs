//! What went wrong, told apart: so that an outage is not taken for a wrong password, nor either for a full server.

use crate::store::{StoreError, StoreErrorKind};
use redis::{RedisError, ServerError};
use rustls::{AlertDescription, CertificateError, InvalidMessage};
use std::{error::Error, fmt::Write as _, io, sync::Arc};

/// The longest detail kept of what a server says.
const MAX_DETAIL: usize = 200;

/// An answer that is an error.
pub(super) fn from_server(error: &ServerError) -> StoreError {
    let (code, detail) = (error.code(), error.details().unwrap_or_default());
    StoreError::new(kind_of(code, detail), said(code, detail))
}

fn kind_of(code: &str, detail: &str) -> StoreErrorKind {
    match code {
        "NOAUTH" | "WRONGPASS" | "NOPERM" => StoreErrorKind::Denied,
        "READONLY" | "NOREPLICAS" | "LOADING" | "MASTERDOWN" | "MISCONF" | "BUSY" => {
            StoreErrorKind::NotWritable
        }
        "NOSCRIPT" => StoreErrorKind::Changed,
        "OOM" => StoreErrorKind::OutOfMemory,
        "MOVED" | "ASK" | "TRYAGAIN" | "CLUSTERDOWN" => StoreErrorKind::Moved,
        "CROSSSLOT" | "NOPROTO" => StoreErrorKind::Unsupported,
        _ if detail.starts_with("unknown command") || detail.starts_with("unknown subcommand") => {
            StoreErrorKind::Unsupported
        }
        // How access lists refuse a command inside a script, and passwords where none is set.
        _ if detail.contains("executing the script can't") => StoreErrorKind::Denied,
        _ if detail.contains("no password is set") || detail.contains("without any password configured") => {
            StoreErrorKind::Denied
        }
        _ if detail.contains("max number of clients") => StoreErrorKind::Disconnected,
        _ => StoreErrorKind::Protocol,
    }
}

/// What the server said. Redis names users, commands and script lines in errors, but an unknown command it quotes with
/// its arguments: those could be keys and are cut off.
fn said(code: &str, detail: &str) -> String {
    let detail = detail.split(", with args").next().unwrap_or_default();
    let detail: String = detail.chars().take(MAX_DETAIL).collect();
    if code == "ERR" { detail } else { format!("{code} {detail}") }
}

/// A failure of the driver: the connection's, or an answer that is an error.
pub(super) fn from_driver(error: RedisError) -> StoreError {
    if let Some(server) = server_error(&error) {
        return from_server(&server);
    }
    match error.kind() {
        redis::ErrorKind::AuthenticationFailed => {
            StoreError::new(StoreErrorKind::Denied, "the password was refused")
        }
        redis::ErrorKind::RESP3NotSupported => {
            StoreError::new(StoreErrorKind::Unsupported, "NOPROTO the server does not know HELLO 3")
        }
        redis::ErrorKind::Parse => {
            StoreError::new(StoreErrorKind::Disconnected, "the server does not speak the Redis protocol")
        }
        redis::ErrorKind::Io => match io_error(&error) {
            Some(error) => from_io(error),
            None => StoreError::new(StoreErrorKind::Disconnected, "the connection has ended"),
        },
        // Such as a refused SELECT, whose words the driver keeps in the detail.
        _ => StoreError::new(StoreErrorKind::Unsupported, said("ERR", &error.to_string())),
    }
}

fn server_error(error: &RedisError) -> Option<ServerError> {
    ServerError::try_from(error.clone()).ok()
}

/// The socket's error, which the driver keeps in an `Arc` that is its error's source.
fn io_error(error: &RedisError) -> Option<&io::Error> {
    let source = error.source()?;
    source.downcast_ref().or_else(|| source.downcast_ref::<Arc<dyn Error + Send + Sync>>()?.downcast_ref())
}

/// A failure of the socket or of TLS on it.
pub(super) fn from_io(error: &io::Error) -> StoreError {
    if let Some(tls) = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>()) {
        return StoreError::new(StoreErrorKind::Tls, tls_words(tls));
    }
    let words = match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".into(),
        io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset => {
            "the server closed the connection".into()
        }
        io::ErrorKind::TimedOut => "the network gave the connection up".into(),
        _ => error.to_string(),
    };
    StoreError::new(StoreErrorKind::Disconnected, words)
}

fn tls_words(error: &rustls::Error) -> String {
    use rustls::Error::{AlertReceived, InvalidCertificate, InvalidMessage as BadMessage};
    match error {
        InvalidCertificate(CertificateError::UnknownIssuer) => {
            "the server's certificate was not issued by a known authority".into()
        }
        InvalidCertificate(CertificateError::NotValidForName) => {
            "the server's certificate is not for this host".into()
        }
        InvalidCertificate(CertificateError::NotValidForNameContext { expected, presented }) => {
            let mut words = format!("the server's certificate is not for {}", expected.to_str());
            for (n, name) in presented.iter().take(5).enumerate() {
                let _ = write!(words, "{} {name}", if n == 0 { ", only for" } else { "," });
            }
            words
        }
        InvalidCertificate(CertificateError::Expired | CertificateError::ExpiredContext { .. }) => {
            "the server's certificate has expired".into()
        }
        InvalidCertificate(CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. }) => {
            "the server's certificate is not valid yet".into()
        }
        AlertReceived(AlertDescription::CertificateRequired) => {
            "the server wants a client certificate".into()
        }
        AlertReceived(alert) => format!("the server refused the handshake ({alert:?})"),
        BadMessage(InvalidMessage::InvalidContentType) => "the server does not speak TLS on this port".into(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use redis::Value;

    fn kind(line: &str) -> StoreErrorKind {
        match redis::parse_redis_value(format!("-{line}\r\n").as_bytes()).unwrap() {
            Value::ServerError(error) => from_server(&error).kind,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_a_server_refuses_is_told_apart() {
        for (line, expected) in [
            ("NOAUTH Authentication required.", StoreErrorKind::Denied),
            ("WRONGPASS invalid username-password pair or user is disabled.", StoreErrorKind::Denied),
            ("NOPERM this user has no permissions to run the 'time' command", StoreErrorKind::Denied),
            (
                "ERR The user executing the script can't run this command or subcommand",
                StoreErrorKind::Denied,
            ),
            ("READONLY You can't write against a read only replica.", StoreErrorKind::NotWritable),
            ("NOREPLICAS Not enough good replicas to write.", StoreErrorKind::NotWritable),
            ("LOADING Redis is loading the dataset in memory", StoreErrorKind::NotWritable),
            ("MASTERDOWN Link with MASTER is down", StoreErrorKind::NotWritable),
            ("NOSCRIPT No matching script.", StoreErrorKind::Changed),
            ("OOM command not allowed when used memory > 'maxmemory'.", StoreErrorKind::OutOfMemory),
            ("ERR unknown command 'SPUBLISH', with args beginning with: 'x'", StoreErrorKind::Unsupported),
            ("MOVED 3999 127.0.0.1:6381", StoreErrorKind::Moved),
            ("ASK 3999 127.0.0.1:6381", StoreErrorKind::Moved),
            ("TRYAGAIN Multiple keys request during rehashing of slot", StoreErrorKind::Moved),
            ("CLUSTERDOWN Hash slot not served", StoreErrorKind::Moved),
            ("CROSSSLOT Keys in request don't hash to the same slot", StoreErrorKind::Unsupported),
            ("ERR syntax error", StoreErrorKind::Protocol),
        ] {
            assert_eq!(kind(line), expected, "{line}");
        }
    }

    #[test]
    fn arguments_of_an_unknown_command_are_not_repeated() {
        let words = said("ERR", "unknown command 'FOO', with args beginning with: 'secret'");
        assert_eq!(words, "unknown command 'FOO'");
    }
}
