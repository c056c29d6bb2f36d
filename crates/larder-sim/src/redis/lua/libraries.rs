//! The libraries that Redis gives to scripts, as far as ours use them: `cmsgpack.pack` of a list of strings, `struct.unpack`
//! of unsigned integers.

use mlua::{Lua, MultiValue, Table, Value, Variadic};

pub(super) fn install(lua: &Lua) -> mlua::Result<()> {
    let cmsgpack = lua.create_table()?;
    cmsgpack.set("pack", lua.create_function(|lua, list: Table| lua.create_string(pack(&list)?))?)?;
    lua.globals().set("cmsgpack", cmsgpack)?;
    let structs = lua.create_table()?;
    structs.set("unpack", lua.create_function(unpack)?)?;
    lua.globals().set("struct", structs)
}

fn pack(list: &Table) -> mlua::Result<Vec<u8>> {
    let mut out = Vec::new();
    head(&mut out, list.raw_len(), (0x90, 15), None, 0xdc);
    for item in list.sequence_values::<mlua::String>() {
        let item = item?;
        let bytes = item.as_bytes();
        head(&mut out, bytes.len(), (0xa0, 31), Some(0xd9), 0xda);
        out.extend(&*bytes);
    }
    Ok(out)
}

/// The kind and length of what follows, as short as it can be.
fn head(out: &mut Vec<u8>, length: usize, (short, most): (u8, usize), one: Option<u8>, two: u8) {
    match (u8::try_from(length), u16::try_from(length), one) {
        (Ok(length), ..) if usize::from(length) <= most => out.push(short | length),
        (Ok(length), _, Some(one)) => out.extend([one, length]),
        (_, Ok(length), _) => {
            out.push(two);
            out.extend(length.to_be_bytes());
        }
        _ => {
            out.push(two + 1);
            out.extend(u32::try_from(length).expect("less than 4 GB").to_be_bytes());
        }
    }
}

/// `struct.unpack('>I8I4', bytes)`: the numbers, and where they end.
fn unpack(_lua: &Lua, (format, bytes): (String, mlua::String)) -> mlua::Result<Variadic<Value>> {
    let bad = || mlua::Error::runtime("struct.unpack: only big-endian unsigned integers are simulated");
    let bytes = bytes.as_bytes();
    let mut out = MultiValue::new();
    let mut at = 0;
    for part in format.strip_prefix('>').ok_or_else(bad)?.split('I').skip(1) {
        let size: usize = part.parse().map_err(|_| bad())?;
        let Some(bytes) = bytes.get(at..at + size) else {
            return Err(mlua::Error::runtime("data string too short"));
        };
        // Lua knows doubles only.
        out.push_back(Value::Number(bytes.iter().fold(0.0, |sum, byte| sum * 256.0 + f64::from(*byte))));
        at += size;
    }
    out.push_back(Value::Integer(i64::try_from(at + 1).map_err(|_| bad())?));
    Ok(out.into_iter().collect())
}
