//! `larder serve` as a child process.

use larder_testkit::{Program, assert_eventually};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// Seeding and the first migration take longer on a machine that runs everything else too.
const START: Duration = Duration::from_secs(60);
const STOP: Duration = Duration::from_secs(40);

/// A running server in a directory of its own, which knows no variable but those of its test.
pub(crate) struct Server {
    program: Program,
    url: String,
    // After `program`: the process ends before its directory goes.
    dir: Dir,
}

/// The working directory of a server, which may outlive it: a second server of the same data.
#[derive(Clone)]
pub(crate) struct Dir(std::sync::Arc<TempDir>);

impl Dir {
    pub(crate) fn new() -> Self {
        Self(std::sync::Arc::new(tempfile::tempdir().unwrap()))
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Server {
    /// Starts it and waits until it listens.
    pub(crate) async fn start(env: &[(&str, &str)]) -> Self {
        Self::start_in(&Dir::new(), env).await
    }

    pub(crate) async fn start_in(dir: &Dir, env: &[(&str, &str)]) -> Self {
        Self::listening(dir, launch(dir, env)).await
    }

    /// Waits until what was launched in `dir` listens.
    pub(crate) async fn listening(dir: &Dir, launched: Program) -> Self {
        let address = || address(&launched.output());
        assert_eventually!(
            address().is_some() || launched.exited().is_some(),
            START,
            "the server listens: {}\n{}",
            launched.output(),
            log(dir)
        );
        let Some(url) = address() else {
            panic!("the server ended with {:?}: {}\n{}", launched.exited(), launched.output(), log(dir))
        };
        Self { program: launched, url, dir: dir.clone() }
    }

    /// `http://127.0.0.1:port`
    pub(crate) fn url(&self) -> &str {
        &self.url
    }

    pub(crate) fn dir(&self) -> &Dir {
        &self.dir
    }

    /// What it printed on standard output.
    pub(crate) fn printed(&self) -> String {
        self.program.output()
    }

    /// What it logged, with what an earlier server of the same directory logged.
    pub(crate) fn log(&self) -> String {
        log(&self.dir)
    }

    pub(crate) fn program(&self) -> &Program {
        &self.program
    }

    /// SIGTERM, and the exit status.
    pub(crate) fn stop(self) -> ExitStatus {
        self.program.terminate();
        self.program.wait(STOP).unwrap_or_else(|| panic!("the server goes on after SIGTERM: {}", self.log()))
    }

    /// Another command of the program against this server, as the bearer of `token`.
    pub(crate) fn command(&self, token: &str, arguments: &[&str]) -> Output {
        command(&self.dir, &[("LARDER_URL", &self.url), ("LARDER_TOKEN", token)], arguments)
    }
}

/// Runs the program to its end.
pub(crate) fn command(dir: &Dir, env: &[(&str, &str)], arguments: &[&str]) -> Output {
    let mut command = Command::new(binary());
    clean(&mut command, dir, env);
    command.args(arguments).output().unwrap()
}

/// Begins another command of the program. What it says on standard error is in `errors.txt` of the directory.
pub(crate) fn begin(dir: &Dir, env: &[(&str, &str)], arguments: &[&str]) -> Program {
    let errors = std::fs::File::create(dir.path().join("errors.txt")).unwrap();
    Program::start(&binary(), &dir.path().join("printed.txt"), |command| {
        command.stderr(errors).args(arguments);
        clean(command, dir, env);
    })
}

/// The same with something on its standard input.
pub(crate) fn command_with_input(dir: &Dir, arguments: &[&str], input: &str) -> Output {
    let mut command = Command::new(binary());
    clean(&mut command, dir, &[]);
    let piped = || std::process::Stdio::piped();
    let mut child = command.args(arguments).stdin(piped()).stdout(piped()).stderr(piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// Starts `larder serve` without waiting for anything.
pub(crate) fn launch(dir: &Dir, env: &[(&str, &str)]) -> Program {
    let log = std::fs::File::options().create(true).append(true).open(dir.path().join("log.txt")).unwrap();
    launch_logging_to(log, dir, env)
}

/// As [`launch`], with another standard error.
pub(crate) fn launch_logging_to(log: impl Into<Stdio>, dir: &Dir, env: &[(&str, &str)]) -> Program {
    let output = dir.path().join("stdout.txt");
    let _ = std::fs::remove_file(&output);
    Program::start(&binary(), &output, |command| {
        command.stderr(log).arg("serve");
        clean(command, dir, &[("LISTEN", "127.0.0.1:0"), ("SELLER_API_PORT", "0"), ("SAMPLE_DATA", "small")]);
        command.envs(env.iter().copied());
        // What a test sets to nothing is not set at all.
        for (name, _) in env.iter().filter(|(_, value)| value.is_empty()) {
            command.env_remove(name);
        }
    })
}

fn clean(command: &mut Command, dir: &Dir, env: &[(&str, &str)]) {
    command.env_clear().envs(env.iter().copied()).current_dir(dir.path());
}

fn binary() -> PathBuf {
    env!("CARGO_BIN_EXE_larder").into()
}

pub(crate) fn log(dir: &Dir) -> String {
    std::fs::read_to_string(dir.path().join("log.txt")).unwrap_or_default()
}

/// The address line is printed last, when everything is ready.
fn address(printed: &str) -> Option<String> {
    let (_, rest) = printed.split_once("Listening on ")?;
    let (line, _) = rest.split_once('\n')?;
    Some(line.trim().trim_end_matches('/').to_owned())
}
