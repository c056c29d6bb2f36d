//! What is told of Redis itself, in its own words.

use super::exposition::Exposition;
use crate::ops::redis::Said;

pub(super) fn describe(out: &mut Exposition, said: &Said) {
    if let Some(took) = said.round_trip {
        let help = "How long a ping of Redis took just now, of a Cluster that of the slowest primary";
        out.gauge("larder_redis_round_trip_seconds", help).float(&[], took.as_secs_f64());
    }
    for (name, help, field) in [
        ("larder_redis_memory_used_bytes", "Memory that Redis uses, whoever fills it", "used_memory"),
        ("larder_redis_memory_max_bytes", "What Redis may use at most; 0 is no limit", "maxmemory"),
        ("larder_redis_clients", "Connections to Redis, of whomever", "connected_clients"),
    ] {
        if let Some(number) = said.number(field) {
            out.gauge(name, help).number(&[], number);
        }
    }
    if let Some(number) = said.number("evicted_keys") {
        let help = "Keys that Redis has dropped for want of memory, whosever they were, since it started";
        out.counter("larder_redis_evicted_keys_total", help).number(&[], number);
    }
}
