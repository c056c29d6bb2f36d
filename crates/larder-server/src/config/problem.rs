//! What is wrong with a configuration, in words for the person who wrote it.

use std::fmt;

/// One thing that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    subject: String,
    what: String,
    accepted: Option<String>,
}

impl Problem {
    /// Says that `subject` is wrong because of `what`.
    pub(crate) fn new(subject: impl Into<String>, what: impl Into<String>) -> Self {
        Self { subject: subject.into(), what: what.into(), accepted: None }
    }

    /// Adds what would be right.
    #[must_use]
    pub(crate) fn accepted(mut self, form: impl Into<String>) -> Self {
        self.accepted = Some(form.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.subject, self.what)?;
        match &self.accepted {
            Some(form) => write!(f, "; accepted: {form}"),
            None => Ok(()),
        }
    }
}

/// Everything that is wrong, at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    /// What must be put right.
    pub problems: Vec<Problem>,
    /// What is odd besides; a misspelt name is often why another one is missing.
    pub warnings: Vec<String>,
}

impl fmt::Display for Problems {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.problems.len();
        write!(f, "the configuration has {count} problem{}:", if count == 1 { "" } else { "s" })?;
        self.problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))?;
        self.warnings.iter().try_for_each(|warning| write!(f, "\nwarning: {warning}"))
    }
}

impl std::error::Error for Problems {}
