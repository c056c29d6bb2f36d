//! The repository's own nginx configuration, run by nginx in front of real servers.

use crate::client::{Body, Client};
use crate::routes;
use crate::server::{Dir, Server};
use crate::stack::{Kind, Stack};
use larder_testkit::{Program, RedisServer, assert_eventually, free_port};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

pub(crate) const CONFIGURATION: &str = include_str!("../../../../deploy/nginx/nginx.conf");
/// Without a master there is one process, which ends with the test.
const ONE_PROCESS: &str = "off";
const START: Duration = Duration::from_secs(20);

/// A running nginx.
pub(crate) struct Front {
    program: Program,
    pub(crate) url: String,
    dir: Dir,
}

impl Front {
    /// nginx as the repository configures it, but for where its files and the servers are.
    pub(crate) async fn start(servers: &[u16]) -> Self {
        Self::with(servers, CONFIGURATION, |port| format!("listen 127.0.0.1:{port};")).await
    }

    /// With another configuration, and what `listen.conf` says for a port.
    pub(crate) async fn with(
        servers: &[u16],
        configuration: &str,
        listen: impl FnOnce(u16) -> String,
    ) -> Self {
        let (dir, port) = Self::files(servers, listen);
        Self::run(dir, configuration, port, ONE_PROCESS).await
    }

    /// A directory with what a site changes.
    fn files(servers: &[u16], listen: impl FnOnce(u16) -> String) -> (Dir, u16) {
        let (dir, port) = (Dir::new(), free_port());
        let servers: String =
            servers.iter().map(|port| format!("server 127.0.0.1:{port} max_fails=0;")).collect();
        let upstream = format!(
            "upstream larder {{ zone larder 256k; least_conn; {servers} keepalive 64; keepalive_timeout 4s; }}"
        );
        write(dir.path(), "upstream.conf", &upstream);
        write(dir.path(), "listen.conf", &listen(port));
        (dir, port)
    }

    /// nginx with its own defaults in front of `server`, and `directives`.
    pub(crate) async fn plain(server: &str, directives: &str) -> Self {
        let port = free_port();
        let places = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
        let places: String = places.map(|name| format!("{name}_temp_path /tmp/{name};")).concat();
        let configuration = format!(
            "error_log stderr; pid /tmp/nginx.pid; events {{}} http {{ access_log off; {places}
             server {{ listen 127.0.0.1:{port}; {directives} location / {{ proxy_pass {server}; }} }} }}"
        );
        Self::run(Dir::new(), &configuration, port, ONE_PROCESS).await
    }

    /// With a master and its workers, and another configuration.
    pub(crate) async fn with_master(servers: &[u16], configuration: &str) -> Self {
        let (dir, port) = Self::files(servers, |port| format!("listen 127.0.0.1:{port};"));
        Self::run(dir, configuration, port, "on").await
    }

    /// What people do after they have changed something.
    pub(crate) fn reload(&self) {
        let mut reload = std::process::Command::new(nginx());
        reload.arg("-p").arg(self.dir.path()).args(["-c", "nginx.conf", "-s", "reload"]);
        let output = reload.output().unwrap();
        assert!(output.status.success(), "{output:?}");
    }

    async fn run(dir: Dir, configuration: &str, port: u16, master: &str) -> Self {
        let place = dir.path().display().to_string();
        let configuration = configuration.replace("/tmp/", &format!("{place}/"));
        let configuration = configuration.replace("/dev/stdout", &format!("{place}/access.log"));
        write(dir.path(), "nginx.conf", &configuration);
        let program = Program::start(&nginx(), &dir.path().join("nginx.log"), |command| {
            command.args([
                "-p",
                &place,
                "-c",
                "nginx.conf",
                "-g",
                &format!("daemon off; master_process {master};"),
            ]);
        });
        let front = Self { program, url: format!("http://127.0.0.1:{port}"), dir };
        let anyone = front.client();
        let answers = || anyone.try_send("GET", "/health", &Body::Nothing, &[]);
        assert_eventually!(answers().await.is_ok(), START, "nginx listens: {}", front.program.output());
        front
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.url)
    }
}

impl Drop for Front {
    /// A master that is killed would leave its workers.
    fn drop(&mut self) {
        self.program.terminate();
        let _ = self.program.wait(START);
    }
}

fn write(dir: &Path, name: &str, text: &str) {
    std::fs::write(dir.join(name), text).unwrap();
}

/// Debian keeps it where ordinary users do not look.
fn nginx() -> PathBuf {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let places = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut found = places.map(|place| place.join("nginx")).filter(|nginx| nginx.exists());
    found.next().expect("nginx is installed: scripts/test does that")
}

/// Two servers behind nginx, on one Redis and one database.
pub(crate) struct Pair {
    /// What they stand on; its own server, which nobody asks, has made the data.
    pub(crate) stack: Stack,
    pub(crate) servers: [Server; 2],
    pub(crate) front: Front,
}

impl Pair {
    pub(crate) async fn start() -> Self {
        let stack = Stack::with(Kind::RedisSqlite, RedisServer::builder(), &[BEHIND]).await;
        let mut servers = Vec::new();
        for _ in 0..2 {
            servers.push(stack.another(&[("LISTEN", &listen())]).await);
        }
        let ports: Vec<u16> = servers.iter().map(|server| port(server.url())).collect();
        let servers = servers.try_into().unwrap_or_else(|_| panic!("two were started"));
        Self { stack, servers, front: Front::start(&ports).await }
    }

    pub(crate) fn ports(&self) -> [u16; 2] {
        self.servers.each_ref().map(|server| port(server.url()))
    }
}

