//! Writing rows, within the caller's transaction.

use crate::error::{Error, ErrorKind};
use crate::limits::MAX_INVALIDATES_BYTES;
use crate::row::{Whose, idempotency_key};
use crate::selectors::Stored;
use crate::session::Session;
use crate::statements::Statements;
use larder::limits::{
    MAX_EVENT_BYTES, MAX_EVENT_ID_BYTES, MAX_KIND_BYTES, MAX_PATTERN_BYTES, MAX_ROOM_BYTES, MAX_SELECTORS,
    MAX_SENDER_BYTES, MAX_TAG_BYTES, MAX_TENANT_BYTES,
};
use larder::{Event, Key, Selector};
use serde::Serialize;
use std::time::Duration;

/// Writes an event into the outbox, in the transaction of the change that it tells of: both commit, or neither does. A
/// relay, in this process or another, publishes it then.
///
/// For processes that only write. Where there is an [`Outbox`](crate::Outbox), [`Outbox::changes`](crate::Outbox::changes)
/// has the event published at once, without a relay.
///
/// Call it **after** the statement that makes the change: two transactions that change the same row then have their events
/// in the order of their changes, since the second has waited for the first.
///
/// ```no_run
/// # async fn example(pool: sqlx::PgPool) -> Result<(), Box<dyn std::error::Error>> {
/// let mut tx = pool.begin().await?;
/// sqlx::query("UPDATE campaigns SET status = 'paused' WHERE id = 17").execute(&mut *tx).await?;
/// let event = larder::Event::new("campaign.updated").id("17").invalidates([larder::tag("campaigns")]);
/// larder_outbox::emit(&mut *tx, "acme", &event).await?;
/// tx.commit().await?;
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// [`ErrorKind::InvalidEvent`] names the field that is too long or not valid: `data` may have 64 KiB as JSON. Nothing was
/// written then, and the transaction can go on. [`ErrorKind::Database`]: the transaction can't.
///
/// # Cancel safety
/// Cancelled, the row may have been written: roll the transaction back.
pub async fn emit(connection: &mut dyn Session, whose: impl Into<Whose>, event: &Event) -> Result<(), Error> {
    write(connection, &whose.into(), std::slice::from_ref(event), None).await.map(drop)
}

/// A row that was written.
#[derive(Debug)]
pub(crate) struct Written {
    pub(crate) id: i64,
    pub(crate) key: String,
}

/// The tenant's rows that this transaction sees: its own, and those that were committed before. `None` if there are more
/// than so many.
pub(crate) async fn older(
    connection: &mut dyn Session,
    whose: &Whose,
    most: usize,
) -> Result<Option<Vec<i64>>, Error> {
    let (tenant, shared) = columns(whose)?;
    let arguments = [tenant.to_owned(), shared.to_owned(), (most + 1).to_string()];
    let rows = connection.ask(statements(connection)?.older, arguments.map(Some).into()).await?;
    let id = |row: &Vec<Option<String>>| row.first()?.as_ref()?.parse().ok();
    Ok(if rows.len() > most { None } else { rows.iter().map(id).collect() })
}

/// Leaves rows of this transaction to the relay.
pub(crate) async fn hand_over(connection: &mut dyn Session, ids: &[i64]) -> Result<(), Error> {
    let ids = serde_json::to_string(ids).expect("numbers are JSON");
    connection.ask(statements(connection)?.hand_over, vec![Some(ids)]).await?;
    Ok(())
}

/// Writes rows, in one statement. `grace`: for so long the relay leaves them to this process.
pub(crate) async fn write(
    connection: &mut dyn Session,
    whose: &Whose,
    events: &[Event],
    grace: Option<Duration>,
) -> Result<Vec<Written>, Error> {
    let (tenant, shared) = columns(whose)?;
    let fields = events.iter().map(Fields::of).collect::<Result<Vec<_>, _>>()?;
    let arguments = [
        tenant.to_owned(),
        shared.to_owned(),
        serde_json::to_string(&fields).expect("texts are JSON"),
        grace.map_or_else(|| "-1".to_owned(), |grace| grace.as_millis().to_string()),
    ];
    let rows = connection.ask(statements(connection)?.insert, arguments.map(Some).into()).await?;
    let strange = || Error::from(sqlx::Error::Decode("the outbox did not return what was written".into()));
    let mut written: Vec<Written> =
        rows.iter().map(|row| Written::of(row)).collect::<Option<_>>().ok_or_else(strange)?;
    // Ids are given in the order of the events; rows may be returned in another.
    written.sort_unstable_by_key(|written| written.id);
    if written.len() == events.len() { Ok(written) } else { Err(strange()) }
}

impl Written {
    fn of(row: &[Option<String>]) -> Option<Self> {
        let [Some(id), Some(nonce)] = row else { return None };
        let id = id.parse().ok()?;
        Some(Self { id, key: idempotency_key(id, nonce) })
    }
}

fn statements(connection: &dyn Session) -> Result<&'static Statements, Error> {
    let unknown = || Error::new(ErrorKind::UnknownDatabase, "an outbox is in PostgreSQL or SQLite");
    Ok(Statements::of(connection.dialect().ok_or_else(unknown)?))
}

fn columns(whose: &Whose) -> Result<(&str, &'static str), Error> {
    Ok(match whose {
        Whose::Tenant(name) => (text("tenant", name, MAX_TENANT_BYTES)?, "0"),
        Whose::Shared => ("", "1"),
    })
}

