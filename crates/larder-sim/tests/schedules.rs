//! The directed schedules, on the engine as it is.

use larder_sim::schedules;
use larder_sim::simulation::Options;

#[test]
fn no_directed_schedule_shows_what_was_invalidated() {
    let options = Options::default();
    let broken: Vec<_> = schedules::all().filter(|one| !one.holds(&options)).map(|one| one.name).collect();
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(schedules::all().count() >= 50);
}
