//! Secrets from files: where `JWT_SECRET_FILE` names one, its text is the value of `JWT_SECRET`. So containers get what
//! must stand neither in their image nor in their environment.

use std::collections::BTreeMap;

use super::declared::SETTINGS;
use super::problem::Problem;
use super::sources::Sources;
use super::value::Secrecy;

/// What stands behind a variable's name where a file holds the value.
const SUFFIX: &str = "_FILE";
/// No secret is longer; a wrong path may name a disk.
const LONGEST: u64 = 64 << 10;

/// The variables that may name a file: those whose value is not shown.
pub(super) fn variables() -> impl Iterator<Item = (&'static str, String)> {
    let hidden = SETTINGS.iter().filter(|setting| setting.secrecy != Secrecy::Open);
    hidden.map(|setting| (setting.name, format!("{}{SUFFIX}", setting.name)))
}

/// Reads the files that the environment or `.env` names.
pub(super) fn read(sources: &Sources) -> (BTreeMap<&'static str, String>, Vec<Problem>) {
    let (mut texts, mut problems) = (BTreeMap::new(), Vec::new());
    for (name, variable) in variables() {
        let Some((path, _)) = sources.find(&variable, false) else { continue };
        if sources.find(name, false).is_some() {
            let both = format!("is set beside {name}: one of the two is meant");
            problems.push(Problem::new(variable, both));
            continue;
        }
        match text_of(path) {
            Ok(text) => drop(texts.insert(name, text)),
            Err(why) => problems.push(Problem::new(variable, format!("names {path}, which {why}"))),
        }
    }
    (texts, problems)
}

fn text_of(path: &str) -> Result<String, String> {
    use std::io::Read;
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(|error| format!("can't be opened ({error})"))?;
    let read = file.take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| format!("can't be read ({error})"))?;
    match text.trim() {
        "" => Err("is empty".to_owned()),
        text => Ok(text.to_owned()),
    }
}
