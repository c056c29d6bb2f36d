//! The directed schedules, on the engine as it is.

use larder_sim::mutation::Mutation;
use larder_sim::schedules;
use larder_sim::simulation::Options;

#[test]
fn no_directed_schedule_shows_what_was_invalidated() {
    let options = Options::default();
    let broken: Vec<_> = schedules::all().filter(|one| !one.holds(&options)).map(|one| one.name).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(schedules::all().count() >= 50);
}

/// What notices each of every sixth rule, switched off.
fn survivors(part: usize) -> Vec<Mutation> {
    // What a mutant breaks may end in a panic; that is noticed too.
    std::panic::set_hook(Box::new(|_| {}));
    let rules = Mutation::all().into_iter().skip(part).step_by(6);
    let survivors = rules.filter(|one| one.hunt(0).is_none()).collect();
    let _ = std::panic::take_hook();
    survivors
}

macro_rules! gate {
    ($($name:ident $part:expr),+) => {$(
        #[test]
        fn $name() {
            let survivors = survivors($part);
            assert!(survivors.is_empty(), "{survivors:#?}");
        }
    )+};
}

gate! {
    every_rule_that_is_switched_off_is_noticed_part_1 0,
    every_rule_that_is_switched_off_is_noticed_part_2 1,
    every_rule_that_is_switched_off_is_noticed_part_3 2,
    every_rule_that_is_switched_off_is_noticed_part_4 3,
    every_rule_that_is_switched_off_is_noticed_part_5 4,
    every_rule_that_is_switched_off_is_noticed_part_6 5
}
