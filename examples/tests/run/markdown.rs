//! The blocks of a page.

use std::path::{Path, PathBuf};

/// What stands between two fences.
#[derive(Debug)]
pub(crate) struct Block {
    /// What follows the opening fence: the language, then words.
    pub(crate) info: String,
    pub(crate) lines: Vec<String>,
    /// The line of the opening fence, from 1.
    pub(crate) at: usize,
}

impl Block {
    /// The first word after the fence.
    pub(crate) fn language(&self) -> &str {
        self.info.split([' ', ',']).next().unwrap_or_default()
    }
}

/// All blocks of a page, in order.
///
/// # Panics
/// Where a fence is not closed.
pub(crate) fn blocks(page: &str) -> Vec<Block> {
    let mut blocks = Vec::new();
    let mut lines = page.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        let Some(info) = line.trim_start().strip_prefix("```") else { continue };
        let indent = line.len() - line.trim_start().len();
        let mut block = Block { info: info.trim().to_owned(), lines: Vec::new(), at: at + 1 };
        loop {
            let (_, line) =
                lines.next().unwrap_or_else(|| panic!("the fence of line {} is not closed", at + 1));
            if line.trim() == "```" {
                break;
            }
            block.lines.push(line.get(indent..).unwrap_or_default().to_owned());
        }
        blocks.push(block);
    }
    blocks
}

/// The repository.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .find(|path| path.join("deny.toml").exists())
        .unwrap()
        .to_owned()
}
