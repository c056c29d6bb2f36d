//! `docs/options.md` is made of the code: of the declared settings, and of the documentation of the builders, policies and
//! limits of the libraries. `LARDER_WRITE_DOCS=1 cargo nextest run -p larder-server options` writes it; without that the
//! test compares.

mod source;

use super::declared::{Fallback, SETTINGS, Setting};
use super::value::Secrecy;
use crate::cli::Cli;
use clap::{Arg, Command, CommandFactory};
use sample_backend::ttl::Endpoint;
use source::{Item, constants, fields, human, setters};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// What the settings are grouped by: the headings of `.env.example`.
const HEADING: &str = "# -- ";

/// Where a value stands that no fallback tells.
const ELSEWHERE: [(&str, &str); 2] = [("LISTEN", super::DEFAULT_LISTEN), ("COHERENCE_LEASE", "1s")];

const HEAD: &str = "# Every option
With default, unit and limits. Made of the code (`crates/larder-server/src/config/reference.rs`); CI fails where they differ.

Durations are written `250ms`, `30s`, `5m`, `1h`; sizes `64kb`, `1mb`, where 1 mb = 2^20 bytes; booleans `true` and `false`, `1` and `0`, `yes` and `no`, `on` and `off`.

## `larder serve`
Each is an environment variable, a line of `.env`, a key of `larder.toml` (in small letters: `cache_memory`) and a flag
(`--cache-memory`). A flag stands above the environment, that above `.env`, that above `larder.toml`. Secrets and URLs may stand in a file that a variable with
`_FILE` behind its name tells (`JWT_SECRET_FILE=/run/secrets/jwt`). A misspelt variable is a warning, a misspelt key of `larder.toml` and a value that is not accepted end the
start, all of them named at once. `larder config` shows what is in force and where it came from.
";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: &str) -> String {
    std::fs::read_to_string(root().join(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// The settings that `.env.example` names, with the value that stands there, by group.
fn example() -> Vec<(String, Vec<(String, String)>)> {
    let mut groups: Vec<(String, Vec<(String, String)>)> = Vec::new();
    for line in read(".env.example").lines() {
        if let Some(name) = line.strip_prefix(HEADING) {
            groups.push((name.to_owned(), Vec::new()));
        } else if let (Some(rest), Some((_, group))) = (line.strip_prefix('#'), groups.last_mut())
            && let Some((name, value)) = rest.split_once('=')
        {
            let value = value.split(" #").next().unwrap_or_default().trim();
            group.push((name.to_owned(), value.to_owned()));
        }
    }
    groups
}

/// A cell of a table: one line, and no bar that would end it.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").split_whitespace().collect::<Vec<_>>().join(" ")
}

fn code(text: &str) -> String {
    if text.is_empty() { String::new() } else { format!("`{}`", cell(text)) }
}

fn default_of(setting: &Setting) -> String {
    let elsewhere = ELSEWHERE.iter().find(|(name, _)| *name == setting.name);
    match (setting.default, elsewhere) {
        (_, Some((_, value))) => code(value),
        (Fallback::Unset, _) => "unset".to_owned(),
        (Fallback::Always(text), _) => code(text),
        (Fallback::Modes { development, production }, _) => {
            let production = if production.is_empty() { "none".to_owned() } else { code(production) };
            format!("{}; in production {production}", code(development))
        }
    }
}

fn settings(page: &mut String) -> std::fmt::Result {
    for (group, names) in example() {
        writeln!(
            page,
            "\n### {group}\n| variable | default | accepted | what it is |\n| --- | --- | --- | --- |"
        )?;
        for (name, _) in names {
            let setting = super::declared::by_name(&name).expect("the example names no other");
            let secret = if setting.secrecy == Secrecy::Hidden { " (never shown)" } else { "" };
            let (form, meaning) = (cell(&(setting.form)()), cell(setting.meaning));
            writeln!(page, "| `{name}` | {} | {form} | {meaning}{secret} |", default_of(setting))?;
        }
    }
    writeln!(
        page,
        "\n### how long answers are kept\nIn the table `[ttl]` of `larder.toml` only: a duration of more than zero (`campaigns = \"5m\"`).\n"
    )?;
    writeln!(page, "| endpoint | default | at most |\n| --- | --- | --- |")?;
    for endpoint in Endpoint::ALL {
        let (name, ttl, longest) = (endpoint.name(), endpoint.default_ttl(), endpoint.longest_ttl());
        writeln!(page, "| `{name}` | {} | {} |", human(ttl), human(longest))?;
    }
    Ok(())
}

/// The arguments of a command, and of those below it, that are no settings.
fn own_arguments(page: &mut String, above: &str, command: &Command) -> std::fmt::Result {
    let name = format!("{above} {}", command.get_name());
    let is_own = |arg: &&Arg| super::declared::by_name(arg.get_id().as_str()).is_none();
    let own: Vec<&Arg> = command.get_arguments().filter(is_own).collect();
    if !own.is_empty() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        writeln!(
            page,
            "\n### `{name}`\n{about}.\n\n| argument | default | what it is |\n| --- | --- | --- |"
        )?;
    }
    for arg in own {
        let value = arg.get_value_names().map(|names| names[0].to_string()).unwrap_or_default();
        let takes = arg.get_action().takes_values();
        let shown = match arg.get_long() {
            Some(long) if takes => format!("--{long} {value}"),
            Some(long) => format!("--{long}"),
            None => value,
        };
        let default: Vec<_> = arg.get_default_values().iter().map(|text| text.to_string_lossy()).collect();
        let default = if takes { code(&default.join(" ")) } else { String::new() };
        let variable =
            arg.get_env().map(|name| format!(" (`{}`)", name.to_string_lossy())).unwrap_or_default();
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        writeln!(page, "| `{shown}`{variable} | {default} | {} |", cell(&help))?;
    }
    command.get_subcommands().try_for_each(|below| own_arguments(page, &name, below))
}

