//! Conversations, messages and notifications: what belongs to the caller.

use std::time::Duration;

use larder::{Cache, Next, RedisConfig};
use larder_testkit::RedisServer;
use sample_backend::config::DatabaseConfig;
use serde_json::{Value, json};

use crate::support::{Api, on_each_database, sqlite};

/// Four users of acme with their tokens and ids: the first three will talk, the last is a stranger.
struct Cast {
    tokens: Vec<String>,
    ids: Vec<String>,
}

impl Cast {
    async fn of(api: &Api) -> Self {
        let (mut tokens, mut ids) = (Vec::new(), Vec::new());
        for email in ["owner@acme.test", "user0@acme.test", "user1@acme.test", "user2@acme.test"] {
            tokens.push(api.login(email).await);
            ids.push(api.me(tokens.last().unwrap()).await);
        }
        Self { tokens, ids }
    }

    /// A conversation of the first three; the answer and the path of its messages.
    async fn talk(&self, api: &Api) -> (Value, String) {
        let made = api.post(&self.tokens[0], CONVERSATIONS, json!({"participant_ids": self.ids[1..3]})).await;
        assert_eq!(made.status, 201, "{made:?}");
        let messages = format!("{CONVERSATIONS}/{}/messages", made.body["id"].as_str().unwrap());
        (made.body, messages)
    }
}

const CONVERSATIONS: &str = "/api/v1/conversations";
const NOTIFICATIONS: &str = "/api/v1/notifications";

async fn hits(api: &Api, token: &str, path: &str) -> bool {
    api.get(token, path).await.x_cache() == "HIT"
}

on_each_database!(
    a_conversation_shows_for_all_who_take_part_and_for_nobody_else,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let cast = Cast::of(&api).await;
        let globex = api.login("owner@globex.test").await;
        let mut totals = Vec::new();
        for token in &cast.tokens {
            totals.push(api.get_twice(token, CONVERSATIONS).await["total"].as_i64().unwrap());
            api.get_twice(token, NOTIFICATIONS).await;
        }
        api.get_twice(&globex, CONVERSATIONS).await;
        // Also the caller, and somebody twice: each takes part once.
        let ask = json!({"participant_ids": [cast.ids[1], cast.ids[0], cast.ids[2], cast.ids[1]]});
        let made = api.post(&cast.tokens[0], CONVERSATIONS, ask).await;
        assert_eq!((made.status, &made.body["last_message"]), (201, &Value::Null));
        assert!(hits(&api, &cast.tokens[3], CONVERSATIONS).await && hits(&api, &globex, CONVERSATIONS).await);
        for token in &cast.tokens {
            assert!(hits(&api, token, NOTIFICATIONS).await);
        }
        let mut everybody = cast.ids[..3].to_vec();
        everybody.sort();
        let members: Vec<_> =
            made.body["participants"].as_array().unwrap().iter().map(|p| p["id"].as_str().unwrap()).collect();
        assert_eq!(members, everybody);
        for (token, before) in cast.tokens[..3].iter().zip(totals) {
            let now = api.get_twice(token, CONVERSATIONS).await;
            assert_eq!((&now["items"][0], &now["total"]), (&made.body, &json!(before + 1)), "spoken in last");
        }
    }
);

