//! Why a connection is closed, and whether its client shall come back.

/// The code of a close frame (PROTOCOL.md §5). 4000 to 4499: come back; 4500 and above: don't.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CloseCode {
    /// The client has closed.
    Normal,
    /// The peer violates RFC 6455.
    Protocol,
    /// A binary frame.
    Binary,
    /// A text that is not UTF-8.
    Encoding,
    /// A message that is too large.
    TooLarge,
    /// The server is going away.
    Drain,
    /// The server failed.
    ServerError,
    /// The token has run out.
    TokenExpired,
    /// More waits for the client than it takes.
    Slow,
    /// No sign of life.
    NoPong,
    /// What the server knew of the connection is lost.
    StateLost,
    /// Too many commands.
    RateLimited,
    /// The client is asked to connect anew.
    Forced,
    /// The tenant has as many connections as it may.
    TenantFull,
    /// The token is not valid.
    BadToken,
    /// No sign-in in time.
    NoSignIn,
    /// The peer does not speak this protocol.
    BadProtocol,
    /// The token is of another tenant.
    Forbidden,
    /// The user has as many connections as they may.
    UserFull,
    /// An operator has signed the user out.
    Kicked,
    /// No version in common.
    Version,
}

impl CloseCode {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 21] = [
        Self::Normal,
        Self::Protocol,
        Self::Binary,
        Self::Encoding,
        Self::TooLarge,
        Self::Drain,
        Self::ServerError,
        Self::TokenExpired,
        Self::Slow,
        Self::NoPong,
        Self::StateLost,
        Self::RateLimited,
        Self::Forced,
        Self::TenantFull,
        Self::BadToken,
        Self::NoSignIn,
        Self::BadProtocol,
        Self::Forbidden,
        Self::UserFull,
        Self::Kicked,
        Self::Version,
    ];

    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u16 {
        match self {
            Self::Normal => 1000,
            Self::Protocol => 1002,
            Self::Binary => 1003,
            Self::Encoding => 1007,
            Self::TooLarge => 1009,
            Self::Drain => 4000,
            Self::ServerError => 4001,
            Self::TokenExpired => 4002,
            Self::Slow => 4003,
            Self::NoPong => 4004,
            Self::StateLost => 4005,
            Self::RateLimited => 4006,
            Self::Forced => 4007,
            Self::TenantFull => 4008,
            Self::BadToken => 4500,
            Self::NoSignIn => 4501,
            Self::BadProtocol => 4502,
            Self::Forbidden => 4503,
            Self::UserFull => 4504,
            Self::Kicked => 4505,
            Self::Version => 4506,
        }
    }

    /// The reason on the wire: at most 32 bytes of ASCII (RFC 6455 §5.5 has room for 123).
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Normal => "",
            Self::Protocol => "protocol violation",
            Self::Binary => "text frames only",
            Self::Encoding => "not UTF-8",
            Self::TooLarge => "message too large",
            Self::Drain => "going away",
            Self::ServerError => "server error",
            Self::TokenExpired => "token expired",
            Self::Slow => "too slow",
            Self::NoPong => "no sign of life",
            Self::StateLost => "state lost",
            Self::RateLimited => "too many commands",
            Self::Forced => "connect anew",
            Self::TenantFull => "tenant full",
            Self::BadToken => "bad token",
            Self::NoSignIn => "no sign-in in time",
            Self::BadProtocol => "bad protocol",
            Self::Forbidden => "another tenant",
            Self::UserFull => "too many connections of the user",
            Self::Kicked => "signed out",
            Self::Version => "no common version",
        }
    }

    pub(crate) fn index(self) -> usize {
        Self::ALL.iter().position(|code| *code == self).expect("all codes are listed")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_reasons_are_short_ascii() {
        assert!(CloseCode::ALL.windows(2).all(|pair| pair[0].number() < pair[1].number()));
        for code in CloseCode::ALL {
            assert!(code.reason().is_ascii() && code.reason().len() <= 32, "{code:?}");
            assert_eq!(CloseCode::ALL[code.index()], code);
        }
    }
}
