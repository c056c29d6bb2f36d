use larder_testkit::{PostgresServer, assert_eventually_blocking};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

#[test]
fn each_database_is_empty_and_its_statements_are_its_own() {
    let server = PostgresServer::shared();
    let (one, two) = (server.fresh_database(), server.fresh_database());
    assert_ne!(one, two);
    server.execute(&one, "CREATE TABLE t (n int); INSERT INTO t VALUES (1), (2)");
    assert_eq!(server.execute(&one, "SELECT sum(n), count(*) FROM t"), "3|2");
    assert_eq!(server.execute(&two, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), "0");
    assert_eq!(server.selects(&one, "from T"), 1);
    assert_eq!(server.selects(&two, "from t"), 0);
    assert_eq!(server.statements(&one)[1], "SELECT sum(n), count(*) FROM t");
}

#[test]
fn the_shared_server_is_one_and_is_gone_after_its_last_user() {
    let server = PostgresServer::start();
    let (port, directory) = (server.port(), server.socket_directory());
    drop(server);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
    assert!(!directory.exists());
    let (one, two) = (PostgresServer::shared(), PostgresServer::shared());
    assert!(Arc::ptr_eq(&one, &two));
}

#[test]
fn a_killed_server_comes_back_with_its_data_and_a_paused_one_goes_on() {
    let server = PostgresServer::start();
    let database = server.fresh_database();
    server.execute(&database, "CREATE TABLE t (n int)");
    server.kill();
    assert!(TcpStream::connect(("127.0.0.1", server.port())).is_err());
    server.restart();
    server.execute(&database, "INSERT INTO t VALUES (1)");

    server.pause();
    std::thread::scope(|scope| {
        let count = scope.spawn(|| server.execute(&database, "SELECT count(*) FROM t"));
        assert!(!count.is_finished());
        server.resume();
        assert_eq!(count.join().unwrap(), "1");
    });
}

#[test]
fn a_paused_server_is_dropped_in_good_time() {
    let server = PostgresServer::start();
    let port = server.port();
    server.pause();
    let started = std::time::Instant::now();
    drop(server);
    assert!(started.elapsed() < Duration::from_secs(4));
    assert_eventually_blocking!(
        TcpStream::connect(("127.0.0.1", port)).is_err(),
        Duration::from_secs(1),
        "the port is free"
    );
}

#[test]
#[should_panic(expected = "syntax error")]
fn a_failing_statement_fails_the_test() {
    let server = PostgresServer::shared();
    let _ = server.execute(&server.url("postgres"), "SELEC 1");
}
