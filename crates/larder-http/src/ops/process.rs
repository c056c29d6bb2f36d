//! What the operating system knows of this process. On Linux only; elsewhere nothing is known.

/// One look at it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Process {
    /// Time on a processor since the start, in seconds, of all threads together.
    pub(super) cpu: f64,
    /// Bytes in memory.
    pub(super) resident: u64,
    /// Bytes of address space.
    pub(super) virtual_size: u64,
    pub(super) threads: u64,
    /// Open file descriptors, sockets among them.
    pub(super) fds: u64,
    /// How many there may be; `None`: any number.
    pub(super) max_fds: Option<u64>,
    /// When it began, in seconds of Unix time.
    pub(super) began: f64,
}

impl Process {
    /// Looks: some small reads of `/proc`, which wait for no disk, and one that takes time in the number of open files.
    #[cfg(target_os = "linux")]
    pub(super) fn look() -> Option<Self> {
        use rustix::process::{Resource, getrlimit};
        use rustix::time::{ClockId, clock_gettime};

        let stat = Stat::parse(&std::fs::read_to_string("/proc/self/stat").ok()?)?;
        let spent = clock_gettime(ClockId::ProcessCPUTime);
        let spent = std::time::Duration::try_from(spent).ok()?;
        // One of them is this very reading.
        let fds = std::fs::read_dir("/proc/self/fd").ok()?.count().saturating_sub(1);
        Some(Self {
            cpu: spent.as_secs_f64(),
            resident: stat.resident_pages * u64::try_from(rustix::param::page_size()).ok()?,
            virtual_size: stat.virtual_size,
            threads: stat.threads,
            fds: u64::try_from(fds).ok()?,
            max_fds: getrlimit(Resource::Nofile).current,
            began: began(stat.started)?,
        })
    }

    #[cfg(not(target_os = "linux"))]
    pub(super) fn look() -> Option<Self> {
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
        let file = std::fs::File::open("/proc/self/stat").unwrap();
        let ballast = std::hint::black_box(vec![1_u8; 64 << 20]);
        let second = Process::look().unwrap();
        assert!(second.resident >= first.resident + (60 << 20), "{first:?} {second:?}");
        assert!(second.cpu > first.cpu && second.virtual_size > second.resident, "{first:?} {second:?}");
        assert!(
            second.threads >= 2 && first.began == second.began,
            "the test has a thread of its own: {second:?}"
        );
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
        assert!(second.began < now + 2.0 && second.began > now - 3600.0, "{second:?} at {now}");
        drop((file, ballast));
    }
}
