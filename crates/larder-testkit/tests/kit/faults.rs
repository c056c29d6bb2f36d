use larder_testkit::RedisServer;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

/// A client of one TCP connection, which sees when that ends.
struct Client(TcpStream);

impl Client {
    fn new(server: &RedisServer) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        Self(stream)
    }

    fn send(&mut self, line: &str) {
        self.0.write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    /// The first line that comes; empty at the end of the connection.
    fn line(&mut self) -> String {
        let mut line = Vec::new();
        let mut byte = [0];
        while !line.ends_with(b"\r\n") && self.0.read(&mut byte).is_ok_and(|length| length == 1) {
            line.push(byte[0]);
        }
        String::from_utf8(line).unwrap().trim_end().to_owned()
    }

    fn ask(&mut self, line: &str) -> String {
        self.send(line);
        self.line()
    }
}

#[test]
fn a_demoted_server_keeps_its_clients_and_refuses_their_writes() {
    let (primary, other) = (RedisServer::start(), RedisServer::builder().password("secret").start());
    other.command(&["SET", "a", "other"]);
    let mut client = Client::new(&primary);
    assert_eq!(client.ask("SET a own"), "+OK");
    primary.demote(&other);
    assert_eq!(client.ask("PING"), "+PONG");
    assert!(client.ask("SET a own").starts_with("-READONLY"));
    assert_eq!(primary.command(&["GET", "a"]).text(), "other");
    primary.promote();
    assert_eq!(client.ask("SET a own"), "+OK");
}

#[test]
fn a_subscriber_that_falls_behind_is_disconnected() {
    let server = RedisServer::start();
    server.limit_subscribers(64 << 10);
    let mut slow = Client::new(&server);
    slow.send("SUBSCRIBE c");
    assert_eq!(slow.line(), "*3");
    // Never reads: the kernel's buffers fill, then the server's.
    let message = "x".repeat(1 << 20);
    let heard = |_: &i32| server.command(&["PUBLISH", "c", &message]).int() == Some(1);
    let heard = (0..200).take_while(heard).count();
    assert!(heard < 200, "the subscriber was never disconnected");
}

#[test]
fn clients_of_one_type_are_disconnected() {
    let server = RedisServer::start();
    let (mut subscriber, mut client) = (Client::new(&server), Client::new(&server));
    subscriber.send("SUBSCRIBE c");
    assert_eq!(subscriber.line(), "*3");
    assert_eq!(server.kill_clients("pubsub"), 1);
    while !subscriber.line().is_empty() {}
    assert_eq!(client.ask("PING"), "+PONG");
}

#[test]
fn paused_writes_are_answered_after_the_pause() {
    let server = RedisServer::start();
    let mut client = Client::new(&server);
    server.pause_writes(Duration::from_secs(600));
    assert_eq!(client.ask("GET a"), "$-1");
    client.send("SET a 1");
    client.0.set_nonblocking(true).unwrap();
    assert_eq!(server.command(&["GET", "a"]).text(), "");
    server.unpause_clients();
    client.0.set_nonblocking(false).unwrap();
    assert_eq!(client.line(), "+OK");
}

#[test]
fn a_full_server_refuses_writes_until_it_has_room() {
    let server = RedisServer::start();
    server.fill_up(0);
    let value = "x".repeat(64 << 10);
    assert!(server.command(&["SET", "a", &value]).text().starts_with("OOM"));
    server.limit_memory(0, "noeviction");
    assert_eq!(server.command(&["SET", "a", &value]).text(), "OK");
}

#[test]
fn a_key_or_all_keys_go_and_the_server_stays() {
    let server = RedisServer::builder().debug().start();
    let run = server.info("server")["run_id"].clone();
    server.command(&["MSET", "a", "1", "b", "2"]);
    assert!(server.evict("a") && !server.evict("a"));
    assert_eq!(server.command(&["GET", "b"]).text(), "2");
    server.flush();
    assert_eq!(server.command(&["DBSIZE"]).int(), Some(0));
    assert_eq!(server.info("server")["run_id"], run);
    assert_eq!(server.command(&["DEBUG", "SLEEP", "0"]).text(), "OK");
}

#[test]
fn a_server_that_needs_replicas_refuses_without() {
    let server = RedisServer::start();
    server.need_replicas(1, 10);
    assert!(server.command(&["SET", "a", "1"]).text().starts_with("NOREPLICAS"));
    server.need_replicas(0, 10);
    assert_eq!(server.command(&["SET", "a", "1"]).text(), "OK");
}
