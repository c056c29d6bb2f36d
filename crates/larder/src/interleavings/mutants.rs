//! What the checker is worth: rules that are switched off, and the scenario that notices.

use super::{flights, memory, run};
use crate::simulation::{Erased, Limit, Mutant, Place, Simulator, Socket, within};
use futures_util::future::BoxFuture;
use shuttle::FailurePersistence;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

/// Switches one rule off and is otherwise as nothing.
struct Without(Mutant);

impl Simulator for Without {
    fn random(&self) -> u64 {
        1
    }

    fn task(&self, task: BoxFuture<'static, Erased>) -> BoxFuture<'static, Erased> {
        task
    }

    fn dial(&self, _host: &str, _port: u16) -> BoxFuture<'static, io::Result<Box<dyn Socket>>> {
        Box::pin(async { Err(io::ErrorKind::Unsupported.into()) })
    }

    fn pause(&self, _place: Place) {}

    fn is(&self, mutant: Mutant) -> bool {
        mutant == self.0
    }

    fn limit(&self, _limit: Limit) -> Option<usize> {
        None
    }
}

/// Schedules that are tried for each.
const SCHEDULES: usize = 5000;

fn is_noticed(mutant: Mutant, scenario: fn()) -> bool {
    let simulator: Arc<dyn Simulator> = Arc::new(Without(mutant));
    std::panic::set_hook(Box::new(|_| {}));
    let ran = within(&simulator, || {
        catch_unwind(AssertUnwindSafe(|| run(scenario, 1, SCHEDULES, &FailurePersistence::None)))
    });
    let _ = std::panic::take_hook();
    ran.is_err()
}

macro_rules! noticed {
    ($($name:ident: $mutant:ident by $scenario:path),+ $(,)?) => {$(
        #[test]
        fn $name() {
            assert!(is_noticed(Mutant::$mutant, $scenario));
        }
    )+};
}

noticed! {
    a_counter_loaded_after_the_map_was_asked_is_noticed: SeenAfterTheMap by memory::pushes_while_hitting,
    a_counter_loaded_after_an_admission_is_noticed: SeenAfterAdmission by memory::admissions_while_invalidating,
    a_stamp_raised_before_the_expiration_is_lowered_is_noticed: StampBeforeExpiration by memory::expirations_while_hitting,
    a_counter_loaded_before_the_lease_was_looked_at_is_noticed: CounterBeforeLease by memory::a_lease_that_lapses_while_hitting,
    a_lease_that_is_not_looked_at_is_noticed: NoLease by memory::a_lease_that_lapses_while_hitting,
    a_map_that_covers_what_it_forgot_is_noticed: PruneUncovered by memory::pruning_while_hitting,
    a_sweep_that_stamps_as_of_after_its_check_is_noticed: SweptAfter by memory::pruning_while_hitting,
    a_reply_that_does_not_change_the_map_is_noticed: ReplyNotApplied by memory::own_invalidations_while_hitting,
    a_follower_that_is_not_woken_on_a_drop_is_noticed: DropUnnoticed by flights::a_flight_that_is_dropped,
    a_fence_of_the_end_of_a_load_is_noticed: FenceOfTheEnd by flights::a_load_while_invalidating,
    a_joined_flight_that_is_not_looked_at_is_noticed: JoinedUnchecked by flights::lookups_while_setting,
    a_counter_loaded_before_the_lease_was_looked_at_to_join_is_noticed: AskedBeforeTheLease by flights::lookups_while_the_lease_lapses,
    a_set_that_is_not_watched_is_noticed: GivenUnwatched by flights::lookups_while_setting,
}
