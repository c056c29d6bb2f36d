//! Takes an upload in, to memory or to a file, before anything else is done with it: nobody who sends slowly holds a
//! transaction.

use std::io::{Seek, SeekFrom, Write};
use std::time::Duration;

use axum::body::Body;
use futures_util::StreamExt;
use larder_http::Problem;
use tempfile::SpooledTempFile;

/// How long an upload may be, in bytes.
pub(super) const UPLOAD_LIMIT: usize = 10 << 20;

/// Up to here an upload is kept in memory.
const IN_MEMORY: usize = 256 << 10;

/// Reads the whole body. What comes back stands at its beginning.
///
/// A write goes to the page cache of the operating system and is as short as a copy, so it is done here rather than
/// on a thread of its own.
pub(super) async fn take_in(body: Body) -> Result<SpooledTempFile, Problem> {
    let mut spool = tempfile::spooled_tempfile(IN_MEMORY);
    let mut length = 0;
    let mut chunks = body.into_data_stream();
    while let Some(chunk) = chunks.next().await {
        let chunk = chunk.map_err(|_| Problem::bad_request("the body ended early"))?;
        length += chunk.len();
        if length > UPLOAD_LIMIT {
            return Err(Problem::too_large(UPLOAD_LIMIT));
        }
        spool.write_all(&chunk).map_err(no_room)?;
    }
    spool.seek(SeekFrom::Start(0)).map_err(no_room)?;
    Ok(spool)
}

/// Says at the start what an upload would find.
pub(crate) fn check() {
    if let Err(error) = tempfile::tempfile() {
        let directory = std::env::temp_dir();
        tracing::warn!(
            setting = "TMPDIR",
            directory = %directory.display(),
            %error,
            "no file can be made in the directory for temporary ones: imports of more than {} kB will be refused",
            IN_MEMORY >> 10
        );
    }
}

/// The file for it can't be made, written or read: a full disk, or a file system without a directory that can be written to.
pub(super) fn no_room(error: std::io::Error) -> Problem {
    tracing::error!(setting = "TMPDIR", directory = %std::env::temp_dir().display(), %error, "an upload can't be kept");
    let detail = "the server has no room for an upload of this size: the directory for temporary files (TMPDIR) can't be used";
    Problem::unavailable(detail).retry_after(Duration::from_secs(60))
}
