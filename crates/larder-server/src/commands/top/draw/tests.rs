//! What is on the screen, at every size and in every state.

use super::super::overview::Overview;
use super::super::state::State;
use super::draw;
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{Event, KeyCode, KeyEvent, KeyModifiers};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

fn endpoint(name: &str, loads: u64) -> Value {
    json!({"name": name, "hits": 90 * loads, "misses": loads, "hit_rate": 0.989, "loads": loads, "load_errors": 0,
        "load_s": 1.5, "load_mean_ms": 12.5, "saved_s": 120.0, "lookups_per_s": 45.0, "loads_per_s": 0.5})
}

fn busy() -> Value {
    json!({
        "seq": 3, "version": "0.1.0", "uptime_s": 3_725.0, "viewer": {"as": "admin", "tenant": null}, "status": "healthy",
        "alerts": [],
        "totals": {"hits": 97_000, "misses": 3_000, "hit_rate": 0.97, "loads": 2_900, "invalidations": 12, "evictions": 4},
        "now": {"over_s": 1.0, "lookups_per_s": 1_000.0, "l1_hits_per_s": 900.0, "l2_hits_per_s": 70.0,
            "stale_hits_per_s": 0.0, "misses_per_s": 30.0, "loads_per_s": 29.0, "saved_s_per_s": 12.3, "hit_rate": 0.97,
            "invalidations_per_s": 2.0},
        "latency": {"over_s": 60.0, "hits": {"count": 5, "p50_ms": 0.08, "p90_ms": 0.2, "p99_ms": 0.75}, "misses": null,
            "loads": {"count": 5, "p50_ms": 4.0, "p90_ms": 20.0, "p99_ms": 98.0}},
        "memory": {"entries": 1_234, "bytes": 64 << 20, "max_bytes": 256 << 20, "evictions": 4, "flights": 2},
        "coherence": {"trusted": true, "lease_left_s": 0.8, "lag_s": 0.12, "epoch_bumps": 1, "missed": 0,
            "breaker_open": false, "undelivered": 0},
        "nodes": [{"name": "a", "this": true}, {"name": "b", "this": false}],
        "endpoints": [endpoint("campaigns", 40), endpoint("leads", 7), endpoint("threats", 900)],
        "tenant_count": 3, "connections": {"http": 3},
        "recent": [
            {"at_ms": 1_790_000_000_123_u64, "verb": "invalidated", "tenant": "acme", "event": "campaign.updated",
                "what": ["tag campaigns"], "more": 2, "here": false, "deferred": false},
            {"at_ms": 1_790_000_000_000_u64, "verb": "expired", "tenant": null, "event": null, "what": ["everything"],
                "more": 0, "here": true, "deferred": true},
        ],
        "redis": {"state": "connected", "server": "redis 7.0.15", "round_trip_ms": 0.21, "used_bytes": 5_000_000,
            "ops_per_s": 420.0, "evicted_keys": 0, "errors": 0},
        "database": {"open": 3, "busy": 1, "max": 60}, "process": {"cpu_percent": 12.0, "resident_bytes": 50_000_000},
    })
}

fn state_of(overview: Value) -> State {
    State::new("https://cache.example".to_owned(), serde_json::from_value(overview).unwrap())
}

/// The screen as lines.
fn screen(state: &State, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, state)).unwrap();
    let buffer = terminal.backend().buffer();
    let line = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>();
    (0..height).map(|y| line(y).trim_end().to_owned() + "\n").collect()
}

#[track_caller]
fn shows(screen: &str, all: &[&str]) {
    for text in all {
        assert!(screen.contains(text), "no {text:?} in\n{screen}");
    }
}

#[test]
fn a_wide_terminal_has_everything() {
    let mut state = state_of(busy());
    (0..200).for_each(|_| state.take(serde_json::from_value(busy()).unwrap()));
    for (width, height) in [(160, 50), (132, 24), (100, 40), (80, 24)] {
        let screen = screen(&state, width, height);
        let head = screen.lines().next().unwrap();
        shows(head, &["larder healthy", "up 1h 02m", "2 nodes", "3 tenants", "https://cache.example"]);
        shows(&screen, &["memory  90.0 %", "redis    7.0 %", "stale      0 %", "missed   3.0 %", "█"]);
        shows(&screen, &["1000 lookups/s", "29 loads/s", "12 s of loading saved a second"]);
        shows(&screen, &["hits     0.08    0.20    0.75", "misses      -", "loads     4.0      20      98"]);
        shows(&screen, &["64 MiB of 256 MiB, 2 in flight", "25.0 %", "1234 entries, 4 evicted"]);
        shows(&screen, &["trusted", "lag 0.12 s, lease 0.8 s", "0 undelivered"]);
        shows(&screen, &["connected redis 7.0.15", "0.21 ms, 420 op/s, 4.8 MiB", "database 1 of 60"]);
        shows(&screen, &["endpoint", "threats", "campaigns", "Invalidations and events"]);
        shows(&screen, &["14:13:20 invalidated acme", "q quit  ? help  s sort: loads"]);
        let place = |name: &str| screen.find(name).unwrap();
        assert!(place("threats") < place("campaigns "), "most loads first:\n{screen}");
    }
    shows(
        &screen(&state, 200, 50),
        &["campaign.updated (tag campaigns) +2 by another node", "all everything (waits for Redis)"],
    );
}

