//! Rules that no schedule notices, and a test does: it is said which. Each was switched off by hand, and its test failed.

use super::scripts::Change;

/// A rule of a script's, and the test of `crates/larder` that holds it against a real server.
#[derive(Debug)]
pub(super) struct Held {
    /// How it is switched off.
    pub(super) change: Change,
    /// The file of the test, and its name.
    pub(super) by: (&'static str, &'static str),
}

impl Held {
    const fn new(
        script: &'static str,
        what: &'static str,
        [from, to]: [&'static str; 2],
        by: (&'static str, &'static str),
    ) -> Self {
        Self { change: Change::new(script, what, from, to), by }
    }
}

const COOLDOWNS: (&str, &str) = (
    "tests/redis/filling.rs",
    "a_cooldown_ends_with_an_invalidation_of_what_failed_with_its_epoch_and_below_the_floor",
);
const SECOND_SILENCE: (&str, &str) =
    ("tests/redis/barrier.rs", "a_second_silence_before_the_first_is_settled_has_everybody_asked_again");
const ONE_OUTAGE: (&str, &str) =
    ("tests/redis/barrier.rs", "what_was_said_of_one_outage_does_not_count_for_the_next");
const STRUCK_OFF: (&str, &str) =
    ("tests/redis/barrier.rs", "whoever_does_not_come_back_is_struck_off_together_with_the_epoch");
const CLOCK_BACK: (&str, &str) =
    ("tests/redis/barrier.rs", "an_epoch_grows_old_also_where_its_stamps_are_ahead_of_the_clock");
const RISING: (&str, &str) =
    ("tests/redis/invalidating.rs", "stamps_rise_also_when_the_servers_clock_went_back");
const FULL: (&str, &str) = ("tests/redis/filling.rs", "a_full_server_takes_no_load_but_every_invalidation");

/// Takes and gives what may be run where memory is full.
const REFUSED: [&str; 2] = ["#!lua flags=allow-oom\n", "#!lua\n"];
const TAKEN: [&str; 2] = ["#!lua\n", "#!lua flags=allow-oom\n"];

/// The scripts' rules.
pub(super) const SCRIPTS: &[Held] = &[
    // Whoever was there notices a head that goes back as the loss of what was told, and a newcomer finds a state that fits together.
    Held::new("inv", "stamps follow the clock back", ["math.max(prev + 1, now)", "now"], RISING),
    Held::new(
        "lease",
        "a cool-down outlives its invalidation",
        ["if s[j] and tonumber(s[j]) > failed_at then cooling = false end", ""],
        COOLDOWNS,
    ),
    Held::new(
        "lease",
        "a cool-down outlives its epoch",
        ["failed and held[4] == current and failed_at", "failed and failed_at"],
        COOLDOWNS,
    ),
    Held::new(
        "lease",
        "a cool-down outlives the floor",
        ["current and failed_at >= floor", "current"],
        COOLDOWNS,
    ),
    Held::new(
        "lease",
        "a cool-down does not matter",
        ["if cooling then", "if false then"],
        ("tests/redis/filling.rs", "after_a_failed_load_nobody_loads_for_the_cooldown"),
    ),
    Held::new(
        "lease",
        "a lease of another epoch holds",
        ["holder and held[4] == current and redis", "holder and redis"],
        ("tests/redis/recovery.rs", "a_lease_from_a_restored_backup_keeps_nobody_waiting"),
    ),
    Held::new(
        "lease",
        "a refresh is sent back to what it is to replace",
        ["now + below < soft", "now < soft"],
        ("tests/redis/filling.rs", "a_lease_is_refused_while_a_fresh_value_is_there_unless_forced"),
    ),
    Held::new(
        "release",
        "a load that failed is tried again at once",
        ["if cooldown > 0 and", "if false and"],
        ("tests/redis/filling.rs", "after_a_failed_load_nobody_loads_for_the_cooldown"),
    ),
    Held::new(
        "stamps",
        "of many scopes the last are not read",
        ["for first = PART + 1, #ARGV, PART do", "for first = PART + 1, 0, PART do"],
        ("tests/redis/filling.rs", "a_read_that_does_not_know_the_tags_of_entries_gets_their_stamps_as_well"),
    ),
    Held::new(
        "inv",
        "nothing is forgotten for its age",
        ["text(now - keep_us), 'BYSCORE'", "1, 'BYSCORE'"],
        ("tests/redis/invalidating.rs", "stamps_that_no_entry_can_need_are_forgotten_and_the_floor_rises"),
    ),
    Held::new(
        "inv",
        "there is room for any number of stamps",
        ["if over > 0 then", "if false then"],
        (
            "tests/redis/invalidating.rs",
            "the_state_has_a_cap_beyond_which_the_oldest_stamps_become_the_floor",
        ),
    ),
    Held::new(
        "hb",
        "a second silence asks nobody again",
        ["text(tonumber(outage) + 1) or last", "outage or last"],
        SECOND_SILENCE,
    ),
    Held::new(
        "hb",
        "the dead are named",
        ["'-' .. text(now), 'BYSCORE'", "-2, 'BYSCORE'"],
        ("tests/redis/barrier.rs", "the_roll_call_names_no_node_that_died_long_ago"),
    ),
    Held::new(
        "recover",
        "nobody can insist on a new epoch",
        ["and ARGV[3] ~= '1' then", "then"],
        ("tests/redis/recovery.rs", "a_forced_epoch_is_told_to_all_nodes_and_keeps_their_registrations"),
    ),
    Held::new(
        "recover",
        "the new head follows the clock back",
        ["math.max(now, tonumber(s[2] or 0) + 1)", "now"],
        CLOCK_BACK,
    ),
    Held::new(
        "recover",
        "the first replica begins an epoch",
        ["if no_past then", "if false then"],
        ("tests/redis/recovery.rs", "the_first_replica_of_a_server_changes_its_name_and_not_its_history"),
    ),
    Held::new(
        "recover",
        "those who are long dead stay",
        ["== '!n' then redis.call('ZREM', state, member) end", "== '!n' then end"],
        ("tests/redis/recovery.rs", "nodes_that_were_gone_long_before_anybody_was_last_heard_are_forgotten"),
    ),
    Held::new(
        "barrier",
        "what was said of another outage counts",
        ["if not drained or tonumber(drained) ~= outage then", "if not drained then"],
        ONE_OUTAGE,
    ),
    Held::new(
        "barrier",
        "another outage than the flagged one is settled",
        ["if not s[5] or text(-tonumber(s[5])) ~= ARGV[3] then", "if not s[5] then"],
        ONE_OUTAGE,
    ),
    Held::new(
        "barrier",
        "who is missing stays registered",
        ["nodes['!n' .. node] = nil", "local _ = node"],
        STRUCK_OFF,
    ),
    Held::new(
        "barrier",
        "registrations are lost",
        ["for member, expires in pairs(nodes) do", "for member, expires in pairs({}) do"],
        STRUCK_OFF,
    ),
    Held::new(
        "barrier",
        "the new head follows the clock back",
        ["math.max(now, tonumber(s[2]) + 1)", "now"],
        CLOCK_BACK,
    ),
    Held::new("lease", "a full server takes in loads", TAKEN, FULL),
    Held::new("fill", "a full server takes in values", TAKEN, FULL),
    Held::new("release", "no lease is given back where memory is full", REFUSED, FULL),
    Held::new("inv", "nothing is invalidated where memory is full", REFUSED, FULL),
    Held::new("hb", "no heartbeat where memory is full", REFUSED, FULL),
    Held::new("recover", "no epoch begins where memory is full", REFUSED, FULL),
    Held::new(
        "barrier",
        "no outage is settled where memory is full",
        REFUSED,
        ("tests/redis/barrier.rs", "an_outage_is_settled_also_where_memory_is_full"),
    ),
];

/// A rule of the engine's without a switch, and the test of `crates/larder` that holds it.
#[derive(Debug)]
pub(super) struct Unswitched {
    /// What goes wrong without it.
    pub(super) what: &'static str,
    /// The file of the test, and its name.
    pub(super) by: (&'static str, &'static str),
}

/// The engine's rules.
///
/// Not here: that flights are detached once more at the reply to an own invalidation, and blocked and detached at its deferral. What a
/// flight brings that began between is looked at by everybody who joins it (`JoinedUnchecked`), and by admission.
pub(super) const ENGINE: &[Unswitched] = &[
    Unswitched {
        what: "blocks of own invalidations are not counted",
        by: ("src/coherence/schedules.rs", "blocks_are_counted_and_hold_while_the_lease_is_valid"),
    },
    Unswitched {
        what: "channels do not tell databases apart",
        by: ("src/store/redis/keys.rs", "channels_carry_the_database_number"),
    },
    Unswitched {
        what: "data connections may reach another server than the one that is followed",
        by: ("tests/redis/connecting.rs", "connections_that_reach_different_servers_make_no_link"),
    },
    Unswitched {
        what: "at the barrier, who may still defer something is not waited for",
        by: (
            "src/supervise/tests/delivering.rs",
            "an_invalidation_from_before_the_link_is_waited_for_before_an_outage_is_settled",
        ),
    },
    Unswitched {
        what: "who shuts down with something undelivered leaves the register",
        by: (
            "src/supervise/tests.rs",
            "a_node_that_shuts_down_with_something_undelivered_stays_on_the_register",
        ),
    },
];
