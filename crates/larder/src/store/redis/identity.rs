//! Who is at the other end.

use super::{
    reply,
    wire::{Wire, command},
};
use crate::store::{StoreError, StoreErrorKind};
use redis::Pipeline;
use std::{collections::BTreeMap, time::Duration};

/// How many characters of `run_id` and `master_replid` make the label.
const HALF_LABEL: usize = 16;

/// The oldest server that has script flags and sharded pub/sub.
const OLDEST: (u32, u32) = (7, 0);

/// Who a server says that it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    /// Names process and history; changes at every restart, promotion and restore.
    pub(super) label: String,
    /// `redis 7.0.15`.
    pub(super) version: String,
    /// The eviction policy, where the server tells it.
    pub(super) policy: Option<String>,
    /// How many replicas it feeds.
    pub(super) replicas: u32,
    /// It refuses writes when it loses its replicas (`min-replicas-to-write`).
    pub(super) guarded: bool,
    /// It is part of a Cluster.
    pub(super) cluster: bool,
}

impl Identity {
    /// Asks who the server is. `name` is shown in its list of clients, where it allows that.
    pub(super) async fn ask(wire: &Wire, name: &str, within: Duration) -> Result<Self, StoreError> {
        let mut commands = Pipeline::with_capacity(4);
        commands.add_command(command(&["CLIENT", "SETNAME", name]));
        for section in ["server", "replication", "memory"] {
            commands.add_command(command(&["INFO", section]));
        }
        let mut fields = BTreeMap::new();
        // A name is a nicety: access lists often refuse it.
        for answer in wire.ask(&commands, within).await?.into_iter().skip(1) {
            fields.append(&mut reply::info(&wire.accept(answer)?)?);
        }
        Self::new(&fields)
    }

    fn new(info: &BTreeMap<String, String>) -> Result<Self, StoreError> {
        let field = |name: &str| info.get(name).map(String::as_str);
        let version = version(info)?;
        // Valkey has named it anew.
        let mode = field("server_mode").or(field("redis_mode"));
        if mode == Some("sentinel") {
            return Err(unsupported(&version, "is a Sentinel, not a data server"));
        }
        let label =
            [field("run_id"), replication_label(info)?].map(|part| part.and_then(|p| p.get(..HALF_LABEL)));
        let [Some(run), Some(replication)] = label else {
            return Err(unsupported(&version, "does not tell its run_id and master_replid"));
        };
        let label = format!("{run}{replication}");
        Ok(Self {
            label,
            version,
            policy: field("maxmemory_policy").map(str::to_owned),
            replicas: field("connected_slaves").and_then(|number| number.parse().ok()).unwrap_or(0),
            cluster: mode == Some("cluster"),
            // Told only where it is set.
            guarded: info.contains_key("min_slaves_good_slaves"),
        })
    }

    /// What an administrator should know where another server may take this one's place.
    pub(super) fn advice_on_replicas(&self, sentinels: bool) -> Option<String> {
        if self.guarded || !sentinels && self.replicas == 0 {
            return None;
        }
        let who = match self.replicas {
            0 => "Sentinels may replace this server".to_owned(),
            _ => self.replaceable(),
        };
        Some(format!(
            "{who}, and its min-replicas-to-write is not set: nodes that are cut off together with it would go on with \
             it, and would not learn what is invalidated elsewhere, for as long as that lasts; set \
             min-replicas-to-write 1 and min-replicas-max-lag 10 on every server that can be the primary"
        ))
    }

    /// The same of a primary of a Cluster. One that is cut off from the others stops by itself, but late.
    pub(super) fn advice_in_cluster(&self) -> Option<String> {
        (!self.guarded && self.replicas > 0).then(|| {
            format!(
                "{}, and its min-replicas-to-write is not set: cut off from the others it goes on taking invalidations for \
                 as long as cluster-node-timeout, and they are lost with it though they were answered; set \
                 min-replicas-to-write 1, and min-replicas-max-lag more than 2s below cluster-node-timeout, on every server \
                 that can be a primary",
                self.replaceable()
            )
        })
    }

    fn replaceable(&self) -> String {
        match self.replicas {
            1 => "this server has a replica, which may replace it".to_owned(),
            replicas => format!("this server has {replicas} replicas, one of which may replace it"),
        }
    }

