//! Between Lua's values and answers, by the rules of RESP2, which scripts get.

use super::super::reply::{Reply, number_text};
use super::super::request::Command;
use mlua::{Lua, MultiValue, Table, Value};
use std::fmt;
use std::sync::Arc;

/// An error of `redis.call`.
#[derive(Debug)]
pub(super) struct Raised(String);

impl Raised {
    pub(super) fn error(words: String) -> mlua::Error {
        mlua::Error::ExternalError(Arc::new(Self(words)))
    }

    /// The words of an error that `redis.call` raised.
    pub(super) fn of(error: &mlua::Error) -> Option<String> {
        error.downcast_ref::<Self>().map(|raised| raised.0.clone())
    }
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Raised {}

/// The words of a command.
pub(super) fn arguments(words: &MultiValue) -> mlua::Result<Command> {
    words
        .iter()
        .map(|word| match word {
            Value::String(text) => Ok(text.as_bytes().to_vec()),
            Value::Integer(number) => Ok(number.to_string().into_bytes()),
            Value::Number(number) => Ok(number_text(*number).into_bytes()),
            _ => Err(Raised::error(
                "ERR Lua redis lib command arguments must be strings or integers".to_owned(),
            )),
        })
        .collect()
}

pub(super) fn to_lua(lua: &Lua, reply: &Reply) -> mlua::Result<Value> {
    let named = |name: &str, text: &str| -> mlua::Result<Value> {
        let table = lua.create_table()?;
        table.raw_set(name, text)?;
        Ok(Value::Table(table))
    };
    match reply {
        Reply::Status(text) => named("ok", text),
        Reply::Error(text) => named("err", text),
        Reply::Int(number) => Ok(Value::Integer(*number)),
        Reply::Bulk(bytes) => Ok(Value::String(lua.create_string(bytes)?)),
        Reply::Text(text) => Ok(Value::String(lua.create_string(text)?)),
        Reply::Double(number) => Ok(Value::String(lua.create_string(number_text(*number))?)),
        Reply::Null => Ok(Value::Boolean(false)),
        Reply::Array(items) | Reply::Push(items) => list(lua, items.iter()),
        Reply::Map(pairs) => list(lua, pairs.iter().flat_map(|(name, value)| [name, value])),
    }
}

fn list<'a>(lua: &Lua, items: impl Iterator<Item = &'a Reply>) -> mlua::Result<Value> {
    let table = lua.create_table()?;
    for (index, item) in items.enumerate() {
        table.raw_set(index + 1, to_lua(lua, item)?)?;
    }
    Ok(Value::Table(table))
}

pub(super) fn from_lua(value: &Value) -> mlua::Result<Reply> {
    Ok(match value {
        Value::String(text) => Reply::bulk(&*text.as_bytes()),
        Value::Integer(number) => Reply::Int(*number),
        // Redis cuts the fraction off.
        Value::Number(number) => Reply::Int(format!("{:.0}", number.trunc()).parse().unwrap_or(i64::MAX)),
        Value::Boolean(true) => Reply::Int(1),
        Value::Table(table) => from_table(table)?,
        _ => Reply::Null,
    })
}

fn from_table(table: &Table) -> mlua::Result<Reply> {
    if let Value::String(text) = table.raw_get::<Value>("err")? {
        return Ok(Reply::Error(text.to_string_lossy()));
    }
    if let Value::String(text) = table.raw_get::<Value>("ok")? {
        return Ok(Reply::Status(text.to_string_lossy()));
    }
    let mut items = Vec::new();
    loop {
        match table.raw_get::<Value>(items.len() + 1)? {
            Value::Nil => return Ok(Reply::Array(items)),
            value => items.push(from_lua(&value)?),
        }
    }
}