fn table(page: &mut String, title: &str, about: &str, rows: &[Item]) -> std::fmt::Result {
    writeln!(
        page,
        "\n### {title}\n{about}\n\n| option | takes | what it is, unit, default, limits |\n| --- | --- | --- |"
    )?;
    for row in rows {
        writeln!(page, "| `{}` | {} | {} |", row.name, code(&row.takes), cell(&row.documentation))?;
    }
    Ok(())
}

fn limits(page: &mut String, name: &str, path: &str) -> std::fmt::Result {
    writeln!(page, "\n### {name}\n| limit | value | of what, and why |\n| --- | --- | --- |")?;
    for row in constants(&read(path)) {
        writeln!(page, "| `{}` | {} | {} |", row.name, row.takes, cell(&row.documentation))?;
    }
    Ok(())
}

fn page() -> Result<String, std::fmt::Error> {
    let mut page = HEAD.to_owned();
    settings(&mut page)?;
    writeln!(page, "\n## The commands")?;
    writeln!(
        page,
        "`serve`, `check` and `config` take every setting of above as a flag. The others find a running server by `--url`, `LARDER_URL`, or where `serve` would listen in this directory, and sign in by `--token` or `LARDER_TOKEN`."
    )?;
    for command in Cli::command().get_subcommands() {
        own_arguments(&mut page, "larder", command)?;
    }
    let page = &mut page;
    writeln!(page, "\n## The library")?;
    let cache = read("crates/larder/src/builder.rs");
    table(
        page,
        "A cache: `Cache::builder(namespace)`",
        "The namespace: 1 to 64 letters, digits, `-`, `_` or `.`.",
        &setters(&cache),
    )?;
    let policy = read("crates/larder/src/policy.rs");
    let about = "`Policy::ttl(ttl)`: fresh for `ttl` (more than zero, at most 30 days with the stale time).";
    table(page, "How a value is cached: `Policy`", about, &setters(&policy))?;
    let says = setters(&read("crates/larder/src/loader.rs"));
    let about = "What a loader given to `fetch_with` may say of its own value.";
    table(page, "What a loader may say: `LoadContext`", about, &says)?;
    let redis = read("crates/larder/src/store/redis/config.rs");
    table(page, "Redis: `RedisConfig`", "From a URL, or with these fields.", &fields(&redis, "RedisConfig"))?;
    let live = read("crates/larder-live/src/config.rs");
    let defaults = constants(&read("crates/larder-live/src/limits.rs"));
    let mut rows = fields(&live, "Config");
    for row in &mut rows {
        let named =
            defaults.iter().find(|item| live.contains(&format!("{}: limits::{},", row.name, item.name)));
        if let Some(item) = named {
            row.documentation = format!("{} Default {}.", row.documentation, item.takes);
        }
    }
    table(
        page,
        "Live notifications: `larder_live::Config`",
        "Given to `Live::builder(…).config(…)`.",
        &rows,
    )?;
    let outbox = read("crates/larder-outbox/src/outbox.rs");
    table(page, "The outbox: `Outbox::builder(&cache, pool)`", "", &setters(&outbox))?;
    writeln!(
        page,
        "\n## Limits that are not options\nEvery queue, map and body has a bound. These are fixed."
    )?;
    limits(page, "larder", "crates/larder/src/limits.rs")?;
    limits(page, "larder-live (those in `Config` are defaults)", "crates/larder-live/src/limits.rs")?;
    limits(page, "larder-outbox", "crates/larder-outbox/src/limits.rs")?;
    Ok(std::mem::take(page))
}

#[test]
fn the_page_of_all_options_is_what_the_code_says() {
    let (made, path) = (page().expect("a String can be written to"), root().join("docs/options.md"));
    if std::env::var_os("LARDER_WRITE_DOCS").is_some() {
        std::fs::write(&path, &made).expect("it can be written");
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    let differs =
        made.lines().zip(there.lines().chain(std::iter::repeat(""))).find(|(made, there)| made != there);
    assert!(
        differs.is_none() && made == there,
        "LARDER_WRITE_DOCS=1 writes docs/options.md anew: {differs:#?}"
    );
}

#[test]
fn the_example_file_shows_the_default_of_every_setting() {
    let shown: Vec<(String, String)> = example().into_iter().flat_map(|(_, names)| names).collect();
    assert_eq!(shown.len(), SETTINGS.len());
    for (name, value) in shown {
        let setting = super::declared::by_name(&name).unwrap_or_else(|| panic!("{name} is no setting"));
        let elsewhere = ELSEWHERE.iter().find(|(other, _)| *other == name).map(|(_, value)| *value);
        assert_eq!(
            value,
            elsewhere.unwrap_or(setting.default.text(super::value::Mode::Development)),
            "{name}"
        );
    }
}

#[test]
fn what_the_page_says_of_a_few_options_is_what_their_documentation_says() {
    let page = page().expect("a String can be written to");
    for line in [
        "| `CACHE_MEMORY` | `256mb` | a number with b, kb, mb or gb, such as 64kb or 256mb | Bytes the in-process tier may hold |",
        "| `campaigns` | 5 min |",
        "| `memory` | `u64` | Bytes that the in-process tier may hold. Default 256 MiB, at least 1 MiB. |",
        "| `MAX_KEY_BYTES` | 1 KiB | Bytes of an encoded key. Keys are held per entry and compared on every hit; 1 KiB is far beyond any honest one. |",
        "| `MAX_KEEP` | 30 d |",
    ] {
        assert!(page.contains(line), "{line}");
    }
}