#[test]
fn forty_by_ten_has_the_essentials() {
    let mut state = state_of(busy());
    let small = screen(&state, 40, 10);
    shows(
        &small,
        &["larder healthy  up 1h 02m", "hit rate 97.0 %", "1000 lookups/s 29 loads/s saved 12 s/s"],
    );
    shows(
        &small,
        &[
            "p99 hits 0.75 ms, loads 98 ms",
            "memory 64 MiB of 256 MiB, 1234 entries",
            "trusted, redis connected",
        ],
    );
    shows(&small, &["endpoint", "threats", "q quit  ? help  s sort: loads"]);
    state.handle(&Event::Key(KeyEvent::new(KeyCode::Down, KeyModifiers::NONE)));
    let scrolled = screen(&state, 40, 10);
    assert!(!scrolled.contains("threats") && scrolled.contains("campaigns"), "{scrolled}");
    let tall = screen(&state, 60, 40);
    shows(&tall, &["threats", "leads", "14:13:20 expired all everything"]);
}

#[test]
fn every_size_is_drawn_in_every_state() {
    let mut lost = state_of(busy());
    lost.lose("refused".to_owned(), Instant::now() + Duration::from_secs(3));
    let mut help = state_of(busy());
    help.help = true;
    let mut scrolled = state_of(busy());
    scrolled.above = 99;
    for state in [lost, help, scrolled, state_of(json!({})), state_of(busy())] {
        for (width, height) in
            [(1, 1), (39, 9), (40, 10), (41, 11), (79, 60), (80, 22), (81, 23), (132, 30), (400, 120)]
        {
            assert_eq!(screen(&state, width, height).lines().count(), usize::from(height));
        }
    }
    shows(&screen(&state_of(busy()), 39, 12), &["39×12 are too few", "40×10 are needed", "q quits"]);
}

#[test]
fn an_endpoint_that_nobody_has_asked_has_no_hit_rate() {
    let mut overview = busy();
    overview["endpoints"][1] = json!({"name": "leads", "hits": 0, "misses": 0, "hit_rate": 0.0});
    let screen = screen(&state_of(overview), 120, 45);
    let row = |name: &str| screen.lines().find(|line| line.starts_with(&format!("│{name} "))).unwrap();
    let cells = |name: &str| row(name).split_whitespace().take(4).collect::<Vec<_>>().join(" ");
    assert_eq!(
        (cells("leads"), cells("threats")),
        ("│leads - 0 -".to_owned(), "│threats 98.9 % 900".to_owned())
    );
}

#[test]
fn a_server_that_is_gone_is_said_to_be_and_when_it_is_tried_again() {
    let mut state = state_of(busy());
    state.lose("the connection has broken".to_owned(), Instant::now() + Duration::from_secs(600));
    for (width, height) in [(80, 24), (60, 12)] {
        let screen = screen(&state, width, height);
        shows(&screen, &["larder no connection", "tried again in 10m 00s: the connection"]);
        shows(&screen, &["threats"]);
    }
}

#[test]
fn what_is_wrong_stands_at_the_top_the_worst_first() {
    let mut overview = busy();
    let alert = |level: &str, text: &str| json!({"level": level, "code": "x", "text": text});
    overview["status"] = json!("degraded");
    overview["alerts"] = json!([
        alert("bad", "Redis is out of reach"),
        alert("warn", "low hit rate"),
        alert("warn", "a"),
        alert("warn", "b")
    ]);
    overview["coherence"]["breaker_open"] = json!(true);
    overview["coherence"]["undelivered"] = json!(3);
    overview["redis"] = json!({"state": "unavailable", "reason": "connection refused"});
    let state = state_of(overview);
    let wide = screen(&state, 100, 40);
    shows(&wide, &["larder degraded", "Redis is out of reach", "low hit rate", "a (and 1 more)"]);
    shows(&wide, &["does without Redis", "3 undelivered", "unavailable connection refused"]);
    let small = screen(&state, 40, 10);
    shows(&small, &["Redis is out of reach (and 3 more)", "does without Redis, redis unavailable"]);
}

#[test]
fn a_tenant_sees_its_own_and_nothing_of_the_server() {
    let mut overview = busy();
    for hidden in ["latency", "coherence", "nodes", "tenant_count", "connections", "database", "process"] {
        overview[hidden] = Value::Null;
    }
    overview["viewer"] = json!({"as": "tenant", "tenant": "acme"});
    overview["memory"] =
        json!({"entries": 5, "bytes": 7_000, "max_bytes": null, "evictions": 0, "flights": null});
    overview["redis"] = json!({"state": "connected", "reason": null});
    let state = state_of(overview);
    let wide = screen(&state, 90, 30);
    shows(&wide, &["tenant acme", "not told to this token", "6.8 KiB", "5 entries, 0 evicted"]);
    shows(&screen(&state, 40, 10), &["memory 6.8 KiB, 5 entries", "redis connected"]);
}

#[test]
fn help_lies_over_it_and_names_every_key() {
    let mut state = state_of(busy());
    state.help = true;
    for (width, height) in [(80, 24), (40, 12)] {
        let screen = screen(&state, width, height);
        shows(&screen, &["endpoints by loads", "endpoints by time", "the other way round", "quit"]);
    }
}

#[test]
fn nothing_in_an_overview_reaches_the_terminal_as_a_command() {
    let mut overview = busy();
    let bad = "x\x1b]0;y\x07\x1b[31m\u{9b}2J\r\n";
    overview["status"] = json!(bad);
    overview["alerts"] = json!([{"level": "bad", "text": bad}]);
    overview["endpoints"][0]["name"] = json!(bad);
    overview["recent"][0]["tenant"] = json!(bad);
    overview["redis"]["server"] = json!(bad);
    let all: Overview = serde_json::from_value(overview.clone()).unwrap();
    let state = state_of(overview);
    let (wide, small, once) =
        (screen(&state, 140, 40), screen(&state, 40, 12), super::super::once::table(&all));
    for text in [wide, small, once] {
        assert!(text.chars().all(|c| c == '\n' || !c.is_control()), "{text:?}");
    }
}
