//! Posts, users, jobs and the words that jobs are sorted by.

use sample_backend::config::DatabaseConfig;
use sample_backend::db::Bulk;
use serde_json::{Value, json};

use crate::support::{Api, on_each_database, request, sqlite};

fn job(salaries: (i64, i64), category: &str, location: &str) -> Value {
    json!({"title": "Cook", "company": "Larder", "category": category, "location": location,
        "salary_min_cents": salaries.0, "salary_max_cents": salaries.1})
}

fn ids(page: &Value) -> Vec<&str> {
    page["items"].as_array().unwrap().iter().map(|item| item["id"].as_str().unwrap()).collect()
}

on_each_database!(
    a_post_shows_wherever_it_belongs_and_nothing_else_is_loaded_again,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let (acme, globex) = (api.login("owner@acme.test").await, api.login("owner@globex.test").await);
        let (me, other) = (api.me(&acme).await, api.me(&api.login("user0@acme.test").await).await);
        let mine = [
            "/api/v1/posts".to_owned(),
            "/api/v1/posts?page=2&limit=5".to_owned(),
            format!("/api/v1/users/{me}/posts"),
            format!("/api/v1/users/{me}/profile"),
        ];
        let [feed, _, wrote, profile] = [
            api.get_twice(&acme, &mine[0]).await,
            api.get_twice(&acme, &mine[1]).await,
            api.get_twice(&acme, &mine[2]).await,
            api.get_twice(&acme, &mine[3]).await,
        ];
        let others = [
            format!("/api/v1/users/{me}"),
            format!("/api/v1/users/{other}/posts"),
            format!("/api/v1/users/{other}/profile"),
            "/api/v1/jobs".to_owned(),
            "/api/v1/jobs/stats".to_owned(),
            "/api/v1/conversations".to_owned(),
            "/api/v1/notifications".to_owned(),
            "/api/v1/categories".to_owned(),
            "/api/v1/locations".to_owned(),
            "/api/v1/auth/me".to_owned(),
        ];
        for path in &others {
            api.get(&acme, path).await;
        }
        api.get(&globex, "/api/v1/posts").await;

        let made = api.post(&acme, "/api/v1/posts", json!({"body": " Hello, world "})).await;
        assert_eq!((made.status, made.body["body"].as_str()), (201, Some("Hello, world")));
        assert_eq!(made.body["author"]["id"], me);
        for key in [
            "posts:acme:page:1:limit:20".to_owned(),
            "posts:acme:page:2:limit:5".to_owned(),
            format!("posts_user:acme:{me}:page:1:limit:20"),
            format!("user_profile:acme:{me}"),
        ] {
            assert!(!api.has(&key), "{key} is gone before the answer was sent");
        }
        for path in &others {
            assert_eq!(api.get(&acme, path).await.x_cache(), "HIT", "{path} does not show posts of {me}");
        }
        assert_eq!(api.get(&globex, "/api/v1/posts").await.x_cache(), "HIT");

        let plus_one = |before: &Value| json!(before.as_i64().unwrap() + 1);
        let now = api.get_twice(&acme, &mine[0]).await;
        assert_eq!((&now["items"][0], &now["total"]), (&made.body, &plus_one(&feed["total"])));
        assert!(ids(&now).is_sorted_by(|a, b| a > b), "newest first");
        let now = api.get_twice(&acme, &mine[2]).await;
        assert_eq!((&now["items"][0], &now["total"]), (&made.body, &plus_one(&wrote["total"])));
        let now = api.get_twice(&acme, &mine[3]).await;
        assert_eq!(now["posts_count"], plus_one(&profile["posts_count"]));
        assert_eq!(now["user"], api.get(&acme, &others[0]).await.body);
        for key in [
            "posts:acme:page:1:limit:20".to_owned(),
            format!("posts_user:acme:{me}:page:1:limit:20"),
            format!("user_profile:acme:{me}"),
            format!("users:acme:{me}"),
            "jobs:acme:page:1:limit:20".to_owned(),
            "jobs_stats:acme".to_owned(),
            format!("conversations:acme:{me}:page:1:limit:20"),
            format!("notifications:acme:{me}:page:1:limit:20"),
            "categories:acme".to_owned(),
            "locations:acme".to_owned(),
        ] {
            assert!(api.has(&key), "{key}");
        }
    }
);

