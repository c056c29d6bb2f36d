//! `.env` files: `NAME=value` lines with comments, quotes and `export`.

/// One assignment, with the line it stands on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) name: String,
    pub(crate) value: String,
    pub(crate) line: usize,
}

/// Reads `text`: the assignments, and for each line that is none, its number and why.
pub(crate) fn parse(text: &str) -> (Vec<Assignment>, Vec<(usize, &'static str)>) {
    let mut assignments = Vec::new();
    let mut bad = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line_number = index + 1;
        match assignment(line.trim()) {
            Ok(Some((name, value))) => assignments.push(Assignment { name, value, line: line_number }),
            Ok(None) => {}
            Err(why) => bad.push((line_number, why)),
        }
    }
    (assignments, bad)
}

fn assignment(line: &str) -> Result<Option<(String, String)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = match line.strip_prefix("export") {
        Some(rest) if rest.starts_with(char::is_whitespace) => rest.trim_start(),
        _ => line,
    };
    let (name, rest) = line.split_once('=').ok_or("is no NAME=value")?;
    let name = name.trim_end();
    let valid = |c: char| c.is_ascii_alphanumeric() || c == '_';
    if name.is_empty() || !name.chars().all(valid) || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err("has no name before the =");
    }
    Ok(Some((name.to_owned(), value(rest)?)))
}

fn value(rest: &str) -> Result<String, &'static str> {
    let trimmed = rest.trim_start();
    match trimmed.chars().next() {
        Some(quote @ ('"' | '\'')) => quoted(&trimmed[1..], quote),
        // A # begins a comment only after white space: passwords and colours have one inside.
        _ => {
            let comment = rest
                .char_indices()
                .find(|(at, c)| *c == '#' && rest[..*at].chars().next_back().is_some_and(char::is_whitespace))
                .map_or(rest.len(), |(at, _)| at);
            Ok(rest[..comment].trim().to_owned())
        }
    }
}

fn quoted(text: &str, quote: char) -> Result<String, &'static str> {
    let mut value = String::new();
    let mut chars = text.chars();
    loop {
        match chars.next().ok_or("has no closing quote")? {
            c if c == quote => break,
            '\\' if quote == '"' => match chars.next().ok_or("has no closing quote")? {
                'n' => value.push('\n'),
                't' => value.push('\t'),
                c @ ('"' | '\\' | '$') => value.push(c),
                other => value.extend(['\\', other]),
            },
            c => value.push(c),
        }
    }
    let after = chars.as_str().trim_start();
    if after.is_empty() || after.starts_with('#') {
        Ok(value)
    } else {
        Err("goes on after the closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<String, &'static str> {
        assignment(line).map(|found| found.expect("an assignment").1)
    }

    #[test]
    fn values_may_be_bare_quoted_exported_and_commented() {
        assert_eq!(one("A=b").unwrap(), "b");
        assert_eq!(one("A = b c ").unwrap(), "b c");
        assert_eq!(one("export A=b").unwrap(), "b");
        assert_eq!(one("A=b # comment").unwrap(), "b");
        assert_eq!(one("A=b\t# comment").unwrap(), "b");
        assert_eq!(one("A=").unwrap(), "");
        assert_eq!(one("A= # only a comment").unwrap(), "");
        assert_eq!(one("A=\"b # c\" # d").unwrap(), "b # c");
        assert_eq!(one("A='b \\n c'").unwrap(), "b \\n c");
        assert_eq!(one(r#"A="b\n\"c\"""#).unwrap(), "b\n\"c\"");
    }

    #[test]
    fn a_hash_inside_a_word_belongs_to_it() {
        assert_eq!(one("REDIS_URL=redis://:pa#ss@host/0").unwrap(), "redis://:pa#ss@host/0");
        assert_eq!(one("A=#ff0000").unwrap(), "#ff0000");
    }

    #[test]
    fn what_is_no_assignment_is_named_by_its_line() {
        let (good, bad) = parse("A=1\n\n# comment\nnonsense\n=x\nB=\"open\nC='x' y\nD=2\n");
        assert_eq!(good.iter().map(|a| (a.name.as_str(), a.line)).collect::<Vec<_>>(), [("A", 1), ("D", 8)]);
        assert_eq!(bad.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [4, 5, 6, 7]);
    }
}
