//! What Prometheus reads of a server that has something to do, and the page that lists it.

use crate::client::{Body, Client};
use crate::production::{repository, words};
use crate::routes::a_campaign;
use crate::stack::{Kind, Stack};
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

/// What `/metrics` says of a server on Redis that has answered, refused, loaded, hit and invalidated.
pub(crate) async fn busy_server() -> String {
    let stack = Stack::start(Kind::RedisSqlite).await;
    let acme = stack.acme().await;
    for _ in 0..3 {
        acme.get("/api/v1/campaigns").await.expect(200);
        acme.get("/api/v1/dashboard/stats").await.expect(200);
    }
    acme.post("/api/v1/campaigns", a_campaign("one")).await.expect(201);
    acme.get("/api/v1/campaigns").await.expect(200);
    stack.anyone().get("/api/v1/campaigns").await.expect(401);
    stack.anyone().send("BREW", "/nowhere", &Body::Nothing).await;
    Client::new(stack.server.url()).get("/metrics").await.expect(200).text()
}

/// One metric of a scrape.
struct Family {
    name: String,
    kind: String,
    help: String,
    /// Label names with the values that were seen.
    labels: BTreeMap<String, BTreeSet<String>>,
    samples: usize,
}

/// A scrape, taken apart.
pub(crate) struct Scrape(Vec<Family>);

impl Scrape {
    pub(crate) fn read(text: &str) -> Self {
        let mut families: Vec<Family> = Vec::new();
        let mut help = "";
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# HELP ") {
                help = rest.split_once(' ').unwrap().1;
            } else if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').unwrap();
                let (name, kind, help) = (name.to_owned(), kind.to_owned(), help.to_owned());
                families.push(Family { name, kind, help, labels: BTreeMap::new(), samples: 0 });
            } else {
                let family = families.last_mut().unwrap();
                let (name, labels) = taken_apart(line.rsplit_once(' ').unwrap().0);
                assert!(name.starts_with(&family.name), "{line} under {}", family.name);
                family.samples += 1;
                for (label, value) in labels {
                    family.labels.entry(label).or_default().insert(value);
                }
            }
        }
        Self(families)
    }

    fn family(&self, name: &str) -> Option<&Family> {
        let known = |name: &str| self.0.iter().find(|family| family.name == name);
        let of_histogram =
            ["_bucket", "_sum", "_count"].iter().find_map(|end| known(name.strip_suffix(end)?));
        known(name).or(of_histogram)
    }

    /// The names of metrics in `text` that there are not.
    pub(crate) fn unknown_names<'a>(&'a self, text: &'a str) -> impl Iterator<Item = &'a str> {
        let names = words(text, "larder_").chain(words(text, "process_"));
        names.filter(|name| *name != "process_" && *name != "larder_" && self.family(name).is_none())
    }

    /// What `text` picks out by a label or a value that there is not: `name{label="value"}`.
    pub(crate) fn unknown_labels<'a>(&'a self, text: &'a str) -> impl Iterator<Item = String> + 'a {
        // In a dashboard the quotation marks stand within a string.
        let text = text.replace("\\\"", "\"");
        let picked = text.match_indices('{').filter_map(|(at, _)| {
            let name = text[..at].rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next()?;
            let (labels, _) = text[at + 1..].split_once('}')?;
            name.starts_with("larder_").then(|| (name.to_owned(), labels.to_owned()))
        });
        let picked: Vec<(String, String)> = picked.collect();
        let unknown = move |(name, labels): (String, String)| {
            let family = self.family(&name)?;
            let wrong = labels.split(',').filter(|one| !one.is_empty()).find(|one| {
                let end = one.find(['=', '!']).unwrap();
                let (label, value) = (one[..end].trim(), one[end..].trim_start_matches(['=', '!', '~']));
                let exact = one[end..].starts_with("=\"").then(|| value.trim_matches('"'));
                // Prometheus adds these two.
                !matches!(label, "job" | "instance")
                    && family
                        .labels
                        .get(label)
                        .is_none_or(|seen| exact.is_some_and(|value| !seen.contains(value)))
            });
            wrong.map(|wrong| format!("{name}: {wrong}"))
        };
        picked.into_iter().filter_map(unknown)
    }
}

/// `name{label="value",…}`; no value here holds a comma or a quotation mark.
fn taken_apart(sample: &str) -> (&str, Vec<(String, String)>) {
    let Some((name, labels)) = sample.split_once('{') else { return (sample, Vec::new()) };
    let labels = labels.strip_suffix('}').unwrap().split("\",").map(|label| {
        let (name, value) = label.split_once("=\"").unwrap();
        (name.to_owned(), value.trim_end_matches('"').to_owned())
    });
    (name, labels.collect())
}

