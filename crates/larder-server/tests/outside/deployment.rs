//! The image, the unit, the manifests, and the pages that say how a platform runs it. No container is started here: what the Dockerfile and the pages set is
//! what the program is given.

use crate::markdown;
use crate::production::repository;
use crate::server::{Dir, Server, command};

pub(crate) fn text(path: &str) -> String {
    std::fs::read_to_string(repository().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

type Settings = Vec<(String, String)>;

/// The variables that the Dockerfile sets.
fn of_the_image() -> Settings {
    let dockerfile = text("Dockerfile");
    let lines = dockerfile.lines().filter_map(|line| line.strip_prefix("ENV "));
    let pairs = lines.flat_map(str::split_whitespace).map(|pair| pair.split_once('=').unwrap());
    pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect()
}

/// What `larder config` says of a setting in a container of the image that is given `more`.
fn shown(name: &str, more: &[(&str, &str)]) -> String {
    let image = of_the_image();
    let mut env: Vec<(&str, &str)> = image.iter().map(|(name, value)| (&**name, &**value)).collect();
    env.push(("JWT_SECRET", "0123456789abcdef0123456789abcdef"));
    // The last of two holds, as with `docker run --env`.
    env.extend(more);
    let output = command(&Dir::new(), &env, &["config"]);
    assert!(output.status.success(), "{output:?}");
    let table = String::from_utf8(output.stdout).unwrap();
    let row = table.lines().find(|line| line.split_whitespace().next() == Some(name)).unwrap();
    row.split_whitespace().nth(1).unwrap().to_owned()
}

#[test]
fn a_container_listens_everywhere_on_the_port_of_its_platform_unless_told_where() {
    let listens = |more: &[(&str, &str)]| shown("LISTEN", more);
    assert_eq!(listens(&[]), "0.0.0.0:8000");
    assert!(text("Dockerfile").contains("EXPOSE 8000\n"));
    assert_eq!(listens(&[("PORT", "10000")]), "0.0.0.0:10000");
    assert_eq!(listens(&[("PORT", "10000"), ("LISTEN", "[::]:8000")]), "[::]:8000");
}

#[tokio::test]
async fn the_image_asks_the_server_for_its_health_where_it_listens() {
    let dockerfile = text("Dockerfile");
    let check = dockerfile.lines().find(|line| line.starts_with("HEALTHCHECK")).unwrap();
    let words: Vec<String> = serde_json::from_str(check.split_once(" CMD ").unwrap().1).unwrap();
    let arguments: Vec<&str> = words.iter().map(String::as_str).collect();
    assert_eq!(arguments[0], "larder");
    let server = Server::start(&[]).await;
    let port = server.url().rsplit(':').next().unwrap();
    let ask = |port| command(&Dir::new(), &[("PORT", port)], &arguments[1..]).status.code();
    assert_eq!((ask(port), ask("1")), (Some(0), Some(1)));
}

/// The variables in the blocks of a page: `{ key: NAME, value: TEXT }`, `NAME=text`, `NAME = "text"`. What the platform makes is none of them.
fn set_by(page: &str) -> Settings {
    let of_render = |line: &str| {
        let (name, rest) = line.strip_prefix("- { key: ")?.split_once(", value: ")?;
        Some((name.to_owned(), rest.split('}').next()?.to_owned()))
    };
    let assigned = |line: &str| {
        let (name, value) = line.split_once('=')?;
        let variable = name.trim().chars().all(|c| c.is_ascii_uppercase() || c == '_');
        variable.then(|| (name.trim().to_owned(), value.to_owned()))
    };
    let blocks = markdown::blocks(page);
    let lines = blocks.iter().flat_map(|block| &block.lines).map(|line| line.trim());
    let pairs = lines.filter_map(|line| of_render(line).or_else(|| assigned(line)));
    pairs
        .map(|(name, value)| (name, value.split('#').next().unwrap().trim().trim_matches('"').to_owned()))
        .filter(|(_, value)| !value.contains('$') && !value.contains('…'))
        .collect()
}

#[test]
fn the_pages_of_platforms_set_what_they_ask_for() {
    for name in ["render", "railway", "fly"] {
        let page = text(&format!("docs/hosting/{name}.md"));
        let set = set_by(&page);
        let of_page: Vec<(&str, &str)> = set.iter().map(|(name, value)| (&**name, &**value)).collect();
        assert_eq!(shown("ENV", &of_page), "production", "{name}");
        // The addresses of their proxies are not known, so all clients are one address, to which no rate is right.
        for limit in ["RATE_LIMIT_API", "RATE_LIMIT_UPLOADS"] {
            assert_eq!(shown(limit, &of_page), "off", "{name} of {of_page:?}");
        }
        assert!(page.contains("/health/ready"), "{name}");
        let platform = [("PORT", "10000")].into_iter().filter(|_| name != "fly");
        let listens = shown("LISTEN", &of_page.iter().copied().chain(platform).collect::<Vec<_>>());
        let expected = if name == "fly" { "0.0.0.0:8000" } else { "0.0.0.0:10000" };
        assert_eq!(listens, expected, "{name}");
    }
    assert!(text("docs/hosting/fly.md").contains("internal_port = 8000"));
}

/// The lines from the one that is `head` to the next that is indented no further.
fn section(path: &str, head: &str) -> String {
    let text = text(path);
    let indent = |line: &str| line.len() - line.trim_start().len();
    let from =
        text.lines().position(|line| line.trim() == head).unwrap_or_else(|| panic!("{path}: no {head}"));
    let depth = indent(text.lines().nth(from).unwrap());
    let inside = |line: &&str| line.trim().is_empty() || indent(line) > depth;
    text.lines().skip(from + 1).take_while(inside).map(|line| format!("{}\n", line.trim())).collect()
}

#[test]
fn where_the_file_system_is_read_only_there_is_room_for_imports() {
    let compose = section("compose.yaml", "backend:");
    assert!(compose.contains("\nread_only: true\n") && compose.contains("\ntmpfs: [/tmp]\n"), "{compose}");
    let kubernetes = section("deploy/kubernetes/larder.yaml", "template:");
    assert!(kubernetes.contains("readOnlyRootFilesystem: true"), "{kubernetes}");
    assert!(kubernetes.contains("{ name: tmp, mountPath: /tmp }"), "{kubernetes}");
    assert!(kubernetes.contains("- name: tmp\nemptyDir: { sizeLimit:"), "{kubernetes}");
    assert!(text("deploy/systemd/larder.service").contains("\nPrivateTmp=yes\n"));
}

/// The number behind `name` in a text.
fn number(text: &str, name: &str) -> u32 {
    let (_, rest) = text.split_once(name).unwrap_or_else(|| panic!("no {name} in {text}"));
    let digits = rest.trim_start_matches(|c: char| !c.is_ascii_digit());
    digits.split(|c: char| !c.is_ascii_digit()).next().unwrap().parse().unwrap()
}

#[test]
fn in_an_upgrade_too_the_pools_fit_into_postgresql_and_leave_some_to_others() {
    let compose = section("compose.yaml", "backend:");
    let kubernetes = text("deploy/kubernetes/larder.yaml");
    let max = number(&text("compose.yaml"), "max_connections=");
    for (manifest, max) in [(compose, max), (kubernetes, 100)] {
        let servers = number(&manifest, "replicas: ") + 1;
        let pool = number(&manifest, "DB_POOL_SIZE") + number(&manifest, "DB_MAX_OVERFLOW");
        assert!(servers * pool + 10 <= max, "{servers} x {pool} of {max}");
    }
}

/// A Docker that keeps its containers in a file, one a line, and writes down how many there are after each call.
const DOCKER: &str = r#"#!/bin/sh
set -eu
cd "$STATE"
case "$*" in
    "compose ps -q backend") cat containers ;;
    "compose up -d --no-deps --no-recreate --wait --scale backend="*" backend")
        [ ! -e broken ] || exit 1
        wanted=${*#*backend=}
        while [ "$(wc -l <containers)" -lt "${wanted%% *}" ]; do date +new-%N >>containers; done ;;
    "stop -t 45 "*) sed -i "/^$4\$/d" containers ;;
    "rm "*) ! grep -q "^$2\$" containers ;;
    *) echo "docker $* was not expected" >&2; exit 64 ;;
