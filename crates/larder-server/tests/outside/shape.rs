//! What a JSON body has to look like: every field of the contract, of its type, and no other.

use serde_json::Value;

/// Compares `value` with a `shape`: an object has exactly these fields (`"*"` stands for any number of any name), an array holds any number of its
/// one element; a text names a type (`uuid`, `string`, `int`, `number`, `bool`, `time`, `date`, `any`, `null or string`) or, with `|`, the allowed words.
#[track_caller]
pub(crate) fn assert_shape(what: &str, value: &Value, shape: &Value) {
    if let Err(why) = compare("", value, shape) {
        panic!("{what}: {why}\nin {value:#}");
    }
}

fn compare(at: &str, value: &Value, shape: &Value) -> Result<(), String> {
    match (shape, value) {
        (Value::Object(fields), Value::Object(given)) => {
            if let Some(every) = fields.get("*") {
                return given
                    .iter()
                    .try_for_each(|(name, value)| compare(&format!("{at}.{name}"), value, every));
            }
            if let Some(name) = given.keys().find(|name| !fields.contains_key(*name)) {
                return Err(format!("{at}.{name} is not in the contract"));
            }
            fields.iter().try_for_each(|(name, shape)| match given.get(name) {
                Some(value) => compare(&format!("{at}.{name}"), value, shape),
                None => Err(format!("{at}.{name} is missing")),
            })
        }
        (Value::Array(element), Value::Array(given)) => {
            let [element] = element.as_slice() else { return Err("a shape has one element".into()) };
            given.iter().enumerate().try_for_each(|(i, value)| compare(&format!("{at}[{i}]"), value, element))
        }
        (Value::String(kind), value) if of_kind(kind, value) => Ok(()),
        (shape, value) => Err(format!("{at} is {value}, not {shape}")),
    }
}

fn of_kind(kind: &str, value: &Value) -> bool {
    let text = value.as_str();
    match kind {
        "any" => true,
        "string" => text.is_some(),
        "null or string" => text.is_some() || value.is_null(),
        "int" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "bool" => value.is_boolean(),
        "uuid" => {
            text.is_some_and(|text| text.parse::<uuid::Uuid>().is_ok_and(|id| id.get_version_num() == 7))
        }
        // RFC 3339, UTC.
        "time" => text.is_some_and(|text| {
            text.len() >= 20
                && text.is_ascii()
                && text.as_bytes()[10] == b'T'
                && date(&text[..10])
                && text.ends_with('Z')
        }),
        "date" => text.is_some_and(date),
        words => text.is_some_and(|text| words.contains('|') && words.split('|').any(|word| word == text)),
    }
}

fn date(text: &str) -> bool {
    let digits = |part: &str, count: usize| part.len() == count && part.bytes().all(|b| b.is_ascii_digit());
    matches!(text.split('-').collect::<Vec<_>>()[..], [y, m, d] if digits(y, 4) && digits(m, 2) && digits(d, 2))
}

#[test]
fn a_shape_wants_every_field_and_no_other() {
    use serde_json::json;
    let shape = json!({"id": "int", "kind": "a|b", "items": [{"at": "time"}], "by": {"*": "int"}});
    let good =
        json!({"id": 1, "kind": "b", "items": [{"at": "2026-01-02T03:04:05.678Z"}], "by": {"x": 1, "y": 2}});
    assert_eq!(compare("", &good, &shape), Ok(()));
    for (path, bad) in [
        ("/id", json!("1")),
        ("/kind", json!("c")),
        ("/items", json!([{"at": "2026-01-02T03:04:05+01:00"}])),
        ("/items", json!([{}])),
        ("/items", json!([{"at": "2026-01-02T03:04:05Z", "more": 1}])),
        ("/by", json!({"x": "1"})),
    ] {
        let mut value = good.clone();
        *value.pointer_mut(path).unwrap() = bad;
        assert!(compare("", &value, &shape).is_err(), "{value}");
    }
}
