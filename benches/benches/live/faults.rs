//! Faults, one after the other, under load.

use std::sync::Arc;
use std::time::Duration;

use larder_testkit::RedisServer;

use super::client::{Crowd, Tally};
use super::server::Server;

const CLIENTS: u64 = 1000;
const RATE: u64 = 50;

pub(crate) async fn run() -> bool {
    let redis = RedisServer::start();
    let url = format!("redis={}", redis.url());
    let mut one = Server::start(&[&url]).await;
    let mut two = Server::start(&[&url]).await;
    let doomed = Server::start(&[&url]).await;
    let servers = [one.address, two.address, doomed.address];
    let tally = Arc::new(Tally::new(CLIENTS));
    let crowd = Crowd::connect(&servers, CLIENTS, &tally).await;
    one.publish_on(RATE).await;
    two.publish_on(RATE).await;
    let pause = || tokio::time::sleep(Duration::from_secs(5));
    pause().await;
    let say = |what: &str| {
        println!(
            "faults: {what}: {} events, {} resets, {} connects, {} gaps or duplicates so far",
            tally.events(),
            tally.resets(),
            tally.dials(),
            tally.faults()
        );
    };
    say("quiet");
    doomed.kill().await;
    pause().await;
    say("a server was killed");
    redis.kill_clients("pubsub");
    pause().await;
    say("pub/sub connections were killed");
    redis.kill();
    tokio::time::sleep(Duration::from_secs(1)).await;
    redis.restart_empty();
    pause().await;
    pause().await;
    say("Redis was restarted empty");
    let logged = one.publish_off().await + two.publish_off().await;
    pause().await;
    tally.stop();
    let resets = tally.resets();
    println!(
        "faults: {logged} events were logged; {} deliveries, {resets} resets, {} gaps or duplicates",
        tally.events(),
        tally.faults()
    );
    drop(crowd);
    tally.faults() == 0 && tally.events() > 0
}
