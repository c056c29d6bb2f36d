//! The script that makes secrets.

use crate::production::repository;
use crate::server::Dir;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Runs it, and gives the exit code.
pub(crate) fn make(arguments: &[&str]) -> Option<i32> {
    let script = repository().join("deploy/make-secrets.sh");
    Command::new("sh").arg(script).args(arguments).output().unwrap().status.code()
}

fn read(dir: &Path, name: &str) -> String {
    std::fs::read_to_string(dir.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn mode(path: &Path) -> u32 {
    std::fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Nobody but the owner can read what is there.
fn is_private(dir: &Path) {
    assert_eq!(mode(dir), 0o700, "{}", dir.display());
    for name in names(dir) {
        assert_eq!(mode(&dir.join(&name)), 0o600, "{name}");
    }
}

#[test]
fn secrets_are_made_once_where_there_was_no_directory_and_for_nobody_else() {
    let dir = Dir::new();
    let place = dir.path().join("etc/larder");
    let place_name = place.to_str().unwrap();
    assert_eq!(make(&[place_name]), Some(0));
    is_private(&place);
    assert_eq!(names(&place), ["jwt_secret", "jwt_secret_previous", "metrics_token"]);
    let all: Vec<String> = names(&place).iter().map(|name| read(&place, name)).collect();
    assert!(all.iter().all(|secret| secret.trim().len() == 48), "{all:?}");
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
    assert_eq!(make(&[place_name]), Some(0));
    assert_eq!(names(&place).iter().map(|name| read(&place, name)).collect::<Vec<_>>(), all, "they are kept");
    assert_eq!(make(&["--nonsense"]), Some(2));
    assert_eq!(make(&["--rotate", "database_url", place_name]), Some(2));
}

/// The arguments of compose.yaml, in directories of this test, for the user that runs it.
fn of_compose(dir: &Path) -> (Vec<String>, PathBuf, PathBuf) {
    let compose = crate::deployment::text("compose.yaml");
    let line = compose.lines().find(|line| line.contains("/make-secrets.sh\", ")).unwrap();
    let words: Vec<String> = serde_json::from_str(line.split_once(": ").unwrap().1).unwrap();
    assert_eq!(words[..2], ["sh", "/make-secrets.sh"]);
    let (larder, postgres) = (dir.join("larder"), dir.join("postgres"));
    let me = std::fs::metadata(dir).unwrap().uid().to_string();
    let here = words[2..].iter().map(|word| match word.as_str() {
        "/run/larder" => larder.to_str().unwrap().to_owned(),
        "/run/postgres" => postgres.to_str().unwrap().to_owned(),
        uid if uid.parse::<u32>().is_ok() => me.clone(),
        word => word.to_owned(),
    });
    (here.collect(), larder, postgres)
}

#[test]
fn compose_gives_postgresql_its_own_password_and_nothing_else_and_rotation_keeps_what_belongs_together() {
    let dir = Dir::new();
    let (arguments, larder, postgres) = of_compose(dir.path());
    let run = |more: &[&str]| {
        make(&arguments.iter().map(String::as_str).chain(more.iter().copied()).collect::<Vec<_>>())
    };
    let fits = || {
        let password = read(&larder, "postgres_password");
        assert_eq!(read(&postgres, "postgres_password"), password);
        let url = format!("postgres://larder:{}@postgres:5432/larder\n", password.trim());
        assert_eq!(read(&larder, "database_url"), url);
        password
    };
    assert_eq!(run(&[]), Some(0));
    is_private(&larder);
    is_private(&postgres);
    assert_eq!(names(&postgres), ["postgres_password"]);
    let (password, secret, token) = (fits(), read(&larder, "jwt_secret"), read(&larder, "metrics_token"));

    assert_eq!(run(&["--rotate", "jwt_secret"]), Some(0));
    assert_eq!(read(&larder, "jwt_secret_previous"), secret);
    assert_ne!(read(&larder, "jwt_secret"), secret);
    assert_eq!(run(&["--rotate", "metrics_token"]), Some(0));
    assert_ne!(read(&larder, "metrics_token"), token);
    assert_eq!(fits(), password, "the others stay");
    assert_eq!(run(&["--rotate", "postgres_password"]), Some(0));
    assert_ne!(fits(), password);
}
