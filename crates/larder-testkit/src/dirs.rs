//! Temporary directories and copies of them.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

/// A directory that goes when it is dropped, unless `LARDER_TESTKIT_KEEP` is set.
pub(crate) fn temporary(purpose: &str) -> tempfile::TempDir {
    let keep = std::env::var_os("LARDER_TESTKIT_KEEP").is_some_and(|value| !value.is_empty() && value != "0");
    let dir = tempfile::Builder::new()
        .prefix(&format!("larder-{purpose}-"))
        .disable_cleanup(keep)
        .permissions(std::fs::Permissions::from_mode(0o700))
        .tempdir_in(base())
        .unwrap_or_else(|e| panic!("cannot make a temporary directory: {e}"));
    if keep {
        eprintln!("larder-testkit keeps {}", dir.path().display());
    }
    dir
}

/// `TMPDIR`, unless a server under another user could not reach it (then `/tmp`) or a Unix socket in it would have too long a name.
fn base() -> PathBuf {
    let wished = std::env::temp_dir();
    let open_to_all = |dir: &Path| dir.metadata().is_ok_and(|m| m.permissions().mode() & 0o001 != 0);
    if wished.ancestors().all(open_to_all) && wished.as_os_str().len() < 60 {
        wished
    } else {
        PathBuf::from("/tmp")
    }
}

/// Copies the files and directories of `from` into the new directory `to`.
pub(crate) fn copy(from: &Path, to: &Path) -> io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            copy(&entry.path(), &target)?;
        } else {
            fs::copy(entry.path(), target)?;
        }
    }
    fs::set_permissions(to, from.metadata()?.permissions())
}

/// Gives `path` and all below it to a user.
pub(crate) fn give(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    std::os::unix::fs::lchown(path, Some(uid), Some(gid))?;
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), uid, gid)?;
        }
    }
    Ok(())
}

/// Removes what is in a directory, not the directory.
pub(crate) fn empty(dir: &Path) -> io::Result<()> {
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?
        } else {
            fs::remove_file(entry.path())?
        }
    }
    Ok(())
}

/// An executable of `PATH`.
pub(crate) fn in_path(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|dir| dir.join(program)).find(|file| file.is_file())
}