/// The bound on each label that the page tells of.
fn bounds(page: &str) -> BTreeMap<&str, usize> {
    let (_, section) = page.split_once("## Labels").unwrap();
    let (section, _) = section.split_once("\n## ").unwrap();
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| {
        let label = row.split('`').next().unwrap();
        let bound = row.trim_end_matches(" |").rsplit("| ").next().unwrap();
        (label, bound.parse().unwrap())
    })
    .collect()
}

fn unit(name: &str) -> &str {
    let name = name.strip_suffix("_total").unwrap_or(name);
    ["seconds", "bytes"].into_iter().find(|unit| name.ends_with(&format!("_{unit}"))).unwrap_or("number")
}

/// How many lines of a scrape it can make.
fn lines(family: &Family, bounds: &BTreeMap<&str, usize>) -> usize {
    let others = family.labels.keys().filter(|label| *label != "le");
    let series: usize = others.map(|label| bounds[label.as_str()]).product();
    // Each has a line for every bound of its own, its sum and its count.
    series * family.labels.get("le").map_or(1, |bounds| bounds.len() + 2)
}

fn table(scrape: &Scrape, bounds: &BTreeMap<&str, usize>) -> String {
    let mut table =
        "| metric | type | unit | labels | what it tells | lines |\n| --- | --- | --- | --- | --- | --- |\n"
            .to_owned();
    for family in &scrape.0 {
        let (lines, Family { name, kind, help, labels, .. }) = (lines(family, bounds), family);
        let labels: Vec<String> = labels.keys().map(|label| format!("`{label}`")).collect();
        let (labels, unit) = (labels.join(", "), unit(name));
        writeln!(table, "| `{name}` | {kind} | {unit} | {labels} | {help} | {lines} |").unwrap();
    }
    table
}

#[tokio::test]
async fn the_page_of_metrics_is_what_a_server_tells() {
    let scrape = Scrape::read(&busy_server().await);
    let file = repository().join("docs/metrics.md");
    let page = std::fs::read_to_string(&file).unwrap();
    let bounds = bounds(&page);
    let mut seen: BTreeMap<&str, usize> = BTreeMap::new();
    for family in &scrape.0 {
        assert!(family.samples > 0, "{} has no sample, so that its labels are unknown", family.name);
        assert!(family.help.ends_with(|end: char| end != '.') && family.help.len() > 5, "{}", family.name);
        assert_eq!(family.kind == "counter", family.name.ends_with("_total"), "{}", family.name);
        for (label, values) in &family.labels {
            let most = seen.entry(label).or_default();
            *most = values.len().max(*most);
        }
    }
    assert!(seen.keys().eq(bounds.keys()), "labels of a scrape {seen:?}, on the page {bounds:?}");
    for (label, values) in seen {
        assert!(values <= bounds[label], "{label} has {values} values");
    }
    // A line has some 90 bytes; help and type take twice that for each metric.
    let most: usize = scrape.0.iter().map(|family| lines(family, &bounds)).sum();
    assert!(most * 150 + scrape.0.len() * 300 < 2_000_000, "a scrape may have {most} lines");
    let begin = page.find("<!-- This table").unwrap();
    let begin = begin + page[begin..].find('\n').unwrap() + 1;
    let end = page.find("<!-- end -->").unwrap();
    let made = format!("{}{}{}", &page[..begin], table(&scrape, &bounds), &page[end..]);
    if std::env::var_os("LARDER_WRITE_DOCS").is_some() {
        std::fs::write(file, &made).unwrap();
    } else {
        assert!(
            made == page,
            "docs/metrics.md is not what a server tells; with LARDER_WRITE_DOCS=1 this test writes it"
        );
    }
}

#[tokio::test]
async fn there_are_no_more_routes_than_the_page_says() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let document = stack.anyone().get("/openapi.json").await.expect(200).json();
    let paths = document["paths"].as_object().unwrap().len();
    let page = std::fs::read_to_string(repository().join("docs/metrics.md")).unwrap();
    // The document leaves out the pages and the streams of notifications.
    assert!(paths + 32 <= bounds(&page)["route"], "{paths} paths");
}

/// Prometheus's own tool, which reads a scrape as Prometheus would and finds what goes against its conventions.
#[tokio::test]
async fn promtool_finds_nothing_wrong_with_a_scrape() {
    let scrape = busy_server().await;
    let mut promtool = Command::new("promtool");
    promtool.args(["check", "metrics"]).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = promtool.spawn().expect("promtool is installed: scripts/test does that");
    child.stdin.take().unwrap().write_all(scrape.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout) + String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}");
}
