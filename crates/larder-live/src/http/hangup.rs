//! The end of a response by the one who serves it.

use std::future::Future;

use http::Extensions;
use hyper::rt::Executor;
use tokio_util::sync::CancellationToken;

tokio::task_local! {
    /// The end of the HTTP/2 stream that this task serves.
    static STREAM: Hangup;
}

/// Ends what carries a response, and nothing else: over HTTP/1 the connection, over HTTP/2 the stream.
///
/// A client that reads nothing can't be told that its event stream is over, and a body can't end a response that can't be written:
/// it is not asked for more. A server that puts a `Hangup` into the extensions of its requests, and ends what the request came by
/// when its token is cancelled, gets rid of such clients. Without it the memory of what waited for them is freed, but connection or
/// stream stays until the client or the network ends it.
///
/// Over HTTP/2 [`StreamExecutor`] does the latter; over HTTP/1 it is a connection's future that is dropped:
/// ```
/// # use axum::Router;
/// # use hyper::{Request, body::Incoming, service::{Service, service_fn}};
/// # use hyper_util::{rt::TokioIo, server::conn::auto, service::TowerToHyperService};
/// use larder_live::{Hangup, StreamExecutor, Wire};
///
/// # async fn one(stream: tokio::net::TcpStream, routes: Router) {
/// let connection = Hangup::default();
/// // Reset then: the system throws away what it holds for the client, too.
/// let wire = Wire::new(stream, connection.clone());
/// let ended = connection.0.clone();
/// let routes = TowerToHyperService::new(routes);
/// let service = service_fn(move |mut request: Request<Incoming>| {
///     let (routes, connection) = (routes.clone(), connection.clone());
///     async move {
///         request.extensions_mut().insert(Hangup::of_stream().unwrap_or(connection));
///         routes.call(request).await
///     }
/// });
/// let server = auto::Builder::new(StreamExecutor);
/// let _ = ended.run_until_cancelled(server.serve_connection_with_upgrades(TokioIo::new(wire), service)).await;
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct Hangup(pub CancellationToken);

impl Hangup {
    /// That of the HTTP/2 stream which this task serves. None over HTTP/1, and where the server has another executor.
    #[must_use]
    pub fn of_stream() -> Option<Self> {
        STREAM.try_with(Clone::clone).ok()
    }

    pub(super) fn of(extensions: &Extensions) -> Option<Self> {
        extensions.get::<Self>().cloned()
    }

    pub(super) fn now(&self) {
        self.0.cancel();
    }
}

/// An executor for hyper's HTTP/2 whose streams have a [`Hangup`]: each is a task of its own on tokio, and ends with it.
///
/// hyper resets a stream whose task is gone (`CANCEL`), throws away what of it could not be sent, and goes on with the others of the
/// connection.
#[derive(Clone, Copy, Debug, Default)]
pub struct StreamExecutor;

impl<F> Executor<F> for StreamExecutor
where
    F: Future + Send + 'static,
    F::Output: Send,
{
    fn execute(&self, stream: F) {
        let hangup = Hangup::default();
        let ended = hangup.0.clone();
        tokio::spawn(async move { drop(ended.run_until_cancelled(STREAM.scope(hangup, stream)).await) });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use tokio::sync::oneshot;

    /// A task of the executor: its end, and what is dropped with it.
    async fn stream() -> (Hangup, oneshot::Receiver<()>) {
        let (tell, told) = oneshot::channel();
        let (held, dropped) = oneshot::channel::<()>();
        StreamExecutor.execute(async move {
            let _held = held;
            tell.send(Hangup::of_stream().expect("it runs on this executor")).unwrap();
            std::future::pending::<()>().await;
        });
        (told.await.unwrap(), dropped)
    }

    #[tokio::test]
    async fn a_hangup_ends_its_own_stream_and_no_other() {
        assert!(Hangup::of_stream().is_none());
        let ((first, mut one), (second, mut other)) = (stream().await, stream().await);
        first.now();
        let dropped = tokio::time::timeout(Duration::from_secs(30), &mut one).await.expect("it ends");
        assert!(dropped.is_err(), "it is dropped, and all that it held");
        assert!(other.try_recv() == Err(oneshot::error::TryRecvError::Empty));
        second.now();
        assert!((&mut other).await.is_err());
    }
}
