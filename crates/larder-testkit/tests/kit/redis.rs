use larder_testkit::{RedisServer, TlsFiles, assert_eventually_blocking};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// The system's own client, over the TCP port.
fn cli(arguments: &[&str]) -> String {
    let output = Command::new("redis-cli").args(arguments).output().expect("redis-tools is installed");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).trim().to_owned()
}

fn size(server: &RedisServer) -> i64 {
    server.command(&["DBSIZE"]).int().unwrap()
}

#[test]
fn a_server_answers_on_its_port_and_is_gone_when_dropped() {
    let server = RedisServer::start();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    let mut answer = [0; 7];
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
    assert_eq!(server.url(), format!("redis://127.0.0.1:{}/0", server.port()));
    let (port, socket) = (server.port(), server.socket());
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!socket.parent().unwrap().exists());
}

#[test]
fn many_servers_started_at_once_have_ports_of_their_own() {
    let threads: Vec<_> = (0..8).map(|_| std::thread::spawn(RedisServer::start)).collect();
    let servers: Vec<RedisServer> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
    for (number, server) in servers.iter().enumerate() {
        server.command(&["SET", "number", &number.to_string()]);
    }
    for (number, server) in servers.iter().enumerate() {
        assert_eq!(cli(&["-p", &server.port().to_string(), "GET", "number"]), number.to_string());
    }
}

#[test]
fn a_killed_server_is_empty_when_it_comes_back_on_the_same_port() {
    let server = RedisServer::start();
    server.command(&["SET", "a", "1"]);
    server.kill();
    assert!(server.try_command(&["PING"]).is_err());
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.restart();
    assert_eq!(size(&server), 0);
    assert_eq!(cli(&["-p", &server.port().to_string(), "PING"]), "PONG");
}

#[test]
fn an_append_only_server_keeps_every_write_over_a_kill() {
    let server = RedisServer::builder().appendonly().start();
    server.command(&["SET", "a", "1"]);
    server.kill();
    server.restart();
    assert_eq!(server.command(&["GET", "a"]).text(), "1");
    server.restart_empty();
    assert_eq!(size(&server), 0);
}

#[test]
fn a_snapshot_brings_the_old_data_back_and_leaves_no_dump_behind() {
    for server in [RedisServer::start(), RedisServer::builder().appendonly().start()] {
        server.command(&["SET", "a", "old"]);
        let snapshot = server.snapshot();
        server.command(&["SET", "a", "new"]);
        server.command(&["SET", "b", "new"]);
        server.restore_snapshot(&snapshot);
        assert_eq!(server.command(&["GET", "a"]).text(), "old");
        assert_eq!(size(&server), 1);
        server.restart_keeping_data();
        assert_eq!(server.command(&["GET", "a"]).text(), "old");
    }
    let without_persistence = RedisServer::start();
    without_persistence.command(&["SET", "a", "1"]);
    without_persistence.restart_keeping_data();
    assert_eq!(size(&without_persistence), 1);
    without_persistence.restart();
    assert_eq!(size(&without_persistence), 0);
}

#[test]
fn a_paused_server_accepts_and_answers_only_after_it_is_resumed() {
    let server = RedisServer::start();
    server.pause();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port())).unwrap();
    stream.write_all(b"PING\r\n").unwrap();
    stream.set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let mut answer = [0; 7];
    assert!(stream.read_exact(&mut answer).is_err());
    server.resume();
    stream.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    stream.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"+PONG\r\n");
}

#[test]
fn a_password_and_users_are_asked_for() {
    let server = RedisServer::builder().password("secret").start();
    let port = server.port().to_string();
    assert!(cli(&["-p", &port, "PING"]).contains("NOAUTH"));
    assert_eq!(server.url(), format!("redis://:secret@127.0.0.1:{port}/0"));
    assert_eq!(cli(&["-p", &port, "--no-auth-warning", "-a", "secret", "PING"]), "PONG");
    assert_eq!(server.command(&["PING"]).text(), "PONG");

    let server = RedisServer::builder().acl("user alice on >wonder ~app:* &* +@all").start();
    let alice = server.url_of("alice", "wonder");
    assert_eq!(cli(&["-u", &alice, "--no-auth-warning", "SET", "app:1", "x"]), "OK");
    assert!(cli(&["-u", &alice, "--no-auth-warning", "SET", "other", "x"]).contains("NOPERM"));
    assert!(cli(&["-u", &server.url(), "PING"]).contains("NOAUTH"));
    assert_eq!(size(&server), 1);
}

#[test]
fn a_server_on_a_unix_socket_has_no_port() {
    let server = RedisServer::builder().unix_socket().password("secret").start();
    assert_eq!(server.port(), 0);
    let socket = server.socket().display().to_string();
    assert_eq!(server.url(), format!("unix://{socket}?db=0&pass=secret"));
    assert_eq!(cli(&["-s", &socket, "--no-auth-warning", "-a", "secret", "PING"]), "PONG");
}

#[test]
fn tls_is_verified_and_a_client_certificate_can_be_required() {
    let files = TlsFiles::generate(["localhost"]);
    let cli_tls = |server: &RedisServer, more: &[&str]| {
        let port = server.port().to_string();
        cli(&[&["-h", "localhost", "-p", &port, "--tls"], more, &["PING"]].concat())
    };
    let text = |path: &Path| path.display().to_string();
    let (ca, other) = (text(files.ca()), text(files.unrelated_ca()));
    let (cert, key) = (text(files.client_cert()), text(files.client_key()));

    let server = RedisServer::builder().tls(&files).start();
    assert_eq!(server.url(), format!("rediss://localhost:{}/0", server.port()));
    assert_eq!(cli_tls(&server, &["--cacert", &ca]), "PONG");
    assert!(cli_tls(&server, &["--cacert", &other]).contains("certificate verify failed"));
    assert_ne!(cli(&["-p", &server.port().to_string(), "PING"]), "PONG");

    let server = RedisServer::builder().mutual_tls(&files).start();
    assert_ne!(cli_tls(&server, &["--cacert", &ca]), "PONG");
    assert_eq!(cli_tls(&server, &["--cacert", &ca, "--cert", &cert, "--key", &key]), "PONG");
}

#[test]
fn memory_is_limited_and_calls_are_counted() {
    let server = RedisServer::builder().maxmemory(64 << 20, "volatile-lru").start();
    assert_eq!(server.info("memory")["maxmemory"], (64 << 20).to_string());
    assert_eq!(server.info("memory")["maxmemory_policy"], "volatile-lru");
    server.reset_calls();
    for _ in 0..3 {
        server.command(&["GET", "a"]);
    }
    assert_eq!(server.calls_of("get"), 3);
    assert_eq!(server.calls_of("set"), 0);
}

#[test]
fn a_refused_directive_is_said_with_the_words_of_the_server() {
    let start = || RedisServer::builder().arg("no-such-directive", "1").start();
    let panic = std::panic::catch_unwind(start).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert!(message.contains("no-such-directive"), "{message}");
}

#[test]
fn a_port_that_was_taken_meanwhile_is_waited_for() {
    let server = RedisServer::start();
    server.kill();
    let squatter = std::net::TcpListener::bind(("127.0.0.1", server.port())).unwrap();
    std::thread::scope(|scope| {
        let restart = scope.spawn(|| server.restart());
        // The restart meets the squatter at least once: the server logs why it ended.
        assert_eventually_blocking!(
            server.log().contains("Address already in use"),
            Duration::from_secs(10),
            "redis meets the squatter"
        );
        drop(squatter);
        restart.join().unwrap();
    });
    assert_eq!(server.command(&["PING"]).text(), "PONG");
}