on_each_database!(
    all_authors_of_a_page_take_one_statement_and_then_none,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let acme = api.login("owner@acme.test").await;
        let before = api.backend.db.statements();
        let page = api.get(&acme, "/api/v1/posts?limit=100").await.body;
        assert_eq!(
            api.backend.db.statements() - before,
            3,
            "one to count, one for the posts, one for all authors"
        );
        let posts = page["items"].as_array().unwrap();
        assert_eq!(posts.len(), 100);
        let authors: std::collections::BTreeSet<_> =
            posts.iter().map(|post| post["author"]["id"].as_str().unwrap()).collect();
        assert!(authors.len() > 5);

        let before = api.backend.db.statements();
        for post in posts {
            let author =
                api.get(&acme, &format!("/api/v1/users/{}", post["author"]["id"].as_str().unwrap())).await;
            assert_eq!((author.x_cache(), &author.body["name"]), ("HIT", &post["author"]["name"]));
        }
        assert_eq!(api.backend.db.statements() - before, 0, "the page has brought them");
        let again = api.get(&acme, "/api/v1/posts?limit=99").await;
        assert_eq!(
            (again.x_cache(), api.backend.db.statements() - before),
            ("MISS", 2),
            "all authors were there"
        );
    }
);

on_each_database!(a_job_shows_in_the_lists_and_numbers, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let token = api.register("Jobs").await;
    let stats = api.get_twice(&token, "/api/v1/jobs/stats").await;
    let nothing = json!({"total": 0, "average_salary_cents": 0, "by_category": {}, "by_location": {}});
    assert_eq!(stats, nothing);
    assert_eq!(api.get_twice(&token, "/api/v1/jobs").await["items"], json!([]));
    api.get_twice(&token, "/api/v1/posts").await;
    let mut last = Value::Null;
    for new in [
        job((100, 201), "Baking", "Osaka"),
        job((0, 0), "Baking", "Köln \"Mitte\""),
        job((100_000_000_000, 100_000_000_000), "baking", "Osaka"),
    ] {
        let made = api.post(&token, "/api/v1/jobs", new.clone()).await;
        assert_eq!(made.status, 201, "{made:?}");
        for (name, value) in new.as_object().unwrap() {
            assert_eq!(made.body[name], *value);
        }
        last = made.body;
        assert_eq!(api.get_twice(&token, "/api/v1/jobs").await["items"][0], last, "newest first");
    }
    assert_eq!(api.get_twice(&token, "/api/v1/jobs?limit=1").await["items"], json!([last]));
    // (301 + 0 + 200,000,000,000) / 6, without the fraction
    assert_eq!(
        api.get_twice(&token, "/api/v1/jobs/stats").await,
        json!({"total": 3, "average_salary_cents": 33_333_333_383_i64,
            "by_category": {"Baking": 2, "baking": 1}, "by_location": {"Osaka": 2, "Köln \"Mitte\"": 1}})
    );
    assert_eq!(api.get(&token, "/api/v1/posts").await.x_cache(), "HIT", "jobs are no posts");
});

on_each_database!(numbers_of_jobs_take_one_statement, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let before = api.backend.db.statements();
    let stats = api.get(&acme, "/api/v1/jobs/stats").await.body;
    assert_eq!(api.backend.db.statements() - before, 1);
    let sum = |of: &str| stats[of].as_object().unwrap().values().map(|n| n.as_i64().unwrap()).sum::<i64>();
    assert!(stats["total"].as_i64().unwrap() > 50);
    assert_eq!(
        (sum("by_category"), sum("by_location")),
        (stats["total"].as_i64().unwrap(), sum("by_category"))
    );
});

on_each_database!(words_are_listed_by_name_page_by_page, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    for path in ["/api/v1/categories", "/api/v1/locations"] {
        let all = api.get_twice(&acme, path).await;
        let names: Vec<_> =
            all["items"].as_array().unwrap().iter().map(|w| w["name"].as_str().unwrap()).collect();
        assert!(names.len() > 5 && names.is_sorted());
        assert_eq!(
            (&all["page"], &all["limit"], &all["total"]),
            (&json!(1), &json!(20), &json!(names.len()))
        );
        let second = api.get_twice(&acme, &format!("{path}?page=2&limit=3")).await;
        assert_eq!((second["items"].as_array().unwrap().len(), &second["items"][0]), (3, &all["items"][3]));
    }
    assert!(api.has("categories:acme:page:2:limit:3"));
});

