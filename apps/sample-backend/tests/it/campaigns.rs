//! Campaigns, leads and the statistics over them.

use axum::body::Body;
use sample_backend::config::DatabaseConfig;
use serde_json::{Value, json};

use crate::support::{Api, Reply, on_each_database, request, sqlite};

fn spring() -> Value {
    json!({"name": "Spring", "channel": "email", "budget_cents": 500, "status": "active"})
}

async fn import(api: &Api, token: &str, campaign: &str, csv: impl Into<Body>) -> Reply {
    let path = format!("/api/v1/campaigns/{campaign}/leads/import");
    api.send(request("POST", token, &path).header("content-type", "text/csv").body(csv.into()).unwrap()).await
}

fn id(reply: &Reply) -> &str {
    reply.body["id"].as_str().unwrap()
}

on_each_database!(
    a_write_is_seen_by_the_next_read_of_everything_that_shows_it,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let acme = api.login("owner@acme.test").await;
        let list = api.get_twice(&acme, "/api/v1/campaigns").await;
        let stats = api.get_twice(&acme, "/api/v1/dashboard/stats").await;
        assert!(api.has("campaigns:acme:page:1:limit:20") && api.has("dashboard_stats:acme"));

        let made = api.post(&acme, "/api/v1/campaigns", spring()).await;
        assert_eq!((made.status, made.body["status"].as_str()), (201, Some("active")));
        assert!(!api.has("campaigns:acme:page:1:limit:20"), "gone before the answer was sent");
        let path = format!("/api/v1/campaigns/{}", id(&made));
        let now = api.get_twice(&acme, "/api/v1/campaigns").await;
        assert_eq!(now["items"][0]["id"], made.body["id"], "newest first");
        assert_eq!(now["total"].as_i64(), list["total"].as_i64().map(|n| n + 1));
        assert_eq!(
            api.get_twice(&acme, "/api/v1/dashboard/stats").await["active_campaigns"].as_i64(),
            stats["active_campaigns"].as_i64().map(|n| n + 1)
        );

        assert_eq!(api.get_twice(&acme, &path).await, made.body);
        assert!(api.has(&format!("campaign:acme:{}", id(&made))));
        let mut autumn = spring();
        autumn["name"] = json!("Autumn");
        let changed = api.put(&acme, &path, autumn).await;
        assert_eq!((changed.status, changed.body["name"].as_str()), (200, Some("Autumn")));
        assert_eq!(api.get_twice(&acme, &path).await["name"], "Autumn");
        assert_eq!(api.get_twice(&acme, "/api/v1/campaigns").await["items"][0]["name"], "Autumn");

        assert_eq!(api.delete(&acme, &path).await.status, 204);
        assert_eq!(api.get(&acme, &path).await.status, 404);
        assert_eq!(api.delete(&acme, &path).await.status, 404);
        assert_eq!(api.get_twice(&acme, "/api/v1/campaigns").await["total"], list["total"]);
    }
);

on_each_database!(leads_show_in_their_campaign_and_go_with_it, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let made = api.post(&acme, "/api/v1/campaigns", spring()).await;
    let leads = format!("/api/v1/campaigns/{}/leads", id(&made));
    assert_eq!(api.get_twice(&acme, &leads).await["total"], 0);
    let before = api.get_twice(&acme, "/api/v1/dashboard/stats").await;
    let lead = json!({"email": "Mei@x.test", "name": "Mei", "status": "converted", "value_cents": 7});
    let lead = api.post(&acme, &leads, lead).await;
    assert_eq!((lead.status, lead.body["campaign_id"].as_str()), (201, Some(id(&made))));
    assert_eq!(api.get_twice(&acme, &leads).await["items"][0], lead.body);
    assert!(api.has(&format!("leads:acme:{}:page:1:limit:20", id(&made))));
    let after = api.get_twice(&acme, "/api/v1/dashboard/stats").await;
    assert_eq!(after["converted_leads"].as_i64(), before["converted_leads"].as_i64().map(|n| n + 1));

    assert_eq!(api.delete(&acme, &format!("/api/v1/campaigns/{}", id(&made))).await.status, 204);
    assert_eq!(api.get(&acme, &leads).await.status, 404);
    assert_eq!(api.get_twice(&acme, "/api/v1/dashboard/stats").await["leads"], before["leads"]);
});

