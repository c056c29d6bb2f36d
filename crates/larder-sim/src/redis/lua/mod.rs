//! Scripts, run by the Lua that Redis runs them by: version 5.1.

mod convert;
mod libraries;

use super::commands;
use super::reply::Reply;
use super::request::Command;
use super::server::State;
use convert::{Raised, arguments, from_lua, to_lua};
use mlua::{Function, Lua, MultiValue, Table, Value};
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::Arc;

/// Changes the text of scripts as they are loaded.
pub type Edit = Arc<dyn Fn(&str) -> String + Send + Sync>;

struct Script {
    function: Function,
    allow_oom: bool,
    /// Without `#!` a script is held to nothing.
    flags: bool,
    no_writes: bool,
}

/// The scripts of a process.
pub(super) struct Scripts {
    lua: Lua,
    loaded: Mutex<HashMap<String, Arc<Script>>>,
    edit: Option<Edit>,
}

impl Scripts {
    pub(super) fn new(state: &Arc<Mutex<State>>, edit: Option<Edit>) -> Self {
        let lua = Lua::new();
        let scripts = install(&lua, state);
        scripts.expect("the libraries install into a fresh Lua");
        Self { lua, loaded: Mutex::default(), edit }
    }

    pub(super) fn load(&self, text: &[u8]) -> Reply {
        let text = String::from_utf8_lossy(text);
        // A name is enough; that of Redis is SHA-1.
        let hash = Sha256::digest(text.as_bytes());
        let name: String = hash.iter().take(20).map(|byte| format!("{byte:02x}")).collect();
        let text = self.edit.as_ref().map_or_else(|| text.to_string(), |edit| edit(&text));
        match self.compile(&text) {
            Ok(script) => {
                self.loaded.lock().insert(name.clone(), Arc::new(script));
                Reply::bulk(name)
            }
            Err(error) => Reply::err(&error),
        }
    }

    fn compile(&self, text: &str) -> Result<Script, String> {
        let (mut allow_oom, mut no_writes) = (false, false);
        let (head, body) = match text.strip_prefix("#!") {
            Some(rest) => rest.split_once('\n').map_or((Some(rest), ""), |(head, body)| (Some(head), body)),
            None => (None, text),
        };
        let mut words = head.unwrap_or("lua").split_whitespace();
        if words.next() != Some("lua") {
            return Err("Could not find scripting engine".to_owned());
        }
        for word in words {
            let flags =
                word.strip_prefix("flags=").ok_or_else(|| format!("Unknown lua shebang option: {word}"))?;
            for flag in flags.split(',') {
                match flag {
                    "allow-oom" => allow_oom = true,
                    "no-writes" => no_writes = true,
                    _ => return Err(format!("Unexpected flag in script shebang: {flag}")),
                }
            }
        }
        let chunk = self.lua.load(format!("\n{body}")).set_name("@user_script");
        let function = chunk.into_function().map_err(|error| format!("Error compiling script: {error}"))?;
        Ok(Script { function, allow_oom, flags: head.is_some(), no_writes })
    }

    /// `EVALSHA name keys key… argument…`
    pub(super) fn run(&self, state: &Mutex<State>, command: &Command) -> Reply {
        let name = String::from_utf8_lossy(command.get(1).map_or(&[], |name| name)).to_ascii_lowercase();
        let Some(script) = self.loaded.lock().get(&name).cloned() else {
            return Reply::Error("NOSCRIPT No matching script. Please use EVAL.".to_owned());
        };
        if script.flags
            && let Some(refused) = state.lock().refuses(!script.no_writes, !script.allow_oom)
        {
            return refused;
        }
        let keys = command.get(2).and_then(|count| std::str::from_utf8(count).ok()?.parse::<usize>().ok());
        let Some(keys) = keys.filter(|keys| *keys <= command.len() - 3) else {
            return Reply::err("Number of keys can't be greater than number of args");
        };
        let (keys, arguments) = command[3..].split_at(keys);
        let run = || -> mlua::Result<Reply> {
            let globals = self.lua.globals();
            globals.raw_set("KEYS", strings(&self.lua, keys)?)?;
            globals.raw_set("ARGV", strings(&self.lua, arguments)?)?;
            from_lua(&script.function.call::<Value>(())?)
        };
        run().unwrap_or_else(|error| {
            let words = Raised::of(&error).unwrap_or_else(|| format!("ERR {error}"));
            Reply::Error(format!("{} script: {name}, on @user_script.", words.replace(['\r', '\n'], " ")))
        })
    }
}

fn strings(lua: &Lua, bytes: &[Vec<u8>]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(bytes.len(), 0)?;
    for (index, bytes) in bytes.iter().enumerate() {
        table.raw_set(index + 1, lua.create_string(bytes)?)?;
    }
    Ok(table)
}

/// What scripts find in Redis.
fn install(lua: &Lua, state: &Arc<Mutex<State>>) -> mlua::Result<()> {
    let redis = lua.create_table()?;
    // A script belongs to the process, and so must not keep it.
    let weak = Arc::downgrade(state);
    let run = move |lua: &Lua, words: MultiValue| -> mlua::Result<(Reply, Value)> {
        let state = weak.upgrade().ok_or_else(|| mlua::Error::runtime("the process has ended"))?;
        let command = arguments(&words)?;
        let reply = commands::run(&mut state.lock(), &command, true);
        let value = to_lua(lua, &reply)?;
        Ok((reply, value))
    };
    let call = run.clone();
    let call = lua.create_function(move |lua, words| match call(lua, words)? {
        (Reply::Error(words), _) => Err(Raised::error(words)),
        (_, value) => Ok(value),
    })?;
    redis.set("call", call)?;
    redis.set("pcall", lua.create_function(move |lua, words| Ok(run(lua, words)?.1))?)?;
    lua.globals().set("redis", redis)?;
    libraries::install(lua)
}
