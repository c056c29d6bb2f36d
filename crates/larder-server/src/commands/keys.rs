//! `larder keys`: the keys in the running server's memory, one entry, or the raw keys in Redis.

use std::collections::BTreeMap;

use clap::Args;
use larder::Key;
use larder::store::Connector;
use larder::store::redis::{KeyName, RawKey, RedisConnector, parse_raw_key};
use serde_json::Value;

use super::{out, table};
use crate::client::{Client, ClientArgs, block_on};
use crate::config;
use crate::failure::Failure;

#[derive(Args, Clone, Debug)]
pub(crate) struct KeysArgs {
    /// Only keys like this one, with * for any text: campaigns:*
    pattern: Option<String>,
    /// Show one entry: size, TTL, age, tags, tier, last status
    #[arg(long, value_name = "KEY", conflicts_with = "pattern")]
    show: Option<String>,
    /// Add TTL and size to each key
    #[arg(long, conflicts_with_all = ["show", "redis"])]
    long: bool,
    /// Print the raw keys in Redis (REDIS_URL) instead
    #[arg(long, conflicts_with = "show")]
    redis: bool,
    /// The Redis whose raw keys are printed [env: REDIS_URL]
    #[arg(long, value_name = "URL", requires = "redis")]
    redis_url: Option<String>,
    #[command(flatten)]
    client: ClientArgs,
}

/// Keys that Redis looks at for one answer; large enough to be done soon, small enough not to hold it up.
const SCAN_PAGE: usize = 1000;

impl KeysArgs {
    fn redis_url(&self) -> BTreeMap<&'static str, String> {
        self.redis_url.iter().map(|url| ("REDIS_URL", url.clone())).collect()
    }
}

pub(crate) fn run(args: &KeysArgs) -> Result<(), Failure> {
    if args.redis {
        return block_on(raw(args.redis_url(), args.pattern.as_deref()));
    }
    let client = Client::new(&args.client)?;
    match &args.show {
        Some(key) => block_on(show(&client, key)),
        None => block_on(list(&client, args.pattern.as_deref(), args.long)),
    }
}

async fn list(client: &Client, pattern: Option<&str>, long: bool) -> Result<(), Failure> {
    let mut cursor: Option<String> = None;
    loop {
        let mut query = Vec::new();
        query.extend(pattern.map(|pattern| ("pattern", pattern)));
        query.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
        let page: Value = client.get("api/cache/keys", &query).await?;
        let rows = page["keys"].as_array().or_else(|| page["items"].as_array()).into_iter().flatten();
        let lines = rows.map(|row| {
            let key = row.as_str().or_else(|| row["key"].as_str()).unwrap_or_default().to_owned();
            if long { vec![key, text(&row["ttl"]), text(&row["size"])] } else { vec![key] }
        });
        out(&table::plain(lines))?;
        match next(&page) {
            Some(next) if cursor.as_ref() != Some(&next) => cursor = Some(next),
            _ => return Ok(()),
        }
    }
}

fn next(page: &Value) -> Option<String> {
    let cursor =
        ["next_cursor", "next", "cursor"].iter().map(|name| &page[*name]).find(|value| !value.is_null())?;
    Some(text(cursor)).filter(|text| !text.is_empty() && text != "0")
}

async fn show(client: &Client, key: &str) -> Result<(), Failure> {
    let mut url = client.url("api/cache/keys");
    // As one segment, whatever is in it.
    url.path_segments_mut().map_err(|()| Failure::new("the server's address can't have a path"))?.push(key);
    let response = client.send(client.request(reqwest::Method::GET, url)).await?;
    if response.status() == http::StatusCode::NOT_FOUND {
        return Err(Failure::new(format!("there is no entry {key:?} in this server's memory"))
            .hint("`larder keys` lists those there are; an entry may have expired or been invalidated"));
    }
    if !response.status().is_success() {
        return Err(client.refused(response).await);
    }
    let entry: Value =
        response.json().await.map_err(|error| Failure::new(format!("the answer can't be read: {error}")))?;
    let fields = entry.as_object().into_iter().flatten();
    out(&table::plain(fields.map(|(name, value)| vec![name.clone(), text(value)])))
}

fn text(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(", "),
        Value::Null => String::new(),
        other => other.to_string(),
    }
}

