//! What the operating system knows of this process. On Linux only; elsewhere nothing is known.

use std::time::{Duration, Instant};

/// One look at it: a small read of `/proc`, which waits for no disk.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// When it was looked at.
    pub(super) at: Instant,
    /// Time on a processor since the start, of all threads together.
    pub(super) cpu: Duration,
    /// Bytes in memory.
    pub(super) resident: u64,
    /// Bytes of address space.
    pub(super) virtual_size: u64,
    pub(super) threads: u64,
    /// When it began, in seconds of Unix time.
    pub(super) began: f64,
}

/// Its file descriptors, sockets among them. To count them takes time in their number.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Files {
    pub(super) open: u64,
    /// How many there may be; `None`: any number.
    pub(super) max: Option<u64>,
}

impl Process {
    #[cfg(target_os = "linux")]
    pub(super) fn look() -> Option<Self> {
        use rustix::time::{ClockId, clock_gettime};

        let stat = Stat::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        Some(Self {
            at: Instant::now(),
            cpu: Duration::try_from(spent).ok()?,
            resident: stat.resident_pages * u64::try_from(rustix::param::page_size()).ok()?,
            virtual_size: stat.virtual_size,
            threads: stat.threads,
            began: began(stat.started)?,
        })
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn look() -> Option<Self> {
        None
    }

    /// How much of one processor it has used since `before`, in percent.
    pub(super) fn percent_since(&self, before: &Self) -> f64 {
        let passed = self.at.duration_since(before.at).as_secs_f64();
        self.cpu.saturating_sub(before.cpu).as_secs_f64() * 100.0 / passed.max(1e-3)
    }
}

impl Files {
    #[cfg(target_os = "linux")]
    pub(super) fn count() -> Option<Self> {
        use rustix::process::{Resource, getrlimit};

        // One of them is this very reading.
        let open = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        Some(Self { open: u64::try_from(open).ok()?, max: getrlimit(Resource::Nofile).current })
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn count() -> Option<Self> {
        None
    }
}

/// What is of use in `/proc/self/stat`, see proc_pid_stat(5).
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "there is no such file"))]
struct Stat {
    threads: u64,
    /// Clock ticks from the start of the system.
    started: u64,
    virtual_size: u64,
    resident_pages: u64,
}

impl Stat {
    #[cfg_attr(not(target_os = "linux"), allow(dead_code, reason = "there is no such file"))]
    fn parse(text: &str) -> Option<Self> {
        // The second field is the program's name in parentheses, which may hold anything.
        let rest = text.rsplit_once(')')?.1;
        let field = |number: usize| rest.split_ascii_whitespace().nth(number - 3)?.parse().ok();
        Some(Self {
            threads: field(20)?,
            started: field(22)?,
            virtual_size: field(23)?,
            resident_pages: field(24)?,
        })
    }
}

/// Unix time of a number of ticks after the start of the system; read once, so that it is the same at every scrape.
#[cfg(target_os = "linux")]
fn began(ticks: u64) -> Option<f64> {
    static BEGAN: std::sync::OnceLock<Option<f64>> = std::sync::OnceLock::new();
    *BEGAN.get_or_init(|| {
        let system = std::fs::read_to_string("/proc/stat").ok()?;
        let booted =
            system.lines().find_map(|line| line.strip_prefix("btime "))?.trim().parse::<u32>().ok()?;
        let a_second = rustix::param::clock_ticks_per_second();
        #[expect(clippy::cast_precision_loss, reason = "exact for 2^53 ticks, millions of years")]
        let after = ticks as f64 / a_second as f64;
        Some(f64::from(booted) + after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_s_name_may_hold_anything() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 9 0 4711 123456 78 18446744073709551615";
        let stat = Stat { threads: 9, started: 4711, virtual_size: 123_456, resident_pages: 78 };
        assert_eq!(Stat::parse(&format!("42 (a) R 1 (b c) {fields}")), Some(stat));
        assert_eq!(Stat::parse("42 (larder"), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_knows_itself() {
        let first = Process::look().unwrap();
        let ballast = std::hint::black_box(vec![1_u8; 64 << 20]);
        let second = Process::look().unwrap();
        assert!(second.resident >= first.resident + (60 << 20), "{first:?} {second:?}");
        assert!(second.cpu > first.cpu && second.virtual_size > second.resident, "{first:?} {second:?}");
        assert!(
            second.threads >= 2 && first.began == second.began,
            "the test has a thread of its own: {second:?}"
        );
        assert!(second.percent_since(&first) > 0.0, "{first:?} {second:?}");
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(second.began < now + 2.0 && second.began > now - 3600.0, "{second:?} at {now}");
        drop(ballast);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn it_counts_its_files() {
        let before = Files::count().unwrap();
        // Tests beside this one may open and close some.
        let many = [(); 500].map(|()| std::fs::File::open("/proc/self/stat").unwrap());
        let after = Files::count().unwrap();
        assert!(after.open > before.open + 250, "{before:?} {after:?}");
        assert!(after.max.is_none_or(|max| max > after.open), "{after:?}");
        drop(many);
    }

    #[test]
    fn percents_are_of_one_processor() {
        let before = Process {
            at: Instant::now(),
            cpu: Duration::from_secs(7),
            resident: 0,
            virtual_size: 0,
            threads: 1,
            began: 0.0,
        };
        let after = |seconds, cpu| Process { at: before.at + Duration::from_secs(seconds), cpu, ..before };
        assert_eq!(after(2, Duration::from_secs(8)).percent_since(&before), 50.0);
        assert_eq!(after(1, Duration::from_secs(10)).percent_since(&before), 300.0);
        assert_eq!(after(0, before.cpu).percent_since(&before), 0.0);
    }
}
