//! One module for each verb of the command line.

pub(crate) mod bench;
pub(crate) mod check;
pub(crate) mod clear;
pub(crate) mod config;
pub(crate) mod crawl;
pub(crate) mod health;
pub(crate) mod keys;
pub(crate) mod outbox;
pub(crate) mod serve;
pub(crate) mod stats;
mod table;
pub(crate) mod tail;
pub(crate) mod top;
pub(crate) mod user;

use std::io::{self, Write};

use crate::failure::Failure;

/// Writes data to standard output. A reader that has gone (`larder keys | head`) is no failure, but nothing more is written.
pub(crate) fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(Failure::new(format!("standard output can't be written: {error}")))
        }
        _ => Ok(()),
    }
}
