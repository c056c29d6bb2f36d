//! `soak`: what is asked, a bar while it runs, and a report at the end.

#![expect(clippy::print_stderr, reason = "a node says on standard error why it cannot run")]

use crate::soak::{self, NodeArgs, Topology, Verdict, parse_mutant, run_node};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};
use larder::simulation::Mutant;
use std::time::Duration;

/// What is asked of a soak.
#[derive(Debug, Args)]
pub struct Soak {
    /// How long there are faults, in minutes.
    #[arg(long, default_value_t = 10.0)]
    minutes: f64,
    /// What troubles and calls follow from: which, in what order, how long. Processes run as they run, so what comes of it
    /// is another matter.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How Redis is set up.
    #[arg(long, value_enum, default_value_t)]
    topology: Topology,
    /// How many nodes there are at a time.
    #[arg(long, default_value_t = 4, value_parser = clap::value_parser!(u8).range(1..=8))]
    nodes: u8,
    /// Reads a second of each node. It writes once in 40 reads.
    #[arg(long, default_value_t = 800)]
    rate: u32,
    /// Nothing goes wrong.
    #[arg(long)]
    calm: bool,
    /// Primaries take writes without their replicas (no `min-replicas-to-write`), to see that it is noticed.
    #[arg(long)]
    unguarded: bool,
    /// It ends after so many violations.
    #[arg(long, default_value_t = 20)]
    patience: usize,
    /// Switches a rule of the engine off in all nodes, to see that it is noticed: `NoLease`, `NoBlock`…
    #[arg(long, value_parser = parse_mutant)]
    switch_off: Option<Mutant>,
}

impl Soak {
    pub(super) fn run(&self) -> bool {
        let program = std::env::current_exe().expect("this program has a file");
        let Self { minutes, seed, topology, nodes, rate, calm, unguarded, patience, switch_off } = *self;
        let lasts = Duration::try_from_secs_f64(minutes * 60.0).unwrap_or(Duration::MAX);
        let what = soak::Soak {
            topology,
            lasts,
            seed,
            nodes: nodes.into(),
            rate,
            calm,
            unguarded,
            patience,
            switch_off,
            ..soak::Soak::new(program)
        };
        let bar = ProgressBar::new(lasts.as_secs());
        let style = "{bar:40} {elapsed} gone, {eta} to go, {msg}";
        bar.set_style(ProgressStyle::with_template(style).expect("the template is right"));
        let verdict = soak::soak(&what, |gone, [reads, told, faults, broken]| {
            bar.set_position(gone.as_secs());
            bar.set_message(format!(
                "{reads} reads, {told} invalidations, {faults} faults, {broken} violations"
            ));
        });
        bar.finish_and_clear();
        self.report(&verdict);
        verdict.broken.is_empty()
    }

    fn report(&self, verdict: &Verdict) {
        let Verdict { counts, broken, missed, nodes, rest } = verdict;
        println!("{counts}");
        missed.iter().for_each(|missed| println!("DID NOT TAKE PLACE {missed}"));
        let never = counts.names("faults").filter(|(_, count)| *count == 0).map(|(name, _)| name);
        let never: Vec<&str> = never.collect();
        if !never.is_empty() {
            println!("NEVER {}", never.join(", "));
        }
        broken.iter().for_each(|broken| println!("VIOLATION {broken}"));
        let operations = ["reads", "invalidations", "expirations"].map(|group| counts.total(group));
        let operations: u64 = operations.iter().sum();
        let rest =
            rest.map_or_else(|| "never at rest".to_owned(), |rest| format!("at rest after {rest:.1?}"));
        println!(
            "{:?}, seed {}: {operations} operations in {} min on {} nodes at a time ({nodes} in all), {} faults, {} that did not take place, {rest}, {} violations",
            self.topology,
            self.seed,
            self.minutes,
            self.nodes,
            counts.total("faults"),
            counts.total("faults that did not take place"),
            broken.len()
        );
    }
}

/// Runs a node. Whether all was well.
pub(super) fn node(args: NodeArgs) -> bool {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime.expect("a runtime can be made").block_on(run_node(args)) {
        Ok(()) => true,
        Err(error) => {
            eprintln!("the coordinator is not there: {error}");
            false
        }
    }
}
