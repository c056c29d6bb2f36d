//! The runtime that runs the requests, and the process that it is in.

use super::exposition::Exposition;
use crate::ops::process::{Files, Process};
use tokio::runtime::Handle;

/// Workers whose busy time is told each by itself. A runtime with more tells of these.
const WORKERS: usize = 256;

/// What the runtime of whoever scrapes tells of itself: only what Tokio promises to keep.
pub(super) fn describe(out: &mut Exposition) {
    let metrics = Handle::current().metrics();
    for (name, help, number) in [
        (
            "larder_runtime_workers",
            "Worker threads of the runtime that answers requests",
            metrics.num_workers(),
        ),
        ("larder_runtime_tasks", "Tasks that have begun and not ended", metrics.num_alive_tasks()),
        (
            "larder_runtime_queue_depth",
            "Tasks that wait in the queue that all workers share: much and growing where the workers do not keep up",
            metrics.global_queue_depth(),
        ),
    ] {
        out.gauge(name, help).number(&[], u64::try_from(number).unwrap_or(u64::MAX));
    }
    #[cfg(target_has_atomic = "64")]
    {
        let mut busy = out.counter(
            "larder_runtime_worker_busy_seconds_total",
            "Time that a worker ran tasks and did not wait; with a rate near 1 it has no more to give",
        );
        for worker in 0..metrics.num_workers().min(WORKERS) {
            let time = metrics.worker_total_busy_duration(worker).as_secs_f64();
            busy.float(&[("worker", &worker.to_string())], time);
        }
    }
}

/// Under the names that Prometheus's own client libraries use.
pub(super) fn describe_process(out: &mut Exposition, process: &Process, files: &Files) {
    out.counter("process_cpu_seconds_total", "Time on a processor, of all threads together")
        .float(&[], process.cpu.as_secs_f64());
    for (name, help, number) in [
        ("process_resident_memory_bytes", "Memory that the process has, entries and all", process.resident),
        ("process_virtual_memory_bytes", "Address space of the process", process.virtual_size),
        ("process_open_fds", "Open file descriptors, sockets among them", files.open),
        (
            "process_threads",
            "Threads: workers, those that block (database files, password hashes), coherence and logs",
            process.threads,
        ),
    ] {
        out.gauge(name, help).number(&[], number);
    }
    let mut max = out.gauge("process_max_fds", "How many file descriptors may be open; +Inf without a limit");
    match files.max {
        Some(number) => max.number(&[], number),
        None => max.float(&[], f64::INFINITY),
    }
    out.gauge("process_start_time_seconds", "Unix time at which the process began").float(&[], process.began);
}
