//! What a write makes stale is gone before its answer is sent, and nothing else is.

use crate::client::{Answer, Body};
use crate::routes::{self, People, Route, fill};
use crate::stack::{Kind, Stack, on_every_stack};
use crate::walk::{key_path, listed};
use serde_json::json;

#[tokio::test]
async fn what_was_made_is_where_its_answer_says() {
    let stack = Stack::start(Kind::MemorySqlite).await;
    let (acme, anyone) = (stack.acme().await, stack.anyone());
    let made = acme.post("/api/v1/campaigns", routes::a_campaign("one")).await.expect(201);
    assert_eq!(acme.get(made.header("location")).await.expect(200).json(), made.json());
    let body = json!({"tenant_name": "New", "email": "new@new.test", "password": "long enough", "name": "N"});
    let made = anyone.post("/api/v1/auth/register", body).await.expect(201);
    let owner = anyone.with_token(made.json()["access_token"].as_str().unwrap());
    let found = owner.get(made.header("location")).await.expect(200).json();
    assert_eq!(found["id"], made.json()["user"]["id"]);
}

on_every_stack!(every_write_invalidates_what_shows_it_and_nothing_else, a_reader_sees_every_write_at_once);

/// A write, the keys that show what it changes, and those that may go with them.
struct Write {
    operation: &'static str,
    gone: &'static [&'static str],
    may_go: &'static [&'static str],
}

const WRITES: &[Write] = &[
    Write {
        operation: "POST /api/v1/campaigns",
        gone: &["campaigns:{tenant}:page:1:limit:20", "dashboard_stats:{tenant}"],
        may_go: &[],
    },
    Write {
        operation: "PUT /api/v1/campaigns/{}",
        gone: &[
            "campaign:{tenant}:{campaign}",
            "campaigns:{tenant}:page:1:limit:20",
            "dashboard_stats:{tenant}",
        ],
        may_go: &[],
    },
    Write {
        operation: "POST /api/v1/campaigns/{}/leads",
        gone: &["leads:{tenant}:{campaign}:page:1:limit:20", "dashboard_stats:{tenant}"],
        may_go: &[],
    },
    Write {
        operation: "POST /api/v1/campaigns/{}/leads/import",
        gone: &["leads:{tenant}:{campaign}:page:1:limit:20", "dashboard_stats:{tenant}"],
        may_go: &[],
    },
    Write {
        operation: "POST /api/v1/products/{}",
        gone: &["products:{tenant}", "pricing_trends:{tenant}"],
        may_go: &[
            "dashboard_kpis:{tenant}",
            "dashboard_alerts:{tenant}",
            "dashboard_insights:{tenant}",
            "forecast_demand:{tenant}",
            "dashboard_activity:{tenant}:limit:10",
            "dashboard_trends:{tenant}:days:30",
            "sentiment_overview:{tenant}",
        ],
    },
    Write {
        operation: "POST /api/v1/orders",
        gone: &[
            "dashboard_kpis:{tenant}",
            "dashboard_activity:{tenant}:limit:10",
            "dashboard_trends:{tenant}:days:30",
            "forecast_demand:{tenant}",
        ],
        // The stock of a product is part of it.
        may_go: &["products:{tenant}", "dashboard_alerts:{tenant}", "dashboard_insights:{tenant}"],
    },
    Write {
        operation: "POST /api/threats",
        gone: &[
            "stats:",
            "threats:page=1:limit=10",
            "charts:trend:days=10",
            "charts:severity:",
            "charts:sources:",
        ],
        may_go: &[],
    },
    Write { operation: "POST /api/v1/posts", gone: &["posts:{tenant}:page:1:limit:20"], may_go: &[] },
    Write {
        operation: "POST /api/v1/jobs",
        gone: &["jobs:{tenant}:page:1:limit:20", "jobs_stats:{tenant}"],
        may_go: &[],
    },
    Write {
        operation: "POST /api/v1/conversations",
        gone: &["conversations:{tenant}:{me}:page:1:limit:20"],
        may_go: &["notifications:{tenant}:{me}:page:1:limit:20"],
    },
    Write {
        operation: "POST /api/v1/conversations/{}/messages",
        gone: &[
            "messages:{tenant}:{conversation}:page:1:limit:20",
            "conversations:{tenant}:{me}:page:1:limit:20",
        ],
        may_go: &["notifications:{tenant}:{me}:page:1:limit:20"],
    },
    Write {
        operation: "POST /api/v1/notifications/{}/read",
        gone: &["notifications:{tenant}:{me}:page:1:limit:20"],
        may_go: &[],
    },
    Write {
        operation: "DELETE /api/v1/campaigns/{}",
        gone: &[
            "campaign:{tenant}:{campaign}",
            "leads:{tenant}:{campaign}:page:1:limit:20",
            "campaigns:{tenant}:page:1:limit:20",
            "dashboard_stats:{tenant}",
        ],
        may_go: &[],
    },
];

