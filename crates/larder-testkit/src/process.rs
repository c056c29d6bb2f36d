//! A server as a child process that cannot outlive the test.

use crate::dirs;
use crate::poll::Poll;
use nix::sys::signal::{self, Signal};
use nix::unistd::Pid;
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{OnceLock, mpsc};
use std::time::Duration;

/// A child that is ended, by its id, when this is dropped.
#[derive(Debug)]
pub(crate) struct Process {
    child: Child,
    stop: Signal,
}

impl Process {
    /// Starts `program` with nothing on standard input and both outputs at the end of the file `log`. `stop` ends it on drop and, where
    /// `setpriv` exists, when this process dies.
    pub(crate) fn start(
        program: &Path,
        log: &Path,
        stop: Signal,
        fill: impl FnOnce(&mut Command),
    ) -> io::Result<Self> {
        let mut command = match dirs::in_path("setpriv") {
            Some(setpriv) => {
                let mut command = Command::new(setpriv);
                command
                    .arg("--pdeathsig")
                    .arg(stop.as_str().trim_start_matches("SIG"))
                    .arg("--")
                    .arg(program);
                command
            }
            None => Command::new(program),
        };
        let out = File::options().create(true).append(true).open(log)?;
        command.stdin(Stdio::null()).stderr(out.try_clone()?).stdout(out);
        fill(&mut command);
        Ok(Self { child: spawn(command)?, stop })
    }

    /// Sends a signal, if the process is still there.
    pub(crate) fn signal(&mut self, signal: Signal) {
        // Not yet reaped, so the id is ours.
        if self.exited().is_none() {
            let id = self.id();
            signal::kill(Pid::from_raw(id), signal)
                .unwrap_or_else(|e| panic!("cannot signal process {id}: {e}"));
        }
    }

    /// Its process id.
    pub(crate) fn id(&self) -> i32 {
        i32::try_from(self.child.id()).expect("process ids fit in pid_t")
    }

    /// The processes that it has started and that are still there (Linux; none elsewhere).
    pub(crate) fn children(&self) -> Vec<ChildProcess> {
        let id = self.id();
        let Ok(processes) = std::fs::read_dir("/proc") else { return Vec::new() };
        let parent_of = |pid: i32| {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // pid (name) state parent …, where the name may hold anything.
            stat.rsplit_once(')')?.1.split_whitespace().nth(1)?.parse::<i32>().ok()
        };
        let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
        pids.filter(|pid| parent_of(*pid) == Some(id)).map(ChildProcess).collect()
    }

    /// How it ended, if it did.
    pub(crate) fn exited(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().unwrap_or_else(|e| panic!("cannot wait for process {}: {e}", self.child.id()))
    }

    /// SIGKILL, and waits until it is gone. Works on a stopped process too.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// [`kill`](Self::kill) that leaves the result of [`exited`](Self::exited) to be read.
    pub(crate) fn end(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A process that one of ours has started.
pub(crate) struct ChildProcess(i32);

impl ChildProcess {
    /// Sends a signal; it may have ended in the meantime.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = signal::kill(Pid::from_raw(self.0), signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.stop != Signal::SIGKILL && self.exited().is_none() {
            self.signal(self.stop);
            // It may be paused, and it waits for its own children, which may be too.
            self.signal(Signal::SIGCONT);
            self.children().iter().for_each(|child| child.signal(Signal::SIGCONT));
            let poll = Poll::new(Duration::from_secs(5));
            while self.exited().is_none() && poll.again_blocking() {}
        }
        self.end();
    }
}

/// Spawns from one thread that lives as long as the process: the parent-death signal comes when the *thread* that forked ends, and the thread
/// of a test ends before its shared servers do.
fn spawn(command: Command) -> io::Result<Child> {
    type Job = (Command, mpsc::Sender<io::Result<Child>>);
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (jobs, inbox) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("larder-testkit".into())
            .spawn(move || {
                for (mut command, reply) in inbox {
                    let _ = reply.send(command.spawn());
                }
            })
            .expect("a thread can be started");
        jobs
    });
    let (reply, result) = mpsc::channel();
    spawner.send((command, reply)).expect("the spawner lives as long as the process");
    result.recv().expect("the spawner answers each job")
}

/// The end of a log file, for messages.
pub(crate) fn log_tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}

/// The message for a missing server.
pub(crate) fn missing(program: impl AsRef<OsStr>, package: &str) -> ! {
    panic!(
        "{} is not installed; `apt-get install {package}` or ./scripts/test installs it",
        program.as_ref().display()
    );
}