esac
wc -l <containers >>counts
"#;

/// Runs the script that replaces servers with that Docker; its exit code, the containers and how many there were.
fn upgrade(dir: &Dir) -> (Option<i32>, String, String) {
    use std::os::unix::fs::PermissionsExt;
    let at = |name: &str| dir.path().join(name);
    std::fs::write(at("docker"), DOCKER).unwrap();
    std::fs::set_permissions(at("docker"), std::fs::Permissions::from_mode(0o755)).unwrap();
    std::fs::write(at("containers"), "old-1\nold-2\n").unwrap();
    let path = format!("{}:{}", dir.path().display(), std::env::var("PATH").unwrap());
    let mut script = std::process::Command::new(repository().join("deploy/upgrade-compose.sh"));
    let output = script.env("PATH", path).env("STATE", dir.path()).output().unwrap();
    let read = |name: &str| std::fs::read_to_string(at(name)).unwrap_or_default();
    (output.status.code(), read("containers"), read("counts"))
}

#[test]
fn the_servers_of_compose_are_replaced_one_after_the_other_with_both_always_there() {
    let dir = Dir::new();
    let (code, containers, counts) = upgrade(&dir);
    assert_eq!(code, Some(0), "{containers}{counts}");
    assert!(containers.lines().count() == 2 && !containers.contains("old"), "{containers}");
    // ps; then up, stop and rm for each: 2, 3 2 2, 3 2 2.
    assert_eq!(counts.split_whitespace().collect::<String>(), "2322322");
    let dir = Dir::new();
    std::fs::write(dir.path().join("broken"), "").unwrap();
    let (code, containers, _) = upgrade(&dir);
    assert_eq!(
        (code, &*containers),
        (Some(1), "old-1\nold-2\n"),
        "nothing is stopped for one that is not well"
    );
}

