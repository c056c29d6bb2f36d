//! Reads the fields of one object and collects what is wrong with each of them.

use std::ops::RangeInclusive;

use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::problem::{FieldError, Problem};

/// What was wrong so far.
#[derive(Debug, Default)]
pub struct Errors(Vec<FieldError>);

impl Errors {
    /// Notes one more fault.
    pub fn add(&mut self, field: impl Into<String>, message: impl Into<String>) {
        self.0.push(FieldError { field: field.into(), message: message.into() });
    }

    /// The value, if nothing was wrong; otherwise a 422 that lists everything.
    ///
    /// # Errors
    /// A validation problem where anything was noted.
    ///
    /// # Panics
    /// Where a value is missing though nothing was noted: a reader that returns `None` must say why.
    pub fn finish<T>(self, value: Option<T>) -> Result<T, Problem> {
        if self.0.is_empty() {
            Ok(value.expect("a reader that returns None notes an error"))
        } else {
            Err(Problem::invalid(self.0))
        }
    }
}

/// A type that can be read from JSON, noting every fault rather than the first.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say how it is read from a request",
    note = "implement `larder_http::Body` by reading each field with `Fields`"
)]
pub trait Body: Sized {
    /// Reads the value found at `path`. Returns `None` only after it noted an error.
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self>;
}

impl<T: Body> Body for Vec<T> {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let Value::Array(items) = value else {
            errors.add(if path.is_empty() { "body" } else { path }, "must be an array");
            return None;
        };
        let all: Vec<_> = items
            .into_iter()
            .enumerate()
            .map(|(i, item)| T::read(item, &format!("{path}[{i}]"), errors))
            .collect();
        all.into_iter().collect()
    }
}

/// The fields of one object, or the parameters of one query string.
#[derive(Debug)]
pub struct Fields<'e> {
    map: Map<String, Value>,
    path: &'e str,
    from_query: bool,
    errors: &'e mut Errors,
}

impl<'e> Fields<'e> {
    /// The fields of a JSON object at `path`; anything else is noted as an error.
    pub fn of(value: Value, path: &'e str, errors: &'e mut Errors) -> Option<Self> {
        match value {
            Value::Object(map) => Some(Self { map, path, from_query: false, errors }),
            _ => {
                errors.add(if path.is_empty() { "body" } else { path }, "must be an object");
                None
            }
        }
    }

    /// Query parameters: numbers are read out of text.
    pub(super) fn of_query(map: Map<String, Value>, errors: &'e mut Errors) -> Self {
        Self { map, path: "", from_query: true, errors }
    }

