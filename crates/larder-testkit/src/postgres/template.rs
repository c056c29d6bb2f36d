//! A data directory made once and copied for each server: `initdb` takes a second or more, a copy some 50 ms.

use super::install::Install;
use crate::dirs;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Fills the new directory `data`, which belongs to the user of the server afterwards.
pub(super) fn data_directory(install: &Install, data: &Path) {
    match cache() {
        None => initdb(install, data),
        Some(cache) => {
            let template = cached(install, &cache);
            dirs::copy(&template, data).unwrap_or_else(|e| panic!("cannot copy {}: {e}", template.display()));
        }
    }
    install.own(data);
}

/// The template in the cache, made by whoever comes first.
fn cached(install: &Install, cache: &Path) -> PathBuf {
    let template = cache.join(install.version());
    let make = || -> io::Result<()> {
        std::fs::create_dir_all(cache)?;
        let lock = File::create(cache.join("lock"))?;
        // Released when the file is closed, also by a process that dies.
        lock.lock()?;
        if template.exists() {
            return Ok(());
        }
        // Made elsewhere first: PostgreSQL's user may not reach the cache, and a template is there whole or not at all.
        let made = dirs::temporary("initdb");
        install.own(made.path());
        initdb(install, &made.path().join("data"));
        let beside = cache.join("incomplete");
        if beside.exists() {
            std::fs::remove_dir_all(&beside)?;
        }
        dirs::copy(&made.path().join("data"), &beside)?;
        std::fs::rename(&beside, &template)
    };
    make().unwrap_or_else(|e| panic!("cannot make a PostgreSQL template in {}: {e}", cache.display()));
    template
}

/// Below the `target` directory of the running test, which Cargo marks as a cache; elsewhere nothing is kept.
fn cache() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?;
    let target = program.ancestors().find(|dir| dir.join("CACHEDIR.TAG").is_file())?;
    Some(target.join("larder-testkit/postgres"))
}

fn initdb(install: &Install, data: &Path) {
    let mut command = Command::new(install.program("initdb"));
    command.args(["--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]);
    // The smallest segments: a template of 40 MB becomes one of 24.
    command.args(["--no-instructions", "--wal-segsize=1", "--pgdata"]).arg(data);
    command.current_dir("/").stdin(Stdio::null());
    install.run_as_user(&mut command);
    let output = command.output().unwrap_or_else(|e| panic!("cannot run initdb: {e}"));
    assert!(output.status.success(), "initdb failed: {}", String::from_utf8_lossy(&output.stderr));
}
