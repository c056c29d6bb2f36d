//! TLS and reloading, as the repository's nginx configuration has them.

use crate::client::{Answer, Client};
use crate::nginx::{CONFIGURATION, Front, Pair};
use crate::nginx_answers::each_header_once;
use bytes::Bytes;
use futures_util::StreamExt;
use http::{Request, Version};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use larder_testkit::{TlsFiles, free_port};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;

const LISTEN: &str = include_str!("../../../../deploy/nginx/listen.conf");
const NAME: &str = "shop.example";
const PATIENCE: Duration = Duration::from_secs(60);

/// `listen.conf` as its comment says that it is changed, with ports and certificates of this test.
fn with_tls(files: &TlsFiles, plain: u16, tls: u16) -> String {
    let commented = LISTEN.lines().filter(|line| line.starts_with("# listen ") || line.starts_with("# ssl_"));
    assert_eq!(commented.count(), 3, "the three lines to uncomment");
    let path = |path: &std::path::Path| path.to_str().unwrap().to_owned();
    [
        ("# listen 443 ", format!("listen 127.0.0.1:{tls} ")),
        ("# ssl_", "ssl_".to_owned()),
        ("listen 80;", format!("listen 127.0.0.1:{plain};")),
        ("/etc/nginx/tls/fullchain.pem", path(files.cert())),
        ("/etc/nginx/tls/privkey.pem", path(files.key())),
    ]
    .iter()
    .fold(LISTEN.to_owned(), |text, (from, to)| text.replace(from, to))
}

async fn connect(files: &TlsFiles, port: u16, protocol: &str) -> TlsStream<TcpStream> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(files.ca()).unwrap()).unwrap();
    let mut config = rustls::ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = vec![protocol.into()];
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from(NAME).unwrap();
    let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap();
    assert_eq!(stream.get_ref().1.alpn_protocol(), Some(protocol.as_bytes()));
    stream
}

/// One request over HTTP/2, as a page of this very server makes it; of the body, what comes first.
async fn ask(files: &TlsFiles, port: u16, path: &str, token: &str) -> Answer {
    let stream = TokioIo::new(connect(files, port, "h2").await);
    let (mut sender, connection) = http2::handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(connection);
    let origin = format!("https://{NAME}:{port}");
    let request = Request::get(format!("{origin}{path}")).version(Version::HTTP_2);
    let request = request.header("origin", origin).header("authorization", format!("Bearer {token}"));
    let response = sender.send_request(request.body(Empty::<Bytes>::new()).unwrap()).await.unwrap();
    let (head, mut body) = response.into_parts();
    let first = Limited::new(&mut body, 1 << 20).frame().await.unwrap().unwrap();
    let body = first.into_data().unwrap_or_default().to_vec();
    Answer { what: path.to_owned(), status: head.status.as_u16(), headers: head.headers, body }
}

#[tokio::test]
async fn with_certificates_http2_and_its_security_come_and_once_each() {
    let pair = Pair::start().await;
    let (files, tls) = (TlsFiles::generate([NAME]), free_port());
    let front = Front::with(&pair.ports(), CONFIGURATION, |plain| with_tls(&files, plain, tls)).await;
    let acme = front.client().sign_in("owner@acme.test").await;
    let token = acme.token.as_deref().unwrap();
    let own = ask(&files, tls, "/metrics", token).await.expect_problem(404);
    let server = ask(&files, tls, "/api/v1/campaigns", token).await.expect(200);
    for answer in [&own, &server] {
        each_header_once(answer);
        assert_eq!(answer.header("strict-transport-security"), "max-age=31536000; includeSubDomains");
    }
    // The origin of the page is the name and the port that it asked.
    let events = ask(&files, tls, "/sse/notifications/acme", token).await.expect(200);
    assert_eq!(events.header("content-type"), "text/event-stream");
    connect(&files, tls, "http/1.1").await;
    // A browser that speaks no TLS to this port is told so, as a problem.
    let plain = Client::new(&format!("http://127.0.0.1:{tls}")).get("/").await;
    each_header_once(&plain);
    plain.expect_problem(400);
}

#[tokio::test]
async fn a_reload_does_not_wait_for_open_websockets_for_longer_than_it_is_told() {
    let pair = Pair::start().await;
    let hasty = CONFIGURATION.replace("worker_shutdown_timeout 1m;", "worker_shutdown_timeout 100ms;");
    assert_ne!(hasty, CONFIGURATION);
    let front = Front::with_master(&pair.ports(), &hasty).await;
    let acme = front.client().sign_in("owner@acme.test").await;
    let open = async || {
        let url = format!("{}/ws/notifications/acme", front.url.replace("http://", "ws://"));
        let mut request = url.into_client_request().unwrap();
        let bearer = format!("Bearer {}", acme.token.as_deref().unwrap());
        request.headers_mut().insert("authorization", bearer.parse().unwrap());
        let stream = TcpStream::connect(front.url.trim_start_matches("http://")).await.unwrap();
        tokio_tungstenite::client_async(request, stream).await.unwrap().0
    };
    let mut socket = open().await;
    front.reload();
    let ended = async { while let Some(Ok(_)) = socket.next().await {} };
    tokio::time::timeout(PATIENCE, ended).await.expect("the old worker ends, and its connections with it");
    open().await.next().await.expect("the new one takes others").unwrap();
}
