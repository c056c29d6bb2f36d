//! The code that the pages show is code that is compiled and run: each Rust block of `docs/` stands, line for line, in a
//! file under `examples/`. Between two parts of one file a block may leave something out with a line `// …`.

use crate::markdown::{Block, blocks, root};
use std::path::{Path, PathBuf};

fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for path in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if path.is_dir() {
            if path.file_name().is_some_and(|name| name != "target") {
                files(&path, extension, found);
            }
        } else if path.extension().is_some_and(|other| other == extension) {
            found.push(path);
        }
    }
}

/// Where `part` begins to stand in `text`, from `from` on, every line indented by as much more.
fn find(text: &[&str], part: &[String], from: usize) -> Option<usize> {
    let blank = |line: &str| line.len() - line.trim_start().len();
    (from..=text.len().checked_sub(part.len())?).find(|at| {
        let Some(by) = blank(text[*at]).checked_sub(blank(&part[0])) else { return false };
        let same = |(line, wanted): (&&str, &String)| match wanted.trim().is_empty() {
            true => line.trim().is_empty(),
            false => line.len() >= by && line[..by].trim().is_empty() && line[by..] == **wanted,
        };
        text[*at..].iter().zip(part).all(same)
    })
}

fn is_in(text: &str, block: &Block) -> bool {
    let text: Vec<&str> = text.lines().collect();
    let mut at = 0;
    for part in block.lines.split(|line| line.trim() == "// …").filter(|part| !part.is_empty()) {
        match find(&text, part, at) {
            Some(found) => at = found + part.len(),
            None => return false,
        }
    }
    true
}

#[test]
fn every_rust_block_of_the_documentation_is_compiled_and_run() {
    let (mut pages, mut sources) = (Vec::new(), Vec::new());
    files(&root().join("docs"), "md", &mut pages);
    files(&root().join("examples"), "rs", &mut sources);
    let sources: Vec<String> = sources.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let (mut missing, mut shown) = (Vec::new(), 0);
    for page in pages {
        let text = std::fs::read_to_string(&page).unwrap();
        for block in blocks(&text).into_iter().filter(|block| block.language() == "rust") {
            shown += 1;
            if !sources.iter().any(|source| is_in(source, &block)) {
                missing.push(format!("{}:{}", page.display(), block.at));
            }
        }
    }
    assert!(missing.is_empty(), "in no file under examples/: {missing:#?}");
    assert!(shown >= 30, "{shown} blocks");
}

