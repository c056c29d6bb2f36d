use larder_testkit::{PostgresServer, RedisCluster, RedisSentinel, RedisServer, assert_eventually_blocking};
use std::net::TcpStream;
use std::process::Command;
use std::time::Duration;

const DIE: &str = "LARDER_TESTKIT_DIE";

/// Runs itself in a second process, which dies without dropping anything.
#[test]
#[cfg(target_os = "linux")]
fn a_test_process_that_dies_leaves_no_server_behind() {
    if let Some(file) = std::env::var_os(DIE) {
        // From a thread that ends first, as the threads of tests do: the servers have to outlive that.
        let (redis, postgres) =
            std::thread::spawn(|| (RedisServer::start(), PostgresServer::start())).join().unwrap();
        assert_eq!(redis.command(&["PING"]).text(), "PONG");
        assert_eq!(postgres.execute(&postgres.url("postgres"), "SELECT 1"), "1");
        let (cluster, sentinel) = (RedisCluster::start(), RedisSentinel::start());
        let many = cluster.nodes().iter().chain(sentinel.servers()).chain(sentinel.sentinels());
        let mut ports: Vec<String> = many.map(|server| server.port().to_string()).collect();
        ports.extend([redis.port().to_string(), postgres.port().to_string()]);
        std::fs::write(file, ports.join(" ")).unwrap();
        std::process::abort();
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("ports");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "orphans::a_test_process_that_dies_leaves_no_server_behind"])
        .env(DIE, &file)
        // What an abort leaves for cleaners of temporary directories goes with ours.
        .env("TMPDIR", dir.path())
        .output()
        .unwrap();
    let ports = std::fs::read_to_string(&file).unwrap_or_else(|_| panic!("it died too early: {status:?}"));
    for port in ports.split(' ').map(|port| port.parse::<u16>().unwrap()) {
        assert_eventually_blocking!(
            TcpStream::connect(("127.0.0.1", port)).is_err(),
            Duration::from_secs(10),
            "nobody listens on port {port}"
        );
    }
}