    /// Refuses a server of the other kind: part of a Cluster, or not.
    pub(super) fn expect(&self, cluster: bool) -> Result<(), StoreError> {
        match (self.cluster, cluster) {
            (true, false) => Err(unsupported(
                &self.version,
                "is part of a Cluster: write redis+cluster:// instead of redis://",
            )),
            (false, true) => Err(unsupported(
                &self.version,
                "is not part of a Cluster: write redis:// instead of redis+cluster://",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the answer to `INFO replication` still belongs to this identity.
    ///
    /// # Errors
    /// [`StoreErrorKind::NotWritable`] for a replica, [`StoreErrorKind::Changed`] for another history.
    pub(super) fn still(&self, replication: &BTreeMap<String, String>) -> Result<(), StoreError> {
        let now = replication_label(replication)?.and_then(|id| id.get(..HALF_LABEL));
        if now.is_some_and(|now| self.label.get(HALF_LABEL..) == Some(now)) {
            return Ok(());
        }
        Err(StoreError::new(StoreErrorKind::Changed, "the server's replication id has changed"))
    }
}

/// The replication id, if the server is a primary.
fn replication_label(info: &BTreeMap<String, String>) -> Result<Option<&str>, StoreError> {
    match info.get("role").map(String::as_str) {
        Some("master") => Ok(info.get("master_replid").map(String::as_str)),
        _ => Err(StoreError::new(
            StoreErrorKind::NotWritable,
            "the server is a replica: its primary is needed",
        )),
    }
}

fn unsupported(version: &str, what: &str) -> StoreError {
    StoreError::new(StoreErrorKind::Unsupported, format!("{version} {what}"))
}

/// `redis 7.0.15` or `valkey 8.0.1`, if it is new enough.
fn version(info: &BTreeMap<String, String>) -> Result<String, StoreError> {
    let field = |name: &str| info.get(name).map(String::as_str);
    if let Some(version) = field("valkey_version") {
        return Ok(format!("valkey {version}"));
    }
    let Some(version) = field("redis_version") else {
        return Err(StoreError::new(StoreErrorKind::Unsupported, "the server does not tell its version"));
    };
    let mut parts = version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let number = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
    let name = format!("{} {version}", field("server_name").unwrap_or("redis"));
    if number < OLDEST {
        return Err(unsupported(
            &name,
            "is too old (script flags and sharded pub/sub): Redis 7.0 or Valkey is needed",
        ));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn info(fields: &[(&str, &str)]) -> BTreeMap<String, String> {
        let base = [
            ("redis_version", "7.0.15"),
            ("redis_mode", "standalone"),
            ("run_id", "0123456789abcdef0123456789abcdef01234567"),
            ("role", "master"),
            ("master_replid", "fedcba9876543210fedcba9876543210fedcba98"),
            ("maxmemory_policy", "noeviction"),
        ];
        base.iter().chain(fields).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn the_label_names_process_and_history() {
        let identity = Identity::new(&info(&[])).unwrap();
        assert_eq!(identity.label, "0123456789abcdeffedcba9876543210");
        assert_eq!(identity.version, "redis 7.0.15");
    }

    #[test]
    fn a_server_of_another_kind_is_refused_by_name() {
        for (fields, kind, part) in [
            (&[("redis_version", "6.2.14")][..], StoreErrorKind::Unsupported, "redis 6.2.14 is too old"),
            (&[("redis_mode", "sentinel")], StoreErrorKind::Unsupported, "Sentinel"),
            (&[("role", "slave")], StoreErrorKind::NotWritable, "replica"),
            (&[("run_id", "short")], StoreErrorKind::Unsupported, "run_id"),
        ] {
            let error = Identity::new(&info(fields)).unwrap_err();
            assert_eq!(error.kind, kind, "{error}");
            assert!(error.detail.contains(part), "{error}");
        }
    }

    #[test]
    fn a_cluster_is_where_it_is_expected_and_nowhere_else() {
        let alone = Identity::new(&info(&[])).unwrap();
        let part = Identity::new(&info(&[("redis_mode", "cluster")])).unwrap();
        let of_valkey = Identity::new(&info(&[("server_mode", "cluster")])).unwrap();
        assert!(alone.expect(false).is_ok() && part.expect(true).is_ok() && of_valkey.expect(true).is_ok());
        for (error, words) in [
            (part.expect(false).unwrap_err(), "is part of a Cluster: write redis+cluster://"),
            (alone.expect(true).unwrap_err(), "is not part of a Cluster: write redis://"),
        ] {
            assert_eq!(error.kind, StoreErrorKind::Unsupported);
            assert!(error.detail.contains(words), "{error}");
        }
    }

    #[test]
    fn valkey_is_named_by_its_own_version() {
        let fields =
            info(&[("redis_version", "7.2.4"), ("server_name", "valkey"), ("valkey_version", "8.0.1")]);
        assert_eq!(Identity::new(&fields).unwrap().version, "valkey 8.0.1");
    }

    #[test]
    fn another_history_is_noticed() {
        let identity = Identity::new(&info(&[])).unwrap();
        assert!(identity.still(&info(&[])).is_ok());
        let other = info(&[("master_replid", "0000000000000000000000000000000000000000")]);
        assert_eq!(identity.still(&other).unwrap_err().kind, StoreErrorKind::Changed);
        assert_eq!(
            identity.still(&info(&[("role", "slave")])).unwrap_err().kind,
            StoreErrorKind::NotWritable
        );
    }
}
