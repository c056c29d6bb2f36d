//! What the repository brings for running it in production: scripts, alerts, the manual.

use crate::client::Client;
use crate::metrics::{self, Scrape};
use crate::secrets;
use crate::server::{Dir, Server};
use larder_testkit::{Program, assert_eventually};
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

pub(crate) fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The start script with these variables and no others, in a copy of the repository that has no `.env`.
fn start_production(command: &mut Command, env: &[(&str, &str)]) {
    let path = std::env::var("PATH").unwrap();
    command.env_clear().env("PATH", path).env("LARDER", env!("CARGO_BIN_EXE_larder"));
    command.envs(env.iter().copied()).args(["--listen", "127.0.0.1:0"]);
}

fn script(dir: &Dir) -> PathBuf {
    let scripts = dir.path().join("scripts");
    std::fs::create_dir_all(&scripts).unwrap();
    let script = scripts.join("start-production.sh");
    std::fs::copy(repository().join("scripts/start-production.sh"), &script).unwrap();
    script
}

#[test]
fn it_does_not_start_without_its_secrets() {
    let dir = Dir::new();
    for (env, missing) in
        [(&[][..], "JWT_SECRET"), (&[("JWT_SECRET", "0123456789abcdef0123456789abcdef")], "DATABASE_URL")]
    {
        let mut command = Command::new(script(&dir));
        start_production(&mut command, env);
        let output = command.output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.contains(&format!("{missing} is missing")), "{said}");
    }
}

/// What `larder serve` is given by the script: the effective settings, instead of a server.
fn settings_of_the_start(dir: &Dir, env: &[(&str, &str)]) -> String {
    let stand_in = dir.path().join("larder.sh");
    let real = env!("CARGO_BIN_EXE_larder");
    std::fs::write(&stand_in, format!("#!/bin/sh\nverb=$1; shift\nexec {real} config \"$@\"\n")).unwrap();
    std::fs::set_permissions(&stand_in, std::fs::Permissions::from_mode(0o755)).unwrap();
    let mut command = Command::new(script(dir));
    start_production(&mut command, env);
    let output = command.env("LARDER", &stand_in).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

/// The value and the source of a setting.
fn row<'a>(settings: &'a str, name: &str) -> (&'a str, &'a str) {
    let line = settings.lines().find(|line| line.split(' ').next() == Some(name)).unwrap();
    let mut cells = line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).skip(1);
    (cells.next().unwrap(), cells.next().unwrap())
}

#[test]
fn what_is_set_anywhere_is_left_as_it_is_and_the_rest_is_fitted_to_the_machine() {
    let dir = Dir::new();
    // As the program takes them, with spaces around the sign.
    std::fs::write(dir.path().join(".env"), "JWT_SECRET = 0123456789abcdef0123456789abcdef\n").unwrap();
    std::fs::write(dir.path().join("larder.toml"), "database_url = \"sqlite://here.db\"\n").unwrap();
    let fitted = settings_of_the_start(&dir, &[]);
    assert_eq!(row(&fitted, "ENV"), ("production", "environment"));
    assert_eq!(row(&fitted, "WORKERS"), ("cores", "default"));
    assert_eq!(row(&fitted, "CACHE_MEMORY").1, "environment");
    assert_eq!(row(&fitted, "DB_MAX_OVERFLOW"), ("20", "environment"));

    let chosen =
        "database_url = \"sqlite://here.db\"\nworkers = 3\ncache_memory = \"33mb\"\ndb_max_overflow = 7\n";
    std::fs::write(dir.path().join("larder.toml"), chosen).unwrap();
    let kept = settings_of_the_start(&dir, &[("DB_POOL_SIZE", "5")]);
    for (name, value) in [("WORKERS", "3"), ("CACHE_MEMORY", "33mb"), ("DB_MAX_OVERFLOW", "7")] {
        assert_eq!(row(&kept, name), (value, "larder.toml"));
    }
    assert_eq!(row(&kept, "DB_POOL_SIZE"), ("5", "environment"));
}

