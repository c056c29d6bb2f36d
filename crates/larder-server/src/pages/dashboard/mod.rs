//! The dashboard: one page over the server's own overview and its stream.

use super::files::{CSS, File, SCRIPT};

/// The page. It is told whether it was given out for the asking, and whether there are sample logins.
pub(super) const PAGE: &str = include_str!("index.html");

/// Its parts. The charts are drawn by uPlot, whose version, checksum and licence are beside it.
pub(super) const FILES: [File; 17] = [
    File::new("/assets/dashboard/base.css", CSS, include_str!("base.css")),
    File::new("/assets/dashboard/panels.css", CSS, include_str!("panels.css")),
    File::new("/assets/dashboard/keys.css", CSS, include_str!("keys.css")),
    File::new("/assets/dashboard/uplot.js", SCRIPT, include_str!("vendor/uplot.js")),
    File::new(
        "/assets/dashboard/uplot.LICENSE",
        "text/plain; charset=utf-8",
        include_str!("vendor/uplot.LICENSE"),
    ),
    File::new("/assets/dashboard/theme.js", SCRIPT, include_str!("theme.js")),
    File::new("/assets/dashboard/app.js", SCRIPT, include_str!("app.js")),
    File::new("/assets/dashboard/session.js", SCRIPT, include_str!("session.js")),
    File::new("/assets/dashboard/stream.js", SCRIPT, include_str!("stream.js")),
    File::new("/assets/dashboard/format.js", SCRIPT, include_str!("format.js")),
    File::new("/assets/dashboard/charts.js", SCRIPT, include_str!("charts.js")),
    File::new("/assets/dashboard/summary.js", SCRIPT, include_str!("summary.js")),
    File::new("/assets/dashboard/node.js", SCRIPT, include_str!("node.js")),
    File::new("/assets/dashboard/tables.js", SCRIPT, include_str!("tables.js")),
    File::new("/assets/dashboard/recent.js", SCRIPT, include_str!("recent.js")),
    File::new("/assets/dashboard/keys.js", SCRIPT, include_str!("keys.js")),
    File::new("/assets/dashboard/invalidate.js", SCRIPT, include_str!("invalidate.js")),
];

/// The page for somebody who may see it, or has to sign in first.
pub(super) fn page(open: bool, samples: bool) -> String {
    let word = |is| if is { "yes" } else { "no" };
    PAGE.replace("{open}", word(open)).replace("{samples}", word(samples))
}
