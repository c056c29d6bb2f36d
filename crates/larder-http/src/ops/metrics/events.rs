//! What is told of the event logs.

use super::exposition::Exposition;
use larder::EventCounts;

pub(super) fn describe(out: &mut Exposition, events: &EventCounts) {
    for (name, help, number) in [
        ("larder_events_appended_total", "Events of this node that have entered a log", events.appended),
        (
            "larder_events_overflows_total",
            "Times that too many events of a tenant waited, so that they were dropped and its clients start anew",
            events.overflows,
        ),
        (
            "larder_events_resets_total",
            "Times that those who follow a log here had to start anew, because events were lost or may have been",
            events.resets,
        ),
        (
            "larder_events_reconnects_total",
            "Times that the connection to the logs in Redis has ended",
            events.reconnects,
        ),
        (
            "larder_events_missed_total",
            "Times that messages of other nodes were missed, so that logs were read again",
            events.missed,
        ),
    ] {
        out.counter(name, help).number(&[], number);
    }
    for (name, help, number) in [
        (
            "larder_events_waiting",
            "Events of this node that wait to enter a log: for other nodes, for those before them, or for Redis",
            events.waiting,
        ),
        ("larder_events_logs", "Tenants whose log this node holds or follows", events.logs),
        ("larder_events_watched", "Tenants whose log somebody watches here", events.watched),
    ] {
        out.gauge(name, help).number(&[], number);
    }
}
