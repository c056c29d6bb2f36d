//! This process, by what Linux says of it.

use std::time::{Duration, Instant};

use super::shape::{Process, rounded};

/// Ticks a second in `/proc/self/stat` (USER_HZ), on every architecture that this is built for.
const TICKS: u32 = 100;

/// How much processor time had been used when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Used {
    at: Instant,
    time: Duration,
}

/// The figures, with the use of the processor since `before`; `None` where there is no `/proc`.
pub(super) fn read(before: Option<Used>) -> (Option<Process>, Option<Used>) {
    let stat = std::fs::read_to_string("/proc/self/stat").ok();
    let status = std::fs::read_to_string("/proc/self/status").ok();
    let (Some(stat), Some(status)) = (stat, status) else { return (None, None) };
    let used = processor_time(&stat).map(|time| Used { at: Instant::now(), time });
    let percent = |(before, now): (Used, Used)| {
        let passed = now.at.duration_since(before.at).as_secs_f64();
        rounded(now.time.saturating_sub(before.time).as_secs_f64() * 100.0 / passed.max(1e-3), 1)
    };
    let field = |name: &str| number(&status, name);
    let process = Process {
        cpu_percent: before.zip(used).map(percent),
        resident_bytes: field("VmRSS:").map(|kib| kib * 1024),
        threads: field("Threads:"),
    };
    (Some(process), used)
}

/// User and system time. The name of the program, in brackets, may hold anything.
fn processor_time(stat: &str) -> Option<Duration> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_ascii_whitespace().skip(11);
    let ticks = fields.next()?.parse::<u32>().ok()?.checked_add(fields.next()?.parse().ok()?)?;
    Some(Duration::from_secs(1) * ticks / TICKS)
}

fn number(status: &str, name: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_ascii_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_are_found_behind_any_name() {
        let stat = "7 (a) b) c) S 1 7 7 0 -1 4194304 100 0 0 0 250 150 0 0 20 0 3 0 1";
        assert_eq!(processor_time(stat), Some(Duration::from_secs(4)));
        assert_eq!(processor_time("7 (a) S 1"), None);
        assert_eq!(number("Name:\tx\nVmRSS:\t  12 kB\nThreads:\t3\n", "VmRSS:"), Some(12));
    }

    #[test]
    fn on_linux_this_process_is_seen() {
        let (process, used) = read(None);
        let process = process.unwrap();
        assert!(process.resident_bytes > Some(1 << 20) && process.threads >= Some(1));
        assert!(process.cpu_percent.is_none() && used.is_some());
        assert!(read(used).0.unwrap().cpu_percent.is_some());
    }
}