async fn every_write_invalidates_what_shows_it_and_nothing_else(stack: Stack) {
    let people = People::of(&stack).await;
    let routes = routes::all();
    let cached: Vec<&Route> = routes.iter().filter(|route| route.cached.is_some()).collect();
    for write in WRITES {
        prime(&people, &cached).await;
        let route = routes.iter().find(|route| route.operation() == write.operation).unwrap();
        route.call(&people).await.expect(route.status);
        let keys =
            |templates: &[&str]| templates.iter().map(|key| fill(key, &people.sample)).collect::<Vec<_>>();
        let (gone, may_go) = (keys(write.gone), keys(write.may_go));
        let there = listed(&stack, &people);
        for route in &cached {
            let key = route.key(&people.sample).unwrap();
            if gone.contains(&key) {
                assert!(!there.contains(&key), "{key} is listed after {}", write.operation);
                people.admin.get(&key_path(&key)).await.expect_problem(404);
                // Its own page of a campaign that was deleted is none.
                let answer = route.call(&people).await;
                assert!(
                    answer.status == 404 || answer.cache() == "MISS",
                    "{key} after {}: {answer:?}",
                    write.operation
                );
            } else if !may_go.contains(&key) {
                assert!(there.contains(&key), "{key} went with {}", write.operation);
                let answer = route.call(&people).await.expect(200);
                assert_eq!(answer.cache(), "HIT", "{key} after {}", write.operation);
            }
        }
    }
}

/// Reads everything until it is in memory.
async fn prime(people: &People, cached: &[&Route]) {
    for route in cached {
        route.call(people).await.expect(200);
        let answer = route.call(people).await.expect(200);
        assert_eq!(answer.cache(), "HIT", "{}", answer.what);
    }
}

async fn a_reader_sees_every_write_at_once(stack: Stack) {
    let people = People::of(&stack).await;
    let acme = &people.acme;
    let listed_first = async || acme.get("/api/v1/campaigns").await.expect(200).json()["items"][0].clone();
    listed_first().await;
    let made = acme.post("/api/v1/campaigns", routes::a_campaign("Autumn")).await.expect(201).json();
    assert_eq!(listed_first().await, made);
    let path = format!("/api/v1/campaigns/{}", made["id"].as_str().unwrap());
    for round in 0..20 {
        let name = format!("Autumn {round}");
        acme.get(&path).await.expect(200);
        acme.put(&path, routes::a_campaign(&name)).await.expect(200);
        assert_eq!(acme.get(&path).await.expect(200).json()["name"], name);
        assert_eq!(listed_first().await["name"], name);
    }
    let leads = format!("{path}/leads");
    let total = |answer: Answer| answer.expect(200).json()["total"].as_i64().unwrap();
    assert_eq!(total(acme.get(&leads).await), 0);
    acme.post(&leads, json!({"email": "x@y.test", "name": "X"})).await.expect(201);
    assert_eq!(total(acme.get(&leads).await), 1);
    let csv = (0..500).fold("email,name\n".to_owned(), |csv, i| csv + &format!("u{i}@y.test,U{i}\n"));
    let imported =
        acme.send("POST", &format!("{leads}/import"), &Body::Text("text/csv", csv)).await.expect(200);
    assert_eq!(imported.json(), json!({"imported": 500, "rejected": []}));
    assert_eq!(total(acme.get(&leads).await), 501);
    acme.delete(&path).await.expect(204);
    acme.get(&path).await.expect_problem(404);
    acme.get(&leads).await.expect_problem(404);
    assert_ne!(listed_first().await["id"], made["id"]);
    // A post is in the feed, and on its author's pages.
    let me = &people.sample["me"];
    let (posts, profile) = (format!("/api/v1/users/{me}/posts"), format!("/api/v1/users/{me}/profile"));
    let count = |answer: Answer| answer.expect(200).json()["posts_count"].as_i64().unwrap();
    let (before, own) = (count(acme.get(&profile).await), total(acme.get(&posts).await));
    let made = acme.post("/api/v1/posts", json!({"body": "Here"})).await.expect(201).json();
    assert_eq!(acme.get("/api/v1/posts").await.expect(200).json()["items"][0], made);
    assert_eq!((count(acme.get(&profile).await), total(acme.get(&posts).await)), (before + 1, own + 1));
}
