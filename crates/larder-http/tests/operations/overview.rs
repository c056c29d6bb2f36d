//! The overview, and its stream.

use axum::body::Body;
use larder::{Cache, Event, RedisConfig, key, tag};
use larder_testkit::RedisServer;
use serde_json::{Value, json};
use std::time::Duration;

use crate::support::{Events, Server, here, read, request, ten_thousand_tenants};

const OVERVIEW: &str = "/api/cache/overview";
const LIVE: &str = "/api/cache/live";

async fn overview(server: &Server, token: &str) -> Value {
    let reply = server.get(token, OVERVIEW).await;
    assert_eq!(reply.status, 200, "{}", reply.text);
    reply.json()
}

async fn live(server: &Server, token: &str) -> Events {
    let (status, events) = server.open(request("GET", token, LIVE).body(Body::empty()).unwrap()).await;
    assert_eq!(status, 200);
    events
}

/// Reads until what is told is so.
async fn until(events: &mut Events, is_so: impl Fn(&Value) -> bool) -> Value {
    let told = async {
        loop {
            let told = events.next().await.unwrap();
            if is_so(&told) {
                return told;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), told).await.expect("it is told sooner or later")
}

/// Two tenants: one that has loaded and hit, one that has only loaded.
async fn busy() -> Server {
    let server = Server::start().await;
    let (acme, globex) = (server.cache.tenant("acme"), server.cache.tenant("globex"));
    for id in 0..2 {
        read(&acme, key!("campaigns", id)).await;
    }
    for _ in 0..6 {
        read(&acme, key!("campaigns", 1)).await;
    }
    read(&globex, key!("leads", 1)).await;
    acme.publish(Event::new("campaign.updated").id("17").invalidates([tag("other")])).await.unwrap();
    globex.invalidate(tag("leads")).await.unwrap();
    server
}

#[tokio::test]
async fn an_admin_sees_the_node_and_all_tenants() {
    let server = busy().await;
    assert_eq!(server.get("", "/hit").await.status, 200);
    let told = overview(&server, "admin@larder").await;
    assert_eq!(told["viewer"], json!({"as": "admin", "tenant": null}));
    let codes: Vec<_> = told["alerts"].as_array().unwrap().iter().map(|it| it["code"].clone()).collect();
    assert_eq!((&told["status"], codes), (&json!("healthy"), vec![json!("outbox_dead")]));
    let totals = &told["totals"];
    assert_eq!((&totals["hits"], &totals["misses"], &totals["loads"]), (&json!(6), &json!(3), &json!(3)));
    assert_eq!(totals["hit_rate"], 0.6667);
    assert_eq!(told["now"], Value::Null, "there is nothing to compare with yet");
    assert_eq!(
        (&told["latency"]["hits"]["count"], &told["latency"]["loads"]["count"]),
        (&json!(1), &json!(3))
    );
    assert_eq!((&told["memory"]["entries"], &told["tenant_count"]), (&json!(3), &json!(2)));
    let names: Vec<_> = told["tenants"].as_array().unwrap().iter().map(|it| it["name"].clone()).collect();
    assert_eq!(names, ["acme", "globex"]);
    let acme = &told["tenants"][0];
    assert_eq!((&acme["new_scopes"], &acme["max_new_scopes"]), (&json!(1), &json!(10_000)));
    assert_eq!((&acme["loading"], &acme["max_loading"]), (&json!(0), &json!(500)));
    assert!(acme["bytes"].as_u64() < acme["max_bytes"].as_u64() && acme["widened"] == 0, "{acme:#}");
    assert_eq!((&totals["requests"], &totals["server_errors"]), (&json!(1), &json!(0)), "/hit");
    let endpoints = told["endpoints"].as_array().unwrap();
    assert_eq!((&endpoints[0]["name"], &endpoints[0]["loads"]), (&json!("campaigns"), &json!(2)));
    let (saved, mean) = (&endpoints[0]["saved_s"], endpoints[0]["load_mean_ms"].as_f64().unwrap());
    assert!((saved.as_f64().unwrap() - mean * 6.0 / 1e3).abs() < 1e-4, "{mean} ms × 6 hits: {saved} s");
    assert_eq!(
        (&told["database"]["busy"], &told["database"]["outbox"]["dead"], &told["connections"]["http"]),
        (&json!(2), &json!(1), &json!(7))
    );
    let recent = told["recent"].as_array().unwrap();
    assert_eq!((&recent[0]["tenant"], &recent[0]["what"]), (&json!("globex"), &json!(["tag leads"])));
    assert_eq!((&recent[1]["event"], &recent[1]["changed"]), (&json!("campaign.updated"), &json!("17")));
    assert!(told["coherence"]["trusted"] == true && told["coherence"]["lease_left_s"].is_null(), "{told:#}");
    assert_eq!(told["redis"]["state"], "disabled");
}

#[tokio::test]
async fn others_see_their_own_tenant_and_nothing_else() {
    let server = busy().await;
    for role in ["owner", "member", "ingest"] {
        let told = overview(&server, &format!("{role}@globex")).await;
        assert_eq!(told["viewer"], json!({"as": "tenant", "tenant": "globex"}));
        assert_eq!((&told["totals"]["hits"], &told["totals"]["loads"]), (&json!(0), &json!(1)));
        assert_eq!(
            (&told["totals"]["requests"], &told["totals"]["server_errors"]),
            (&json!(null), &json!(null))
        );
        assert_eq!((&told["memory"]["entries"], &told["memory"]["max_bytes"]), (&json!(1), &Value::Null));
        let recent = told["recent"].as_array().unwrap();
        assert!(recent.len() == 1 && recent[0]["what"] == json!(["tag leads"]), "{recent:#?}");
        for unknown in [
            "tenants",
            "tenant_count",
            "coherence",
            "nodes",
            "connections",
            "database",
            "events",
            "process",
            "latency",
        ] {
            assert_eq!(told[unknown], Value::Null, "{unknown}");
        }
        assert!(!told.to_string().contains("acme"), "{told:#}");
    }
}

#[tokio::test]
async fn without_a_token_only_this_machine_sees_the_node_and_no_tenant() {
    let server = busy().await;
    for path in [OVERVIEW, LIVE] {
        assert_eq!(server.get("", path).await.status, 401, "{path}");
        let nameless = request("GET", "", path).header("host", "evil.example");
        assert_eq!(server.send(nameless.body(Body::empty()).unwrap()).await.status, 401, "{path}");
        let wrong = here(request("GET", "wrong", path)).body(Body::empty()).unwrap();
        assert_eq!(server.send(wrong).await.status, 401, "a wrong token is no missing one: {path}");
    }
    let told = server.send(here(request("GET", "", OVERVIEW)).body(Body::empty()).unwrap()).await.json();
    assert_eq!(told["viewer"], json!({"as": "node", "tenant": null}));
    assert_eq!((&told["tenants"], &told["recent"]), (&Value::Null, &Value::Null));
    assert!(told["process"].is_object() && !told.to_string().contains("acme"), "{told:#}");
}

#[tokio::test]
async fn a_stream_tells_at_once_and_then_what_has_changed() {
    let server = Server::start().await;
    let mut events = live(&server, "admin@larder").await;
    let mut tenants = live(&server, "owner@acme").await;
    let first = events.next().await.unwrap();
    assert_eq!((&first["totals"]["misses"], &first["connections"]["watchers"]), (&json!(0), &json!(2)));
    let acme = server.cache.tenant("acme");
    for _ in 0..5 {
        read(&acme, key!("campaigns", 1)).await;
    }
    let told = until(&mut events, |told| told["totals"]["hits"] == 4).await;
    let minute = &told["minute"];
    assert!(minute["lookups_per_s"].as_f64() > Some(0.0) && minute["hit_rate"] == 0.8, "{minute}");
    assert!(told["endpoints"][0]["lookups_per_s"].as_f64() > Some(0.0), "{}", told["endpoints"]);
    assert!(told["seq"].as_u64() > first["seq"].as_u64());
    let told = until(&mut tenants, |told| told["totals"]["hits"] == 4).await;
    assert_eq!(told["viewer"]["tenant"], "acme");
}

#[tokio::test]
async fn all_who_look_share_a_snapshot() {
    let server = Server::start().await;
    let mut events = live(&server, "admin@larder").await;
    let first = events.next().await.unwrap();
    let second = events.next().await.unwrap();
    assert_eq!(second["seq"].as_u64(), first["seq"].as_u64().map(|seq| seq + 1));
    // Who asks in between takes none of their own: the next event is the next snapshot.
    for _ in 0..20 {
        overview(&server, "admin@larder").await;
        overview(&server, "owner@acme").await;
    }
    let third = events.next().await.unwrap();
    assert_eq!(third["seq"].as_u64(), second["seq"].as_u64().map(|seq| seq + 1));
}

#[tokio::test]
async fn streams_are_bounded_and_a_closed_one_makes_room() {
    let server = Server::start().await;
    let mut open = Vec::new();
    for _ in 0..100 {
        open.push(live(&server, "admin@larder").await);
    }
    let reply = server.get("admin@larder", LIVE).await;
    assert_eq!((reply.status, reply.headers["retry-after"].to_str().unwrap()), (503, "5"));
    open.pop();
    live(&server, "admin@larder").await;
}

#[tokio::test]
async fn streams_end_with_the_server() {
    let server = Server::start().await;
    let mut events = live(&server, "admin@larder").await;
    events.next().await.unwrap();
    server.ending.end();
    while events.next().await.is_some() {}
    let mut late = live(&server, "admin@larder").await;
    while late.next().await.is_some() {}
}

#[tokio::test]
async fn redis_tells_of_itself_and_its_end_is_told() {
    let redis = RedisServer::start();
    let cache = Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
    cache.ready().await;
    let server = Server::over(cache);
    read(&server.cache.tenant("acme"), key!("campaigns", 1)).await;
    let mut events = live(&server, "admin@larder").await;
    let told = events.next().await.unwrap();
    let known = &told["redis"];
    assert!(
        known["used_bytes"].as_u64() > Some(1 << 16) && known["round_trip_ms"].as_f64() > Some(0.0),
        "{known}"
    );
    assert_eq!((&known["state"], &known["policy"]), (&json!("connected"), &json!("noeviction")));
    assert_eq!((&told["nodes"][0]["this"], &told["coherence"]["trusted"]), (&json!(true), &json!(true)));
    assert!(told["coherence"]["epoch"].is_u64() && told["coherence"]["lag_s"].is_number(), "{told:#}");
    redis.kill();
    let told = until(&mut events, |told| told["redis"]["state"] == "unavailable").await;
    assert_eq!(
        (&told["alerts"][0]["code"], &told["status"]),
        (&json!("redis_unavailable"), &json!("degraded"))
    );
    assert_eq!(told["coherence"]["breaker_open"], true);
    let told = overview(&server, "owner@acme").await;
    assert_eq!(
        (&told["alerts"][0]["code"], &told["redis"]["reason"]),
        (&json!("redis_unavailable"), &Value::Null)
    );
}

#[tokio::test]
async fn another_node_is_seen_and_so_is_what_it_invalidates() {
    let redis = RedisServer::start();
    let node = async || Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
    let (here, there) = (node().await, node().await);
    here.ready().await;
    there.ready().await;
    let server = Server::over(here);
    let mut events = live(&server, "admin@larder").await;
    until(&mut events, |told| told["nodes"].as_array().unwrap().len() == 2).await;
    server.cache.tenant("acme").invalidate(tag("mine")).await.unwrap();
    there.tenant("acme").invalidate(tag("theirs")).await.unwrap();
    let told = until(&mut events, |told| told["coherence"]["told"] == 2).await;
    let recent = told["recent"].as_array().unwrap();
    let shown: Vec<_> =
        recent.iter().map(|it| (it["here"] == true, it["what"].clone(), it["more"].clone())).collect();
    assert_eq!(shown, [(false, json!([]), json!(1)), (true, json!(["tag mine"]), json!(0))]);
    there.shutdown().await;
}

#[tokio::test]
async fn what_was_deferred_and_delivered_is_told_once_and_as_ones_own() {
    let redis = RedisServer::start();
    let cache = Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
    cache.ready().await;
    let server = Server::over(cache);
    let mut events = live(&server, "admin@larder").await;
    redis.kill();
    server.cache.tenant("acme").invalidate(tag("mine")).await.unwrap_err();
    redis.restart();
    until(&mut events, |told| told["coherence"]["trusted"] == true && told["coherence"]["undelivered"] == 0)
        .await;
    server.cache.tenant("acme").invalidate(tag("last")).await.unwrap();
    // What is heard is told after half a second: two snapshots later all that there is has been told.
    for _ in 0..2 {
        events.next().await.unwrap();
    }
    let told = events.next().await.unwrap();
    let recent = told["recent"].as_array().unwrap();
    let shown: Vec<_> =
        recent.iter().map(|it| (it["here"] == true, it["deferred"] == true, it["what"].clone())).collect();
    assert_eq!(shown, [(true, false, json!(["tag last"])), (true, true, json!(["tag mine"]))]);
}

#[tokio::test]
async fn ten_thousand_tenants_and_long_names_make_an_overview_of_bounded_length() {
    let server = Server::over(Cache::builder("test").memory(1 << 30).build().await.unwrap());
    ten_thousand_tenants(&server.cache).await;
    let loud = server.cache.tenant("loud".repeat(30));
    for number in 0..60 {
        let long = |part: usize| key!("campaigns", format!("{number}-{part}").repeat(200));
        let event = Event::new("k".repeat(100)).id("i".repeat(200));
        loud.publish(event.invalidates((0..10).map(long))).await.unwrap();
    }
    let reply = server.get("admin@larder", OVERVIEW).await;
    assert!(reply.text.len() < 100_000, "{} bytes", reply.text.len());
    let told = reply.json();
    assert_eq!(told["memory"]["entries"], 100_000);
    let tenants = told["tenants"].as_array().unwrap();
    assert!((20..=60).contains(&tenants.len()), "{}", tenants.len());
    assert_eq!(told["tenant_count"], 2_500, "those that are counted apart, with four endpoints each");
    let recent = told["recent"].as_array().unwrap();
    assert_eq!((recent.len(), &recent[0]["more"]), (50, &json!(4)));
    let what = recent[0]["what"][0].as_str().unwrap();
    assert!(what.starts_with("key campaigns:59-059-0") && what.ends_with('…'), "{what}");
    assert_eq!(what.chars().count(), 120);
}
