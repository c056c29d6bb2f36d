//! What the source of a library says of its options: names, types and documentation, read line by line.

use std::time::Duration;

/// An option, or a limit.
pub(crate) struct Item {
    pub(crate) name: String,
    /// The type of an option, the value of a limit.
    pub(crate) takes: String,
    pub(crate) documentation: String,
}

/// Calls `found` with each line of code that has documentation, and that.
fn documented(source: &str, mut found: impl FnMut(&str, String)) {
    let mut text = Vec::new();
    for line in source.lines().map(str::trim) {
        if let Some(more) = line.strip_prefix("///") {
            text.push(more.trim());
        } else if !line.starts_with("#[") {
            if !text.is_empty() {
                // The first paragraphs: what comes under a heading is about calls.
                let about = text.split(|line| line.starts_with('#')).next().unwrap_or_default();
                found(line, without_links(&about.join(" ")));
            }
            text.clear();
        }
    }
}

/// The text without the targets of its links.
fn without_links(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('[') {
        out.push_str(before);
        let Some((shown, behind)) = after.split_once(']') else {
            out.push('[');
            rest = after;
            continue;
        };
        out.push_str(shown);
        rest = behind;
        if let Some(target) = behind.strip_prefix('(') {
            let target = target.strip_prefix("crate::wake()").unwrap_or(target); // a target with brackets of its own
            rest = target.split_once(')').map_or("", |(_, rest)| rest);
        }
    }
    out + rest
}

/// The public methods that take and give back `self`, or change it: the options of a builder.
pub(crate) fn setters(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    documented(source, |line, documentation| {
        let Some(rest) = line.strip_prefix("pub fn ") else { return };
        let Some((name, arguments)) = rest.split_once('(') else { return };
        let Some(argument) = arguments.strip_prefix("mut self, ").or(arguments.strip_prefix("&self, "))
        else {
            return;
        };
        // Of a method that gives something back: `has_tag(&self, …) -> bool` sets nothing.
        if arguments.starts_with('&') && arguments.contains("->") {
            return;
        }
        let types = argument.split(") ").next().unwrap_or_default().trim_end_matches(')');
        let takes =
            types.split(", ").filter_map(|one| one.split_once(": ")).map(|(_, of)| of).collect::<Vec<_>>();
        let name = name.split('<').next().unwrap_or(name).to_owned();
        items.push(Item { name, takes: takes.join(", "), documentation });
    });
    items
}

/// The public fields of a structure.
pub(crate) fn fields(source: &str, structure: &str) -> Vec<Item> {
    let (_, body) = source.split_once(&format!("pub struct {structure} {{")).expect("it is there");
    let mut items = Vec::new();
    documented(body.split("\n}").next().unwrap_or_default(), |line, documentation| {
        let field = line.strip_prefix("pub ").and_then(|line| line.trim_end_matches(',').split_once(": "));
        if let Some((name, takes)) = field {
            items.push(Item { name: name.to_owned(), takes: takes.to_owned(), documentation });
        }
    });
    items
}

/// The public constants, with their values for people.
pub(crate) fn constants(source: &str) -> Vec<Item> {
    let mut items = Vec::new();
    documented(source, |line, documentation| {
        let constant =
            line.strip_prefix("pub const ").and_then(|line| line.trim_end_matches(';').split_once(" = "));
        let Some((name, value)) = constant else { return };
        let name = name.split(':').next().unwrap_or(name).to_owned();
        let takes = shown(&name, value, source).unwrap_or_else(|| format!("`{value}`"));
        items.push(Item { name, takes, documentation });
    });
    items
}

fn shown(name: &str, value: &str, source: &str) -> Option<String> {
    let inner = |prefix: &str| value.strip_prefix(prefix)?.strip_suffix(')');
    if let Some(seconds) = inner("Duration::from_secs(") {
        return Some(human(Duration::from_secs(number(seconds, source)?)));
    }
    if let Some(millis) = inner("Duration::from_millis(") {
        return Some(human(Duration::from_millis(number(millis, source)?)));
    }
    let number = number(value, source)?;
    if !name.contains("BYTES") {
        return Some(grouped(number));
    }
    let unit = [("MiB", 20), ("KiB", 10)]
        .into_iter()
        .find(|(_, bits)| number >> bits > 0 && number.is_multiple_of(1 << bits));
    Some(unit.map_or_else(|| grouped(number), |(unit, bits)| format!("{} {unit}", number >> bits)))
}

/// The value of `64 << 10`, `30 * 24 * 3600`, `1_000`, `OTHER / 2`.
fn number(text: &str, source: &str) -> Option<u64> {
    let text = text.trim();
    for (operator, apply) in
        [("<<", (|a, b| a << b) as fn(u64, u64) -> u64), ("/", |a, b| a / b), ("*", |a, b| a * b)]
    {
        if let Some((left, right)) = text.rsplit_once(operator) {
            return Some(apply(number(left, source)?, number(right, source)?));
        }
    }
    if text.starts_with(|c: char| c.is_ascii_uppercase()) {
        let (_, rest) = source.split_once(&format!("pub const {text}: "))?;
        return number(rest.split_once(" = ")?.1.split_once(';')?.0, source);
    }
    text.trim_end_matches(".0").replace('_', "").parse().ok()
}

fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut out = String::new();
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

/// `250 ms`, `30 s`, `5 min`, `1 h`, `30 d`: in the largest unit that fits.
pub(crate) fn human(time: Duration) -> String {
    let seconds = time.as_secs();
    if time.subsec_millis() > 0 || seconds == 0 {
        return format!("{} ms", time.as_millis());
    }
    let units = [("d", 86_400), ("h", 3_600), ("min", 60)];
    let unit = units.into_iter().find(|(_, length)| seconds >= *length && seconds.is_multiple_of(*length));
    unit.map_or_else(|| format!("{seconds} s"), |(unit, length)| format!("{} {unit}", seconds / length))
}
