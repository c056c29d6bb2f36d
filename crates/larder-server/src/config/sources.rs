//! Where values come from: flags, the environment, `.env`, `larder.toml`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::declared::{self, SETTINGS};
use super::dotenv::{self, Assignment};
use super::problem::Problem;
use super::{nearest, secret_files, ttl};

/// The file in the working directory that holds settings.
pub(crate) const TOML_FILE: &str = "larder.toml";
/// The file in the working directory that stands in for the environment.
pub(crate) const DOTENV_FILE: &str = ".env";

/// Variables that are ours but no settings of the server.
const CLIENT_VARIABLES: [&str; 2] = ["LARDER_URL", "LARDER_TOKEN"];

/// Where a value came from, strongest last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Source {
    /// Nobody said anything.
    Default,
    /// `larder.toml`.
    Toml,
    /// The file that a variable names, as `JWT_SECRET_FILE` does.
    File,
    /// This line of `.env`.
    Dotenv(usize),
    /// An environment variable.
    Environment,
    /// A flag of the command line.
    Flag,
}

impl Source {
    /// Lines of one file are equally strong.
    pub(crate) fn is_as_strong_as(self, other: Self) -> bool {
        self >= other || matches!((self, other), (Self::Dotenv(_), Self::Dotenv(_)))
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::Toml => f.write_str(TOML_FILE),
            Self::Dotenv(line) => write!(f, "{DOTENV_FILE} line {line}"),
            Self::Environment => f.write_str("environment"),
            Self::File => f.write_str("file"),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// The texts of all sources, not yet read as values.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sources {
    /// By variable name.
    pub(crate) flags: BTreeMap<&'static str, String>,
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) dotenv: Vec<Assignment>,
    /// Secrets from files, by variable name.
    pub(crate) files: BTreeMap<&'static str, String>,
    /// By variable name.
    pub(crate) toml: BTreeMap<&'static str, String>,
    /// By TTL name.
    pub(crate) ttl: BTreeMap<&'static str, String>,
    /// What was wrong already with the files as such.
    pub(crate) problems: Vec<Problem>,
}

impl Sources {
    /// Those of this process, with the files of `directory`.
    pub(crate) fn of_process(flags: BTreeMap<&'static str, String>, directory: &Path) -> Self {
        let mut sources = Self { flags, ..Self::default() };
        for (name, value) in std::env::vars_os() {
            let (Some(name), value) = (name.to_str(), value.to_string_lossy()) else { continue };
            sources.environment.insert(name.to_owned(), value.into_owned());
        }
        if let Some(text) = sources.file(directory, DOTENV_FILE) {
            sources.read_dotenv(&text);
        }
        if let Some(text) = sources.file(directory, TOML_FILE) {
            sources.read_toml(&text);
        }
        sources.read_secret_files();
        sources
    }

    /// Takes the secrets from the files that variables name.
    pub(crate) fn read_secret_files(&mut self) {
        let (texts, problems) = secret_files::read(self);
        self.files = texts;
        self.problems.extend(problems);
    }

