//! The program of `docs/guide.md`: one slow endpoint, and what becomes of it in nine steps. Each step is a file; each ends
//! with the number of queries that PostgreSQL has seen.
//!
//! `cargo run -p examples --bin guide` runs them all, `cargo run -p examples --bin guide -- 3` one. It starts a PostgreSQL
//! and a Redis of its own, which must be installed, and stops them.
#![allow(clippy::print_stdout, reason = "it tells what it has seen")]
#![allow(clippy::unwrap_used, reason = "a measurement ends where it cannot go on")]

mod sql;
mod step_0;
mod step_1;
mod step_2;
mod step_3;
mod step_4;
mod step_5;
mod step_6;
mod step_7;
mod step_8;
mod world;

use world::World;

#[tokio::main]
async fn main() {
    let only = std::env::args().nth(1);
    let is_wanted = |step: &str| only.as_deref().is_none_or(|only| only == step);
    let world = World::start();
    macro_rules! steps {
        ($($number:literal $step:ident),+) => { $(
            if is_wanted($number) {
                for line in $step::run(&world).await {
                    println!("step {}: {line}", $number);
                }
            }
        )+ };
    }
    steps!("0" step_0, "1" step_1, "2" step_2, "3" step_3, "4" step_4, "5" step_5, "6" step_6, "7" step_7, "8" step_8);
}
