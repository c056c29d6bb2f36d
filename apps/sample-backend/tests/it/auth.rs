//! Signing in.

use sample_backend::config::DatabaseConfig;
use serde_json::json;

use crate::support::{Api, on_each_database, sqlite};

on_each_database!(a_new_tenant_is_signed_in_at_once_and_later_again, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let new = json!({"tenant_name": "Kettle: 100%", "email": "Ada@Kettle.test", "password": " s p a c e ", "name": "Ada"});
    let made = api.post("", "/api/v1/auth/register", new.clone()).await;
    assert_eq!(made.status, 201, "{made:?}");
    assert_eq!(made.body["tenant_id"], "kettle-100");
    assert_eq!(made.body["user"]["role"], "owner");
    let token = made.body["access_token"].as_str().unwrap();
    let me = api.get_twice(token, "/api/v1/auth/me").await;
    assert_eq!(
        (me["email"].as_str(), me["tenant_id"].as_str()),
        (Some("ada@kettle.test"), Some("kettle-100"))
    );
    let id = me["id"].as_str().unwrap();
    assert!(api.has(&format!("user_profile:kettle-100:{id}:me")));
    assert_eq!(api.get(token, "/api/v1/campaigns").await.body["total"], 0);

    let login = json!({"email": "ADA@kettle.test", "password": " s p a c e "});
    let login = api.post("", "/api/v1/auth/login", login).await;
    assert_eq!((login.status, login.body["token_type"].as_str()), (200, Some("bearer")));
    assert_eq!(login.body["expires_in"], 3600);
    assert_eq!(api.post("", "/api/v1/auth/register", new).await.status, 409);
});

on_each_database!(tenants_of_like_names_are_two, |database: DatabaseConfig| async move {
    let api = Api::start(database).await;
    let mut ids = Vec::new();
    for (i, name) in ["a:b", "a*b", "a b", "🦀", "🦀🦀", "acme!"].into_iter().enumerate() {
        let email = format!("u{i}@x.test");
        let new = json!({"tenant_name": name, "email": email, "password": "12345678", "name": "U"});
        let made = api.post("", "/api/v1/auth/register", new).await;
        assert_eq!(made.status, 201, "{name}: {made:?}");
        ids.push(made.body["tenant_id"].as_str().unwrap().to_owned());
        let token = made.body["access_token"].as_str().unwrap();
        assert_eq!(api.get(token, "/api/v1/campaigns").await.body["total"], 0, "{name}");
    }
    ids.sort();
    ids.dedup();
    assert_eq!(ids.len(), 6);
    assert!(!ids.contains(&"acme".to_owned()));
});

#[tokio::test]
async fn an_unknown_user_and_a_wrong_password_look_the_same() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let ask = |email: &str| json!({"email": email, "password": "wrong-password"});
    let known = api.post("", "/api/v1/auth/login", ask("owner@acme.test")).await;
    let unknown = api.post("", "/api/v1/auth/login", ask("nobody@acme.test")).await;
    assert_eq!((known.status, unknown.status), (401, 401));
    assert_eq!(known.body, unknown.body);
}

#[tokio::test]
async fn the_eleventh_try_of_a_minute_is_429() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let ask = json!({"email": "owner@acme.test", "password": "wrong-password"});
    for _ in 0..10 {
        assert_eq!(api.post("", "/api/v1/auth/login", ask.clone()).await.status, 401);
    }
    let reply = api.post("", "/api/v1/auth/login", ask).await;
    assert_eq!(reply.status, 429);
    assert!(reply.headers["retry-after"].to_str().unwrap().parse::<u64>().unwrap() <= 6);
}

#[tokio::test]
async fn every_bad_token_is_401_alike() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let none = api.get("", "/api/v1/campaigns").await;
    assert_eq!((none.status, &none.headers["www-authenticate"]), (401, &"Bearer".parse().unwrap()));
    // alg: none, with the claims of an owner.
    let unsigned = "eyJhbGciOiJub25lIn0.eyJzdWIiOiIwMTkwMTYzZC04Njk0LTczOWItYWVhNS05NjZjMjZmOGFkOTEiLCJ0ZW5hbnQiOiJhY21lIiwicm9sZSI6Im93bmVyIiwiaWF0IjoxLCJleHAiOjk5OTk5OTk5OTk5LCJhdWQiOiJsYXJkZXIifQ.";
    for bad in ["x", "a.b.c", unsigned] {
        let reply = api.get(bad, "/api/v1/campaigns").await;
        assert_eq!((reply.status, &reply.body), (401, &none.body), "{bad}");
    }
}

#[tokio::test]
async fn a_secret_that_was_made_is_kept_so_that_tokens_outlive_a_restart() {
    let (database, _home) = sqlite();
    let api = Api::start(database.clone()).await;
    let token = api.login("owner@acme.test").await;
    api.backend.shutdown().await;
    let again = Api::start(database).await;
    assert_eq!(again.me(&token).await, again.me(&again.login("owner@acme.test").await).await);
}

#[tokio::test]
async fn production_has_no_sample_logins() {
    let (database, _home) = sqlite();
    let api = Api::start_with(database, |config| config.sample_logins = false).await;
    let ask = json!({"email": "owner@acme.test", "password": "larder-demo"});
    assert_eq!(api.post("", "/api/v1/auth/login", ask).await.status, 401);
}

#[tokio::test]
async fn every_fault_of_a_registration_is_named() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let bad = json!({"tenant_name": "", "email": "no", "password": "short", "name": 5});
    let reply = api.post("", "/api/v1/auth/register", bad).await;
    assert_eq!((reply.status, reply.fields()), (422, vec!["tenant_name", "email", "password", "name"]));
}

#[tokio::test]
async fn a_crawler_may_not_change_a_tenants_data() {
    let (database, _home) = sqlite();
    let api = Api::start(database).await;
    let crawler = api.login("crawler@larder.test").await;
    let new = json!({"name": "x", "channel": "sms", "budget_cents": 1});
    assert_eq!(api.post(&crawler, "/api/v1/campaigns", new).await.status, 403);
}

on_each_database!(a_user_added_from_the_command_line_can_sign_in, |database: DatabaseConfig| async move {
    use sample_backend::auth::{AddUserError, NewUser, add_user};
    let new = |email: &str, tenant: &str, password: &str| NewUser {
        email: email.into(),
        tenant: tenant.into(),
        role: larder_http::Role::Admin,
        password: password.into(),
    };
    add_user(&database, new("Root@ops.test", "ops", "long enough")).await.unwrap();
    let again = add_user(&database, new("root@ops.test", "other", "long enough")).await;
    assert!(matches!(again, Err(AddUserError::Exists(_))));
    for bad in
        [new("x", "ops", "long enough"), new("a@b.cd", "O:ps", "long enough"), new("a@b.cd", "ops", "short")]
    {
        assert!(matches!(add_user(&database, bad).await, Err(AddUserError::Invalid(_))));
    }
    let api =
        Api::start_with(database, |config| config.data = sample_backend::config::SampleData::None).await;
    let ask = json!({"email": "root@ops.test", "password": "long enough"});
    let reply = api.post("", "/api/v1/auth/login", ask).await;
    assert_eq!((reply.status, reply.body["user"]["role"].as_str()), (200, Some("admin")));
});
