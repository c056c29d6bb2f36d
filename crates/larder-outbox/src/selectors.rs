//! What an event invalidates, as JSON in a row: an array of
//!
//! ```json
//! "all"
//! {"key": "campaign:17"}
//! {"prefix": "campaigns"}
//! {"tag": "campaigns"}
//! {"glob": "campaigns:*:limit:20"}
//! {"each": {"key": ["campaign", "{key}"]}}
//! {"each": {"prefix": ["leads", "{key}"]}}
//! {"each": {"tag": "campaign:{key}"}}
//! ```
//!
//! Keys and prefixes are in their encoded form ([`Key::as_str`]). What stands in `each` is a template of a trigger: it
//! counts once for each of the `keys` in the row's data. Where these are `null` (the whole table), a key or prefix is
//! cut before its first `{key}`; what then has nothing left, and a tag, become the whole tenant.

use larder::limits::MAX_SELECTORS;
use larder::{Key, Selector};
use serde::{Deserialize, Serialize};

/// Stands for the key of a changed row.
pub(crate) const PLACE: &str = "{key}";

/// One of the array.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Stored {
    All,
    Key(String),
    Prefix(String),
    Tag(String),
    Glob(String),
    Each(Each),
}

/// A template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Each {
    Key(Vec<String>),
    Prefix(Vec<String>),
    Tag(String),
}

impl Stored {
    /// `None` where it is none that a tenant's event may have.
    pub(crate) fn of(selector: &Selector) -> Option<Self> {
        Some(match selector {
            Selector::Key(key) => Self::Key(key.as_str().to_owned()),
            Selector::Prefix(key) => Self::Prefix(key.as_str().to_owned()),
            Selector::Tag(tag) => Self::Tag(tag.clone()),
            Selector::Glob(pattern) => Self::Glob(pattern.clone()),
            Selector::All => Self::All,
            _ => return None,
        })
    }
}

/// What the row invalidates. More than one invalidation can take is widened to the whole tenant.
///
/// # Errors
/// What is not understood.
pub(crate) fn decode(invalidates: &str, keys: Option<&[String]>) -> Result<Vec<Selector>, &'static str> {
    let stored: Vec<Stored> = serde_json::from_str(invalidates)
        .map_err(|_| "`invalidates` is no JSON array of selectors that this version knows")?;
    let mut selectors = Vec::with_capacity(stored.len());
    for stored in stored {
        match stored {
            Stored::All => selectors.push(Selector::All),
            Stored::Key(text) => selectors.push(Selector::Key(key(&text)?)),
            Stored::Prefix(text) => selectors.push(Selector::Prefix(key(&text)?)),
            Stored::Tag(tag) => selectors.push(Selector::Tag(tag)),
            Stored::Glob(pattern) => selectors.push(Selector::Glob(pattern)),
            Stored::Each(each) => each.expand(keys, &mut selectors),
        }
    }
    Ok(if selectors.len() > MAX_SELECTORS { vec![Selector::All] } else { selectors })
}

fn key(text: &str) -> Result<Key, &'static str> {
    Key::from_encoded(text).map_err(|_| "`invalidates` holds a key that is none")
}

impl Each {
    fn expand(&self, keys: Option<&[String]>, selectors: &mut Vec<Selector>) {
        match keys {
            Some(keys) => selectors.extend(keys.iter().map(|key| self.of(key))),
            None => selectors.push(self.whole()),
        }
    }

    fn of(&self, changed: &str) -> Selector {
        let fill = |text: &String| text.replace(PLACE, changed);
        match self {
            Self::Key(segments) => Selector::Key(joined(segments.iter().map(fill))),
            Self::Prefix(segments) => Selector::Prefix(joined(segments.iter().map(fill))),
            Self::Tag(tag) => Selector::Tag(fill(tag)),
        }
    }

    fn whole(&self) -> Selector {
        let (Self::Key(segments) | Self::Prefix(segments)) = self else { return Selector::All };
        let fixed: Vec<String> =
            segments.iter().take_while(|segment| !segment.contains(PLACE)).cloned().collect();
        if fixed.is_empty() { Selector::All } else { Selector::Prefix(joined(fixed)) }
    }
}

fn joined(segments: impl IntoIterator<Item = String>) -> Key {
    segments.into_iter().fold(Key::empty(), Key::with)
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::{all, glob, key, prefix, tag};

    #[test]
    fn every_selector_of_a_tenant_reads_back() {
        let given: Vec<Selector> =
            vec![key!("a:b", 1).into(), prefix!("c", "ö"), tag("t"), glob("x:*"), all()];
        let stored: Vec<Stored> = given.iter().map(|selector| Stored::of(selector).unwrap()).collect();
        assert_eq!(decode(&serde_json::to_string(&stored).unwrap(), None).unwrap(), given);
        assert_eq!(Stored::of(&larder::first_segment("a")), None);
    }

    #[test]
    fn the_json_is_that_of_the_documentation() {
        let json = r#"["all",{"key":"campaign:17"},{"each":{"key":["campaign","{key}"]}},{"each":{"tag":"c-{key}"}}]"#;
        let keys = ["1".to_owned(), "a:b".to_owned()];
        let read = decode(json, Some(&keys)).unwrap();
        let wanted: Vec<Selector> = vec![
            all(),
            key!("campaign", 17).into(),
            key!("campaign", 1).into(),
            key!("campaign", "a:b").into(),
            tag("c-1"),
            tag("c-a:b"),
        ];
        assert_eq!(read, wanted);
    }

    #[test]
    fn a_template_without_keys_is_widened_and_never_dropped() {
        let json = r#"[{"each":{"key":["campaign","{key}"]}},{"each":{"prefix":["{key}","x"]}},{"each":{"tag":"c-{key}"}}]"#;
        assert_eq!(decode(json, None).unwrap(), [prefix!("campaign"), all(), all()]);
    }

    #[test]
    fn more_than_one_invalidation_takes_is_the_whole_tenant() {
        let keys: Vec<String> = (0..=MAX_SELECTORS).map(|n| n.to_string()).collect();
        assert_eq!(decode(r#"[{"each":{"tag":"{key}"}}]"#, Some(&keys)).unwrap(), [all()]);
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        for bad in ["", "{}", "[1]", r#"[{"shelf":"a"}]"#, r#"[{"key":"%zz"}]"#, r#"["none"]"#] {
            assert!(decode(bad, None).is_err(), "{bad}");
        }
    }
}
