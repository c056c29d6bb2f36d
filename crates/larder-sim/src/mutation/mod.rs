//! The mutation gate: each rule is switched off in turn, and something must notice.

mod held;
mod scripts;

use crate::redis::Edit;
use crate::schedules;
use crate::simulation::{Options, simulate};
use larder::simulation::Mutant;
use scripts::{Change, SCRIPTS};
use std::fmt;
use std::sync::Arc;

/// Which schedule noticed each rule when `mutants --record` was run last. Saves time, and decides nothing: where that schedule
/// notices nothing, all others are played.
const LAST_TIME: &str = include_str!("noticed.txt");

/// A rule that is switched off.
#[derive(Clone, Copy, Debug)]
pub enum Mutation {
    /// One of the engine's.
    Engine(Mutant),
    /// One of a script's.
    Script(&'static Change),
}

impl fmt::Display for Mutation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Engine(mutant) => write!(f, "{mutant:?}"),
            Self::Script(change) => write!(f, "{}: {}", change.script, change.what),
        }
    }
}

/// What noticed a mutation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Noticed {
    /// A directed schedule.
    Schedule(&'static str),
    /// The simulation of this number, for this reason.
    Simulation(u64, String),
}

impl fmt::Display for Noticed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schedule(name) => write!(f, "{name}"),
            Self::Simulation(seed, why) => {
                write!(f, "simulation {seed}: {}", why.chars().take(70).collect::<String>())
            }
        }
    }
}

impl Mutation {
    /// All of them.
    pub fn all() -> Vec<Self> {
        let engine = Mutant::ALL.iter().map(|mutant| Self::Engine(*mutant));
        engine.chain(SCRIPTS.iter().map(Self::Script)).collect()
    }

    /// Rules that are held by a test each, which is not run here: what goes wrong without them, the file of the test and
    /// its name.
    pub fn held() -> impl Iterator<Item = (String, (&'static str, &'static str))> {
        let scripts = held::SCRIPTS.iter().map(|held| (Self::Script(&held.change).to_string(), held.by));
        scripts.chain(held::ENGINE.iter().map(|held| (held.what.to_owned(), held.by)))
    }

    /// A simulation with this rule switched off.
    pub fn options(&self) -> Options {
        let options = Options::default();
        match *self {
            Self::Engine(mutant) => Options { mutant: Some(mutant), ..options },
            Self::Script(change) => {
                let edit: Edit = Arc::new(|script: &str| change.apply(script));
                Options { edit: Some(edit), ..options }
            }
        }
    }

    /// What notices it: the directed schedules first, of these the one that did last time, then so many simulations.
    pub fn hunt(&self, simulations: u64) -> Option<Noticed> {
        let (options, name) = (self.options(), self.to_string());
        let last = LAST_TIME.lines().find_map(|line| line.strip_prefix(&name)?.strip_prefix(" => "));
        let first = schedules::all().filter(|schedule| Some(schedule.name) == last);
        let rest = schedules::all().filter(|schedule| Some(schedule.name) != last);
        if let Some(schedule) = first.chain(rest).find(|schedule| !schedule.holds(&options)) {
            return Some(Noticed::Schedule(schedule.name));
        }
        (0..simulations).find_map(|seed| {
            let mut broken = simulate(seed, &options).broken;
            (!broken.is_empty()).then(|| Noticed::Simulation(seed, broken.swap_remove(0)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn every_change_of_a_script_changes_it_and_no_other() {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../larder/src/store/redis/scripts");
        for change in SCRIPTS.iter().chain(held::SCRIPTS.iter().map(|held| &held.change)) {
            for file in fs::read_dir(folder).unwrap() {
                let path = file.unwrap().path();
                let (text, name) = (fs::read_to_string(&path).unwrap(), path.file_stem().unwrap());
                let changed = change.apply(&text) != text;
                assert_eq!(changed, name == change.script, "{} in {name:?}", change.what);
            }
        }
    }

    #[test]
    fn every_test_that_is_said_to_hold_a_rule_is_there() {
        let library = concat!(env!("CARGO_MANIFEST_DIR"), "/../larder/");
        for (_, (file, test)) in Mutation::held() {
            let text = fs::read_to_string(format!("{library}{file}")).unwrap();
            assert!(text.contains(&format!("fn {test}()")), "{test} in {file}");
        }
    }
}