const BEHIND: (&str, &str) = ("TRUSTED_PROXIES", "127.0.0.1/32");

fn listen() -> String {
    format!("127.0.0.1:{}", free_port())
}

pub(crate) fn port(url: &str) -> u16 {
    url.rsplit(':').next().unwrap().parse().unwrap()
}

/// An address of this machine that is somebody else's to nginx.
pub(crate) fn somebody(number: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 1, number).into()
}

#[tokio::test]
async fn both_servers_answer_and_the_client_s_address_reaches_them() {
    let pair = Pair::start().await;
    let acme = pair.front.client().sign_in("owner@acme.test").await.from(somebody(7));
    for _ in 0..20 {
        acme.get("/api/v1/campaigns").await.expect(200);
    }
    for server in &pair.servers {
        assert_eventually!(server.log().contains("client=127.0.1.7"), START, "it had a request");
    }
    let answer = acme.send_with("GET", "/api/stats", &Body::Nothing, &[("x-request-id", "mine")]).await;
    assert_eq!(answer.header("x-request-id"), "mine");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert_eq!(acme.get("/metrics").await.status, 404);
}

#[tokio::test]
async fn who_asks_too_often_is_told_so_and_others_are_not() {
    let pair = Pair::start().await;
    let greedy = pair.front.client().from(somebody(8));
    let asked = (0..600).map(|_| greedy.get("/api/stats"));
    let answers = futures_util::future::join_all(asked).await;
    let refused = answers.iter().filter(|answer| answer.status == 429).count();
    assert!(refused > 100 && refused < 600, "{refused} of 600 at once were refused");
    pair.front.client().from(somebody(9)).get("/api/stats").await.expect(200);
    for _ in 0..50 {
        greedy.get("/health").await.expect(200);
    }
}

/// Reads and writes until it is told to stop; counts what failed.
pub(crate) struct Load {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    tasks: tokio::task::JoinSet<Vec<String>>,
}

impl Load {
    /// From four addresses with 50 requests a second each.
    pub(crate) fn start(client: &Client) -> Self {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let mut tasks = tokio::task::JoinSet::new();
        for number in 10..14 {
            let (client, stop, done) = (client.from(somebody(number)), Arc::clone(&stop), Arc::clone(&done));
            tasks.spawn(async move {
                let mut every = tokio::time::interval(Duration::from_millis(20));
                let mut failed = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    every.tick().await;
                    let number = done.fetch_add(1, Ordering::Relaxed);
                    failed.extend(one(&client, number).await);
                }
                failed
            });
        }
        Self { stop, done, tasks }
    }

    /// Waits for so many more requests.
    pub(crate) async fn more(&self, requests: u64) {
        let until = self.done.load(Ordering::Relaxed) + requests;
        assert_eventually!(self.done.load(Ordering::Relaxed) >= until, START, "{requests} more requests");
    }

    pub(crate) async fn end(self) -> (u64, Vec<String>) {
        self.stop.store(true, Ordering::Relaxed);
        let failed = self.tasks.join_all().await.into_iter().flatten().collect();
        (self.done.load(Ordering::Relaxed), failed)
    }
}

/// One request, every fifth a write; what went wrong with it.
async fn one(client: &Client, number: u64) -> Option<String> {
    let name = format!("number {number}");
    let (method, path, body) = match number % 5 {
        0 => ("POST", "/api/v1/campaigns", Body::Json(routes::a_campaign(&name))),
        1 => ("GET", "/api/v1/dashboard/stats", Body::Nothing),
        _ => ("GET", "/api/v1/campaigns", Body::Nothing),
    };
    match client.try_send(method, path, &body, &[]).await {
        Ok(answer) if answer.status < 300 => None,
        Ok(answer) => Some(format!("{method} {path}: {} {}", answer.status, answer.text())),
        Err(error) => Some(format!("{method} {path}: {error:?}")),
    }
}

/// Restarts one server after the other under load.
pub(crate) async fn restart_both(servers: [Server; 2], stack: &Stack, load: &Load) -> Vec<Server> {
    let mut restarted = Vec::new();
    for server in servers {
        load.more(200).await;
        let address = format!("127.0.0.1:{}", port(server.url()));
        let ended = tokio::task::spawn_blocking(move || server.stop()).await.unwrap();
        assert_eq!(ended.code(), Some(0));
        load.more(100).await;
        restarted.push(stack.another(&[("LISTEN", &address)]).await);
    }
    load.more(200).await;
    restarted
}

#[tokio::test]
async fn a_thousand_users_at_once_meet_no_error() {
    let pair = Pair::start().await;
    let acme = pair.front.client().sign_in("owner@acme.test").await;
    // 25 behind each address, who stay below what an address may ask at once.
    let mut users = tokio::task::JoinSet::new();
    for address in 0..40 {
        let acme = acme.from(somebody(100 + address));
        for user in 0..25_u64 {
            let acme = acme.clone();
            users.spawn(async move {
                let mut failed = Vec::new();
                for number in 0..4 {
                    failed.extend(one(&acme, 1 + user + 5 * number).await);
                }
                failed
            });
        }
    }
    let failed: Vec<String> = users.join_all().await.into_iter().flatten().collect();
    assert!(failed.is_empty(), "{} of 4000: {failed:#?}", failed.len());
    for server in &pair.servers {
        let served = Client::new(server.url()).get("/metrics").await.expect(200).text();
        let of_list = served.lines().filter(|line| line.contains("route=\"/api/v1/campaigns\""));
        let counts = of_list.filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok());
        let requests: u64 = counts.sum();
        assert!(requests > 800, "each of the two had its part: {requests}");
    }
}
