//! Every change of the backend is told to its tenant, and to nobody else.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};

use crate::client::Client;
use crate::live::Socket;
use crate::openapi::OpenApi;
use crate::routes::{self, People, Route, a_campaign};
use crate::shape::assert_shape;
use crate::stack::{Stack, on_every_stack};

/// Shorter than that of a socket, so that it is said what did not come.
const PATIENCE: Duration = Duration::from_secs(15);

on_every_stack!(every_route_that_changes_data_tells_its_tenant_and_nobody_else);

/// A route that changes data, and what it tells: kinds of events, and the shapes of their data.
struct Change {
    operation: &'static str,
    told: fn() -> Vec<(&'static str, Value)>,
}

const CHANGES: &[Change] = &[
    Change { operation: "POST /api/v1/campaigns", told: || vec![("campaign.created", campaign())] },
    Change { operation: "PUT /api/v1/campaigns/{}", told: || vec![("campaign.updated", campaign())] },
    Change { operation: "DELETE /api/v1/campaigns/{}", told: || vec![("campaign.deleted", id())] },
    Change {
        operation: "POST /api/v1/campaigns/{}/leads",
        told: || vec![("lead.created", json!({"id": "uuid", "campaign_id": "uuid", "status": "string"}))],
    },
    Change {
        operation: "POST /api/v1/campaigns/{}/leads/import",
        told: || vec![("lead.imported", json!({"campaign_id": "uuid", "imported": "int"}))],
    },
    Change {
        operation: "POST /api/v1/products/{}",
        told: || vec![("product.updated", json!({"id": "uuid", "price_cents": "int"}))],
    },
    Change {
        operation: "POST /api/v1/orders",
        told: || vec![("order.created", json!({"product_id": "uuid", "quantity": "int"}))],
    },
    Change {
        operation: "POST /api/v1/posts",
        told: || vec![("post.created", json!({"id": "uuid", "author_id": "uuid"}))],
    },
    Change {
        operation: "POST /api/v1/jobs",
        told: || {
            let text = "string";
            let data =
                json!({"id": "uuid", "title": text, "company": text, "location": text, "category": text});
            vec![("job.created", data)]
        },
    },
    Change { operation: "POST /api/v1/conversations", told: || vec![("conversation.created", id())] },
    Change {
        operation: "POST /api/v1/conversations/{}/messages",
        // The sample's conversations are between two.
        told: || {
            let message = json!({"id": "uuid", "conversation_id": "uuid"});
            vec![("message.created", message), ("notification.created", id())]
        },
    },
    Change { operation: "POST /api/v1/notifications/{}/read", told: || vec![("notification.read", id())] },
];

/// Routes that are no reads and tell no tenant, each with its reason.
const SILENT: &[(&str, &str)] = &[
    ("POST /api/v1/auth/register", "the tenant is new: nobody listens"),
    ("POST /api/v1/auth/login", "no change of data"),
    ("POST /api/v1/ai/generate", "no change of data: a question that is asked once"),
    (
        "POST /api/threats",
        "belongs to no tenant: `threats.ingested` is in the log of what all share (sample-backend's tests)",
    ),
    ("POST /api/cache/invalidate", "no change of data: what is read again is the same"),
    ("POST /api/cache/clear", "no change of data: what is read again is the same"),
    ("POST /rt/{}/ticket", "no change of data"),
    ("POST /rt/{}/cmd", "a client's own message"),
];

fn campaign() -> Value {
    let text = "string";
    json!({"id": "uuid", "name": text, "channel": text, "status": text, "budget_cents": "int"})
}

fn id() -> Value {
    json!({"id": "uuid"})
}

/// A connection of a tenant, and where its log is.
struct Listener {
    socket: Socket,
    tenant: &'static str,
    epoch: Value,
    offset: u64,
}

impl Listener {
    async fn of(client: &Client, stack: &Stack, tenant: &'static str) -> Self {
        let mut socket = Socket::open(client, stack.server.url(), tenant, "").await;
        let hello = socket.expect("hello").await;
        assert_eq!(hello["tenant"], tenant);
        let synced = socket.expect("synced").await;
        Self { socket, tenant, epoch: synced["epoch"].clone(), offset: synced["offset"].as_u64().unwrap() }
    }