/// The columns of an event, each within its bound.
#[derive(Debug, Serialize)]
struct Fields<'e> {
    kind: &'e str,
    entity: Option<&'e str>,
    room: Option<&'e str>,
    sender: Option<&'e str>,
    data: Option<String>,
    invalidates: String,
}

impl<'e> Fields<'e> {
    fn of(event: &'e Event) -> Result<Self, Error> {
        let optional =
            |field, value: Option<&'e str>, most| value.map(|value| text(field, value, most)).transpose();
        let data = match event.payload() {
            serde_json::Value::Null => None,
            data => Some(serde_json::to_string(data).expect("JSON can be written")),
        };
        within("data", data.as_ref().map_or(0, String::len), MAX_EVENT_BYTES)?;
        Ok(Self {
            kind: text("kind", event.kind(), MAX_KIND_BYTES)?,
            entity: optional("id", event.changed_id(), MAX_EVENT_ID_BYTES)?,
            room: optional(
                "room",
                Some(event.room_name()).filter(|room| *room != EVERYBODY),
                MAX_ROOM_BYTES,
            )?,
            sender: optional("from", event.sender(), MAX_SENDER_BYTES)?,
            data,
            invalidates: invalidates(event.selectors())?,
        })
    }
}

/// The room in which everybody of a tenant is.
const EVERYBODY: &str = "tenant";

fn invalidates(selectors: &[Selector]) -> Result<String, Error> {
    within("invalidates", selectors.len(), MAX_SELECTORS)?;
    let stored: Option<Vec<Stored>> =
        selectors.iter().map(|selector| Stored::of(selector).filter(|_| is_valid(selector))).collect();
    let stored = stored.ok_or_else(|| {
        let why = "`invalidates` holds a key, prefix, tag or pattern that is empty or too long, or one across tenants";
        Error::new(ErrorKind::InvalidEvent, why)
    })?;
    let json = serde_json::to_string(&stored).expect("texts are JSON");
    within("invalidates", json.len(), MAX_INVALIDATES_BYTES)?;
    Ok(json)
}

/// What the engine will not refuse.
fn is_valid(selector: &Selector) -> bool {
    match selector {
        // One that is too long has another encoding than it should.
        Selector::Key(key) | Selector::Prefix(key) => {
            Key::from_encoded(key.as_str()).is_ok_and(|read| read == *key)
        }
        Selector::Tag(tag) => (1..=MAX_TAG_BYTES).contains(&tag.len()),
        Selector::Glob(pattern) => (1..=MAX_PATTERN_BYTES).contains(&pattern.len()),
        _ => true,
    }
}

fn text<'v>(field: &str, value: &'v str, most: usize) -> Result<&'v str, Error> {
    if value.is_empty() || value.contains('\0') {
        let why = format!("`{field}` is empty or holds a NUL");
        return Err(Error::new(ErrorKind::InvalidEvent, why));
    }
    within(field, value.len(), most)?;
    Ok(value)
}

fn within(field: &str, length: usize, most: usize) -> Result<(), Error> {
    if length <= most {
        return Ok(());
    }
    Err(Error::new(ErrorKind::InvalidEvent, format!("`{field}` has {length}, and may have {most}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use larder::{first_segment, glob, key, prefix, tag};

    fn fault(event: &Event) -> String {
        let error = Fields::of(event).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidEvent);
        error.to_string()
    }

    #[test]
    fn each_field_is_taken_at_its_bound_and_named_one_past_it() {
        let event = |n: usize| Event::new("k".repeat(n));
        assert!(Fields::of(&event(MAX_KIND_BYTES)).is_ok());
        assert!(fault(&event(MAX_KIND_BYTES + 1)).contains("`kind`"));
        assert!(fault(&event(0)).contains("`kind`"));
        assert!(fault(&event(1).id("i".repeat(257))).contains("`id`"));
        assert!(fault(&event(1).room("r".repeat(201))).contains("`room`"));
        assert!(fault(&event(1).from("u".repeat(129))).contains("`from`"));
        // Two bytes are its quotes.
        let data = |n: usize| event(1).data(serde_json::Value::String("d".repeat(n)));
        assert!(Fields::of(&data(MAX_EVENT_BYTES - 2)).is_ok());
        assert!(fault(&data(MAX_EVENT_BYTES - 1)).contains("`data`"));
    }

    #[test]
    fn what_the_engine_would_refuse_is_refused_before_the_commit() {
        let of = |selector: Selector| Event::new("x").invalidates([selector]);
        for good in [key!("a", 1).into(), prefix!("a"), tag("t"), glob("a:*"), key!("x".repeat(1024)).into()]
        {
            assert!(Fields::of(&of(good)).is_ok());
        }
        for bad in [
            key!("x".repeat(1025)).into(),
            Selector::Prefix(Key::empty()),
            tag(""),
            tag("t".repeat(257)),
            glob("*".repeat(1025)),
            first_segment("a"),
        ] {
            assert!(fault(&of(bad)).contains("`invalidates`"));
        }
        let many = Event::new("x").invalidates((0..=MAX_SELECTORS).map(|n| tag(n.to_string())));
        assert!(fault(&many).contains("`invalidates`"));
        let long = Event::new("x").invalidates((0..MAX_SELECTORS).map(|n| tag(format!("{n:0>200}"))));
        assert!(fault(&long).contains("`invalidates`"));
    }
}