on_each_database!(
    a_message_shows_in_its_conversation_in_all_lists_and_for_the_others_as_a_notification,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let cast = Cast::of(&api).await;
        let (talk, messages) = cast.talk(&api).await;
        let (_, elsewhere) = cast.talk(&api).await;
        assert_eq!(api.get_twice(&cast.tokens[0], &messages).await["items"], json!([]));
        assert!(api.has(&format!("messages:acme:{}:page:1:limit:20", talk["id"].as_str().unwrap())));
        api.get_twice(&cast.tokens[0], &elsewhere).await;
        let mut notifications = Vec::new();
        for token in &cast.tokens {
            api.get_twice(token, CONVERSATIONS).await;
            notifications.push(api.get_twice(token, NOTIFICATIONS).await["total"].as_i64().unwrap());
        }
        for path in ["/api/v1/posts", "/api/v1/jobs"] {
            api.get_twice(&cast.tokens[0], path).await;
        }

        let sent = api.post(&cast.tokens[1], &messages, json!({"body": "Tea?"})).await;
        assert_eq!((sent.status, &sent.body["conversation_id"]), (201, &talk["id"]), "{sent:?}");
        assert_eq!(
            (sent.body["sender_id"].as_str(), &sent.body["body"]),
            (Some(&*cast.ids[1]), &json!("Tea?"))
        );

        for (token, path) in [
            (&cast.tokens[0], elsewhere.as_str()),
            (&cast.tokens[0], "/api/v1/posts"),
            (&cast.tokens[0], "/api/v1/jobs"),
            (&cast.tokens[1], NOTIFICATIONS),
            (&cast.tokens[3], NOTIFICATIONS),
            (&cast.tokens[3], CONVERSATIONS),
        ] {
            assert!(hits(&api, token, path).await, "{path} does not show it");
        }
        for (who, token) in cast.tokens[..3].iter().enumerate() {
            let list = api.get(token, &messages).await;
            assert_eq!(
                list.x_cache(),
                if who == 0 { "MISS" } else { "HIT" },
                "one entry for all who take part"
            );
            assert_eq!((&list.body["items"], &list.body["total"]), (&json!([sent.body]), &json!(1)));
            let talks = api.get_twice(token, CONVERSATIONS).await;
            let first = &talks["items"][0];
            assert_eq!(
                (&first["id"], &first["last_message"]),
                (&talk["id"], &json!("Tea?")),
                "spoken in last"
            );
            assert_eq!(first["updated_at"], sent.body["created_at"]);
        }
        for who in [0, 2] {
            let list = api.get_twice(&cast.tokens[who], NOTIFICATIONS).await;
            assert_eq!(list["total"], notifications[who] + 1);
            let first = &list["items"][0];
            assert_eq!((&first["kind"], &first["read"]), (&json!("message"), &json!(false)));
            assert!(first["text"].as_str().unwrap().ends_with(" sent you a message"));
        }
    }
);

on_each_database!(
    a_stranger_finds_no_conversation_whether_it_is_cached_or_not,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let cast = Cast::of(&api).await;
        let globex = api.login("owner@globex.test").await;
        let (_, messages) = cast.talk(&api).await;
        let text = json!({"body": "for members only"});
        assert_eq!(api.post(&cast.tokens[0], &messages, text.clone()).await.status, 201);
        let nowhere = format!("{CONVERSATIONS}/{}/messages", uuid::Uuid::now_v7());
        for round in ["cold", "warm"] {
            for stranger in [&cast.tokens[3], &globex] {
                let refused = api.get(stranger, &messages).await;
                assert_eq!(refused.status, 404, "{round}");
                assert_eq!(
                    refused.body,
                    api.get(stranger, &nowhere).await.body,
                    "no telling it from one that is none"
                );
                assert!(!refused.headers.contains_key("etag") && !refused.headers.contains_key("x-cache"));
                assert_eq!(api.post(stranger, &messages, text.clone()).await.status, 404, "{round}");
                let listed = api.get(stranger, &format!("{CONVERSATIONS}?limit=100")).await.body.to_string();
                assert!(!listed.contains("for members only"));
            }
            assert_eq!(api.get(&cast.tokens[0], &messages).await.body["total"], 1);
            assert!(hits(&api, &cast.tokens[0], &messages).await, "what was refused touched nothing");
        }
    }
);