    /// The next event, which is the next of the log: nothing else was told in between.
    async fn expect(&mut self, kind: &str, shape: &Value) -> Value {
        let event = self.socket.expect("event").await;
        self.offset += 1;
        let place = (event["kind"].as_str(), event["room"].as_str(), event["offset"].as_u64());
        assert_eq!(place, (Some(kind), Some("tenant"), Some(self.offset)), "of {}: {event}", self.tenant);
        assert_eq!(event["epoch"], self.epoch);
        assert!(event["ts"].as_u64().is_some_and(|ts| ts > 1_700_000_000_000), "{event}");
        assert_shape(kind, &event["data"], shape);
        event["data"].clone()
    }
}

async fn every_route_that_changes_data_tells_its_tenant_and_nobody_else(stack: Stack) {
    let people = People::of(&stack).await;
    let globex = stack.globex().await;
    assert_nothing_is_forgotten(&OpenApi::of(&people.anyone).await);
    let mut ours = Listener::of(&people.acme, &stack, "acme").await;
    let mut theirs = Listener::of(&globex, &stack, "globex").await;
    for route in routes::all().into_iter().filter(|route| route.method != "GET") {
        let operation = route.operation();
        let answer = route.call(&people).await.expect(route.status);
        let Some(change) = CHANGES.iter().find(|change| change.operation == operation) else { continue };
        for (kind, shape) in (change.told)() {
            let told = tokio::time::timeout(PATIENCE, ours.expect(kind, &shape)).await;
            let data = told.unwrap_or_else(|_| panic!("{operation} tells nothing of {kind}"));
            assert_is_of(&route, &people, &data);
            if kind.ends_with(".created") && kind != "notification.created" && kind != "order.created" {
                assert_eq!(data["id"], answer.json()["id"], "{kind}");
            }
        }
    }
    // The first event of the other tenant is its own, and what was silent has told nothing here either.
    globex.post("/api/v1/campaigns", a_campaign("theirs")).await.expect(201);
    assert_eq!(theirs.expect("campaign.created", &campaign()).await["name"], "theirs");
    people.acme.post("/api/v1/campaigns", a_campaign("ours")).await.expect(201);
    assert_eq!(ours.expect("campaign.created", &campaign()).await["name"], "ours");
}

/// What was changed is named as in the path.
fn assert_is_of(route: &Route, people: &People, data: &Value) {
    let of = |name: &str| people.sample.get(name).cloned().unwrap_or_default();
    for (parameter, field) in [
        ("{campaign}", if route.path.contains("/leads") { "campaign_id" } else { "id" }),
        ("{product}", "id"),
        ("{notification}", "id"),
    ] {
        if route.path.contains(parameter) {
            assert_eq!(data[field], of(parameter.trim_matches(['{', '}'])), "{}: {data}", route.path);
        }
    }
}

/// Each operation that is no read stands above, once.
fn assert_nothing_is_forgotten(document: &OpenApi) {
    let writes: BTreeSet<String> =
        document.operations().into_iter().filter(|operation| !operation.starts_with("GET ")).collect();
    let loud = CHANGES.iter().map(|change| change.operation);
    let named: Vec<String> =
        loud.chain(SILENT.iter().map(|(operation, _)| *operation)).map(str::to_owned).collect();
    let unique: BTreeSet<String> = named.iter().cloned().collect();
    assert_eq!(unique.len(), named.len(), "named twice: {named:#?}");
    let missing: Vec<_> = writes.symmetric_difference(&unique).collect();
    assert!(missing.is_empty(), "a new write without its event, or an old one that is gone: {missing:#?}");
}
