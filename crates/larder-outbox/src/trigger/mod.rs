//! Triggers for tables whose writers do not know of larder: psql, a crawler, another service.

mod postgres;
mod quote;
mod sqlite;

use crate::error::{Error, ErrorKind};
use crate::limits::MAX_INVALIDATES_BYTES;
use crate::selectors::{Each, PLACE, Stored};
use larder::Selector;
use larder::limits::{MAX_KIND_BYTES, MAX_ROOM_BYTES};

/// Makes the SQL of triggers that write an outbox row for every change of a table.
///
/// The events are called `{kind}.created`, `.updated`, `.deleted` and (PostgreSQL) `.truncated`; their data is
/// `{"table": …, "op": …, "keys": […]}`, where `keys` is `null` if more than 100 rows of the tenant changed in one
/// statement: the whole table, as far as anybody can tell.
///
/// ```
/// # fn main() -> Result<(), larder_outbox::Error> {
/// use larder_outbox::Trigger;
/// use larder::prefix;
///
/// let campaigns = Trigger::on("campaigns")
///     .kind("campaign")
///     .tenant_column("tenant_id")
///     .key_column("id")
///     .invalidates([prefix!("campaigns")])
///     .each_key(["campaign", "{key}"])
///     .each_tag("campaign-{key}");
/// let migration = campaigns.postgres()?;
/// assert!(migration.contains(r#"AFTER UPDATE ON "public"."campaigns""#));
/// # Ok(())
/// # }
/// ```
///
/// | | PostgreSQL | SQLite |
/// | --- | --- | --- |
/// | fires | once a statement, with transition tables: one outbox row for each tenant concerned | once a row |
/// | `TRUNCATE` | the table is read for the tenants that lose rows | there is none |
/// | a row moves to another tenant | both get an event | both get an event |
/// | skipped by | `session_replication_role = replica`, writes to a partition itself, logical replication | `INSERT OR REPLACE` over a row of another key or tenant, unless `PRAGMA recursive_triggers` is on |
///
/// On PostgreSQL the trigger's function is `SECURITY DEFINER`, so whoever may write the table needs no rights on the outbox;
/// run the SQL as the outbox's owner. Running it again replaces the triggers.
#[derive(Clone, Debug)]
#[must_use = "it is only a description until it is made into SQL"]
pub struct Trigger {
    table: String,
    schema: String,
    outbox_schema: String,
    kind: String,
    room: Option<String>,
    whose: Option<Column>,
    key: Option<String>,
    invalidates: Vec<Stored>,
    faults: Vec<String>,
    notify: bool,
}

/// Whose rows they are.
#[derive(Clone, Debug)]
enum Column {
    Tenant(String),
    Shared,
}

impl Trigger {
    /// A trigger on this table. Names are taken as they are, in any case and with any character: they are quoted.
    pub fn on(table: impl Into<String>) -> Self {
        let table = table.into();
        Self {
            kind: table.clone(),
            table,
            schema: "public".to_owned(),
            outbox_schema: "public".to_owned(),
            room: None,
            whose: None,
            key: None,
            invalidates: Vec::new(),
            faults: Vec::new(),
            notify: false,
        }
    }

