//! The program under test, as people run it.

use crate::poll::Poll;
use crate::process::Process;
use nix::sys::signal::Signal;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// A child process that is killed when this is dropped, and when the test process dies. All operations take `&self`, so that it can be killed
/// or paused while requests run.
#[derive(Debug)]
pub struct Program {
    process: Mutex<Process>,
    output: PathBuf,
}

impl Program {
    /// Starts `program` with standard output and standard error at the end of the file `output`; `fill` adds arguments and environment, and may
    /// send either somewhere else.
    ///
    /// # Panics
    /// Where it cannot be started.
    #[must_use]
    pub fn start(program: &Path, output: &Path, fill: impl FnOnce(&mut Command)) -> Self {
        let process = Process::start(program, output, Signal::SIGKILL, fill)
            .unwrap_or_else(|e| panic!("cannot start {}: {e}", program.display()));
        Self { process: Mutex::new(process), output: output.to_owned() }
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> i32 {
        self.slot().id()
    }

    /// What it has written so far.
    #[must_use]
    pub fn output(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.output).unwrap_or_default()).into_owned()
    }

    /// How it ended, if it did.
    #[must_use]
    pub fn exited(&self) -> Option<ExitStatus> {
        self.slot().exited()
    }

    /// Waits for its end; `None` if it still runs after `within`.
    #[must_use]
    pub fn wait(&self, within: Duration) -> Option<ExitStatus> {
        let poll = Poll::new(within);
        loop {
            let exited = self.exited();
            if exited.is_some() || !poll.again_blocking() {
                return exited;
            }
        }
    }

    /// SIGTERM: asks it to finish.
    pub fn terminate(&self) {
        self.slot().signal(Signal::SIGTERM);
    }

    /// SIGINT, as Ctrl-C sends it.
    pub fn interrupt(&self) {
        self.slot().signal(Signal::SIGINT);
    }

    /// SIGKILL. Returns when it is gone.
    pub fn kill(&self) {
        self.slot().end();
    }

    /// SIGSTOP.
    pub fn pause(&self) {
        self.slot().signal(Signal::SIGSTOP);
    }

    /// SIGCONT.
    pub fn resume(&self) {
        self.slot().signal(Signal::SIGCONT);
    }

    fn slot(&self) -> MutexGuard<'_, Process> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
