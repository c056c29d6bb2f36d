use larder_testkit::{Fault, RedisServer, TcpProxy, assert_eventually};
use std::io::ErrorKind;
use std::time::{Duration, Instant};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::TcpStream;
use tokio::time::timeout;

const LONG: Duration = Duration::from_secs(5);
const SHORT: Duration = Duration::from_millis(100);

struct Case {
    server: RedisServer,
    proxy: TcpProxy,
}

impl Case {
    async fn new() -> Self {
        let server = RedisServer::start();
        let proxy = TcpProxy::start(format!("127.0.0.1:{}", server.port())).await;
        Self { server, proxy }
    }

    async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.proxy.address()).await.unwrap()
    }
}

async fn ask(stream: &mut TcpStream, request: &[u8]) -> std::io::Result<String> {
    stream.write_all(request).await?;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
}

async fn ping(stream: &mut TcpStream) -> std::io::Result<String> {
    ask(stream, b"PING\r\n").await
}

#[tokio::test]
async fn bytes_pass_without_a_fault() {
    let case = Case::new().await;
    let mut stream = case.connect().await;
    assert_eq!(ping(&mut stream).await.unwrap(), "+PONG\r\n");
    assert_eq!((case.proxy.open(), case.proxy.accepted()), (1, 1));
    drop(stream);
    assert_eventually!(case.proxy.open() == 0, LONG, "the connection ends with its client");
}

#[tokio::test]
async fn a_delay_holds_every_answer_up() {
    let case = Case::new().await;
    let mut stream = case.connect().await;
    case.proxy.set(Fault::Delay(SHORT)).await;
    let started = Instant::now();
    assert_eq!(ping(&mut stream).await.unwrap(), "+PONG\r\n");
    assert!(started.elapsed() >= SHORT * 2, "each direction is delayed: {:?}", started.elapsed());
}

