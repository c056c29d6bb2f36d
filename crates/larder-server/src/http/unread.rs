//! Tests of what the system holds for a client that does not read.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::Request;
use axum::routing::get;
use larder_live::Hangup;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use super::listen::{Bound, Ending, Open, Patience, serve};

const GRACE: Duration = Duration::from_secs(30);

/// How the system sees the server's side of a connection.
#[derive(Debug)]
struct Row {
    /// Bytes that were written and not taken.
    queue: usize,
    /// The client has no room for more, and is asked now and then whether it has.
    probing: bool,
}

/// `None`: the system knows nothing of it any more.
fn row(server: SocketAddr, client: SocketAddr) -> Option<Row> {
    let ends = [format!(":{:04X}", server.port()), format!(":{:04X}", client.port())];
    let table = std::fs::read_to_string("/proc/net/tcp").expect("Linux has it");
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let mut own = fields.filter(|row| row[1].ends_with(&ends[0]) && row[2].ends_with(&ends[1]));
    let row = own.next()?;
    let (queue, _) = row[4].split_once(':').expect("two queues");
    let queue = usize::from_str_radix(queue, 16).expect("a number");
    Some(Row { queue, probing: row[5].starts_with("04") })
}

#[tokio::test]
async fn of_what_a_client_does_not_read_the_system_holds_little_and_nothing_after_the_hangup() {
    let bound = Bound::to("127.0.0.1:0").await.unwrap();
    let server = bound.address().unwrap();
    let (tell, mut told) = mpsc::channel(1);
    let endless = get(|request: Request| async move {
        tell.send(request.extensions().get::<Hangup>().unwrap().clone()).await.unwrap();
        let chunk = || Ok::<_, Infallible>(vec![b'x'; 16 << 10]);
        Body::from_stream(futures_util::stream::iter(std::iter::repeat_with(chunk)))
    });
    let routes = Router::new().route("/endless", endless);
    let (open, listener) = (Open::default(), bound.listen().unwrap());
    let ending = Ending { linger: Duration::ZERO, grace: Duration::ZERO };
    tokio::spawn(async move {
        serve(listener, routes, &open, std::future::pending(), Patience::default(), ending).await
    });
    let mut stream = TcpStream::connect(server).await.unwrap();
    let client = stream.local_addr().unwrap();
    stream.write_all(b"GET /endless HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
    let hangup = told.recv().await.unwrap();
    larder_testkit::assert_eventually!(
        row(server, client).is_some_and(|row| row.probing),
        GRACE,
        "the client has no room for more"
    );
    let held = row(server, client).unwrap().queue;
    assert!(held <= 256 << 10, "{held} bytes");
    hangup.0.cancel();
    larder_testkit::assert_eventually!(row(server, client).is_none(), GRACE, "the system holds nothing");
}
