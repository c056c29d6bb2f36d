//! What holds for the repository as a whole: the rules of `deny.toml`, also where cargo-deny is not installed, and the files that must not
//! fall behind the code.

use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn rules() -> toml::Table {
    std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

/// The packages and the dependencies between them, as Cargo resolves them for every platform.
struct Graph {
    licences: BTreeMap<String, String>,
    names: BTreeMap<String, String>,
    /// Who depends on whom, by id; not for tests only.
    edges: Vec<(String, String)>,
    sources: BTreeSet<String>,
}

impl Graph {
    fn read() -> Self {
        let mut cargo = Command::new(env!("CARGO"));
        cargo.args(["metadata", "--format-version=1", "--locked", "--all-features"]).current_dir(root());
        let output = cargo.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let packages = metadata["packages"].as_array().unwrap();
        let mut edges = Vec::new();
        for node in metadata["resolve"]["nodes"].as_array().unwrap() {
            for dependency in node["deps"].as_array().unwrap() {
                let kinds = dependency["dep_kinds"].as_array().unwrap();
                if kinds.iter().any(|kind| kind["kind"] != "dev") {
                    edges.push((text(&node["id"]), text(&dependency["pkg"])));
                }
            }
        }
        Self {
            licences: packages.iter().map(|p| (text(&p["id"]), text(&p["license"]))).collect(),
            names: packages.iter().map(|p| (text(&p["id"]), text(&p["name"]))).collect(),
            sources: packages.iter().filter_map(|p| p["source"].as_str().map(str::to_owned)).collect(),
            edges,
        }
    }
}

/// Whether an SPDX expression can be met with the allowed licences. `AND` binds closer than `OR`; `/` is the old way to write `OR`.
fn met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    let met = any_of(&mut rest, allowed);
    met && rest.is_empty()
}

fn any_of(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = all_of(tokens, allowed);
    while let ["OR", rest @ ..] = *tokens {
        *tokens = rest;
        met |= all_of(tokens, allowed);
    }
    met
}

fn all_of(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    let mut met = licence(tokens, allowed);
    while let ["AND", rest @ ..] = *tokens {
        *tokens = rest;
        met &= licence(tokens, allowed);
    }
    met
}

fn licence(tokens: &mut &[&str], allowed: &BTreeSet<String>) -> bool {
    match *tokens {
        ["(", rest @ ..] => {
            *tokens = rest;
            let met = any_of(tokens, allowed);
            if let [")", rest @ ..] = *tokens {
                *tokens = rest;
            }
            met
        }
        // An exception grants more than the licence: it would have to be allowed by name.
        [name, "WITH", exception, rest @ ..] => {
            *tokens = rest;
            allowed.contains(&format!("{name} WITH {exception}"))
        }
        [name, rest @ ..] => {
            *tokens = rest;
            allowed.contains(*name)
        }
        [] => false,
    }
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "ISC"].map(str::to_owned).into();
    for good in ["MIT", "MIT OR GPL-3.0", "GPL-3.0/MIT", "(GPL-3.0 OR MIT) AND ISC", "GPL-3.0 AND X OR ISC"] {
        assert!(met(good, &allowed), "{good}");
    }
    for bad in ["", "GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "MIT WITH exception"] {
        assert!(!met(bad, &allowed), "{bad}");
    }
}

#[test]
fn every_dependency_has_an_allowed_licence() {
    let rules = rules();
    let allowed = rules["licenses"]["allow"].as_array().unwrap();
    let allowed: BTreeSet<String> = allowed.iter().map(|name| name.as_str().unwrap().to_owned()).collect();
    let graph = Graph::read();
    let refused: Vec<_> = graph.licences.iter().filter(|(_, licence)| !met(licence, &allowed)).collect();
    assert!(refused.is_empty(), "{refused:#?}");
}

