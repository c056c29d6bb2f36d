//! What the command does.

#![expect(clippy::print_stdout, reason = "this is what the command is for")]

mod soak;

use crate::mutation::{Mutation, Noticed};
use crate::network::Topology;
use crate::schedules;
use crate::simulation::{Counts, Options, Outcome, simulate};
use crate::soak::NodeArgs;
use clap::{Args, Parser, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use std::time::{Duration, Instant};

/// Where it is written down what notices each mutation.
const NOTICED: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/src/mutation/noticed.txt");

/// The proof of larder's consistency.
#[derive(Debug, Parser)]
#[command(version, about)]
pub enum Command {
    /// Runs many simulations and checks what each did.
    Simulate(Simulate),
    /// Plays the directed schedules.
    Schedules,
    /// Switches off each rule of the protocol in turn, and shows what notices.
    Mutants {
        /// Simulations for each rule that no directed schedule notices.
        #[arg(long, default_value_t = 300)]
        simulations: u64,
        /// Only rules whose name contains this.
        #[arg(long, default_value = "")]
        only: String,
        /// Writes down which schedule notices each, so that it is played first from then on.
        #[arg(long)]
        record: bool,
    },
    /// Nodes that are processes, on real servers, under faults; checked as simulations are.
    Soak(soak::Soak),
    /// One node of a soak. It is started by the soak.
    #[command(hide = true)]
    SoakNode(NodeArgs),
    /// Runs one simulation and prints everything that happened.
    Replay {
        /// Its number.
        seed: u64,
        /// What the simulation had in common with others.
        #[command(flatten)]
        shape: Shape,
    },
}

/// How servers stand to each other.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Kind {
    /// One server.
    Single,
    /// A primary, a replica, three Sentinels.
    Sentinel,
    /// Three primaries, a replica.
    Cluster,
}

impl Kind {
    fn topology(self) -> Topology {
        match self {
            Self::Single => Topology::Single,
            Self::Sentinel => Topology::Sentinel,
            Self::Cluster => Topology::Cluster(3),
        }
    }
}

/// What all simulations have in common. To replay one, give it the same.
#[derive(Debug, Args)]
pub struct Shape {
    /// Steps of a simulation.
    #[arg(long, default_value_t = Options::default().steps)]
    steps: u64,
    /// Nodes.
    #[arg(long, default_value_t = Options::default().nodes)]
    nodes: usize,
    /// How long a value loaded without Redis is kept, in ms.
    #[arg(long, default_value_t = 2000)]
    outage_memory_ttl: u64,
    /// How servers stand to each other. Without it the seed decides.
    #[arg(long)]
    topology: Option<Kind>,
    /// Nothing goes wrong.
    #[arg(long)]
    calm: bool,
}

impl Shape {
    fn options(&self) -> Options {
        Options {
            steps: self.steps,
            nodes: self.nodes,
            topology: self.topology.map(Kind::topology),
            faults: !self.calm,
            outage_memory_ttl: Duration::from_millis(self.outage_memory_ttl),
            ..Options::default()
        }
    }
}

/// See [`Command::Simulate`].
#[derive(Debug, Args)]
pub struct Simulate {
    /// How many.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first one's number.
    #[arg(long, default_value_t = 0)]
    from: u64,
    #[command(flatten)]
    shape: Shape,
}

impl Command {
    /// Does it. Whether all is well.
    pub fn run(self) -> bool {
        match self {
            Self::Simulate(what) => what.run(),
            Self::Schedules => schedules::all().fold(true, |all, schedule| {
                let holds = schedule.holds(&Options::default());
                println!("{} {}", if holds { "holds " } else { "BROKEN" }, schedule.name);
                all && holds
            }),
            Self::Soak(what) => what.run(),
            Self::SoakNode(args) => soak::node(args),
            Self::Mutants { simulations, only, record } => mutants(simulations, &only, record),
            Self::Replay { seed, shape } => {
                let outcome = simulate(seed, &Options { keep_trace: true, ..shape.options() });
                outcome.lines.iter().for_each(|line| println!("{line}"));
                println!("{}", outcome.counts);
                println!("trace {:016x}", outcome.hash);
                show_broken(&outcome)
            }
        }
    }
}

impl Simulate {
    fn run(&self) -> bool {
        let (options, began) = (self.shape.options(), Instant::now());
        let bar = ProgressBar::new(self.seeds);
        let style = "{bar:40} {pos}/{len} simulations, {elapsed} gone, {eta} to go{msg}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
        let (mut total, mut bad) = (Counts::default(), Vec::new());
        for seed in self.from..self.from + self.seeds {
            let outcome = simulate(seed, &options);
            total += &outcome.counts;
            if !outcome.broken.is_empty() {
                bad.push(outcome);
                bar.set_message(format!(", {} VIOLATED", bad.len()));
            }
            bar.inc(1);
        }
        bar.finish_and_clear();
        println!("{total}");
        let operations: u64 =
            ["reads", "touches", "looks", "invalidations", "expirations", "publications", "replays"]
                .iter()
                .map(|group| total.total(group))
                .sum();
        let (seeds, seconds) = (self.seeds, began.elapsed().as_secs_f64());
        println!(
            "{operations} operations in {seeds} simulations in {seconds:.1} s, {} with violations",
            bad.len()
        );
        for outcome in bad.iter().take(20) {
            show_broken(outcome);
        }
        bad.is_empty()
    }
}

fn show_broken(outcome: &Outcome) -> bool {
    if outcome.broken.is_empty() {
        return true;
    }
    println!("seed {} (replay {}):", outcome.seed, outcome.seed);
    outcome.broken.iter().for_each(|broken| println!("    {broken}"));
    false
}

fn mutants(simulations: u64, only: &str, record: bool) -> bool {
    let (mut survivors, mut noticed_by) = (0, String::new());
    // A mutant may break what the engine takes for granted: that is noticed too, and needs no words.
    std::panic::set_hook(Box::new(|_| {}));
    let chosen = Mutation::all().into_iter().filter(|mutation| mutation.to_string().contains(only));
    for mutation in chosen {
        let began = Instant::now();
        let noticed = mutation.hunt(simulations);
        survivors += u64::from(noticed.is_none());
        if let Some(Noticed::Schedule(name)) = &noticed {
            noticed_by += &format!("{mutation} => {name}\n");
        }
        let by = noticed.map_or_else(|| "SURVIVED".to_owned(), |noticed| noticed.to_string());
        println!("{:<62} {:>6.1} s  {by}", mutation.to_string(), began.elapsed().as_secs_f64());
    }
    for (rule, (file, test)) in Mutation::held().filter(|(rule, _)| rule.contains(only)) {
        println!("{rule:<62} {:>8}  {file}: {test}", "");
    }
    println!("{survivors} survived");
    if record && let Err(error) = std::fs::write(NOTICED, noticed_by) {
        println!("{NOTICED}: {error}");
        return false;
    }
    survivors == 0
}
