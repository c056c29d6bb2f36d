//! The image, and the pages that say how a platform runs it. No container is started here: what the Dockerfile and the pages set is
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