/// What GitHub makes of a heading.
fn anchor(heading: &str) -> String {
    let kept = heading.trim().chars().filter(|c| c.is_alphanumeric() || " -_".contains(*c));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The targets of the links of a page.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

#[test]
fn every_link_between_the_pages_leads_somewhere() {
    let mut pages =
        vec![root().join("README.md"), root().join("CONTRIBUTING.md"), root().join("ARCHITECTURE.md")];
    files(&root().join("docs"), "md", &mut pages);
    files(&root().join("examples"), "md", &mut pages);
    let (mut broken, mut tried) = (Vec::new(), 0);
    for page in &pages {
        let text = std::fs::read_to_string(page).unwrap();
        for link in links(&text).filter(|link| !link.contains("://") && !link.starts_with("mailto:")) {
            tried += 1;
            let (path, wanted) = link.split_once('#').unwrap_or((link, ""));
            let target = if path.is_empty() { page.clone() } else { page.parent().unwrap().join(path) };
            let headings = match std::fs::read_to_string(&target) {
                Ok(text) => text
                    .lines()
                    .filter_map(|line| line.strip_prefix('#'))
                    .map(|h| anchor(h.trim_start_matches('#')))
                    .collect(),
                Err(_) if target.is_dir() => Vec::new(),
                Err(_) => vec!["(no such file)".to_owned()],
            };
            let is_there =
                target.exists() && (wanted.is_empty() || headings.iter().any(|heading| heading == wanted));
            if !is_there {
                broken.push(format!("{}: {link}", page.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{broken:#?}");
    assert!(tried >= 100, "{tried} links");
}

/// Text with one blank where there were several, and string literals that go on in the next line put together.
fn in_one_line(source: &str) -> String {
    source.replace("\\\n", "").split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn every_message_that_troubleshooting_quotes_is_one_that_the_program_has() {
    let mut sources = Vec::new();
    for folder in ["crates", "apps"] {
        files(&root().join(folder), "rs", &mut sources);
    }
    let all: String =
        sources.iter().map(|path| in_one_line(&std::fs::read_to_string(path).unwrap())).collect();
    let page = std::fs::read_to_string(root().join("docs/troubleshooting.md")).unwrap();
    let table = page.lines().filter(|line| line.starts_with("| ")).collect::<Vec<_>>().join("\n");
    let quoted: Vec<&str> = table.split('"').skip(1).step_by(2).filter(|text| text.contains(' ')).collect();
    let missing: Vec<_> = quoted.iter().filter(|text| !all.contains(**text)).collect();
    assert!(missing.is_empty(), "{missing:#?}");
    assert!(quoted.len() >= 20, "{quoted:?}");
}

/// The rights after the keys and channels, to the end of the command.
fn rights<'a>(text: &'a str, channels: &str) -> &'a str {
    let (_, rest) = text.split_once(channels).unwrap();
    rest.split(['`', '"', '\n']).next().unwrap().trim()
}

#[test]
fn the_rights_that_the_pages_ask_for_are_those_that_larder_is_tested_with() {
    let tests = std::fs::read_to_string(root().join("crates/larder/tests/redis/secured.rs")).unwrap();
    let tests = in_one_line(&tests);
    let tested = rights(&tests, "&ld1:ns:* ");
    for page in ["production.md", "servers.md"] {
        let text = std::fs::read_to_string(root().join("docs").join(page)).unwrap();
        assert_eq!(rights(&text, "&ld1:larder:* "), tested, "{page}");
    }
    let logs = root().join("crates/larder/tests/engine/event_log/servers.rs");
    let logs = in_one_line(&std::fs::read_to_string(logs).unwrap());
    assert_eq!(rights(&logs, "&ld1:test:* "), tested);
}

/// The figure in µs that follows `what` in the line of the page that begins with `line`.
fn microseconds<'a>(page: &'a str, line: &str, what: &str) -> &'a str {
    let line = page.lines().find(|text| text.starts_with(line)).unwrap_or_else(|| panic!("no {line}"));
    let (_, rest) = line.split_once(what).unwrap_or_else(|| panic!("no {what} in {line}"));
    let figure = rest.trim_start_matches(|c: char| !c.is_ascii_digit()).split(" µs").next().unwrap();
    assert!(figure.parse::<f64>().is_ok(), "{figure} after {what}");
    figure
}

#[test]
fn a_hit_takes_the_same_on_every_page() {
    let page = |path: &str| std::fs::read_to_string(root().join(path)).unwrap();
    let (readme, comparison) = (page("README.md"), page("docs/comparison.md"));
    let said = |what| microseconds(&readme, "| a hit in memory", what);
    assert_eq!(microseconds(&comparison, "| [moka]", ", larder "), said("two tags |"));
    assert_eq!(microseconds(&comparison, "| [moka]", "`try_get_with` "), said("`try_get_with` "));
    assert_eq!(microseconds(&comparison, "| [quick_cache]", "much faster "), said("`quick_cache` "));
}

#[test]
fn a_block_that_differs_in_one_letter_or_in_order_is_found_out() {
    let source = "fn a() {\n    one();\n\n    two();\n    three();\n}";
    let shows = |lines: &[&str]| {
        let lines = lines.iter().map(|line| (*line).to_owned()).collect();
        is_in(source, &Block { info: "rust".to_owned(), lines, at: 1 })
    };
    assert!(shows(&["one();", "", "two();"]) && shows(&["one();", "// …", "three();"]));
    assert!(!shows(&["one();", "two();"]) && !shows(&["three();", "// …", "one();"]) && !shows(&["one()"]));
}