on_each_database!(users_of_another_tenant_do_not_exist, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let (acme, globex) = (api.login("owner@acme.test").await, api.login("owner@globex.test").await);
    let me = api.me(&acme).await;
    let paths = ["", "/profile", "/posts"].map(|rest| format!("/api/v1/users/{me}{rest}"));
    for path in &paths {
        assert_eq!(api.get(&globex, path).await.status, 404, "before anybody has read it");
        api.get_twice(&acme, path).await;
        assert_eq!(api.get(&globex, path).await.status, 404, "and when it is cached for its tenant");
        assert_eq!(api.get(&acme, path).await.x_cache(), "HIT");
    }
    let made = api.post(&acme, "/api/v1/posts", json!({"body": "acme only"})).await;
    api.post(&acme, "/api/v1/jobs", job((1, 2), "Secret", "Berlin")).await;
    for path in ["/api/v1/posts?limit=100", "/api/v1/jobs?limit=100", "/api/v1/jobs/stats"] {
        let theirs = api.get(&globex, path).await.body.to_string();
        assert!(!theirs.contains(made.body["id"].as_str().unwrap()) && !theirs.contains("Secret"), "{path}");
    }
});

#[tokio::test]
async fn nobody_reads_the_feed_without_a_token_and_a_crawler_writes_nothing() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let some = uuid::Uuid::now_v7();
    let reads = ["posts", "jobs", "jobs/stats", "conversations", "notifications", "categories", "locations"]
        .map(str::to_owned)
        .into_iter()
        .chain(["", "/profile", "/posts"].map(|rest| format!("users/{some}{rest}")))
        .chain([format!("conversations/{some}/messages")]);
    for path in reads {
        let path = format!("/api/v1/{path}");
        assert_eq!(api.get("", &path).await.status, 401, "{path}");
        assert_eq!(api.get("x.y.z", &path).await.status, 401, "{path}");
    }
    let crawler = api.login("crawler@larder.test").await;
    for (path, body) in [
        ("posts".to_owned(), json!({"body": "x"})),
        ("jobs".to_owned(), job((1, 2), "Baking", "Osaka")),
        ("conversations".to_owned(), json!({"participant_ids": [some]})),
        (format!("conversations/{some}/messages"), json!({"body": "x"})),
        (format!("notifications/{some}/read"), json!({})),
    ] {
        let path = format!("/api/v1/{path}");
        assert_eq!(api.post("", &path, body.clone()).await.status, 401, "{path}");
        assert_eq!(api.post(&crawler, &path, body).await.status, 403, "{path}");
    }
}

#[tokio::test]
async fn every_fault_of_a_post_or_job_is_told() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let long = "ö".repeat(5_001);
    for body in [
        json!({}),
        json!({"body": "  "}),
        json!({"body": 5}),
        json!({"body": "a\u{0}b"}),
        json!({"body": long}),
    ] {
        let reply = api.post(&acme, "/api/v1/posts", body).await;
        assert_eq!((reply.status, reply.fields()), (422, vec!["body"]));
    }
    assert_eq!(api.post(&acme, "/api/v1/posts", json!({"body": "ö".repeat(5_000)})).await.status, 201);
    let all = ["title", "company", "location", "category", "salary_min_cents", "salary_max_cents"];
    let empty = api.post(&acme, "/api/v1/jobs", json!({})).await;
    assert_eq!((empty.status, empty.fields()), (422, all.to_vec()));
    for (salaries, field) in [
        ((2, 1), "salary_max_cents"),
        ((-1, 1), "salary_min_cents"),
        ((0, 100_000_000_001), "salary_max_cents"),
    ] {
        let reply = api.post(&acme, "/api/v1/jobs", job(salaries, "Baking", "Osaka")).await;
        assert_eq!((reply.status, reply.fields()), (422, vec![field]), "{salaries:?}");
    }
    for path in ["/api/v1/posts", "/api/v1/jobs", "/api/v1/conversations"] {
        let post = |kind: &str, body: String| {
            api.send(request("POST", &acme, path).header("content-type", kind).body(body.into()).unwrap())
        };
        assert_eq!(post("application/json", "{".into()).await.status, 400);
        assert_eq!(post("text/plain", "{}".into()).await.status, 415);
        assert_eq!(post("application/json", format!("\"{}\"", "x".repeat(1 << 20))).await.status, 413);
        assert_eq!(post("application/json", "[]".into()).await.status, 422);
    }
}