#[test]
fn what_is_wrong_with_the_settings_is_said_before_it_starts() {
    let dir = Dir::new();
    let mut command = Command::new(script(&dir));
    start_production(
        &mut command,
        &[("WORKERS", "many"), ("JWT_SECRET", "x"), ("DATABASE_URL", "sqlite://x.db")],
    );
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8(output.stderr).unwrap().contains("WORKERS"));
}

#[test]
fn the_batch_file_sets_no_size_and_has_the_line_ends_of_its_shell() {
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    let batch = read("scripts/start-production.bat");
    let set: Vec<&str> = batch.lines().filter_map(|line| line.strip_prefix("set ")).collect();
    assert_eq!(set, ["ENV=production"]);
    assert!(read(".gitattributes").contains("*.bat text eol=crlf\n"));
}

#[tokio::test]
async fn it_starts_with_the_secrets_that_were_made_for_it() {
    let dir = Dir::new();
    assert_eq!(secrets::make(&[dir.path().to_str().unwrap()]), Some(0));

    let database = format!("sqlite://{}", dir.path().join("larder.db").display());
    let secret_file = dir.path().join("jwt_secret").display().to_string();
    let program = Program::start(&script(&dir), &dir.path().join("output.txt"), |command| {
        let env = [("DATABASE_URL", &*database), ("JWT_SECRET_FILE", &secret_file), ("SELLER_API_PORT", "0")];
        start_production(command, &env);
    });
    let listens = || program.output().contains("Listening on http://127.0.0.1:");
    assert_eventually!(listens(), Duration::from_secs(60), "it starts: {}", program.output());
    assert!(program.output().contains("Mode: production"));
    program.terminate();
    assert_eq!(program.wait(Duration::from_secs(60)).unwrap().code(), Some(0), "{}", program.output());
}

/// The words of a text that begin with `prefix`.
pub(crate) fn words<'a>(text: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    let parts = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    parts.filter(move |word| word.starts_with(prefix))
}