#[test]
fn banned_crates_are_used_by_nobody_but_their_wrappers() {
    let rules = rules();
    let graph = Graph::read();
    let mut broken = Vec::new();
    for ban in rules["bans"]["deny"].as_array().unwrap() {
        let banned = ban["crate"].as_str().unwrap();
        let wrappers = ban.get("wrappers").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let allowed = |name: &str| wrappers.iter().any(|wrapper| wrapper.as_str() == Some(name));
        for (user, used) in &graph.edges {
            if graph.names[used] == banned && !allowed(&graph.names[user]) {
                broken.push(format!("{} may not depend on {banned}: {}", graph.names[user], ban["reason"]));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
}

#[test]
fn every_dependency_comes_from_the_registry() {
    for source in Graph::read().sources {
        assert_eq!(source, "registry+https://github.com/rust-lang/crates.io-index");
    }
}

#[test]
fn the_example_file_names_every_setting_and_no_other() {
    let output =
        Command::new(env!("CARGO_BIN_EXE_larder")).args(["serve", "--help"]).env_clear().output().unwrap();
    let help = String::from_utf8(output.stdout).unwrap();
    let known: BTreeSet<&str> =
        help.split("[env: ").skip(1).map(|rest| rest.split([']', '=']).next().unwrap().trim()).collect();
    let example = std::fs::read_to_string(root().join(".env.example")).unwrap();
    let named: BTreeSet<&str> = example
        .lines()
        .filter_map(|line| Some(line.strip_prefix('#')?.split_once('=')?.0))
        .filter(|n| !n.contains(' '))
        .collect();
    assert_eq!(named, known);
}

/// Crate, feature, and whether it is on by default, of all that the workspace publishes.
fn cargo_features() -> BTreeSet<(String, String, &'static str)> {
    let mut features = BTreeSet::new();
    for path in std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path()) {
        let manifest: toml::Table =
            std::fs::read_to_string(path.join("Cargo.toml")).unwrap().parse().unwrap();
        let Some(declared) = manifest.get("features").and_then(toml::Value::as_table) else { continue };
        let default = declared.get("default").and_then(toml::Value::as_array).cloned().unwrap_or_default();
        let name = manifest["package"]["name"].as_str().unwrap();
        for feature in declared.keys().filter(|feature| *feature != "default") {
            let on = default.iter().any(|one| one.as_str() == Some(feature));
            features.insert((name.to_owned(), feature.clone(), if on { "on" } else { "off" }));
        }
    }
    features
}

#[test]
fn the_page_of_features_names_those_of_cargo_and_no_others() {
    let page = std::fs::read_to_string(root().join("docs/features.md")).unwrap();
    let (_, table) = page.split_once("## Cargo features").unwrap();
    let rows = table.lines().filter(|line| line.starts_with("| `")).map(|line| {
        let cells: Vec<&str> = line.split('|').map(|cell| cell.trim().trim_matches('`')).collect();
        (cells[1].to_owned(), cells[2].to_owned(), if cells[3] == "on" { "on" } else { "off" })
    });
    assert_eq!(rows.collect::<BTreeSet<_>>(), cargo_features());
}

/// The names of all tests below a folder, and of the files; of those in JavaScript, of the files alone.
fn tests_below(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            tests_below(&entry, names);
        } else if entry.extension().is_some_and(|extension| extension == "js") {
            names.insert(entry.file_name().unwrap().to_string_lossy().into_owned());
        } else if entry.extension().is_some_and(|extension| extension == "rs") {
            names.insert(entry.file_stem().unwrap().to_string_lossy().into_owned());
            let text = std::fs::read_to_string(&entry).unwrap();
            let mut is_test = false;
            for line in text.lines().map(str::trim) {
                is_test |= line.starts_with("#[test]") || line.starts_with("#[tokio::test");
                let function = line.strip_prefix("async ").unwrap_or(line).strip_prefix("fn ");
                if let Some(name) = function.and_then(|rest| rest.split('(').next()).filter(|_| is_test) {
                    names.insert(name.to_owned());
                    is_test = false;
                }
            }
        }
    }
}

#[test]
fn every_row_of_the_bugs_that_others_shipped_names_tests_that_are_there() {
    let mut there = BTreeSet::new();
    tests_below(&root().join("crates"), &mut there);
    let page = std::fs::read_to_string(root().join("docs/pitfalls.md")).unwrap();
    let mut rows = BTreeSet::new();
    for row in page.lines().filter(|line| line.starts_with("| ")).skip(2) {
        let cells: Vec<&str> = row.split('|').map(str::trim).collect();
        rows.extend(cells[1].split(", ").map(|number| number.parse::<usize>().unwrap()));
        // The last part of what stands between backticks; a name of several words is a test's.
        let quoted = cells[3].split('`').skip(1).step_by(2);
        let named: Vec<&str> = quoted.filter_map(|name| name.rsplit([' ', ':']).next()).collect();
        assert!(named.iter().any(|name| there.contains(*name)), "row {} names no test", cells[1]);
        for name in named.into_iter().filter(|name| name.matches('_').count() >= 3) {
            assert!(there.contains(name), "row {}: {name}", cells[1]);
        }
    }
    assert!(rows.len() >= 38 && rows == (1..=rows.len()).collect(), "{rows:?}");
}
