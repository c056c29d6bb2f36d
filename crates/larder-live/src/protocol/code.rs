//! Why a command was refused.

/// The code of an `error` frame (PROTOCOL.md §3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub(crate) enum ErrorCode {
    Internal,
    Unauthorized,
    Forbidden,
    Already,
    Limit,
    BadRequest,
    NotAvailable,
    TokenExpired,
    TooMany,
    Unrecoverable,
}

impl ErrorCode {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Internal => "internal",
            Self::Unauthorized => "unauthorized",
            Self::Forbidden => "forbidden",
            Self::Already => "already",
            Self::Limit => "limit",
            Self::BadRequest => "bad_request",
            Self::NotAvailable => "not_available",
            Self::TokenExpired => "token_expired",
            Self::TooMany => "too_many",
            Self::Unrecoverable => "unrecoverable",
        }
    }

    pub(crate) fn number(self) -> u16 {
        match self {
            Self::Internal => 100,
            Self::Unauthorized => 101,
            Self::Forbidden => 103,
            Self::Already => 105,
            Self::Limit => 106,
            Self::BadRequest => 107,
            Self::NotAvailable => 108,
            Self::TokenExpired => 109,
            Self::TooMany => 111,
            Self::Unrecoverable => 112,
        }
    }

    /// Whether the same command may succeed later.
    pub(crate) fn retry(self) -> bool {
        matches!(self, Self::Internal | Self::NotAvailable | Self::TooMany)
    }
}
