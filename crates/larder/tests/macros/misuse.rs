//! Misuse: each file of `tests/ui` must not compile, and its `.stderr` is what the compiler has to say.
//!
//! They are compiled against the very library that this test is linked with, which costs half a second a file; trybuild
//! would build the library and all it needs once more, for minutes.
//!
//! After an intended change: `OVERWRITE=1 cargo test -p larder --test macros misuse`, then read the difference.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

/// The compiler that `tests/ui/compiler` was written with.
const COMPILER: &str = "rustc 1.95.";

#[test]
fn misuse_is_explained() {
    check("tests/ui");
}

/// The wording of these is the compiler's own. Another one can only be held to refuse them.
#[test]
fn what_a_type_lacks_is_said_where_it_stands() {
    check("tests/ui/compiler");
}

fn check(folder: &str) {
    let package = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> =
        fs::read_dir(package.join(folder)).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|file| file.extension() == Some(OsStr::new("rs")));
    assert!(!files.is_empty(), "{folder} is empty");
    files.sort();
    let library = library();
    let exact = !folder.ends_with("compiler") || version().starts_with(COMPILER);
    let mut wrong = Vec::new();
    for file in files {
        let said = said_of(file.strip_prefix(package).unwrap(), package, &library);
        let expected = file.with_extension("stderr");
        if env::var_os("OVERWRITE").is_some() {
            fs::write(&expected, &said).unwrap();
        } else if exact && fs::read_to_string(&expected).unwrap_or_default() != said {
            wrong.push(format!("{} now says:\n{said}", file.display()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// The newest build of the library, beside this test. What was built last is what this test was built with, or was
/// built of the same source.
fn library() -> PathBuf {
    let test = env::current_exe().unwrap();
    let folder = test.parent().unwrap();
    let is_library = |path: &PathBuf| {
        let name = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
        name.starts_with("liblarder-") && name.ends_with(".rlib")
    };
    let builds = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).filter(is_library);
    let newest = builds.max_by_key(|path| path.metadata().unwrap().modified().unwrap());
    newest.unwrap_or_else(|| panic!("no liblarder-*.rlib in {}", folder.display()))
}

fn compiler() -> Command {
    Command::new(env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()))
}

fn version() -> String {
    String::from_utf8(compiler().arg("--version").output().unwrap().stdout).unwrap()
}

/// What the compiler says of a file, without what differs from place to place.
fn said_of(file: &Path, package: &Path, library: &Path) -> String {
    let output = compiler()
        .current_dir(package)
        .args([
            "--edition=2024",
            "--crate-type=bin",
            "--emit=metadata=-",
            "--cap-lints=allow",
            "--color=never",
        ])
        .arg("--extern")
        .arg(format!("larder={}", library.display()))
        .arg("-L")
        .arg(format!("dependency={}", library.parent().unwrap().display()))
        .arg(file)
        .output()
        .unwrap();
    assert!(!output.status.success(), "{} compiles", file.display());
    normal(&String::from_utf8(output.stderr).unwrap(), file)
}

/// Leaves out the summary, line numbers of the library, and what else implements a trait: they change with the library
/// and with the features of its dependencies.
fn normal(said: &str, file: &Path) -> String {
    const SUMMARY: [&str; 3] =
        ["error: aborting due to", "Some errors have detailed explanations", "For more information about"];
    let mut lines = Vec::new();
    let mut listing = false;
    for line in said.lines().filter(|line| !SUMMARY.iter().any(|start| line.starts_with(start))) {
        listing = match listing {
            true => !line.trim_start().starts_with("and ") && line.starts_with("         "),
            false => line.contains("= help: the following other types implement trait"),
        };
        if listing || line.trim_start().starts_with("and ") {
            continue;
        }
        lines.push(match line.split_once("--> ") {
            Some((arrow, place)) if !place.starts_with(file.to_str().unwrap()) => {
                format!("{arrow}--> {}", place.split(':').next().unwrap_or(place))
            }
            _ => line.to_owned(),
        });
    }
    format!("{}\n", lines.join("\n").trim_end())
}
