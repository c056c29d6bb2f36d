//! A row as it is read: an event, or what is wrong with it.

use crate::cell::Cell;
use crate::selectors;
use larder::limits::MAX_TENANT_BYTES;
use larder::{Cache, Event, Selector, Tenant};
use serde_json::Value;

/// The version of rows that this code writes, and the newest that it reads.
const VERSION: &str = "1";

/// A row.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) id: i64,
    /// The process that wrote it may still be about to publish it.
    pub(crate) held: bool,
    /// `None`: no tenant can have this name, so nothing is cached for it.
    pub(crate) whose: Option<Whose>,
    pub(crate) content: Result<Content, String>,
}

/// To whom an event belongs.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Whose {
    /// The tenant of this name.
    Tenant(String),
    /// All: what [`Cache::shared`](larder::Cache::shared) holds.
    Shared,
}

impl From<&str> for Whose {
    fn from(tenant: &str) -> Self {
        Self::Tenant(tenant.to_owned())
    }
}

impl From<String> for Whose {
    fn from(tenant: String) -> Self {
        Self::Tenant(tenant)
    }
}

impl From<&Tenant> for Whose {
    fn from(tenant: &Tenant) -> Self {
        match tenant.name() {
            "" => Self::Shared,
            name => Self::Tenant(name.to_owned()),
        }
    }
}

impl Whose {
    pub(crate) fn in_cache(&self, cache: &Cache) -> Tenant {
        match self {
            Self::Tenant(name) => cache.tenant(name),
            Self::Shared => cache.shared(),
        }
    }
}

/// What a row says.
#[derive(Debug, PartialEq)]
pub(crate) struct Content {
    pub(crate) nonce: String,
    kind: String,
    entity: Option<String>,
    room: Option<String>,
    sender: Option<String>,
    data: Value,
    invalidates: Vec<Selector>,
}

/// The columns of the statement `read`.
const COLUMNS: [&str; 13] = [
    "id",
    "nonce",
    "v",
    "shared",
    "not_before",
    "too long",
    "tenant",
    "kind",
    "entity",
    "room",
    "sender",
    "data",
    "invalidates",
];

impl Row {
    /// From the columns of the statement `read`; `None` if they are others.
    pub(crate) fn of(cells: Vec<Cell>) -> Option<Self> {
        let no_text = COLUMNS.iter().zip(&cells).find(|(_, cell)| cell.is_err()).map(|(column, _)| *column);
        // Bytes that say a name are meant as that tenant's, whose entries are dropped even if the row is set aside.
        let texts: Vec<_> = cells.into_iter().map(|cell| cell.unwrap_or_else(|text| text)).collect();
        let [
            id,
            nonce,
            version,
            shared,
            held,
            too_long,
            tenant,
            kind,
            entity,
            room,
            sender,
            data,
            invalidates,
        ] = <[Option<String>; 13]>::try_from(texts).ok()?;
        let whose = match (shared.as_deref(), tenant) {
            (Some("0"), Some(name)) if (1..=MAX_TENANT_BYTES).contains(&name.len()) => {
                Some(Whose::Tenant(name))
            }
            (Some("1"), _) => Some(Whose::Shared),
            _ => None,
        };
        let content = match (too_long, no_text, &whose) {
            (Some(field), ..) => Err(format!("`{field}` is too long")),
            (_, Some(field), _) => Err(format!("`{field}` is no text (UTF-8)")),
            (.., None) => Err(format!("`tenant` has not 1 to {MAX_TENANT_BYTES} bytes")),
            _ if version.as_deref() != Some(VERSION) => Err("a newer version wrote it".to_owned()),
            _ => Content::of(nonce, kind, [entity, room, sender], data, invalidates).map_err(str::to_owned),
        };
        Some(Self { id: id?.parse().ok()?, held: held.as_deref() == Some("1"), whose, content })
    }
}

impl Content {
    fn of(
        nonce: Option<String>,
        kind: Option<String>,
        [entity, room, sender]: [Option<String>; 3],
        data: Option<String>,
        invalidates: Option<String>,
    ) -> Result<Self, &'static str> {
        let kind = kind.filter(|kind| !kind.is_empty()).ok_or("`kind` is empty")?;
        let data: Value = match data.as_deref() {
            None | Some("") => Value::Null,
            Some(text) => serde_json::from_str(text).map_err(|_| "`data` is no JSON")?,
        };
        let keys = data.get("keys").and_then(texts);
        let invalidates = selectors::decode(invalidates.as_deref().unwrap_or("[]"), keys.as_deref())?;
        Ok(Self { nonce: nonce.unwrap_or_default(), kind, entity, room, sender, data, invalidates })
    }

    pub(crate) fn event(self, id: i64) -> Event {
        let mut event = Event::new(self.kind)
            .data(self.data)
            .invalidates(self.invalidates)
            .idempotency_key(idempotency_key(id, &self.nonce));
        if let Some(entity) = self.entity {
            event = event.id(entity);
        }
        if let Some(room) = self.room {
            event = event.room(room);
        }
        if let Some(sender) = self.sender {
            event = event.from(sender);
        }
        event
    }
}