/// Raw keys come straight from Redis, server or no server.
async fn raw(flags: BTreeMap<&'static str, String>, pattern: Option<&str>) -> Result<(), Failure> {
    let config = config::load(flags)?.config;
    let Some(mut redis) = config.redis() else {
        return Err(Failure::new("REDIS_URL is not set, so there are no keys in Redis").hint(
            "set it as for `larder serve`, or leave out --redis to see the keys in the server's memory",
        ));
    };
    // A listing changes nothing on the server.
    redis.maxmemory = None;
    let within = redis.command_timeout;
    let namespace = config.cache_namespace.0.as_str();
    let connector =
        RedisConnector::new(redis, namespace).map_err(|problems| Failure::new(problems.join("; ")))?;
    let failed =
        |error| Failure::new(format!("{}: {error}", connector.address())).hint("larder check tells more");
    let node = format!("keys-{}", uuid::Uuid::now_v7().simple());
    for bucket in 0..connector.buckets() {
        let (link, _) = connector.connect(&node, bucket, false).await.map_err(failed)?;
        let mut cursor = 0;
        loop {
            let (next, keys) = link.scan(cursor, SCAN_PAGE, within).await.map_err(failed)?;
            let wanted =
                keys.iter().filter(|raw| pattern.is_none_or(|pattern| like(pattern, namespace, raw)));
            out(&wanted.map(|raw| format!("{}\n", String::from_utf8_lossy(raw))).collect::<String>())?;
            cursor = next;
            if cursor == 0 {
                break;
            }
        }
    }
    Ok(())
}

/// Whether a raw key is like `pattern`, as it stands in Redis or as people see the entry.
fn like(pattern: &str, namespace: &str, raw: &[u8]) -> bool {
    glob(pattern, &String::from_utf8_lossy(raw))
        || name(namespace, raw).is_some_and(|name| glob(pattern, &name))
}

/// The entry's key as people see it: `campaigns:acme:page:1`. Those of long keys are not told by their raw ones.
fn name(namespace: &str, raw: &[u8]) -> Option<String> {
    match parse_raw_key(namespace, raw)? {
        RawKey::Entry { tenant, key: KeyName::Plain(key) } => {
            Some(Key::from_encoded(&key).ok()?.render(&tenant))
        }
        _ => None,
    }
}

/// Whether `text` is like `pattern`, where `*` stands for any text and `?` for one character.
fn glob(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) = (pattern.chars().collect(), text.chars().collect());
    let (mut p, mut t) = (0, 0);
    // Where the last star stood, and how much of the text it covers so far.
    let mut star: Option<(usize, usize)> = None;
    while t < text.len() {
        match pattern.get(p) {
            Some('*') => {
                star = Some((p, t));
                p += 1;
            }
            Some(c) if *c == '?' || *c == text[t] => (p, t) = (p + 1, t + 1),
            _ => match star {
                Some((at, covered)) => {
                    star = Some((at, covered + 1));
                    (p, t) = (at + 1, covered + 1);
                }
                None => return false,
            },
        }
    }
    pattern[p..].iter().all(|c| *c == '*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_covers_any_text_and_a_question_mark_one_character() {
        for (pattern, text, like) in [
            ("*", "", true),
            ("ld1:larder:*", "ld1:larder:{0}:e:4:acme:campaigns", true),
            ("*:campaigns:*:20", "x:campaigns:page:1:limit:20", true),
            ("*campaigns", "campaigns:1", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("abc", "abcd", false),
            ("a*a*a*b", &"a".repeat(200), false),
        ] {
            assert_eq!(glob(pattern, text), like, "{pattern} {text}");
        }
    }

    #[test]
    fn a_raw_key_is_found_by_its_own_spelling_and_by_the_name_people_see() {
        let raw = b"ld1:shop:{0}:e:4:acme:campaigns:page:1:limit:20";
        for (pattern, found) in [
            ("campaigns:*", true),
            ("campaigns:acme:page:1:*", true),
            ("ld1:shop:*", true),
            ("*:acme:*", true),
            ("campaigns:globex:*", false),
            ("campaign:*", false),
        ] {
            assert_eq!(like(pattern, "shop", raw), found, "{pattern}");
        }
        assert!(like("stats:*", "shop", b"ld1:shop:{0}:e:0::stats:"));
        assert!(
            !like("campaigns:*", "shop", b"ld1:shop:{0}:l:4:acme:campaigns:page:1"),
            "a lease is no entry"
        );
    }

    #[test]
    fn the_end_of_the_listing_is_a_cursor_that_is_none() {
        use serde_json::json;
        assert_eq!(next(&json!({"next_cursor": "7"})), Some("7".into()));
        for end in [json!({"next_cursor": null}), json!({"next_cursor": ""}), json!({"cursor": 0}), json!({})]
        {
            assert_eq!(next(&end), None, "{end}");
        }
    }
}