#[tokio::test]
async fn a_stalled_network_is_half_open_and_delivers_late() {
    let case = Case::new().await;
    let mut old = case.connect().await;
    assert_eq!(ping(&mut old).await.unwrap(), "+PONG\r\n");
    case.proxy.set(Fault::Stall).await;
    let mut new = case.connect().await;
    assert!(timeout(SHORT, ping(&mut old)).await.is_err());
    assert!(timeout(SHORT, ping(&mut new)).await.is_err());
    case.proxy.heal().await;
    for stream in [&mut old, &mut new] {
        let mut answer = [0; 7];
        timeout(LONG, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
    }
}

#[tokio::test]
async fn a_held_reply_belongs_to_a_request_that_was_executed() {
    let case = Case::new().await;
    let mut stream = case.connect().await;
    case.proxy.set(Fault::HoldReplies).await;
    assert!(timeout(SHORT, ask(&mut stream, b"INCR n\r\n")).await.is_err());
    assert_eventually!(case.server.command(&["GET", "n"]).text() == "1", LONG, "the request arrives");
}

#[tokio::test]
async fn a_reset_network_breaks_old_and_new_connections() {
    let case = Case::new().await;
    let mut old = case.connect().await;
    assert_eq!(ping(&mut old).await.unwrap(), "+PONG\r\n");
    case.proxy.set(Fault::Reset).await;
    let mut byte = [0; 1];
    assert_eq!(old.read(&mut byte).await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    let mut new = case.connect().await;
    assert!(new.read(&mut byte).await.is_err(), "reset, not closed");
    case.proxy.heal().await;
    assert_eq!(ping(&mut case.connect().await).await.unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn a_cut_breaks_old_connections_only() {
    let case = Case::new().await;
    let mut old = case.connect().await;
    assert_eq!(ping(&mut old).await.unwrap(), "+PONG\r\n");
    case.proxy.cut();
    assert!(old.read(&mut [0; 1]).await.is_err());
    assert_eq!(ping(&mut case.connect().await).await.unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn refused_connections_leave_existing_ones_alone() {
    let case = Case::new().await;
    let mut old = case.connect().await;
    assert_eq!(ping(&mut old).await.unwrap(), "+PONG\r\n");
    case.proxy.set(Fault::Refuse).await;
    let refused = TcpStream::connect(case.proxy.address()).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
    assert_eq!(ping(&mut old).await.unwrap(), "+PONG\r\n");
    case.proxy.heal().await;
    assert_eq!(ping(&mut case.connect().await).await.unwrap(), "+PONG\r\n");
}

#[tokio::test]
async fn a_trickle_delivers_everything_slowly() {
    let case = Case::new().await;
    let mut stream = case.connect().await;
    case.proxy.set(Fault::Trickle { bytes: 2, every: Duration::from_millis(20) }).await;
    let started = Instant::now();
    assert_eq!(ping(&mut stream).await.unwrap(), "+PONG\r\n");
    assert!(started.elapsed() >= Duration::from_millis(60), "{:?}", started.elapsed());
}

#[tokio::test]
async fn requests_arrive_in_pieces_and_what_is_left_of_them_when_that_ends() {
    let case = Case::new().await;
    let mut stream = case.connect().await;
    case.proxy.set(Fault::TrickleRequests { bytes: 2, every: Duration::from_millis(20) }).await;
    let started = Instant::now();
    assert_eq!(ping(&mut stream).await.unwrap(), "+PONG\r\n");
    assert!(started.elapsed() >= Duration::from_millis(40), "{:?}", started.elapsed());
    case.proxy.set(Fault::TrickleRequests { bytes: 1, every: Duration::from_secs(3600) }).await;
    stream.write_all(b"PING\r\n").await.unwrap();
    assert!(timeout(SHORT, stream.peek(&mut [0])).await.is_err());
    case.proxy.heal().await;
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[tokio::test]
async fn a_dead_upstream_breaks_the_connection() {
    let case = Case::new().await;
    case.server.kill();
    assert!(ping(&mut case.connect().await).await.is_err());
}

#[tokio::test]
async fn a_request_can_be_held_back_while_answers_pass() {
    let case = Case::new().await;
    let mut stream = case.connect().await;
    assert_eq!(ping(&mut stream).await.unwrap(), "+PONG\r\n");
    case.proxy.set(Fault::HoldRequests).await;
    stream.write_all(b"SET a 1\r\n").await.unwrap();
    assert!(timeout(SHORT, stream.peek(&mut [0])).await.is_err());
    assert!(case.server.command(&["GET", "a"]).is_nil(), "the request is still on its way");
    case.proxy.heal().await;
    let mut answer = [0; 5];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"+OK\r\n");
    assert_eq!(case.server.command(&["GET", "a"]).text(), "1");
}

#[tokio::test]
async fn what_is_dropped_is_never_delivered() {
    let case = Case::new().await;
    let mut stream = case.connect().await;
    assert_eq!(ping(&mut stream).await.unwrap(), "+PONG\r\n");
    case.proxy.set(Fault::Drop).await;
    stream.write_all(b"SET a 1\r\n").await.unwrap();
    assert!(timeout(SHORT, stream.peek(&mut [0])).await.is_err());
    case.proxy.heal().await;
    assert_eq!(ping(&mut stream).await.unwrap(), "+PONG\r\n", "the answer to this, not to what was dropped");
    assert!(case.server.command(&["GET", "a"]).is_nil());
}

#[tokio::test]
async fn an_answer_can_break_off_in_its_middle() {
    let case = Case::new().await;
    case.server.command(&["SET", "a", "0123456789"]);
    let mut stream = case.connect().await;
    case.proxy.set(Fault::CutReplies { after: 8 }).await;
    stream.write_all(b"GET a\r\n").await.unwrap();
    let mut answer = Vec::new();
    let error = stream.read_to_end(&mut answer).await.unwrap_err();
    assert_eq!((error.kind(), answer.as_slice()), (ErrorKind::ConnectionReset, &b"$10\r\n012"[..]));
}

#[tokio::test]
#[cfg(target_os = "linux")]
async fn a_partition_concerns_clients_of_some_addresses_only() {
    let case = Case::new().await;
    let far: std::net::IpAddr = [127, 0, 9, 9].into();
    let connect_far = || async {
        let socket = tokio::net::TcpSocket::new_v4().unwrap();
        socket.bind((far, 0).into()).unwrap();
        socket.connect(case.proxy.address()).await.unwrap()
    };
    let (mut near, mut before) = (case.connect().await, connect_far().await);
    assert_eq!(ping(&mut before).await.unwrap(), "+PONG\r\n");
    case.proxy.sever(&[far]);
    let mut during = connect_far().await;
    for stream in [&mut before, &mut during] {
        stream.write_all(b"PING\r\n").await.unwrap();
    }
    assert_eq!(ping(&mut near).await.unwrap(), "+PONG\r\n");
    for stream in [&before, &during] {
        assert!(timeout(SHORT, stream.peek(&mut [0])).await.is_err());
    }
    case.proxy.sever(&[]);
    for stream in [&mut before, &mut during] {
        let mut answer = [0; 7];
        timeout(LONG, stream.read_exact(&mut answer)).await.unwrap().unwrap();
        assert_eq!(&answer, b"+PONG\r\n");
    }
}

#[tokio::test]
async fn a_subscriber_can_miss_a_message_and_keep_its_connection() {
    let case = Case::new().await;
    let mut stream = BufReader::new(case.connect().await);
    let publish = |what| assert_eq!(case.server.command(&["SPUBLISH", "c", what]).int(), Some(1));
    stream.write_all(b"HELLO 3\r\nSSUBSCRIBE c\r\n").await.unwrap();
    until(&mut stream, "ssubscribe").await;
    case.proxy.set(Fault::LosePushes).await;
    publish("first");
    assert_eventually!(case.proxy.lost_pushes() == 1, LONG, "it is lost");
    stream.write_all(b"PING\r\n").await.unwrap();
    let meanwhile = until(&mut stream, "+PONG").await;
    assert!(!meanwhile.contains("smessage"), "{meanwhile}");
    case.proxy.heal().await;
    publish("second");
    let after = until(&mut stream, "second").await;
    assert!(!after.contains("first"), "{after}");
}

/// What comes up to a line that ends so.
async fn until(stream: &mut BufReader<TcpStream>, end: &str) -> String {
    let mut all = String::new();
    while !all.trim_end().ends_with(end) {
        let read = timeout(LONG, stream.read_line(&mut all)).await.unwrap().unwrap();
        assert!(read > 0, "the end of {all}");
    }
    all
}
