//! The end of a connection by the one who serves it.

use http::{Extensions, Version};
use tokio_util::sync::CancellationToken;

/// Ends the connection that a request came by.
///
/// A client that reads nothing can't be told that its event stream is over, and HTTP has no way to break off a response that can't be
/// written. A server that puts a `Hangup` into the extensions of its requests, and closes the connection when its token is
/// cancelled, gets rid of such clients. Without it the stream's memory is freed, but its socket stays until the client or the
/// network ends it. It is used on HTTP/1 only: by HTTP/2 other requests share the connection.
#[derive(Clone, Debug, Default)]
pub struct Hangup(pub CancellationToken);

impl Hangup {
    pub(super) fn of(extensions: &Extensions, version: Version) -> Option<Self> {
        extensions.get::<Self>().filter(|_| version < Version::HTTP_2).cloned()
    }

    pub(super) fn now(&self) {
        self.0.cancel();
    }
}
