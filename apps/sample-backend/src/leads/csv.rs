//! Leads as CSV: a header `email,name,status,value_cents`, in any order, the last two optional.

use std::io::Read;

use ::csv::{ByteRecord, Reader, ReaderBuilder};
use larder_http::{Body, Errors, Problem};
use serde::Serialize;
use serde_json::{Map, Value};
use utoipa::ToSchema;

use super::model::NewLead;

/// Faulty lines that are listed. With more, the file is most likely something else, and nothing is imported.
pub(super) const MAX_REJECTED: usize = 10_000;

const COLUMNS: [&str; 4] = ["email", "name", "status", "value_cents"];

/// A line that was not imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Rejected {
    /// Its number in the file; the header is on line 1.
    #[schema(minimum = 1)]
    pub line: u64,
    /// What is wrong with it.
    pub reason: String,
}

/// What became of an import.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct Report {
    /// Leads that are there now.
    pub imported: u64,
    /// Lines that are not.
    pub rejected: Vec<Rejected>,
}

/// Reads leads one after the other.
pub(super) struct Leads<R> {
    reader: Reader<R>,
    /// For each column of the file, which of ours it is.
    columns: Vec<Option<usize>>,
    record: ByteRecord,
}

impl<R: Read> Leads<R> {
    /// Reads the header.
    pub(super) fn open(input: R) -> Result<Self, Problem> {
        let mut reader = ReaderBuilder::new().flexible(true).has_headers(true).from_reader(input);
        let header = reader.byte_headers().map_err(|_| unreadable())?.clone();
        let columns: Vec<_> = header.iter().map(column).collect();
        let mut errors = Errors::default();
        for (at, name) in COLUMNS.iter().enumerate() {
            match columns.iter().filter(|c| **c == Some(at)).count() {
                0 if at < 2 => errors.add("header", format!("must have a column {name}")),
                0 | 1 => {}
                _ => errors.add("header", format!("has the column {name} twice")),
            }
        }
        errors.finish(Some(Self { reader, columns, record: ByteRecord::new() }))
    }

    /// The next line: a lead, or what is wrong with it.
    pub(super) fn next(&mut self) -> Result<Option<Result<NewLead, Rejected>>, Problem> {
        if !self.reader.read_byte_record(&mut self.record).map_err(|_| unreadable())? {
            return Ok(None);
        }
        let line = self.record.position().map_or(0, ::csv::Position::line);
        Ok(Some(self.lead().map_err(|reason| Rejected { line, reason })))
    }

    fn lead(&self) -> Result<NewLead, String> {
        if self.record.len() != self.columns.len() {
            return Err(format!("has {} fields, the header has {}", self.record.len(), self.columns.len()));
        }
        let mut fields = Map::new();
        for (bytes, column) in self.record.iter().zip(&self.columns) {
            let Some(column) = column else { continue };
            let text = std::str::from_utf8(bytes).map_err(|_| "is not UTF-8".to_owned())?.trim();
            if text.is_empty() {
                continue;
            }
            let value = match COLUMNS[*column] {
                "value_cents" => text.parse::<i64>().map_or_else(|_| Value::from(text), Value::from),
                _ => Value::from(text),
            };
            fields.insert(COLUMNS[*column].to_owned(), value);
        }
        let mut errors = Errors::default();
        let lead = NewLead::read(Value::Object(fields), "", &mut errors);
        errors.finish(lead).map_err(|problem| {
            let reasons: Vec<_> =
                problem.errors().iter().map(|e| format!("{} {}", e.field, e.message)).collect();
            reasons.join("; ")
        })
    }
}

fn column(name: &[u8]) -> Option<usize> {
    // Spreadsheets put a byte order mark before the first name.
    let name = name.strip_prefix(b"\xef\xbb\xbf").unwrap_or(name);
    let name = std::str::from_utf8(name).ok()?.trim();
    COLUMNS.iter().position(|column| column.eq_ignore_ascii_case(name))
}

fn unreadable() -> Problem {
    Problem::bad_request("the body can't be read as CSV")
}

/// Reads all of it without keeping any lead: how many are good, and what is wrong with the others.
pub(super) fn check<R: Read>(input: R) -> Result<Report, Problem> {
    let mut leads = Leads::open(input)?;
    let mut report = Report { imported: 0, rejected: Vec::new() };
    while let Some(line) = leads.next()? {
        match line {
            Ok(_) => report.imported += 1,
            Err(rejected) if report.rejected.len() < MAX_REJECTED => report.rejected.push(rejected),
            Err(_) => {
                let message = format!("more than {MAX_REJECTED} lines are faulty; nothing was imported");
                return Err(Problem::invalid_field("body", message));
            }
        }
    }
    Ok(report)
}

#[cfg(test)]
mod tests {
    use super::super::model::LeadStatus;
    use super::*;

    fn leads(csv: &str) -> Vec<Result<NewLead, Rejected>> {
        let mut leads = Leads::open(csv.as_bytes()).unwrap();
        std::iter::from_fn(|| leads.next().unwrap()).collect()
    }

    #[test]
    fn columns_are_found_by_name_in_any_order_and_others_are_passed_over() {
        let read = leads("\u{feff}Name, note ,EMAIL\n\"Chen, Mei\",x,Mei@Example.test\n");
        let lead = read[0].as_ref().unwrap();
        assert_eq!((lead.name.as_str(), lead.email.as_str()), ("Chen, Mei", "mei@example.test"));
        assert_eq!((lead.status, lead.value_cents), (LeadStatus::New, 0));
    }

    #[test]
    fn a_faulty_line_is_told_by_number_with_every_reason_and_the_others_are_read() {
        let read =
            leads("email,name,status,value_cents\na@b.cd,A,new,5\nx,,odd,-1\nc@d.ef,C,,\n\"q\nr@s.tu\",D\n");
        assert_eq!(read.iter().filter(|lead| lead.is_ok()).count(), 2);
        let rejected = read[1].as_ref().unwrap_err();
        assert_eq!(rejected.line, 3);
        for field in ["email", "name", "status", "value_cents"] {
            assert!(rejected.reason.contains(field), "{}", rejected.reason);
        }
        assert!(read[3].as_ref().unwrap_err().reason.contains("has 2 fields"));
    }

    #[test]
    fn a_header_without_what_is_needed_is_refused() {
        for bad in ["", "name,status\n", "email,name,Email\n", "\u{0}\u{1}"] {
            assert_eq!(check(bad.as_bytes()).unwrap_err().status(), 422, "{bad:?}");
        }
    }

    #[test]
    fn a_file_of_nothing_but_faults_is_refused_as_a_whole() {
        let lines = |count: usize| format!("email,name\n{}", "x,y\n".repeat(count));
        assert_eq!(check(lines(MAX_REJECTED).as_bytes()).unwrap().rejected.len(), MAX_REJECTED);
        assert_eq!(check(lines(MAX_REJECTED + 1).as_bytes()).unwrap_err().status(), 422);
    }

    #[test]
    fn bytes_that_are_no_text_spoil_only_their_line() {
        let report = check(&b"email,name\n\xff@b.cd,A\na@b.cd,B\n"[..]).unwrap();
        assert_eq!((report.imported, report.rejected[0].line), (1, 2));
    }
}