const UNIT: &str = "deploy/systemd/larder.service";

/// The drop-ins in the head of the unit.
fn drop_ins() -> Vec<String> {
    let unit = text(UNIT);
    let head = unit.lines().take_while(|line| line.starts_with('#')).map(|line| line.trim_start_matches('#'));
    let head = head.map(|line| format!("{}\n", line.trim())).collect::<String>();
    let blocks = head.split("[Service]\n").skip(1);
    let settings =
        |block: &str| block.lines().take_while(|line| line.contains('=')).collect::<Vec<_>>().join("\n");
    blocks.map(|block| format!("[Service]\n{}\n", settings(block))).collect()
}

/// What systemd says of the unit with another drop-in, in which this program stands for the one that is installed.
fn verify(drop_in: &str) -> String {
    let dir = Dir::new();
    let unit = dir.path().join("larder-under-test.service");
    let program = text(UNIT).replace("/usr/local/bin/larder", env!("CARGO_BIN_EXE_larder"));
    std::fs::write(&unit, program).unwrap();
    let drop_ins = dir.path().join("larder-under-test.service.d");
    std::fs::create_dir(&drop_ins).unwrap();
    std::fs::write(drop_ins.join("override.conf"), drop_in).unwrap();
    let mut analyze = std::process::Command::new("systemd-analyze");
    let output =
        analyze.arg("verify").arg(&unit).output().expect("systemd is installed: scripts/test does that");
    // It loads the units of the machine, too, and complains of some.
    let said = String::from_utf8(output.stderr).unwrap();
    said.lines().filter(|line| line.contains("larder-under-test")).collect()
}

#[test]
fn systemd_understands_the_unit_with_each_of_the_drop_ins_in_its_head() {
    let drop_ins = drop_ins();
    assert_eq!(drop_ins.len(), 2, "{drop_ins:?}");
    for drop_in in drop_ins {
        assert_eq!(verify(&drop_in), "", "{drop_in}");
    }
    assert!(verify("[Service]\nLoadCredentials=x:y\n").contains("LoadCredentials"), "it would be said");
}

#[test]
fn the_unit_is_not_started_again_with_a_configuration_that_is_wrong() {
    let wrong = command(&Dir::new(), &[("WORKERS", "many")], &["serve"]).status.code().unwrap();
    assert!(text(UNIT).contains(&format!("\nRestartPreventExitStatus={wrong}\n")), "{wrong}");
}