/// Under which a row is published, by whomever and however often.
pub(crate) fn idempotency_key(id: i64, nonce: &str) -> String {
    format!("ob-{id}-{nonce}")
}

/// An array of texts and nothing else.
fn texts(value: &Value) -> Option<Vec<String>> {
    value.as_array()?.iter().map(|text| Some(text.as_str()?.to_owned())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::{prefix, tag};

    fn cells(changes: &[(usize, Option<&str>)]) -> Vec<Cell> {
        let mut cells: Vec<Option<&str>> = vec![
            Some("7"),
            Some("ab"),
            Some("1"),
            Some("0"),
            Some("0"),
            None,
            Some("acme"),
            Some("campaign.updated"),
            Some("17"),
            None,
            None,
            Some(r#"{"keys":["17"]}"#),
            Some(r#"[{"tag":"campaigns"}]"#),
        ];
        changes.iter().for_each(|(at, text)| cells[*at] = *text);
        cells.into_iter().map(|cell| Ok(cell.map(str::to_owned))).collect()
    }

    fn refused(changes: &[(usize, Option<&str>)]) -> String {
        Row::of(cells(changes)).unwrap().content.unwrap_err()
    }

    #[test]
    fn a_row_is_an_event_of_its_tenant() {
        let row = Row::of(cells(&[])).unwrap();
        assert_eq!((row.id, row.held, row.whose), (7, false, Some(Whose::from("acme"))));
        let event = row.content.unwrap().event(row.id);
        assert_eq!((event.kind(), event.changed_id()), ("campaign.updated", Some("17")));
        assert_eq!(event.payload()["keys"][0], "17");
        assert_eq!(Row::of(cells(&[(4, Some("1"))])).map(|row| row.held), Some(true));
        assert_eq!(Row::of(cells(&[(3, Some("1")), (6, None)])).unwrap().whose, Some(Whose::Shared));
    }

    #[test]
    fn what_is_wrong_with_a_row_is_said_by_field() {
        assert!(refused(&[(5, Some("data")), (11, None)]).contains("`data`"));
        assert!(refused(&[(6, None)]).contains("`tenant`"));
        assert!(refused(&[(6, Some(""))]).contains("`tenant`"));
        assert!(refused(&[(7, Some(""))]).contains("`kind`"));
        assert!(refused(&[(11, Some("{"))]).contains("`data`"));
        assert!(refused(&[(12, Some("x"))]).contains("`invalidates`"));
        assert!(refused(&[(2, Some("2"))]).contains("newer"));
        assert!(refused(&[(3, Some("9"))]).contains("`tenant`"));
    }

    #[test]
    fn bytes_where_a_text_belongs_are_named_and_whose_they_are_is_known_where_they_say_it() {
        let of = |at: usize, cell: Cell| {
            let mut cells = cells(&[]);
            cells[at] = cell;
            let row = Row::of(cells).unwrap();
            (row.whose, row.content.unwrap_err())
        };
        for (at, column) in [(1, "nonce"), (2, "v"), (7, "kind"), (11, "data"), (12, "invalidates")] {
            let (whose, why) = of(at, Err(Some("1".to_owned())));
            assert_eq!((whose, why), (Some("acme".into()), format!("`{column}` is no text (UTF-8)")));
        }
        assert_eq!(of(6, Err(Some("globex".to_owned()))).0, Some("globex".into()));
        assert_eq!(of(6, Err(None)), (None, "`tenant` is no text (UTF-8)".to_owned()));
    }

    #[test]
    fn templates_take_the_keys_of_the_data() {
        let each = r#"[{"each":{"key":["c","{key}"]}},{"each":{"tag":"c"}}]"#;
        let of = |data| Row::of(cells(&[(11, data), (12, Some(each))])).unwrap().content.unwrap().invalidates;
        assert_eq!(of(Some(r#"{"keys":["1"]}"#)), [larder::key!("c", 1).into(), tag("c")]);
        for whole in [Some(r#"{"keys":null}"#), Some(r#"{"keys":[1]}"#), Some("3"), None] {
            assert_eq!(of(whole), [prefix!("c"), larder::all()], "{whole:?}");
        }
    }
}
