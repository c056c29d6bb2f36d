//! The guide's numbers are those of a run, its commands are run, and its code is the program's.

use crate::markdown::{blocks, root};
use crate::programs::run;
use std::collections::BTreeMap;

const GUIDE: &str = env!("CARGO_BIN_EXE_guide");
const COMMAND: &str = "cargo run -q -p examples --bin guide";

fn page() -> String {
    std::fs::read_to_string(root().join("docs/guide.md")).unwrap()
}

/// What `text` blocks of the page tell, by step: `step 3: …`.
fn told(page: &str) -> Vec<String> {
    let texts = blocks(page).into_iter().filter(|block| block.language() == "text");
    texts.flat_map(|block| block.lines).filter(|line| line.starts_with("step ")).collect()
}

#[test]
fn the_numbers_of_the_guide_are_those_of_a_run() {
    let printed = run(GUIDE, &[], &[]);
    assert_eq!(told(&page()), printed.lines().collect::<Vec<_>>());
}

#[test]
fn the_table_of_the_guide_says_what_its_steps_say() {
    let page = page();
    let mut steps: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    let told = told(&page);
    for line in &told {
        let (step, _) = line.split_once(": ").unwrap();
        let numbers =
            line.split(' ').zip(line.split(' ').skip(1)).filter(|(_, unit)| unit.starts_with("quer"));
        steps.entry(step).or_default().extend(numbers.map(|(number, _)| number.to_owned()));
    }
    for (step, numbers) in steps {
        let row = format!("| {} |", step.trim_start_matches("step "));
        let row =
            page.lines().find(|line| line.starts_with(&row)).unwrap_or_else(|| panic!("{step} has no row"));
        let last = row.trim_end_matches('|').rsplit('|').next().unwrap();
        let found: Vec<&str> =
            last.split([' ', ';']).filter(|word| word.starts_with(|c: char| c.is_ascii_digit())).collect();
        assert_eq!(found, numbers, "{row}");
    }
}

/// The script for a browser is run in one, by the tests of `larder-server` (`browser::guide`).
#[test]
fn every_block_of_the_guide_is_one_that_something_runs() {
    let mut rest: Vec<String> = blocks(&page()).into_iter().map(|block| block.info).collect();
    rest.retain(|info| !["rust", "text", "sh"].contains(&info.as_str()));
    assert_eq!(rest, ["html"]);
}

/// The rule: a line of an `sh` block of the guide is the program's command, with or without the number of a step; the
/// program is the one that was built with this test.
#[test]
fn every_command_of_the_guide_runs() {
    let page = page();
    let commands: Vec<_> = blocks(&page).into_iter().filter(|block| block.language() == "sh").collect();
    assert!(!commands.is_empty());
    for line in commands.iter().flat_map(|block| &block.lines) {
        let command = line.split('#').next().unwrap().trim();
        let rest =
            command.strip_prefix(COMMAND).unwrap_or_else(|| panic!("{command} is not run by any test"));
        let step = rest.trim().strip_prefix("-- ").unwrap_or_default();
        // All steps are run by `the_numbers_of_the_guide_are_those_of_a_run`.
        if !step.is_empty() {
            let printed = run(GUIDE, &[step], &[]);
            assert!(printed.starts_with(&format!("step {step}: ")), "{printed}");
        }
    }
}
