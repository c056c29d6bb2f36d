//! Every command of the README runs as it stands there.
//!
//! The rule. Each `sh` block is run by bash, which ends at the first command that fails. Before that:
//! 1. `cargo run --release --` is the program that was built with this test;
//! 2. a server that would stay in the foreground goes into the background, and the next line waits until it answers;
//! 3. the ports 7001, 8000 and 8010 are free ones, and `/tmp` is a directory of this test's own;
//! 4. sample data is small, and the built-in seller API has a free port;
//! 5. `./scripts/test` is left out: it is what runs this.
//!
//! A block that can't be run would say so, and why, behind the word `sh`. There is none.

use crate::markdown::{Block, blocks, root};
use larder_testkit::{Program, free_port};
use std::path::Path;
use std::time::Duration;

/// A start of three servers, two of which make sample data, and the pauses of the block itself.
const LONG: Duration = Duration::from_secs(110);

/// Where the README's servers listen.
const PORTS: [&str; 3] = ["7001", "8000", "8010"];

fn page() -> String {
    std::fs::read_to_string(root().join("README.md")).unwrap()
}

fn commands(page: &str) -> Vec<Block> {
    blocks(page).into_iter().filter(|block| block.language() == "sh").collect()
}

/// The block as it is run.
fn script(blocks: &[&Block]) -> String {
    let mut lines =
        vec!["set -euo pipefail".to_owned(), "trap 'kill -9 $(jobs -p) 2>&-; wait' EXIT".to_owned()];
    let numbered = |block: &&Block| format!("# line {} of the README", block.at);
    lines.extend(blocks.iter().map(numbered));
    for line in blocks.iter().flat_map(|block| &block.lines) {
        let command = line.split(" #").next().unwrap().trim();
        if command == "./scripts/test" {
            continue;
        }
        let foreground = command.ends_with(" -- serve");
        lines.push(line.replace("cargo run --release --", "\"$LARDER\""));
        if foreground {
            let last = lines.pop().unwrap();
            lines.push(last.replace(
                "\"$LARDER\" serve",
                "\"$LARDER\" serve --listen 127.0.0.1:8000 > /tmp/serve.log 2>&1 &",
            ));
            lines.push("until curl -so /dev/null localhost:8000/health; do sleep 0.1; done".to_owned());
        }
    }
    lines.join("\n")
}

/// A free port in whose digits none of the README's stands.
fn another_port() -> String {
    let mut ports = std::iter::repeat_with(|| free_port().to_string());
    ports.find(|port| PORTS.iter().all(|known| !port.contains(known))).unwrap()
}

/// Runs it to its end: what it printed.
fn run(script: &str) -> String {
    let dir = tempfile::tempdir().unwrap();
    let mut script = script.replace("/tmp/", &format!("{}/", dir.path().display()));
    for port in PORTS {
        script = script.replace(port, &another_port());
    }
    let program = Program::start(Path::new("/bin/bash"), &dir.path().join("out.txt"), |bash| {
        bash.arg("-c").arg(&script).current_dir(dir.path()).env_clear();
        bash.env("PATH", std::env::var("PATH").unwrap()).env("LARDER", env!("CARGO_BIN_EXE_larder"));
        bash.env("SAMPLE_DATA", "small").env("SELLER_API_PORT", "0");
    });
    let ended = program.wait(LONG);
    if ended.is_none() {
        program.terminate(); // its servers end with it
        let _ = program.wait(Duration::from_secs(5));
    }
    let printed = program.output();
    assert!(ended.is_some_and(|status| status.success()), "{ended:?}\n{script}\n{printed}");
    printed
}

#[test]
fn the_two_commands_and_the_first_look_do_what_they_say() {
    let page = page();
    let blocks = commands(&page);
    let printed = run(&script(&[&blocks[0], &blocks[1]])).to_lowercase();
    let told: Vec<&str> = printed.lines().filter(|line| line.starts_with("x-cache")).collect();
    assert_eq!(told, ["x-cache: miss", "x-cache: hit"], "{printed}");
    assert!(printed.contains("load;dur=") && printed.contains("hit memory"), "{printed}");
}

#[test]
fn the_outage_by_hand_fails_no_request() {
    let page = page();
    let blocks = commands(&page);
    let printed = run(&script(&[&blocks[2]]));
    let health: Vec<&str> = printed.lines().filter(|line| line.contains("redis_cache")).collect();
    let state = |line: &&str| {
        let (_, rest) = line.split_once("\"redis_cache\":\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    };
    let states: Vec<String> = health.iter().map(state).collect();
    assert_eq!(states[..2], ["connected", "connected"], "{printed}");
    assert_eq!(states[2..4], ["unavailable", "unavailable"], "{printed}");
    assert_eq!(states.len(), 6, "{printed}");
    let looked = printed.to_lowercase();
    let told: Vec<&str> = looked.lines().filter(|line| line.starts_with("x-cache")).collect();
    assert_eq!(
        told[..2],
        ["x-cache: miss", "x-cache: hit"],
        "the second server finds it in Redis: {printed}"
    );
    let answers = printed.lines().filter(|line| line.starts_with("HTTP/1.1 "));
    assert_eq!(answers.clone().count(), 6, "{printed}");
    assert!(answers.clone().all(|line| line.starts_with("HTTP/1.1 200")), "{printed}");
}

#[test]
fn every_block_of_the_readme_is_one_that_something_runs() {
    let page = page();
    let languages: Vec<String> = blocks(&page).into_iter().map(|block| block.info).collect();
    // The Rust block is a whole program, and a test of the documentation of sample-backend.
    assert_eq!(languages, ["sh", "sh", "rust,no_run", "sh"]);
}
