//! Two servers on one Redis and one database.

use crate::client::Client;
use crate::routes;
use crate::stack::{Kind, Stack, on_every_stack};
use larder_testkit::assert_eventually;
use std::time::Duration;

/// The coherence lease, and time for a machine that runs other tests too.
const LEASE: Duration = Duration::from_secs(3);

const RETURN: Duration = Duration::from_secs(20);

async fn connected(node: &Client) -> bool {
    node.get("/health").await.expect(200).json()["redis_cache"] == "connected"
}

struct Pair {
    stack: Stack,
    // Its process lives as long as the pair.
    _second: crate::server::Server,
    one: Client,
    two: Client,
    path: String,
}

impl Pair {
    async fn start(kind: Kind) -> Self {
        let stack = Stack::start(kind).await;
        let second = stack.second().await;
        let one = stack.acme().await;
        let two = one.at(second.url());
        let list = one.get("/api/v1/campaigns").await.expect(200).json();
        let path = format!("/api/v1/campaigns/{}", list["items"][0]["id"].as_str().unwrap());
        Self { stack, _second: second, one, two, path }
    }

    async fn name(&self, client: &Client) -> String {
        client.get(&self.path).await.expect(200).json()["name"].as_str().unwrap().to_owned()
    }

    async fn rename(&self, client: &Client, name: &str) {
        client.put(&self.path, routes::a_campaign(name)).await.expect(200);
    }
}

async fn writes_cross(pair: Pair) {
    for round in 0..20 {
        let (writer, reader) = if round % 2 == 0 { (&pair.one, &pair.two) } else { (&pair.two, &pair.one) };
        pair.name(writer).await;
        pair.name(reader).await;
        let name = format!("round {round}");
        pair.rename(writer, &name).await;
        assert_eq!(pair.name(writer).await, name, "the writer reads its write");
        assert_eventually!(pair.name(reader).await == name, LEASE, "the other node sees {name}");
    }
    // What one has loaded the other finds in Redis.
    pair.one.get("/api/v1/jobs").await.expect(200);
    let found = pair.two.get("/api/v1/jobs").await.expect(200);
    assert_eq!(found.cache(), "HIT", "{}", found.header("cache-status"));
}

#[tokio::test]
async fn a_write_on_one_node_is_seen_on_the_other_with_sqlite() {
    writes_cross(Pair::start(Kind::RedisSqlite).await).await;
}

#[tokio::test]
async fn a_write_on_one_node_is_seen_on_the_other_with_postgresql() {
    writes_cross(Pair::start(Kind::RedisPostgres).await).await;
}

#[tokio::test]
async fn after_a_pause_of_redis_the_first_read_on_the_other_node_is_new() {
    let pair = Pair::start(Kind::RedisSqlite).await;
    let redis = pair.stack.redis.as_ref().unwrap();
    for round in 0..3 {
        let name = format!("round {round}");
        for node in [&pair.one, &pair.two] {
            // A node that is still cut off may show a value for OUTAGE_MEMORY_TTL.
            assert_eventually!(connected(node).await, RETURN, "every node is back");
        }
        pair.name(&pair.two).await;
        redis.pause();
        // Applied here, delivered later: no error of the write.
        pair.rename(&pair.one, &name).await;
        assert_eq!(pair.name(&pair.one).await, name);
        redis.resume();
        assert_eq!(pair.name(&pair.two).await, name, "the first read after the pause");
    }
}

#[tokio::test]
async fn two_processes_without_redis_on_one_database_are_warned() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let second = stack.second().await;
    let log = second.log().to_lowercase();
    assert!(log.contains("warn") && log.contains("redis"), "{log}");
}

on_every_stack!(a_client_that_goes_away_in_the_middle_of_a_write_leaves_nothing_stale);

async fn a_client_that_goes_away_in_the_middle_of_a_write_leaves_nothing_stale(stack: Stack) {
    use tokio::io::AsyncWriteExt;
    let acme = stack.acme().await;
    let list = acme.get("/api/v1/campaigns").await.expect(200).json();
    let path = format!("/api/v1/campaigns/{}", list["items"][0]["id"].as_str().unwrap());
    let host = stack.server.url().trim_start_matches("http://").to_owned();
    let token = acme.token.clone().unwrap();
    for round in 0_u32..60 {
        let name = format!("gone {round}");
        acme.get(&path).await.expect(200);
        let body = routes::a_campaign(&name).to_string();
        let length = body.len();
        let request = format!(
            "PUT {path} HTTP/1.1\r\nhost: {host}\r\nauthorization: Bearer {token}\r\n\
             content-type: application/json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        let mut stream = tokio::net::TcpStream::connect(&host).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        // At a different moment each time: before, while and after it is committed.
        let later = tokio::time::Instant::now() + Duration::from_micros(u64::from(round % 20) * 150);
        tokio::time::timeout_at(later, stream.readable()).await.ok();
        stream.set_zero_linger().unwrap();
        drop(stream);
        // Whether the write came through or not, what is read is what is in the database.
        assert_eventually!(
            {
                let seen = acme.get(&path).await.expect(200).json()["name"].clone();
                seen == stored(&stack, &acme, &path).await
            },
            LEASE,
            "what is read is what is stored, in round {round}"
        );
    }
}

/// The name of the campaign as the database has it: read by a list that nobody has cached.
async fn stored(stack: &Stack, acme: &Client, path: &str) -> serde_json::Value {
    let id = path.rsplit('/').next().unwrap();
    acme.send("POST", "/api/cache/clear?pattern=campaigns:*", &crate::client::Body::Nothing)
        .await
        .expect(200);
    let list = acme.get("/api/v1/campaigns?limit=100").await.expect(200);
    assert_eq!(list.cache(), "MISS", "{}", stack.server.log());
    let list = list.json();
    let item = list["items"].as_array().unwrap().iter().find(|item| item["id"] == id);
    item.unwrap_or_else(|| panic!("{id} is not in {list}"))["name"].clone()
}