    /// Required text whose length in characters, without surrounding white space, lies in `length`.
    pub fn text(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<String> {
        let value = self.required(name)?;
        self.check_text(name, value, length)
    }

    /// The same, where it may be missing or null: the outer `None` is a noted error.
    pub fn optional_text(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<Option<String>> {
        match self.take(name) {
            Some(value) => self.check_text(name, value, length).map(Some),
            None => Some(None),
        }
    }

    /// A required whole number in `range`.
    pub fn integer(&mut self, name: &str, range: RangeInclusive<i64>) -> Option<i64> {
        let value = self.required(name)?;
        self.check_integer(name, &value, range)
    }

    /// A whole number in `range`, or `default` where it is missing or null.
    pub fn integer_or(&mut self, name: &str, range: RangeInclusive<i64>, default: i64) -> Option<i64> {
        match self.take(name) {
            Some(value) => self.check_integer(name, &value, range),
            None => Some(default),
        }
    }

    /// A number in `range`, or `default` where it is missing or null.
    pub fn number_or(&mut self, name: &str, range: RangeInclusive<f64>, default: f64) -> Option<f64> {
        let Some(value) = self.take(name) else { return Some(default) };
        match value.as_f64() {
            Some(number) if range.contains(&number) => Some(number),
            _ => self.fault(name, format!("must be a number from {} to {}", range.start(), range.end())),
        }
    }

    /// One of the words of an enumeration; `expected` names them.
    pub fn choice<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Option<T> {
        let value = self.required(name)?;
        self.check_choice(name, value, expected)
    }

    /// The same, or `default` where it is missing or null.
    pub fn choice_or<T: DeserializeOwned>(&mut self, name: &str, expected: &str, default: T) -> Option<T> {
        match self.take(name) {
            Some(value) => self.check_choice(name, value, expected),
            None => Some(default),
        }
    }

    /// The same, where it may be missing or null: the outer `None` is a noted error.
    pub fn optional_choice<T: DeserializeOwned>(&mut self, name: &str, expected: &str) -> Option<Option<T>> {
        match self.take(name) {
            Some(value) => self.check_choice(name, value, expected).map(Some),
            None => Some(None),
        }
    }

    /// An e-mail address, in lower case.
    pub fn email(&mut self, name: &str) -> Option<String> {
        let text = self.text(name, 3..=254)?.to_lowercase();
        if is_email(&text) { Some(text) } else { self.fault(name, "must be an e-mail address") }
    }

    /// A required array of `length` items.
    pub fn array(&mut self, name: &str, length: RangeInclusive<usize>) -> Option<Vec<Value>> {
        match self.required(name)? {
            Value::Array(items) if length.contains(&items.len()) => Some(items),
            _ => {
                self.fault(name, format!("must be an array of {} to {} items", length.start(), length.end()))
            }
        }
    }

    /// A required field of any kind, to be judged by the caller.
    pub fn required(&mut self, name: &str) -> Option<Value> {
        match self.take(name) {
            Some(value) => Some(value),
            None => self.fault(name, "is required"),
        }
    }

    /// Takes a field out; null counts as missing.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.remove(name).filter(|value| !value.is_null())
    }

    /// Refuses a field that nobody has taken: for bodies in which a misspelt name would mean more than what was meant.
    pub fn no_others(&mut self, known: &str) -> Option<()> {
        let other = self.map.keys().next().cloned();
        other.map_or(Some(()), |name| self.fault(&name, format!("is unknown: there are {known}")))
    }

    /// Notes what is wrong with a field and stands for its missing value.
    pub fn fault<T>(&mut self, name: &str, message: impl Into<String>) -> Option<T> {
        let field = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        self.errors.add(field, message);
        None
    }

    fn check_text(&mut self, name: &str, value: Value, length: RangeInclusive<usize>) -> Option<String> {
        let Value::String(text) = value else { return self.fault(name, "must be text") };
        let trimmed = text.trim();
        // PostgreSQL has no NUL in text, so no database may get one.
        if trimmed.contains('\0') {
            return self.fault(name, "must not contain NUL");
        }
        if !length.contains(&trimmed.chars().count()) {
            return self
                .fault(name, format!("must be {} to {} characters long", length.start(), length.end()));
        }
        Some(trimmed.to_owned())
    }

    fn check_integer(&mut self, name: &str, value: &Value, range: RangeInclusive<i64>) -> Option<i64> {
        let number = match value {
            Value::Number(number) => number.as_i64(),
            // Only a query string has numbers as text.
            Value::String(text) if self.from_query => text.parse().ok(),
            _ => None,
        };
        match number {
            Some(number) if range.contains(&number) => Some(number),
            _ => {
                self.fault(name, format!("must be a whole number from {} to {}", range.start(), range.end()))
            }
        }
    }

    fn check_choice<T: DeserializeOwned>(&mut self, name: &str, value: Value, expected: &str) -> Option<T> {
        match serde_json::from_value(value) {
            Ok(choice) => Some(choice),
            Err(_) => self.fault(name, format!("must be one of {expected}")),
        }
    }
}

/// Whether this looks like an e-mail address. Enough to catch a slip: one `@` with something on both sides and a dot in the domain.
#[must_use]
pub fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    !local.is_empty()
        && domain.contains('.')
        && !domain.starts_with('.')
        && !domain.ends_with('.')
        && !text.chars().any(|c| c.is_whitespace() || c.is_control())
        && !domain.contains('@')
}
