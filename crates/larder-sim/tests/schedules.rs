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

#[test]
fn every_rule_that_is_switched_off_is_noticed() {
    // What a mutant breaks may end in a panic; that is noticed too.
    std::panic::set_hook(Box::new(|_| {}));
    let survivors: Vec<_> = Mutation::all().into_iter().filter(|one| one.hunt(0).is_none()).collect();
    let _ = std::panic::take_hook();
    assert!(survivors.is_empty(), "{survivors:#?}");
}