on_each_database!(
    a_notification_is_read_by_its_owner_and_by_nobody_else,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let cast = Cast::of(&api).await;
        let globex = api.login("owner@globex.test").await;
        let (_, messages) = cast.talk(&api).await;
        api.post(&cast.tokens[0], &messages, json!({"body": "x"})).await;
        let (owner, other) = (&cast.tokens[1], &cast.tokens[2]);
        let first = api.get_twice(owner, NOTIFICATIONS).await["items"][0].clone();
        api.get_twice(owner, "/api/v1/notifications?limit=1").await;
        api.get_twice(other, NOTIFICATIONS).await;
        let read = format!("{NOTIFICATIONS}/{}/read", first["id"].as_str().unwrap());
        for stranger in [&cast.tokens[0], other, &globex] {
            assert_eq!(api.post(stranger, &read, json!({})).await.status, 404);
        }
        assert!(hits(&api, owner, NOTIFICATIONS).await);
        for _ in ["for the first time", "again"] {
            let now = api.post(owner, &read, json!({})).await;
            assert_eq!((now.status, &now.body["read"], &now.body["id"]), (200, &json!(true), &first["id"]));
            assert_eq!(api.get_twice(owner, NOTIFICATIONS).await["items"][0], now.body);
            assert_eq!(api.get_twice(owner, "/api/v1/notifications?limit=1").await["items"][0], now.body);
        }
        assert!(hits(&api, other, NOTIFICATIONS).await, "another user's list was not touched");
    }
);

on_each_database!(
    statements_do_not_grow_with_the_page_or_the_participants,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let cast = Cast::of(&api).await;
        let db = &api.backend.db;
        let before = db.statements();
        let list = api.get(&cast.tokens[0], &format!("{CONVERSATIONS}?limit=100")).await.body;
        assert!(list["items"].as_array().unwrap().len() > 3);
        assert_eq!(
            db.statements() - before,
            4,
            "the number, the page, who takes part in all of them, all their names"
        );
        let (_, messages) = cast.talk(&api).await;
        let before = db.statements();
        assert_eq!(api.post(&cast.tokens[0], &messages, json!({"body": "x"})).await.status, 201);
        assert_eq!(db.statements() - before, 4, "hold, say, note in the conversation, notify all");
        let before = db.statements();
        api.get(&cast.tokens[0], &messages).await;
        assert_eq!(db.statements() - before, 3, "who may read, the number, the page");
        api.get(&cast.tokens[1], &messages).await;
        assert_eq!(db.statements() - before, 3, "a hit asks nothing, also not who may read");
    }
);

on_each_database!(
    what_was_said_last_is_what_comes_last_however_many_speak_at_once,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let cast = Cast::of(&api).await;
        let (_, messages) = cast.talk(&api).await;
        let said = (0..24).map(|i| api.post(&cast.tokens[i % 3], &messages, json!({"body": format!("{i}")})));
        let said = futures_util::future::join_all(said.collect::<Vec<_>>()).await;
        assert!(said.iter().all(|reply| reply.status == 201), "{said:?}");
        let list = api.get(&cast.tokens[0], &format!("{messages}?limit=100")).await.body;
        assert_eq!(list["total"], 24);
        let talks = api.get(&cast.tokens[0], CONVERSATIONS).await.body;
        assert_eq!(talks["items"][0]["last_message"], list["items"][0]["body"]);
    }
);

#[tokio::test]
async fn events_of_what_belongs_to_some_tell_all_nothing_but_ids() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let cast = Cast::of(&api).await;
    let mut events = api.cache.subscribe();
    let (talk, messages) = cast.talk(&api).await;
    let sent = api.post(&cast.tokens[0], &messages, json!({"body": "Tea?"})).await.body;
    let mut seen = Vec::new();
    for _ in 0..4 {
        let Some(Next::Event(event)) = events.next().await else { panic!("an event for each change") };
        assert_eq!(event.tenant(), "acme");
        seen.push((event.kind().to_owned(), event.payload().clone()));
    }
    let kinds: Vec<_> = seen.iter().map(|(kind, _)| kind.as_str()).collect();
    assert_eq!(
        kinds,
        ["conversation.created", "message.created", "notification.created", "notification.created"]
    );
    assert_eq!(seen[0].1, json!({"id": talk["id"]}));
    assert_eq!(seen[1].1, json!({"id": sent["id"], "conversation_id": talk["id"]}));
    for (who, (_, payload)) in [1, 2].into_iter().zip(&seen[2..]) {
        let told: Vec<Value> = vec![
            api.get(&cast.tokens[1], NOTIFICATIONS).await.body["items"][0]["id"].clone(),
            api.get(&cast.tokens[2], NOTIFICATIONS).await.body["items"][0]["id"].clone(),
        ];
        assert!(told.iter().any(|id| *payload == json!({"id": id})), "{who}: {payload}");
    }
}

