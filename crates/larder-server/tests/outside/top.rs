//! `larder top`, as a table and in a terminal.

use crate::client::Body;
use crate::server::{Dir, Server, command};
use crate::stack::{Kind, Stack};
use larder_testkit::{Program, assert_eventually, free_port};
use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

fn printed(output: &Output) -> String {
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// What is said of `name` in the table.
fn of<'a>(table: &'a str, name: &str) -> &'a str {
    let line = table.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix("  "));
    line.unwrap_or_else(|| panic!("no {name} in {table}")).trim()
}

#[tokio::test(flavor = "multi_thread")]
async fn once_is_a_plain_table_of_what_the_token_may_see() {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let (acme, admin) = (stack.acme().await, stack.admin().await);
    for _ in 0..4 {
        acme.get("/api/v1/campaigns").await.expect(200);
    }
    acme.send("POST", "/api/cache/clear?pattern=leads:*", &Body::Nothing).await.expect(200);
    let happened = "invalidated  acme   -      prefix leads";
    let token = admin.token.unwrap();
    let table = printed(&stack.server.command(&token, &["top", "--once"]));
    assert_eq!(of(&table, "status"), "healthy");
    assert_eq!(of(&table, "hit rate"), "75.0 % of 4 since the start");
    assert!(of(&table, "lookups/s").parse::<f64>().is_ok(), "{table}");
    assert_eq!(of(&table, "loads"), "1, 0 failed");
    assert!(of(&table, "coherence").starts_with("trusted, lag "), "{table}");
    assert!(of(&table, "redis").starts_with("connected, redis "), "{table}");
    assert!(of(&table, "database").ends_with("connections busy"), "{table}");
    let row: Vec<&str> = of(&table, "campaigns").split_whitespace().collect();
    assert_eq!(row[..6], ["75.0", "%", "3", "1", "1", "0"], "{table}");
    let row: Vec<&str> = of(&table, "acme").split_whitespace().collect();
    assert_eq!(row[..4], ["75.0", "%", "4", "1"], "{table}");
    assert!(table.lines().any(|line| line.ends_with(happened)), "{table}");
    assert!(!table.contains('\x1b'), "nothing that a terminal would obey");
    // Where standard output is no terminal, it is the same without the flag.
    assert_eq!(of(&printed(&stack.server.command(&token, &["top"])), "status"), "healthy");

    let table = printed(&stack.server.command(acme.token.as_deref().unwrap(), &["top", "--once"]));
    assert_eq!(of(&table, "tenant"), "acme");
    assert!(table.lines().any(|line| line.ends_with(happened)), "{table}");
    for hidden in ["coherence", "database", "hit rate  lookups"] {
        assert!(!table.contains(hidden), "{table}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_not_there_or_refuses_is_an_error_with_code_1() {
    let dir = Dir::new();
    let nowhere = format!("http://127.0.0.1:{}", free_port());
    let output = command(&dir, &[], &["top", "--once", "--url", &nowhere]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(said.contains(&format!("{nowhere}/ can't be reached")) && said.contains("hint: "), "{said}");
    let server = Server::start(&[]).await;
    let output = server.command("forged", &["top"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    assert!(said.contains("401") && said.contains("LARDER_TOKEN"), "{said}");
}

/// A terminal in which something runs. `script`, which every Linux has, makes it.
struct Terminal {
    program: Program,
    keys: UnixStream,
    // After `program`, which writes into it.
    _dir: Dir,
}

impl Terminal {
    /// 100 columns and 30 rows. What ends the program, and how the terminal is after it, is printed.
    fn running(url: &str) -> Self {
        let dir = Dir::new();
        let (ours, keys) = UnixStream::pair().unwrap();
        let line = format!(
            "tty; stty cols 100 rows 30; '{}' top; echo over=$?; stty -a",
            env!("CARGO_BIN_EXE_larder")
        );
        let script = Path::new("/usr/bin/script");
        let program = Program::start(script, &dir.path().join("terminal.txt"), |command| {
            let path = std::env::var_os("PATH").unwrap_or_default();
            command.env_clear().env("PATH", path).env("TERM", "xterm-256color").env("LARDER_URL", url);
            command.args(["-qefc", &line, "/dev/null"]).stdin(OwnedFd::from(ours)).current_dir(dir.path());
        });
        Self { program, keys, _dir: dir }
    }

    async fn shows(&self, what: &str) {
        self.shows_after(0, what).await;
    }

    /// Waits until `what` is written after the first `from` bytes, and returns how much is written.
    async fn shows_after(&self, from: usize, what: &str) -> usize {
        let there = || self.program.output().get(from..).is_some_and(|text| text.contains(what));
        assert_eventually!(there(), PATIENCE, "{what:?} in {:?}", self.program.output());
        self.program.output().len()
    }

    /// Another size, as when somebody drags the window.
    async fn resize(&self, columns: u16, rows: u16) -> usize {
        let output = self.program.output();
        let device = output.lines().next().unwrap().trim().to_owned();
        let (columns, rows, before) = (columns.to_string(), rows.to_string(), output.len());
        let sized = Command::new("stty").args(["-F", &device, "cols", &columns, "rows", &rows]).status();
        assert!(sized.unwrap().success());
        before
    }

    fn press(&mut self, keys: &str) {
        self.keys.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits for its end, of this code; the terminal is as it was.
    async fn ended(self, code: i32) {
        self.shows_after(0, &format!("over={code}")).await;
        let from = self.program.output().rfind("over=").unwrap();
        self.shows_after(from, "icanon").await;
        let ended = tokio::task::spawn_blocking(move || (self.program.wait(PATIENCE), self.program.output()));
        let (status, output) = ended.await.unwrap();
        assert!(status.unwrap().success(), "{output:?}");
        let after = &output[output.rfind("over=").unwrap()..];
        assert!(after.contains(" icanon") && after.contains(" echo "), "{after}");
        let screen = |what: &str| output.matches(what).count();
        assert!(
            screen("\x1b[?1049h") == 1 && screen("\x1b[?1049l") >= 1,
            "the other screen is left: {output:?}"
        );
        assert!(output.rfind("\x1b[?1049l") < output.rfind("over="), "{output:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_lives_in_a_terminal_of_any_size_and_q_gives_that_back() {
    let server = Server::start(&[]).await;
    let mut terminal = Terminal::running(server.url());
    terminal.shows("healthy").await;
    terminal.shows("Endpoints").await;
    let before = terminal.resize(40, 10).await;
    terminal.shows_after(before, "healthy").await;
    let before = terminal.resize(20, 5).await;
    terminal.shows_after(before, "40×10").await;
    let before = terminal.resize(100, 30).await;
    terminal.shows_after(before, "Endpoints").await;
    let before = terminal.program.output().len();
    terminal.press("?");
    terminal.shows_after(before, "Keys").await;
    terminal.press("?q");
    terminal.ended(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn control_c_and_a_signal_give_the_terminal_back_too() {
    let server = Server::start(&[]).await;
    let mut terminal = Terminal::running(server.url());
    terminal.shows("healthy").await;
    terminal.press("\x03");
    terminal.ended(0).await;
    let terminal = Terminal::running(server.url());
    terminal.shows("healthy").await;
    // The only one of this test that has this address in its environment is reached by it.
    terminal.signal_top(server.url());
    terminal.ended(0).await;
}

impl Terminal {
    /// SIGTERM for the program in the terminal, which is a grandchild of `script`.
    fn signal_top(&self, url: &str) {
        let mut found = Vec::new();
        for process in std::fs::read_dir("/proc").unwrap().flatten() {
            let environment = std::fs::read(process.path().join("environ")).unwrap_or_default();
            let arguments = std::fs::read(process.path().join("cmdline")).unwrap_or_default();
            let ours = String::from_utf8_lossy(&environment).contains(&format!("LARDER_URL={url}\0"));
            if ours && arguments.ends_with(b"larder\0top\0") {
                found.push(process.file_name().to_string_lossy().into_owned());
            }
        }
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(
            Command::new("sh").args(["-c", &format!("kill -TERM {}", found[0])]).status().unwrap().success()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_is_said_to_be_gone_and_seen_again_when_it_is_back() {
    let address = format!("127.0.0.1:{}", free_port());
    let server = Server::start(&[("LISTEN", &address)]).await;
    let (dir, url) = (server.dir().clone(), server.url().to_owned());
    let mut terminal = Terminal::running(&url);
    terminal.shows("healthy").await;
    assert!(tokio::task::spawn_blocking(move || server.stop()).await.unwrap().success());
    let before = terminal.shows_after(0, "no connection").await;
    terminal.shows("tried again in").await;
    let _back = Server::start_in(&dir, &[("LISTEN", &address)]).await;
    terminal.shows_after(before, "healthy").await;
    terminal.press("q");
    terminal.ended(0).await;
}