#[tokio::test]
async fn pages_out_of_range_and_ids_that_are_none_are_refused() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let me = api.me(&acme).await;
    let lists = ["posts", "jobs", "conversations", "notifications", "categories", "locations"]
        .map(str::to_owned)
        .into_iter()
        .chain([format!("users/{me}/posts"), format!("conversations/{me}/messages")]);
    for list in lists {
        for (query, fields) in [
            ("limit=0", vec!["limit"]),
            ("limit=101&page=0", vec!["page", "limit"]),
            ("page=1000000000000", vec!["page"]),
            ("limit=ten", vec!["limit"]),
        ] {
            let reply = api.get(&acme, &format!("/api/v1/{list}?{query}")).await;
            assert_eq!((reply.status, reply.fields()), (422, fields), "{list}?{query}");
        }
    }
    for id in ["1", "../posts", "%00", &me.to_uppercase(), "*"] {
        for path in [
            format!("users/{id}"),
            format!("users/{id}/profile"),
            format!("users/{id}/posts"),
            format!("conversations/{id}/messages"),
        ] {
            assert_eq!(api.get(&acme, &format!("/api/v1/{path}")).await.status, 404, "{path}");
        }
        let read = format!("/api/v1/notifications/{id}/read");
        assert_eq!(api.post(&acme, &read, json!({})).await.status, 404, "{read}");
    }
}

#[tokio::test]
async fn a_token_that_outlived_its_user_writes_nothing() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let gone = larder_http::Identity {
        tenant: "acme".into(),
        user: uuid::Uuid::now_v7().to_string(),
        role: larder_http::Role::Owner,
    };
    let token = api.backend.tokens.issue(&gone);
    let other = api.me(&api.login("user0@acme.test").await).await;
    assert_eq!(api.post(&token, "/api/v1/posts", json!({"body": "x"})).await.status, 401);
    let talk = json!({"participant_ids": [other]});
    assert_eq!(api.post(&token, "/api/v1/conversations", talk).await.status, 401);
}

#[tokio::test]
async fn an_author_who_goes_away_in_the_middle_leaves_nothing_stale() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let me = api.me(&acme).await;
    api.get(&acme, &format!("/api/v1/users/{me}")).await;
    let before = api.get_twice(&acme, "/api/v1/posts").await["total"].as_i64().unwrap();
    let mut events = api.cache.subscribe();
    let mut write = Box::pin(api.post(&acme, "/api/v1/posts", json!({"body": "x"})));
    // Polled once, which begins its task, then dropped, as by a client that closes the connection.
    assert!(futures_util::poll!(&mut write).is_pending());
    drop(write);
    assert!(
        matches!(events.next().await, Some(larder::Next::Event(event)) if event.kind() == "post.created")
    );
    assert_eq!(api.get(&acme, "/api/v1/posts").await.body["total"], before + 1);
}

#[tokio::test]
async fn more_cold_pages_at_once_than_loads_have_places_all_get_their_authors() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let db = &api.backend.db;
    let authors = "SELECT id FROM users WHERE tenant_id = 'acme'";
    let authors: Vec<String> = sqlx::query_scalar(authors).fetch_all(db.read()).await.unwrap();
    let mut tx = db.begin().await.unwrap();
    let mut bulk = Bulk::new("INSERT INTO posts (id, tenant_id, author_id, body, created_at)");
    for i in 0..1_200 {
        let (id, author) = (uuid::Uuid::now_v7().to_string(), authors[i % authors.len()].clone());
        bulk.push(&mut tx, [id.into(), "acme".into(), author.into(), "x".into(), 1.into()]).await.unwrap();
    }
    bulk.flush(&mut tx).await.unwrap();
    tx.commit().await.unwrap();
    // The authors themselves come last: their loads wait for places, while pages that have places wait for them.
    let pages = (1..=1_200).map(|page| format!("/api/v1/posts?limit=1&page={page}"));
    let paths: Vec<_> = pages.chain(authors.iter().map(|id| format!("/api/v1/users/{id}"))).collect();
    let replies = futures_util::future::join_all(paths.iter().map(|path| api.get(&acme, path))).await;
    let bad: Vec<_> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!(bad.is_empty(), "{} failed: {:?}", bad.len(), bad.first());
}
