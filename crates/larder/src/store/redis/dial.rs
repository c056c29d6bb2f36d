//! One connection: socket, TLS, log-in, driver. Each step has its own time-out and its own error.

use super::{
    config::{RedisConfig, Resolved, TlsMaterial},
    error,
    url::{Place, Sentinels},
};
use crate::store::{StoreError, StoreErrorKind};
use futures_util::future::select_ok;
use redis::{
    AsyncConnectionConfig, ProtocolVersion, RedisConnectionInfo,
    aio::{AsyncPushSender, MultiplexedConnection},
};
use rustls::{ClientConfig, RootCertStore, crypto::ring, pki_types::ServerName};
use std::{future::Future, io, path::Path, sync::Arc, time::Duration};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream, lookup_host},
    time::timeout,
};
use tokio_rustls::TlsConnector;

/// When a silent TCP connection is probed, and how often: the kernel then gives up a peer that is gone within a minute.
const KEEPALIVE_IDLE: Duration = Duration::from_secs(15);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// A socket, encrypted or not.
pub(super) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

pub(super) use super::url::Address;

/// Makes connections to one server.
#[derive(Clone)]
pub(super) struct Dialer {
    place: Place,
    login: RedisConnectionInfo,
    tls: Option<Arc<ClientConfig>>,
    connect_timeout: Duration,
    command_timeout: Duration,
}

impl Dialer {
    /// Prepares what all connections share. Reads the system's certificates where TLS needs them.
    pub(super) async fn new(config: &RedisConfig, resolved: &Resolved) -> Result<Self, StoreError> {
        let target = &resolved.target;
        let tls = if target.tls() { Some(Arc::new(tls_config(&resolved.tls).await?)) } else { None };
        let login = login(target.user.as_deref(), target.password.as_deref(), target.database);
        let (connect_timeout, command_timeout) = (config.connect_timeout, config.command_timeout);
        Ok(Self { place: target.place.clone(), login, tls, connect_timeout, command_timeout })
    }

    /// Makes connections to a data server at this address, of which Sentinels or a Cluster have told.
    pub(super) fn to_server(&self, (host, port): &Address) -> Self {
        let place = Place::Tcp { host: host.clone(), port: *port, tls: self.tls.is_some() };
        Self { place, ..self.clone() }
    }

    /// Makes connections to the Sentinel at this address.
    pub(super) fn to_sentinel(&self, address: &Address, sentinels: &Sentinels) -> Self {
        let login = login(sentinels.user.as_deref(), sentinels.password.as_deref(), 0);
        Self { login, ..self.to_server(address) }
    }

    /// Whether connections are encrypted.
    pub(super) fn tls(&self) -> bool {
        self.tls.is_some()
    }

    /// Where the server is, unless that is a socket of this machine or is to be asked first.
    pub(super) fn address(&self) -> Option<Address> {
        match &self.place {
            Place::Tcp { host, port, .. } => Some((host.clone(), *port)),
            _ => None,
        }
    }

    /// Within which a connection is to be made.
    pub(super) fn connect_timeout(&self) -> Duration {
        self.connect_timeout
    }

    /// The socket, with TLS where the URL asks for it.
    pub(super) async fn socket(&self) -> Result<Box<dyn Stream>, StoreError> {
        let within = self.connect_timeout;
        #[cfg(feature = "simulation")]
        if let Some(simulator) = crate::simulation::current() {
            let (host, port) = self.address().unwrap_or_default();
            let dialling = simulator.dial(&host, port);
            let socket = async { dialling.await.map_err(|error| error::from_io(&error)) };
            return Ok(Box::new(bounded(within, "no connection", socket).await?));
        }
        match &self.place {
            Place::Unix(path) => bounded(within, "no connection", unix(path)).await,
            // Whoever has such a place asks first: see `sentinel` and `cluster`.
            Place::Sentinels(_) | Place::Cluster(_) => {
                Err(StoreError::new(StoreErrorKind::Disconnected, "nobody was asked where the server is"))
            }
            Place::Tcp { host, port, .. } => {
                let started = tokio::time::Instant::now();
                let stream = bounded(within, "no connection", tcp(host, *port)).await?;
                let Some(config) = &self.tls else { return Ok(Box::new(stream)) };
                let left = within.saturating_sub(started.elapsed());
                let handshake = async {
                    let name = ServerName::try_from(host.clone()).map_err(|_| {
                        StoreError::new(StoreErrorKind::Tls, "the host name can't stand in a certificate")
                    })?;
                    let connector = TlsConnector::from(Arc::clone(config));
                    connector.connect(name, stream).await.map_err(|error| handshake_error(&error))
                };
                Ok(Box::new(bounded(left, "no answer to the TLS handshake", handshake).await?))
            }
        }
    }

    /// Logs in on `socket`. The driver is returned apart: whoever spawns it learns when the connection ends.
    pub(super) async fn login(
        &self,
        socket: Box<dyn Stream>,
        pushes: Option<Arc<dyn AsyncPushSender>>,
    ) -> Result<(MultiplexedConnection, impl Future<Output = ()> + Send + 'static), StoreError> {
        // Deadlines are ours, per call.
        let mut config = AsyncConnectionConfig::new().set_response_timeout(None).set_connection_timeout(None);
        if let Some(pushes) = pushes {
            config = config.set_push_sender(pushes);
        }
        let setup = async {
            let made = MultiplexedConnection::new_with_config(&self.login, socket, config).await;
            made.map_err(|error| not_resp3(error::from_driver(error)))
        };
        bounded(self.command_timeout, "no answer to the log-in", setup).await
    }
}