    /// PostgreSQL: the schema of the table. Default `public`.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = schema.into();
        self
    }

    /// PostgreSQL: the schema of `larder_outbox`. Default `public`.
    pub fn outbox_schema(mut self, schema: impl Into<String>) -> Self {
        self.outbox_schema = schema.into();
        self
    }

    /// What the events are called, before `.created`: 1 to 116 bytes. Default: the table's name.
    pub fn kind(mut self, kind: impl Into<String>) -> Self {
        self.kind = kind.into();
        self
    }

    /// The room that the events are for. Default: all connections of the tenant.
    pub fn room(mut self, room: impl Into<String>) -> Self {
        self.room = Some(room.into());
        self
    }

    /// The column that names the tenant. Rows where it is NULL are nobody's: their outbox rows are set aside. This or
    /// [`Trigger::shared`] is needed.
    pub fn tenant_column(mut self, column: impl Into<String>) -> Self {
        if matches!(self.whose, Some(Column::Shared)) {
            self.faults.push("it is shared, and has a tenant column".to_owned());
        }
        self.whose = Some(Column::Tenant(column.into()));
        self
    }

    /// All tenants share this table.
    pub fn shared(mut self) -> Self {
        if matches!(self.whose, Some(Column::Tenant(_))) {
            self.faults.push("it is shared, and has a tenant column".to_owned());
        }
        self.whose = Some(Column::Shared);
        self
    }

    /// The column whose values are the `keys` of the events: the primary key, or what the cached values are named by
    /// (`campaign_id` of a table of leads). Without one an event stands for the whole table.
    pub fn key_column(mut self, column: impl Into<String>) -> Self {
        self.key = Some(column.into());
        self
    }

    /// What every change of the table invalidates.
    pub fn invalidates(mut self, what: impl IntoIterator<Item = impl Into<Selector>>) -> Self {
        for selector in what {
            match Stored::of(&selector.into()) {
                Some(stored) => self.invalidates.push(stored),
                None => self
                    .faults
                    .push("what reaches across tenants can't be invalidated by an event".to_owned()),
            }
        }
        self
    }

    /// A key that is invalidated for each changed row; `{key}` in a segment stands for the row's key. Where the event stands
    /// for the whole table, so does the prefix before the first `{key}`.
    pub fn each_key(mut self, segments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.invalidates.push(Stored::Each(Each::Key(segments.into_iter().map(Into::into).collect())));
        self
    }

    /// The same for a prefix.
    pub fn each_prefix(mut self, segments: impl IntoIterator<Item = impl Into<String>>) -> Self {
        self.invalidates.push(Stored::Each(Each::Prefix(segments.into_iter().map(Into::into).collect())));
        self
    }

    /// The same for a tag. Where the event stands for the whole table, **the whole tenant** is invalidated: nobody can list
    /// tags. Prefer keys and prefixes for tables that change in bulk.
    pub fn each_tag(mut self, tag: impl Into<String>) -> Self {
        self.invalidates.push(Stored::Each(Each::Tag(tag.into())));
        self
    }

    /// PostgreSQL: wakes relays that [listen](crate::OutboxBuilder::listen). Not for databases with many writers: `NOTIFY`
    /// has transactions of the whole server wait for each other when they commit.
    pub fn notify(mut self) -> Self {
        self.notify = true;
        self
    }

    /// The triggers for PostgreSQL 11 and later, as several statements.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidTrigger`], with all that is wrong.
    pub fn postgres(&self) -> Result<String, Error> {
        Ok(postgres::create(&self.checked()?))
    }

    /// Takes them away again.
    ///
    /// # Errors
    /// As [`Trigger::postgres`].
    pub fn drop_postgres(&self) -> Result<String, Error> {
        Ok(postgres::remove(&self.checked()?))
    }

    /// The triggers for SQLite 3.38 and later, as several statements.
    ///
    /// # Errors
    /// [`ErrorKind::InvalidTrigger`], with all that is wrong.
    pub fn sqlite(&self) -> Result<String, Error> {
        Ok(sqlite::create(&self.checked()?))
    }

    /// Takes them away again.
    ///
    /// # Errors
    /// As [`Trigger::sqlite`].
    pub fn drop_sqlite(&self) -> Result<String, Error> {
        Ok(sqlite::remove(&self.checked()?))
    }

    fn checked(&self) -> Result<Checked<'_>, Error> {
        let mut faults = self.faults.clone();
        let tenant = match &self.whose {
            Some(Column::Tenant(column)) => Some(column.as_str()),
            Some(Column::Shared) => None,
            None => {
                faults.push("neither a tenant column nor shared".to_owned());
                None
            }
        };
        let names = [
            ("table", Some(self.table.as_str())),
            ("schema", Some(self.schema.as_str())),
            ("outbox_schema", Some(self.outbox_schema.as_str())),
            ("tenant_column", tenant),
            ("key_column", self.key.as_deref()),
        ];
        faults.extend(
            names.iter().filter_map(|(what, name)| Some(format!("{what} {}", quote::fault((*name)?)?))),
        );
        let longest = MAX_KIND_BYTES - ".truncated".len() - 2;
        if self.kind.is_empty() || self.kind.len() > longest || self.kind.contains('\0') {
            faults.push(format!("kind may have 1 to {longest} bytes and no NUL"));
        }
        if self
            .room
            .as_ref()
            .is_some_and(|room| room.is_empty() || room.len() > MAX_ROOM_BYTES || room.contains('\0'))
        {
            faults.push(format!("room may have 1 to {MAX_ROOM_BYTES} bytes and no NUL"));
        }
        if self.key.is_none() && self.invalidates.iter().any(is_templated) {
            faults.push(format!("{PLACE} needs a key_column"));
        }
        let invalidates = serde_json::to_string(&self.invalidates).expect("names and texts are JSON");
        if invalidates.len() > MAX_INVALIDATES_BYTES {
            faults.push(format!("what it invalidates may have {MAX_INVALIDATES_BYTES} bytes"));
        }
        if !faults.is_empty() {
            let detail = format!("the trigger on {:?} can't be made: {}", self.table, faults.join("; "));
            return Err(Error::new(ErrorKind::InvalidTrigger, detail));
        }
        Ok(Checked { trigger: self, tenant, invalidates })
    }
}

fn is_templated(stored: &Stored) -> bool {
    matches!(stored, Stored::Each(_))
}

/// A trigger in which nothing is wrong.
struct Checked<'a> {
    trigger: &'a Trigger,
    /// The column; `None`: shared.
    tenant: Option<&'a str>,
    invalidates: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_wrong_is_said_at_once() {
        let error = Trigger::on("")
            .each_key(["a", "{key}"])
            .kind("k".repeat(200))
            .invalidates([larder::first_segment("x")])
            .postgres()
            .unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidTrigger);
        let said = error.to_string();
        for part in ["table has 0 bytes", "tenant column", "key_column", "kind may have", "across tenants"] {
            assert!(said.contains(part), "{part}: {said}");
        }
        let both = Trigger::on("t").shared().tenant_column("x").sqlite().unwrap_err().to_string();
        assert!(both.contains("shared, and has a tenant column"), "{both}");
    }
}
