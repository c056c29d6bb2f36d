//! What a client is told when the cache could not bring a value.

use std::time::Duration;

use larder::ErrorKind;

use crate::problem::Problem;

impl From<&larder::Error> for Problem {
    /// A loader's own [`Problem`] is passed on to everybody who waited for it; everything else is logged and told
    /// without details.
    fn from(error: &larder::Error) -> Self {
        if let Some(problem) = error.load_error::<Self>() {
            return problem.clone();
        }
        match error.kind() {
            ErrorKind::LoadTimeout => {
                Self::unavailable("the answer took too long to make").retry_after(Duration::from_secs(1))
            }
            ErrorKind::TooManyLoads => {
                Self::unavailable("too much is being loaded right now").retry_after(Duration::from_secs(1))
            }
            ErrorKind::CoolingDown => Self::unavailable("the answer could not be made a moment ago")
                .retry_after(Duration::from_secs(1)),
            ErrorKind::Closed => {
                Self::unavailable("the server is shutting down").retry_after(Duration::from_secs(1))
            }
            kind => {
                tracing::error!(?kind, error = %error, "cache error");
                Self::internal()
            }
        }
    }
}

impl From<larder::Error> for Problem {
    fn from(error: larder::Error) -> Self {
        Self::from(&error)
    }
}