/// Prometheus's own tool, which parses what Prometheus would.
fn promtool(arguments: &[&str]) {
    let mut promtool = Command::new("promtool");
    promtool.args(arguments).current_dir(repository().join("deploy/prometheus"));
    let output = promtool.output().expect("promtool is installed: scripts/test does that");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn the_alerts_ring_when_they_should_and_only_then() {
    promtool(&["check", "rules", "alerts.yml"]);
    promtool(&["test", "rules", "alerts.test.yml"]);
}

#[test]
fn prometheus_understands_how_to_read_larder_and_calls_it_what_the_alerts_expect() {
    promtool(&["check", "config", "--syntax-only", "scrape.yml"]);
    let read = |path: &str| std::fs::read_to_string(repository().join(path)).unwrap();
    assert!(read("deploy/prometheus/alerts.yml").contains("up{job=~\".*larder.*\"}"));
    let scrape = read("deploy/prometheus/scrape.yml") + &read("deploy/prometheus/scrape-kubernetes.yml");
    let jobs: Vec<&str> = scrape.split("- job_name: ").skip(1).collect();
    assert_eq!(jobs.len(), 3);
    for job in jobs {
        assert!(job.starts_with("larder") && job.contains("authorization: { credentials_file: /"), "{job}");
    }
    // By annotations nobody would bring the token.
    assert!(!read("deploy/kubernetes/larder.yaml").contains("prometheus.io/"));
    assert!(
        read("deploy/prometheus/podmonitor.yaml")
            .contains("credentials: { name: larder, key: metrics_token }")
    );
}

/// Everything that the dashboard asks Prometheus.
fn questions(dashboard: &Value) -> Vec<String> {
    let panels = dashboard["panels"].as_array().unwrap();
    let targets = panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten();
    let annotations = dashboard["annotations"]["list"].as_array().unwrap();
    let asked = targets.chain(annotations).map(|target| target["expr"].as_str().unwrap());
    let known = [("$__rate_interval", "5m"), ("$job", ".*"), ("$instance", ".*")];
    asked
        .map(|asked| known.iter().fold(asked.to_owned(), |text, (name, value)| text.replace(name, value)))
        .collect()
}

fn dashboard() -> String {
    std::fs::read_to_string(repository().join("deploy/grafana/larder.json")).unwrap()
}

#[test]
fn prometheus_understands_every_question_of_the_dashboard() {
    let questions = questions(&serde_json::from_str(&dashboard()).unwrap());
    assert!(questions.len() > 20);
    let mut rules = "groups:\n - name: dashboard\n   rules:\n".to_owned();
    for (number, question) in questions.iter().enumerate() {
        rules += &format!("    - record: q{number}\n      expr: {}\n", Value::from(question.as_str()));
    }
    let dir = Dir::new();
    let file = dir.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    promtool(&["check", "rules", file.to_str().unwrap()]);
}

#[tokio::test]
async fn alerts_and_dashboard_speak_of_metrics_that_there_are_and_the_manual_of_every_alert() {
    let alerts = std::fs::read_to_string(repository().join("deploy/prometheus/alerts.yml")).unwrap();
    let manual = std::fs::read_to_string(repository().join("docs/operating.md")).unwrap();
    let scrape = metrics::busy_server().await;
    let exported = Scrape::read(&scrape);
    let dashboard = dashboard();
    for text in [&alerts, &dashboard, &manual] {
        let unknown: Vec<&str> = exported.unknown_names(text).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
        let unknown: Vec<String> = exported.unknown_labels(text).collect();
        assert!(unknown.is_empty(), "{unknown:?}");
    }
    for alert in words(&alerts, "Larder") {
        assert!(manual.contains(&format!("### {alert}\n")), "docs/operating.md tells nothing of {alert}");
    }
    let told = manual.lines().filter_map(|line| line.strip_prefix("### Larder"));
    let unheard: Vec<&str> =
        told.filter(|name| !alerts.contains(&format!("alert: Larder{name}\n"))).collect();
    assert!(unheard.is_empty(), "{unheard:?}");
}

#[tokio::test]
async fn a_server_that_stops_says_so_before_it_refuses_anybody() {
    let server = Server::start(&[("SHUTDOWN_DELAY", "20s")]).await;
    let anyone = Client::new(server.url());
    anyone.get("/health/ready").await.expect(200);
    server.program().terminate();
    assert_eventually!(
        anyone.get("/health/ready").await.status == 503,
        Duration::from_secs(15),
        "balancers that ask are told"
    );
    // Whoever has not asked yet is served, on a new connection too.
    let somebody = Client::new(server.url()).sign_in("owner@acme.test").await;
    somebody.get("/api/v1/campaigns").await.expect(200);
    anyone.get("/health/live").await.expect(200);
    assert!(server.program().exited().is_none());
}

/// One step of scripts/test where npm does not work; its exit code and what was said.
fn step_without_npm(env: &[(&str, &str)]) -> (Option<i32>, String) {
    let dir = Dir::new();
    let npm = dir.path().join("npm");
    std::fs::write(&npm, "#!/bin/sh\nexit 1\n").unwrap();
    std::fs::set_permissions(&npm, std::fs::Permissions::from_mode(0o755)).unwrap();
    // All its functions, and none of its steps.
    let one_step = "eval \"$(sed '/^took=()/,$d' \"$0\")\"; grafana; echo \"left out: ${left_out[*]}\"";
    let mut bash = Command::new("bash");
    bash.args(["-c", one_step]).arg(repository().join("scripts/test"));
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let output =
        bash.env_clear().env("PATH", path).env("HOME", dir.path()).envs(env.iter().copied()).output();
    let output = output.unwrap();
    (output.status.code(), String::from_utf8([output.stdout, output.stderr].concat()).unwrap())
}

#[test]
fn what_ci_cannot_check_is_a_failure_unless_somebody_said_that_it_may_be_left_out() {
    let (code, said) = step_without_npm(&[]);
    assert!(code == Some(1) && said.contains("LARDER_TEST_OFFLINE=1"), "{code:?} {said}");
    let (code, said) = step_without_npm(&[("LARDER_TEST_OFFLINE", "1")]);
    assert!(code == Some(0) && said.contains("left out: the Grafana dashboard"), "{code:?} {said}");
}
