//! Where PostgreSQL is on this machine, and as whom it may run.

use crate::dirs;
use crate::process::missing;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs of one PostgreSQL installation.
#[derive(Clone, Debug)]
pub(super) struct Install {
    bin: PathBuf,
    /// Set where we are root, as whom PostgreSQL refuses to run.
    pub(super) user: Option<(u32, u32)>,
}

impl Install {
    /// The newest below `/usr/lib/postgresql`, else the one in `PATH`.
    pub(super) fn find() -> Self {
        let debian = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
        let version = |dir: &PathBuf| dir.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
        let newest = debian
            .map(|entry| entry.path())
            .filter(|dir| dir.join("bin/initdb").is_file())
            .max_by_key(version);
        let in_path = || Some(dirs::in_path("initdb")?.parent()?.to_owned());
        let bin = newest.map(|dir| dir.join("bin")).or_else(in_path);
        let bin = bin.unwrap_or_else(|| missing("PostgreSQL (initdb)", "postgresql"));
        Self { bin, user: unprivileged() }
    }

    pub(super) fn program(&self, name: &str) -> PathBuf {
        self.bin.join(name)
    }

    pub(super) fn run_as_user(&self, command: &mut Command) {
        if let Some((uid, gid)) = self.user {
            command.uid(uid).gid(gid);
        }
    }

    /// Makes `path` the server's own.
    pub(super) fn own(&self, path: &Path) {
        if let Some((uid, gid)) = self.user {
            dirs::give(path, uid, gid).unwrap_or_else(|e| panic!("cannot give {} away: {e}", path.display()));
        }
    }

    /// A name under which the data directory of this version can be kept.
    pub(super) fn version(&self) -> String {
        let output = Command::new(self.program("postgres")).arg("--version").output();
        let output = output.unwrap_or_else(|e| panic!("cannot run postgres: {e}"));
        let text = String::from_utf8_lossy(&output.stdout);
        text.chars().map(|c| if c.is_ascii_alphanumeric() || c == '.' { c } else { '-' }).collect()
    }
}

fn unprivileged() -> Option<(u32, u32)> {
    if !nix::unistd::geteuid().is_root() {
        return None;
    }
    let known = |name| nix::unistd::User::from_name(name).ok().flatten();
    let user = known("postgres").or_else(|| known("nobody"));
    let user = user.unwrap_or_else(|| {
        panic!("PostgreSQL does not run as root, and there is no user postgres or nobody")
    });
    Some((user.uid.as_raw(), user.gid.as_raw()))
}