fn login(user: Option<&str>, password: Option<&str>, database: u32) -> RedisConnectionInfo {
    let mut login = RedisConnectionInfo::default()
        .set_protocol(ProtocolVersion::RESP3)
        .set_skip_set_lib_name()
        .set_db(i64::from(database));
    if let Some(user) = user {
        login = login.set_username(user);
    }
    if let Some(password) = password {
        login = login.set_password(password);
    }
    login
}

/// Fails with [`StoreErrorKind::Timeout`] after `within`.
pub(super) async fn bounded<T>(
    within: Duration,
    what: &str,
    future: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    match timeout(within, future).await {
        Ok(result) => result,
        Err(_) => Err(StoreError::new(StoreErrorKind::Timeout, format!("{what} within {within:?}"))),
    }
}

async fn tcp(host: &str, port: u16) -> Result<TcpStream, StoreError> {
    let addresses = lookup_host((host, port)).await.map_err(|error| {
        StoreError::new(StoreErrorKind::Disconnected, format!("the host name is not found: {error}"))
    })?;
    // All at once: an address that swallows packets must not use up the time of one that answers.
    let attempts: Vec<_> = addresses.map(|address| Box::pin(TcpStream::connect(address))).collect();
    if attempts.is_empty() {
        return Err(StoreError::new(StoreErrorKind::Disconnected, "the host name has no address"));
    }
    let (stream, _) = select_ok(attempts).await.map_err(|error| error::from_io(&error))?;
    tune(&stream).map_err(|error| error::from_io(&error))?;
    Ok(stream)
}

fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let keepalive = socket2::TcpKeepalive::new().with_time(KEEPALIVE_IDLE).with_interval(KEEPALIVE_INTERVAL);
    socket2::SockRef::from(stream).set_tcp_keepalive(&keepalive)
}

async fn unix(path: &Path) -> Result<Box<dyn Stream>, StoreError> {
    let stream = UnixStream::connect(path).await.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => StoreError::new(StoreErrorKind::Disconnected, "there is no such socket"),
        _ => error::from_io(&error),
    })?;
    Ok(Box::new(stream))
}

/// A server or proxy without RESP3 knows no HELLO, or not this version of it. What is pushed in RESP2 comes on a connection
/// of its own, in no order with the answers, and that order is what a lease rests on.
fn not_resp3(error: StoreError) -> StoreError {
    let lacks = error.detail.contains("'HELLO'") || error.detail.starts_with("NOPROTO");
    if error.kind != StoreErrorKind::Unsupported || !lacks {
        return error;
    }
    let words =
        "the server, or a proxy before it, speaks RESP2 only (it does not know HELLO 3): RESP3 is needed";
    StoreError::new(StoreErrorKind::Unsupported, words)
}

/// What ends a handshake is a matter of TLS, also when the peer just closes the connection.
fn handshake_error(error: &io::Error) -> StoreError {
    let StoreError { kind, detail } = error::from_io(error);
    match kind {
        StoreErrorKind::Tls => StoreError { kind, detail },
        _ => StoreError::new(StoreErrorKind::Tls, format!("in the TLS handshake: {detail}")),
    }
}

/// The provider is named here, so that it does not matter which one, if any, the program has installed.
async fn tls_config(material: &TlsMaterial) -> Result<ClientConfig, StoreError> {
    let tls = |words: String| StoreError::new(StoreErrorKind::Tls, words);
    let mut roots = RootCertStore::empty();
    match &material.ca {
        Some(own) => {
            for certificate in own {
                let added = roots.add(certificate.clone());
                added.map_err(|error| tls(format!("the configured CA is of no use: {error}")))?;
            }
        }
        None => {
            let found = tokio::task::spawn_blocking(rustls_native_certs::load_native_certs).await;
            let found = found.map_err(|_| tls("the system's certificates could not be read".into()))?;
            roots.add_parsable_certificates(found.certs);
            if roots.is_empty() {
                return Err(tls("the system has no certificate authorities: configure a CA file".into()));
            }
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring supports the default versions")
        .with_root_certificates(roots);
    match &material.client {
        None => Ok(builder.with_no_client_auth()),
        Some((chain, key)) => builder
            .with_client_auth_cert(chain.clone(), key.clone_key())
            .map_err(|error| tls(format!("the client certificate and its key are of no use: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpListener;

    #[tokio::test]
    async fn connections_send_at_once_and_are_kept_alive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = tcp("127.0.0.1", listener.local_addr().unwrap().port()).await.unwrap();
        let socket = socket2::SockRef::from(&stream);
        assert!(socket.keepalive().unwrap() && socket.tcp_nodelay().unwrap());
        assert_eq!(socket.tcp_keepalive_time().unwrap(), KEEPALIVE_IDLE);
        assert_eq!(socket.tcp_keepalive_interval().unwrap(), KEEPALIVE_INTERVAL);
    }

    #[tokio::test]
    async fn a_host_that_has_several_addresses_is_reached_at_the_one_that_answers() {
        // `localhost` is `::1` as well as `127.0.0.1`, where the machine says so; only one listens.
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(tcp("localhost", listener.local_addr().unwrap().port()).await.is_ok());
    }

    #[tokio::test]
    async fn a_name_that_does_not_exist_is_told_as_such() {
        let error = tcp("no-such-host.invalid", 6379).await.unwrap_err();
        assert_eq!(error.kind, StoreErrorKind::Disconnected);
        assert!(error.detail.contains("not found"), "{error}");
    }
}