on_each_database!(the_statistics_add_up, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let token = &api.register("Sum").await;
    let empty = api.get_twice(token, "/api/v1/dashboard/stats").await;
    assert_eq!(empty["conversion_rate"].as_f64(), Some(0.0));
    let made = api.post(token, "/api/v1/campaigns", spring()).await;
    let csv = "email,name,status,value_cents\na@b.cd,A,converted,1\nb@b.cd,B,qualified,10\nc@b.cd,C,lost,100\n\
        d@b.cd,D,,1000\n";
    assert_eq!(import(&api, token, id(&made), csv).await.body["imported"], 4);
    assert_eq!(
        api.get_twice(token, "/api/v1/dashboard/stats").await,
        json!({"campaigns": 1, "active_campaigns": 1, "leads": 4, "converted_leads": 1, "conversion_rate": 0.25,
            "budget_cents": 500, "pipeline_value_cents": 1010})
    );
});

on_each_database!(
    an_import_takes_the_good_lines_and_tells_the_others,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let acme = api.login("owner@acme.test").await;
        let made = api.post(&acme, "/api/v1/campaigns", spring()).await;
        let leads = format!("/api/v1/campaigns/{}/leads", id(&made));
        api.get_twice(&acme, &leads).await;
        let mut events = api.cache.subscribe();
        let rows: String = (0..3_000).map(|i| format!("u{i}@x.test,User {i}\n")).collect();
        let reply = import(&api, &acme, id(&made), format!("email,name\n{rows}nobody,N\n")).await;
        assert_eq!((reply.status, &reply.body["imported"]), (200, &json!(3000)), "{reply:?}");
        assert_eq!(reply.body["rejected"][0]["line"], 3002);
        assert_eq!(api.get_twice(&acme, &leads).await["total"], 3000);
        assert_eq!(api.post(&acme, "/api/v1/campaigns", spring()).await.status, 201);
        let kinds = [events.next().await, events.next().await].map(|next| match next {
            Some(larder::Next::Event(event)) => event.kind().to_owned(),
            other => panic!("{other:?}"),
        });
        assert_eq!(kinds, ["lead.imported", "campaign.created"], "one event for all leads");
    }
);

#[tokio::test]
async fn a_faulty_import_changes_nothing() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let made = api.post(&acme, "/api/v1/campaigns", spring()).await;
    assert_eq!(import(&api, &acme, id(&made), "name,status\nA,new\n").await.status, 422);
    let large = " ".repeat((10 << 20) + 1);
    assert_eq!(import(&api, &acme, id(&made), large.clone()).await.status, 413);
    let chunks = futures_util::stream::iter([Ok::<_, std::io::Error>(large)]);
    assert_eq!(import(&api, &acme, id(&made), Body::from_stream(chunks)).await.status, 413);
    let path = format!("/api/v1/campaigns/{}/leads/import", id(&made));
    let json = request("POST", &acme, &path).header("content-type", "application/json");
    assert_eq!(api.send(json.body("email,name\n".into()).unwrap()).await.status, 415);
    let globex = api.login("owner@globex.test").await;
    assert_eq!(import(&api, &globex, id(&made), "email,name\na@b.cd,A\n").await.status, 404);
    assert_eq!(api.get(&acme, &format!("/api/v1/campaigns/{}/leads", id(&made))).await.body["total"], 0);
}

on_each_database!(lists_are_paged_and_filtered_in_the_database, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let all = api.get_twice(&acme, "/api/v1/campaigns?limit=100").await;
    let ids: Vec<_> = all["items"].as_array().unwrap().iter().map(|c| c["id"].as_str().unwrap()).collect();
    assert!(ids.is_sorted_by(|a, b| a > b), "newest first");
    let page = api.get_twice(&acme, "/api/v1/campaigns?page=2&limit=7").await;
    assert_eq!(page["items"][0]["id"], ids[7]);
    assert_eq!((&page["page"], &page["limit"], &page["total"]), (&json!(2), &json!(7), &all["total"]));
    let some = api.get_twice(&acme, "/api/v1/campaigns?status=active&channel=email&limit=100").await;
    let count = all["items"].as_array().unwrap().iter();
    let count = count.filter(|c| c["status"] == "active" && c["channel"] == "email").count();
    assert!(count > 0);
    assert_eq!(some["total"], count);
    assert!(api.has("campaigns:acme:page:1:limit:100:status:active:channel:email"));
    assert_eq!(api.get_twice(&acme, "/api/v1/campaigns?page=1000000").await["items"], json!([]));
    for (bad, field) in [
        ("limit=0", "limit"),
        ("page=1000000000000", "page"),
        ("status=gone", "status"),
        ("channel=", "channel"),
    ] {
        let reply = api.get(&acme, &format!("/api/v1/campaigns?{bad}")).await;
        assert_eq!((reply.status, reply.fields()), (422, vec![field]), "{bad}");
    }
});

