//! What to do about a failure, in words for whoever runs the server: the same for `larder check`, the log and the start.

use super::sentinel::NOBODY;
use crate::store::{StoreError, StoreErrorKind};

/// About what came of using Redis. `tls`: whether the URL asks for it.
pub(super) fn on(error: &StoreError, tls: bool) -> Option<&'static str> {
    let says = |part: &str| error.detail.contains(part);
    let try_without_tls = "if this port does not speak TLS, write redis:// instead of rediss://";
    Some(match error.kind {
        _ if says(NOBODY) => return on_sentinel(error),
        StoreErrorKind::Disconnected if says("connection refused") => {
            "is Redis running there? Check host and port of the URL"
        }
        StoreErrorKind::Disconnected if says("no such socket") => {
            "is Redis running, with `unixsocket` set to this path?"
        }
        StoreErrorKind::Disconnected if says("not found") => "check the host name in the URL",
        StoreErrorKind::Disconnected if says("max number of clients") => {
            "the server's `maxclients` is reached"
        }
        StoreErrorKind::Disconnected if !tls && HANGS_UP.iter().any(|words| says(words)) => {
            "is Redis running there? If this port speaks TLS, write rediss:// instead of redis://"
        }
        StoreErrorKind::Timeout if says("TLS handshake") => try_without_tls,
        StoreErrorKind::Timeout if says("no connection") => {
            "nothing answers there: check host and port, and firewalls in between"
        }
        StoreErrorKind::Timeout if says("log-in") && !tls => {
            "the server takes connections but does not answer: it is paused or overloaded, or the port speaks TLS \
             (then write rediss://)"
        }
        StoreErrorKind::Timeout => {
            "the server takes connections but does not answer: it is paused or overloaded"
        }
        StoreErrorKind::Denied if says("NOAUTH") => {
            "the server wants a password: redis://:password@host:port/0"
        }
        StoreErrorKind::Denied if says("WRONGPASS") => {
            "check user and password in the URL; there, special characters are percent-encoded (`@` is %40)"
        }
        StoreErrorKind::Denied => {
            "allow it in the server's access list: ACL SETUSER <user> ~ld1:<namespace>:* &ld1:<namespace>:* +@read \
             +@write +@pubsub +evalsha +script|load +hello -@dangerous +info +time +ping +select +scan (in a \
             Cluster +cluster|slots, too)"
        }
        StoreErrorKind::Tls if says("known authority") => {
            "configure the PEM file of the authority that issued it (REDIS_TLS_CA)"
        }
        StoreErrorKind::Tls if says("not for") => "connect by a name that the certificate is for",
        StoreErrorKind::Tls if says("client certificate") => {
            "configure a client certificate that the server trusts (REDIS_TLS_CERT, REDIS_TLS_KEY)"
        }
        StoreErrorKind::Tls if says("does not speak TLS") || says("closed the connection") => try_without_tls,
        StoreErrorKind::NotWritable => return on_writing(error),
        StoreErrorKind::OutOfMemory => {
            "the server's maxmemory is reached and it may not evict: raise it, or set maxmemory-policy volatile-lru"
        }
        StoreErrorKind::Unsupported => return on_servers(error),
        _ => return None,
    })
}

/// How a server that speaks TLS only ends a connection that does not begin with it; a proxy without a server does so, too.
const HANGS_UP: [&str; 3] =
    ["closed the connection", "the connection has ended", "does not speak the Redis protocol"];

fn on_writing(error: &StoreError) -> Option<&'static str> {
    let says = |part: &str| error.detail.contains(part);
    // Sentinels or the Cluster name the primary, and will name another: nobody has to do anything.
    let is_being_replaced = says("by its Sentinels") || says("as the Cluster announces it");
    Some(match () {
        () if says("LOADING") => "the server is still loading its data: try again",
        () if says("NOREPLICAS") => {
            "its replicas are gone, and min-replicas-to-write forbids it to write without: bring them back"
        }
        () if says("is a replica") || says("read only replica") => {
            return (!is_being_replaced).then_some(
                "name the primary in the URL, or the Sentinels: redis+sentinel://host:26379/NAME",
            );
        }
        () => return None,
    })
}

fn on_servers(error: &StoreError) -> Option<&'static str> {
    let says = |part: &str| error.detail.contains(part);
    Some(match () {
        () if says("is a Sentinel") => {
            "write redis+sentinel://host:26379/NAME, with the name under which it knows the primary"
        }
        () if says("DB index") => "the server has fewer databases: check the number in the URL",
        () if says("RESP2 only") => "connect to the server itself, or by a proxy that passes RESP3 on",
        // It says so itself.
        () if says("is needed") || says(": write redis") => return None,
        () => "Redis 7.0 or newer, or Valkey, is needed",
    })
}

/// About the answer of a Sentinel, or of all of them.
pub(super) fn on_sentinel(error: &StoreError) -> Option<&'static str> {
    let says = |part: &str| error.detail.contains(part);
    Some(match error.kind {
        StoreErrorKind::Denied => {
            "a Sentinel has a user and a password of its own: ?sentinel_user=u&sentinel_password=p at the end of the URL"
        }
        StoreErrorKind::Unsupported if says("no primary named") => {
            "the name is the one in `sentinel monitor NAME …` of its configuration"
        }
        StoreErrorKind::Unsupported if says("it is no Sentinel") => {
            "this is a data server: Sentinels listen on 26379 as a rule"
        }
        StoreErrorKind::Disconnected | StoreErrorKind::Timeout => {
            "is a Sentinel running there? Check host and port of the URL; the port is 26379 as a rule"
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hint(kind: StoreErrorKind, detail: &str) -> Option<&'static str> {
        on(&StoreError::new(kind, detail.to_owned()), false)
    }

    #[test]
    fn a_replica_is_told_to_be_replaced_in_the_url_unless_somebody_else_names_it() {
        let replica = "the server is a replica: its primary is needed";
        assert!(hint(StoreErrorKind::NotWritable, replica).unwrap().contains("name the primary"));
        let by_sentinels = format!("{replica} (the primary at a:1, by its Sentinels)");
        assert_eq!(hint(StoreErrorKind::NotWritable, &by_sentinels), None);
        let lonely = hint(StoreErrorKind::NotWritable, "NOREPLICAS Not enough good replicas to write.");
        assert!(lonely.unwrap().contains("min-replicas-to-write"));
    }

    #[test]
    fn what_sentinels_said_is_their_matter() {
        let detail = format!("{NOBODY} (a:26379: access denied: NOPERM x; b:26379: access denied: NOPERM x)");
        assert!(hint(StoreErrorKind::Denied, &detail).unwrap().contains("sentinel_user"));
        let detail = format!("{NOBODY} (a:26379: unsupported: it is no Sentinel)");
        assert!(hint(StoreErrorKind::Unsupported, &detail).unwrap().contains("data server"));
        assert!(hint(StoreErrorKind::Denied, "NOPERM x").unwrap().contains("ACL SETUSER"));
    }

    #[test]
    fn a_server_that_says_what_is_needed_is_not_repeated() {
        let old = "redis 6.2.14 is too old (script flags and sharded pub/sub): Redis 7.0 or Valkey is needed";
        assert_eq!(hint(StoreErrorKind::Unsupported, old), None);
        assert!(hint(StoreErrorKind::Unsupported, "the server lacks ZMSCORE").unwrap().contains("Redis 7.0"));
    }
}