#[tokio::test]
async fn every_fault_of_a_conversation_or_message_is_told() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let cast = Cast::of(&api).await;
    let token = &cast.tokens[0];
    let foreign = api.me(&api.login("owner@globex.test").await).await;
    let nobody = uuid::Uuid::now_v7().to_string();
    let many: Vec<String> = (0..51).map(|_| cast.ids[1].clone()).collect();
    let before = api.get(token, CONVERSATIONS).await.body["total"].clone();
    for (ids, fields) in [
        (Value::Null, vec!["participant_ids"]),
        (json!([]), vec!["participant_ids"]),
        (json!("x"), vec!["participant_ids"]),
        (json!(many), vec!["participant_ids"]),
        (json!([cast.ids[0]]), vec!["participant_ids"]),
        (json!([cast.ids[1], 5, "x"]), vec!["participant_ids[1]", "participant_ids[2]"]),
        (json!([foreign, cast.ids[1], nobody]), vec!["participant_ids[0]", "participant_ids[2]"]),
    ] {
        let reply = api.post(token, CONVERSATIONS, json!({"participant_ids": ids})).await;
        assert_eq!((reply.status, reply.fields()), (422, fields), "{ids}");
        let messages = reply.body["errors"].as_array().unwrap().iter().map(|e| &e["message"]);
        assert_eq!(
            messages.collect::<std::collections::HashSet<_>>().len(),
            1,
            "a foreign id looks like none at all"
        );
    }
    assert_eq!(api.get(token, CONVERSATIONS).await.body["total"], before);
    let (_, messages) = cast.talk(&api).await;
    for body in [json!({}), json!({"body": ""}), json!({"body": ["x"]}), json!({"body": "ö".repeat(2_001)})]
    {
        let reply = api.post(token, &messages, body).await;
        assert_eq!((reply.status, reply.fields()), (422, vec!["body"]));
    }
    assert_eq!(api.post(token, &messages, json!({"body": "ö".repeat(2_000)})).await.status, 201);
}

/// Two backends on one Redis and one database.
#[tokio::test]
async fn what_one_node_has_loaded_another_reads_from_redis_with_the_same_care() {
    let (database, _home) = sqlite();
    let redis = RedisServer::start();
    let cache = || async {
        let cache = Cache::builder("test").redis(RedisConfig::new(redis.url())).build().await.unwrap();
        tokio::time::timeout(Duration::from_secs(10), cache.ready()).await.expect("Redis is there");
        cache
    };
    let one = Api::start_on(database.clone(), cache().await).await;
    let two = Api::start_on(database, cache().await).await;
    let cast = Cast::of(&one).await;
    let (_, messages) = cast.talk(&one).await;
    one.post(&cast.tokens[0], &messages, json!({"body": "Tea?"})).await;
    let list = one.get_twice(&cast.tokens[0], &messages).await;
    let posts = one.get_twice(&cast.tokens[0], "/api/v1/posts?limit=100").await;

    let before = two.backend.db.statements();
    assert_eq!(two.get(&cast.tokens[3], &messages).await.status, 404, "a stranger, from Redis");
    let there = two.get(&cast.tokens[2], &messages).await;
    assert_eq!((there.x_cache(), &there.body), ("HIT", &list));
    let author = &posts["items"][0]["author"];
    let known = two.get(&cast.tokens[0], &format!("/api/v1/users/{}", author["id"].as_str().unwrap())).await;
    assert_eq!((known.x_cache(), &known.body["name"]), ("HIT", &author["name"]));
    assert_eq!(two.backend.db.statements() - before, 0);
    let page = two.get(&cast.tokens[0], "/api/v1/posts?limit=99").await;
    assert_eq!(page.x_cache(), "MISS");
    assert_eq!(two.backend.db.statements() - before, 2, "all authors came from Redis in one round trip");
}