on_each_database!(
    another_tenants_campaign_is_404_however_it_is_asked_for,
    |database: DatabaseConfig| async move {
        let api = Api::start(database).await;
        let (acme, globex) = (api.login("owner@acme.test").await, api.login("owner@globex.test").await);
        let made = api.post(&acme, "/api/v1/campaigns", spring()).await;
        let path = format!("/api/v1/campaigns/{}", id(&made));
        let leads = format!("{path}/leads");
        let lead = json!({"email": "a@b.cd", "name": "A"});
        api.get_twice(&acme, &path).await;
        api.get_twice(&acme, &leads).await;
        for path in [&path, &leads] {
            assert_eq!(api.get(&globex, path).await.status, 404, "cached for the other tenant or not");
        }
        assert_eq!(api.put(&globex, &path, spring()).await.status, 404);
        assert_eq!(api.delete(&globex, &path).await.status, 404);
        assert_eq!(api.post(&globex, &leads, lead).await.status, 404);
        assert_eq!(
            api.get(&acme, &path).await.x_cache(),
            "HIT",
            "and none of that touched the owner's entries"
        );
        let theirs = api.get(&globex, "/api/v1/campaigns?limit=100").await;
        assert!(!theirs.body.to_string().contains(id(&made)));
    }
);

#[tokio::test]
async fn texts_that_look_like_patterns_or_sql_are_just_texts() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    for name in ["*?[a]{b}", "'; DROP TABLE campaigns; --", "🦀 : %", &"ö".repeat(200)] {
        let made =
            api.post(&acme, "/api/v1/campaigns", json!({"name": name, "channel": "sms", "budget_cents": 0}));
        let made = made.await;
        assert_eq!((made.status, made.body["name"].as_str()), (201, Some(name)));
        assert_eq!(api.get(&acme, "/api/v1/campaigns").await.body["items"][0]["name"], name);
    }
    for name in ["a\u{0}b".to_owned(), "ö".repeat(201)] {
        let bad = json!({"name": name, "channel": "sms", "budget_cents": 0});
        assert_eq!(api.post(&acme, "/api/v1/campaigns", bad).await.status, 422);
    }
}

#[tokio::test]
async fn a_thousand_readers_of_a_cold_list_ask_the_database_once() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let before = api.backend.db.statements();
    let readers = (0..1_000).map(|_| api.get(&acme, "/api/v1/campaigns"));
    let replies = futures_util::future::join_all(readers).await;
    assert!(replies.iter().all(|reply| reply.status == 200));
    assert_eq!(api.backend.db.statements() - before, 2, "one to count, one to read");
}

#[tokio::test]
async fn a_writer_that_goes_away_leaves_nothing_stale() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let acme = api.login("owner@acme.test").await;
    let before = api.get_twice(&acme, "/api/v1/campaigns").await["total"].as_i64().unwrap();
    let mut events = api.cache.subscribe();
    let mut write = Box::pin(api.post(&acme, "/api/v1/campaigns", spring()));
    // Polled once, which begins its task, then dropped, as by a client that closes the connection.
    assert!(futures_util::poll!(&mut write).is_pending());
    drop(write);
    assert!(matches!(events.next().await, Some(larder::Next::Event(_))));
    assert_eq!(api.get(&acme, "/api/v1/campaigns").await.body["total"], before + 1);
}

#[tokio::test]
async fn without_a_cache_every_read_goes_to_the_database_and_everything_works() {
    let (database, _home) = sqlite();
    let cache = larder::Cache::builder("off").enabled(false).build().await.unwrap();
    let api = Api::start_on(database, cache).await;
    let acme = api.login("owner@acme.test").await;
    let before = api.backend.db.statements();
    for _ in 0..3 {
        assert_eq!(api.get(&acme, "/api/v1/campaigns").await.x_cache(), "BYPASS");
    }
    assert_eq!(api.backend.db.statements() - before, 6);
    let made = api.post(&acme, "/api/v1/campaigns", spring()).await;
    assert_eq!(api.get(&acme, "/api/v1/campaigns").await.body["items"][0]["id"], made.body["id"]);
}