    fn file(&mut self, directory: &Path, name: &'static str) -> Option<String> {
        match std::fs::read_to_string(directory.join(name)) {
            Ok(text) => Some(text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => None,
            // A directory called .env is a virtual environment of Python, and none of our business.
            Err(error) if error.kind() == std::io::ErrorKind::IsADirectory => None,
            Err(error) => {
                self.problems.push(Problem::new(name, format!("can't be read ({error})")));
                None
            }
        }
    }

    /// Takes the assignments of a `.env` file.
    pub(crate) fn read_dotenv(&mut self, text: &str) {
        let (assignments, bad) = dotenv::parse(text);
        self.dotenv = assignments;
        for (line, why) in bad {
            let problem = Problem::new(format!("{DOTENV_FILE} line {line}"), why);
            self.problems.push(problem.accepted("NAME=value, NAME=\"value\" or # comment"));
        }
    }

    /// Takes the values of a `larder.toml`.
    pub(crate) fn read_toml(&mut self, text: &str) {
        let table = match text.parse::<toml::Table>() {
            Ok(table) => table,
            Err(error) => {
                let error = error.to_string();
                self.problems.push(Problem::new(TOML_FILE, format!("is no TOML: {}", error.trim_end())));
                return;
            }
        };
        for (key, value) in &table {
            if key == "ttl" {
                self.read_ttl(value);
                continue;
            }
            let Some(setting) = declared::by_key(key) else {
                let known = SETTINGS.iter().map(|setting| setting.key).chain(["ttl"]);
                self.problems.push(unknown(format!("{TOML_FILE} key {key}"), nearest::best(key, known)));
                continue;
            };
            match toml_text(value) {
                Some(text) => drop(self.toml.insert(setting.name, text)),
                None => {
                    let problem = Problem::new(format!("{TOML_FILE} key {key}"), "is no single value");
                    self.problems.push(problem.accepted((setting.form)()));
                }
            }
        }
    }

    fn read_ttl(&mut self, value: &toml::Value) {
        let Some(table) = value.as_table() else {
            let problem = Problem::new(format!("{TOML_FILE} key ttl"), "is no table");
            self.problems.push(problem.accepted("[ttl] with lines such as campaigns = \"5m\""));
            return;
        };
        for (name, value) in table {
            let Some(known) = ttl::names().find(|known| known == name) else {
                let hint = nearest::best(name, ttl::names());
                self.problems.push(unknown(format!("{TOML_FILE} key ttl.{name}"), hint));
                continue;
            };
            let text = toml_text(value).unwrap_or_else(|| value.to_string());
            self.ttl.insert(known, text);
        }
    }

    /// The strongest text for the variable `name`. An empty one counts only where `empty_counts`.
    pub(crate) fn find(&self, name: &str, empty_counts: bool) -> Option<(&str, Source)> {
        let counts = |text: &&str| empty_counts || !text.is_empty();
        let flag = self.flags.get(name).map(|text| (text.trim(), Source::Flag));
        let environment = || self.environment.get(name).map(|text| (text.trim(), Source::Environment));
        let dotenv = || {
            // The last assignment holds, as in a shell.
            let found = self.dotenv.iter().rev().find(|assignment| assignment.name == name)?;
            Some((found.value.trim(), Source::Dotenv(found.line)))
        };
        let file = || self.files.get(name).map(|text| (text.as_str(), Source::File));
        let toml = || self.toml.get(name).map(|text| (text.trim(), Source::Toml));
        let usable = |found: Option<_>| found.filter(|(text, _)| counts(text));
        usable(flag)
            .or_else(|| usable(environment()))
            .or_else(|| usable(dotenv()))
            .or_else(|| usable(file()))
            .or_else(|| usable(toml()))
    }

    /// Variables that look like misspelt ones of ours.
    pub(crate) fn misspelt(&self) -> Vec<String> {
        let known = || SETTINGS.iter().map(|setting| setting.name).chain(CLIENT_VARIABLES);
        let environment = self.environment.keys().map(|name| (name, Source::Environment));
        let dotenv = self.dotenv.iter().map(|line| (&line.name, Source::Dotenv(line.line)));
        environment
            .chain(dotenv)
            .filter(|(name, _)| !known().any(|known| known == *name))
            .filter(|(name, _)| !secret_files::variables().any(|(_, variable)| variable == **name))
            .filter_map(|(name, source)| {
                let meant = nearest::misspelt(name, known())?;
                Some(format!("{name} ({source}) is no setting and has no effect; did you mean {meant}?"))
            })
            .collect()
    }
}

fn unknown(subject: String, hint: Option<&str>) -> Problem {
    let hint = hint.map(|name| format!("; did you mean {name}?")).unwrap_or_default();
    Problem::new(subject, format!("is unknown{hint}"))
}

/// The text that the same value would have in an environment variable.
fn toml_text(value: &toml::Value) -> Option<String> {
    match value {
        toml::Value::String(text) => Some(text.clone()),
        toml::Value::Integer(number) => Some(number.to_string()),
        toml::Value::Float(number) => Some(number.to_string()),
        toml::Value::Boolean(truth) => Some(truth.to_string()),
        toml::Value::Array(items) => items
            .iter()
            .map(|item| if item.is_array() { None } else { toml_text(item) })
            .collect::<Option<Vec<_>>>()
            .map(|items| items.join(",")),
        toml::Value::Datetime(_) | toml::Value::Table(_) => None,
    }
}
