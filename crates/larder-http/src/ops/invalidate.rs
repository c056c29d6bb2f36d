//! Invalidating one key, tag, prefix or tenant, by hand.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use larder::{ErrorKind, Key, Selector, Tenant, all, tag};
use serde::Serialize;
use serde_json::Value;
use utoipa::ToSchema;

use super::Ops;
use super::gate::SignedIn;
use super::keys::at_leisure;
use crate::input::{self, Body, Errors, Fields};
use crate::problem::Problem;
use crate::who::{Identity, Role};

/// The longest key or prefix, in characters; what is more is refused by its bytes.
const LONGEST: usize = 1024;
/// The longest tag, in characters.
const LONGEST_TAG: usize = 256;

/// What to invalidate. Of `key`, `tag` and `prefix` at most one; without any, everything of the tenant.
#[derive(Debug, ToSchema)]
#[schema(as = InvalidateRequest)]
pub(super) struct What {
    /// Whose entries. An owner may leave it out and may name no other; an admin names any, and `""` for shared entries.
    #[schema(max_length = 128, nullable, required = false)]
    tenant: Option<String>,
    /// One entry: its key without the tenant, as `campaigns:page:1:limit:20`.
    #[schema(min_length = 1, max_length = 1024, nullable, required = false)]
    key: Option<String>,
    /// Entries that carry this tag.
    #[schema(min_length = 1, max_length = 256, nullable, required = false)]
    tag: Option<String>,
    /// Entries whose keys begin with these segments: `campaigns:page`.
    #[schema(min_length = 1, max_length = 1024, nullable, required = false)]
    prefix: Option<String>,
    /// Only tell what would be covered.
    #[schema(required = false)]
    dry_run: bool,
}

impl Body for What {
    fn read(value: Value, path: &str, errors: &mut Errors) -> Option<Self> {
        let mut f = Fields::of(value, path, errors)?;
        let tenant = f.optional_text("tenant", 0..=128);
        let key = f.optional_text("key", 1..=LONGEST);
        let tag = f.optional_text("tag", 1..=LONGEST_TAG);
        let prefix = f.optional_text("prefix", 1..=LONGEST);
        let dry_run = match f.take("dry_run") {
            None => Some(false),
            Some(Value::Bool(dry)) => Some(dry),
            Some(_) => f.fault("dry_run", "must be true or false"),
        };
        // "tga" for "tag" would otherwise invalidate everything.
        f.no_others("tenant, key, tag, prefix and dry_run")?;
        let what = Self { tenant: tenant?, key: key?, tag: tag?, prefix: prefix?, dry_run: dry_run? };
        let named = [&what.key, &what.tag, &what.prefix].into_iter().flatten().count();
        if named > 1 { f.fault("key", "only one of key, tag and prefix can be given") } else { Some(what) }
    }
}

/// What was invalidated, or would be.
#[derive(Serialize, ToSchema)]
pub(super) struct Invalidated {
    /// False for a dry run.
    invalidated: bool,
    /// Whose entries, and which of them: `tenant acme: tag campaigns`.
    scope: String,
    /// Entries in this node's memory that it covers. Those of other nodes and of Redis are covered all the same, and are not
    /// counted.
    entries: u64,
    /// The same by first segment of their keys.
    by_endpoint: BTreeMap<String, u64>,
    /// Nodes that share the cache; none serves what is covered any more.
    nodes: u64,
    /// Redis is out of reach: it is in force on this node, and on the others when Redis is back.
    deferred: bool,
}

/// Invalidates one key, tag or prefix of a tenant, or all of it, on every node: of their own tenant for an owner, of shared
/// entries for ingest, of any tenant for an admin. Answers when no node that Redis reaches serves it any more.
#[utoipa::path(
    post, path = "/api/cache/invalidate", tag = "operations", operation_id = "invalidate_cache", request_body = What,
    security(("bearer" = [])), responses((status = 200, description = "It is invalidated, or would be", body = Invalidated))
)]
pub(super) async fn invalidate(
    State(ops): State<Ops>,
    SignedIn(who): SignedIn,
    input::Json(what): input::Json<What>,
) -> Result<Json<Invalidated>, Problem> {
    let tenant = whose(&who, what.tenant.as_deref())?;
    let (selector, field, words) = what.selector()?;
    let part: Tenant = if tenant.is_empty() { ops.cache.shared() } else { ops.cache.tenant(tenant) };
    let refused = |error: &larder::Error| match error.kind() {
        ErrorKind::InvalidTenant => Problem::invalid_field("tenant", "is no name of a tenant"),
        ErrorKind::Closed => Problem::unavailable("the server is shutting down"),
        ErrorKind::InvalidKey | ErrorKind::InvalidTag => Problem::invalid_field(field, "can't be one"),
        _ => {
            tracing::error!(%error, "the cache could not be invalidated");
            Problem::internal()
        }
    };
    let (cache, of, these) = (ops.cache.clone(), part.clone(), selector.clone());
    let covered = at_leisure(move || cache.covered(&of, these)).await?.map_err(|error| refused(&error))?;
    let mut deferred = false;
    if !what.dry_run {
        match part.invalidate(selector).acked().await {
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::Deferred => deferred = true,
            Err(error) => return Err(refused(&error)),
        }
    }
    let whose = if tenant.is_empty() { "shared entries".to_owned() } else { format!("tenant {tenant}") };
    let scope = format!("{whose}: {words}");
    if !what.dry_run {
        tracing::info!(scope, user = who.user, "cache invalidated");
    }
    Ok(Json(Invalidated {
        invalidated: !what.dry_run,
        scope,
        entries: covered.values().sum(),
        by_endpoint: covered,
        nodes: (ops.cache.nodes().len() as u64).max(1),
        deferred,
    }))
}

/// Whose entries are meant; empty for shared ones.
fn whose<'a>(who: &'a Identity, named: Option<&'a str>) -> Result<&'a str, Problem> {
    match (who.role, named) {
        (Role::Admin, Some(tenant)) => Ok(tenant),
        (Role::Admin, None) => {
            Err(Problem::invalid_field("tenant", "is required: a tenant, or \"\" for shared entries"))
        }
        (Role::Owner, None) => Ok(&who.tenant),
        (Role::Owner, Some(tenant)) if tenant == who.tenant => Ok(tenant),
        (Role::Owner, Some(_)) => Err(Problem::forbidden("this is another tenant's")),
        (Role::Ingest, None | Some("")) => Ok(""),
        (Role::Ingest, Some(_)) => Err(Problem::forbidden("the role ingest has shared entries only")),
        (Role::Member, _) => Err(Problem::forbidden("this needs the role owner, ingest or admin")),
    }
}

impl What {
    /// The selector, the field it comes from, and its words.
    fn selector(&self) -> Result<(Selector, &'static str, String), Problem> {
        let key = |field, text: &str| {
            Key::from_encoded(text).map_err(|_| {
                Problem::invalid_field(field, "is no key as the list shows it, without its tenant")
            })
        };
        Ok(match self {
            Self { key: Some(text), .. } => (key("key", text)?.into(), "key", format!("key {text}")),
            Self { prefix: Some(text), .. } => {
                // `campaigns:` and `campaigns:*` mean the same to people.
                let text = text.strip_suffix(":*").or_else(|| text.strip_suffix(':')).unwrap_or(text);
                (Selector::Prefix(key("prefix", text)?), "prefix", format!("prefix {text}"))
            }
            Self { tag: Some(name), .. } => (tag(name), "tag", format!("tag {name}")),
            _ => (all(), "tenant", "everything".to_owned()),
        })
    }
}
