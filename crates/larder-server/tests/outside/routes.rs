//! Every route of the contract, once: how it is called, by whom, what it answers, and as what it is cached.

use crate::client::{Answer, Body, Client};
use crate::shapes::{self, page};
use crate::stack::Stack;
use serde_json::{Value, json};
use std::collections::BTreeMap;

/// Who calls a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Who {
    Anyone,
    /// The owner of `acme`.
    Tenant,
    Admin,
    Crawler,
}

#[derive(Clone)]
pub(crate) struct Route {
    pub(crate) method: &'static str,
    /// The path of the OpenAPI document, with the names of the sample for its parameters.
    pub(crate) path: &'static str,
    pub(crate) query: &'static str,
    pub(crate) who: Who,
    pub(crate) body: fn(&Sample) -> Body,
    pub(crate) status: u16,
    pub(crate) shape: Option<Value>,
    /// The key as people see it, and the seconds it is kept.
    pub(crate) cached: Option<(&'static str, u32)>,
}

/// Values for the names in paths and keys, all of tenant `acme`.
pub(crate) type Sample = BTreeMap<&'static str, String>;

fn nothing(_: &Sample) -> Body {
    Body::Nothing
}

fn read(path: &'static str, who: Who, shape: Value) -> Route {
    Route {
        method: "GET",
        path,
        query: "",
        who,
        body: nothing,
        status: 200,
        shape: Some(shape),
        cached: None,
    }
}

fn write(method: &'static str, path: &'static str, status: u16, body: fn(&Sample) -> Body) -> Route {
    Route { method, path, query: "", who: Who::Tenant, body, status, shape: None, cached: None }
}

impl Route {
    fn cached(self, key: &'static str, seconds: u32) -> Self {
        Self { cached: Some((key, seconds)), ..self }
    }

    fn query(self, query: &'static str) -> Self {
        Self { query, ..self }
    }

    fn by(self, who: Who) -> Self {
        Self { who, ..self }
    }

    fn shape(self, shape: Value) -> Self {
        Self { shape: Some(shape), ..self }
    }

    pub(crate) fn operation(&self) -> String {
        crate::openapi::operation(self.method, self.path)
    }

    /// Path and query with the values of the sample.
    pub(crate) fn target(&self, sample: &Sample) -> String {
        fill(&format!("{}{}", self.path, self.query), sample)
    }

    /// The key with the values of the sample.
    pub(crate) fn key(&self, sample: &Sample) -> Option<String> {
        Some(fill(self.cached?.0, sample))
    }

    pub(crate) async fn call(&self, people: &People) -> Answer {
        let sample = &people.sample;
        people.as_who(self.who).send(self.method, &self.target(sample), &(self.body)(sample)).await
    }
}

pub(crate) fn fill(template: &str, sample: &Sample) -> String {
    let filled = sample
        .iter()
        .fold(template.to_owned(), |text, (name, value)| text.replace(&format!("{{{name}}}"), value));
    assert!(!filled.contains('{'), "{filled}: no sample for a name");
    filled
}

/// Clients of every role, and the sample.
pub(crate) struct People {
    pub(crate) anyone: Client,
    pub(crate) acme: Client,
    pub(crate) admin: Client,
    pub(crate) crawler: Client,
    pub(crate) sample: Sample,
}

impl People {
    pub(crate) async fn of(stack: &Stack) -> Self {
        let acme = stack.acme().await;
        let sample = sample(&acme).await;
        Self {
            anyone: stack.anyone(),
            acme,
            admin: stack.admin().await,
            crawler: stack.crawler().await,
            sample,
        }
    }

    pub(crate) fn as_who(&self, who: Who) -> &Client {
        match who {
            Who::Anyone => &self.anyone,
            Who::Tenant => &self.acme,
            Who::Admin => &self.admin,
            Who::Crawler => &self.crawler,
        }
    }
}

/// Asks a tenant's lists for one id of each kind. The caches of those lists are cleared afterwards.
pub(crate) async fn sample(client: &Client) -> Sample {
    let first = async |path: &str, pointer: &str| {
        let body = client.get(path).await.expect(200).json();
        body.pointer(pointer)
            .unwrap_or_else(|| panic!("{path} has no {pointer}: {body}"))
            .as_str()
            .unwrap()
            .to_owned()
    };
    let mut sample = Sample::new();
    sample.insert("me", first("/api/v1/auth/me", "/id").await);
    sample.insert("campaign", first("/api/v1/campaigns", "/items/0/id").await);
    sample.insert("user", first("/api/v1/posts", "/items/0/author/id").await);
    sample.insert("category", first("/api/v1/categories", "/items/0/name").await);
    sample.insert("location", first("/api/v1/locations", "/items/0/name").await);
    sample.insert("conversation", first("/api/v1/conversations", "/items/0/id").await);
    sample.insert("notification", first("/api/v1/notifications", "/items/0/id").await);
    sample.insert("product", first("/api/v1/products", "/payload/0/id").await);
    sample.insert("tenant", first_tenant(client).await);
    client.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
    sample
}

async fn first_tenant(client: &Client) -> String {
    client.get("/api/v1/auth/me").await.expect(200).json()["tenant_id"].as_str().unwrap().to_owned()
}

/// §3 to §7 of the contract.
pub(crate) fn all() -> Vec<Route> {
    [marketing(), seller(), threats(), feed(), operations()].concat()
}

fn marketing() -> Vec<Route> {
    use Who::{Anyone, Tenant};
    let list = page(shapes::campaign());
    vec![
        write("POST", "/api/v1/auth/register", 201, |_| {
            let (tenant_name, email) = ("Initech", "owner@initech.test");
            Body::Json(json!({"tenant_name": tenant_name, "email": email, "password": "correct horse", "name": "Bill"}))
        })
        .by(Anyone),
        write("POST", "/api/v1/auth/login", 200, |_| {
            Body::Json(json!({"email": "owner@acme.test", "password": crate::client::PASSWORD}))
        })
        .by(Anyone)
        .shape(shapes::login()),
        read("/api/v1/auth/me", Tenant, json!({"*": "string"})).cached("user_profile:{tenant}:{me}:me", 180),
        read("/api/v1/campaigns", Tenant, list).cached("campaigns:{tenant}:page:1:limit:20", 300),
        read("/api/v1/campaigns/{campaign}", Tenant, shapes::campaign()).cached("campaign:{tenant}:{campaign}", 300),
        read("/api/v1/campaigns/{campaign}/leads", Tenant, page(shapes::lead()))
            .cached("leads:{tenant}:{campaign}:page:1:limit:20", 300),
        read("/api/v1/dashboard/stats", Tenant, shapes::dashboard_stats()).cached("dashboard_stats:{tenant}", 60),
        write("POST", "/api/v1/campaigns", 201, |_| Body::Json(a_campaign("Spring"))).shape(shapes::campaign()),
        write("PUT", "/api/v1/campaigns/{campaign}", 200, |_| Body::Json(a_campaign("Summer"))).shape(shapes::campaign()),
        write("POST", "/api/v1/campaigns/{campaign}/leads", 201, |_| {
            Body::Json(json!({"email": "a@b.test", "name": "A", "status": "new", "value_cents": 100}))
        })
        .shape(shapes::lead()),
        write("POST", "/api/v1/campaigns/{campaign}/leads/import", 200, |_| {
            Body::Text("text/csv", "email,name,status,value_cents\nb@b.test,B,qualified,250\nnobody,C,new,1\n".to_owned())
        })
        .shape(shapes::import()),
        write("POST", "/api/v1/ai/generate", 200, |_| Body::Json(json!({"prompt": "A slogan", "max_tokens": 20})))
            .shape(shapes::generation()),
        // Last: what stands above needs the campaign.
        write("DELETE", "/api/v1/campaigns/{campaign}", 204, nothing),
    ]
}

pub(crate) fn a_campaign(name: &str) -> Value {
    json!({"name": name, "channel": "email", "budget_cents": 500_000, "status": "active"})
}

fn seller() -> Vec<Route> {
    let payload = |path, key, seconds| read(path, Who::Tenant, shapes::payload()).cached(key, seconds);
    vec![
        payload("/api/v1/dashboard/kpis", "dashboard_kpis:{tenant}", 300),
        payload("/api/v1/dashboard/trends", "dashboard_trends:{tenant}:days:30", 300),
        payload("/api/v1/dashboard/alerts", "dashboard_alerts:{tenant}", 300),
        payload("/api/v1/dashboard/insights", "dashboard_insights:{tenant}", 300),
        payload("/api/v1/dashboard/activity", "dashboard_activity:{tenant}:limit:10", 300),
        payload("/api/v1/products", "products:{tenant}", 600),
        payload("/api/v1/pricing/trends", "pricing_trends:{tenant}", 600),
        payload("/api/v1/sentiment/overview", "sentiment_overview:{tenant}", 900),
        payload("/api/v1/forecast/demand", "forecast_demand:{tenant}", 1800),
        write("POST", "/api/v1/products/{product}", 200, |_| Body::Json(json!({"price_cents": 4_321}))),
        write("POST", "/api/v1/orders", 201, |sample| {
            Body::Json(json!({"product_id": sample["product"], "quantity": 3}))
        }),
    ]
}

fn threats() -> Vec<Route> {
    use Who::Anyone;
    vec![
        read("/api/stats", Anyone, shapes::threat_stats()).cached("stats:", 60),
        read("/api/threats", Anyone, page(shapes::threat()))
            .query("?page=1&limit=10")
            .cached("threats:page=1:limit=10", 120),
        read("/api/charts/trend", Anyone, shapes::trend())
            .query("?days=10")
            .cached("charts:trend:days=10", 180),
        read("/api/charts/severity", Anyone, shapes::chart("severity")).cached("charts:severity:", 180),
        read("/api/charts/sources", Anyone, shapes::chart("source")).cached("charts:sources:", 180),
        write("POST", "/api/threats", 201, |_| {
            Body::Json(
                json!([{"title": "Worm", "severity": "high", "source": "lab", "indicator": "198.51.100.7"}]),
            )
        })
        .by(Who::Crawler)
        .shape(json!({"inserted": "int"})),
    ]
}

fn feed() -> Vec<Route> {
    let tenants = |path, shape, key, seconds| read(path, Who::Tenant, shape).cached(key, seconds);
    let pages = |path, item, key, seconds| read(path, Who::Tenant, page(item)).cached(key, seconds);
    vec![
        pages("/api/v1/posts", shapes::post(), "posts:{tenant}:page:1:limit:20", 60),
        tenants("/api/v1/users/{user}", shapes::user(), "users:{tenant}:{user}", 300),
        tenants("/api/v1/users/{user}/profile", shapes::profile(), "user_profile:{tenant}:{user}", 180),
        pages(
            "/api/v1/users/{user}/posts",
            shapes::post(),
            "posts_user:{tenant}:{user}:page:1:limit:20",
            120,
        ),
        pages("/api/v1/jobs", shapes::job(), "jobs:{tenant}:page:1:limit:20", 300),
        tenants("/api/v1/jobs/stats", shapes::job_stats(), "jobs_stats:{tenant}", 600),
        pages(
            "/api/v1/conversations",
            shapes::conversation(),
            "conversations:{tenant}:{me}:page:1:limit:20",
            60,
        ),
        pages(
            "/api/v1/conversations/{conversation}/messages",
            shapes::message(),
            "messages:{tenant}:{conversation}:page:1:limit:20",
            30,
        ),
        pages(
            "/api/v1/notifications",
            shapes::notification(),
            "notifications:{tenant}:{me}:page:1:limit:20",
            30,
        ),
        tenants("/api/v1/categories", page(shapes::named()), "categories:{tenant}", 3600),
        tenants("/api/v1/locations", page(shapes::named()), "locations:{tenant}", 3600),
        write("POST", "/api/v1/posts", 201, |_| Body::Json(json!({"body": "Hello"}))).shape(shapes::post()),
        write("POST", "/api/v1/jobs", 201, |sample| Body::Json(a_job(sample))).shape(shapes::job()),
        write("POST", "/api/v1/conversations", 201, |sample| {
            Body::Json(json!({"participant_ids": [sample["user"]]}))
        })
        .shape(shapes::conversation()),
        write("POST", "/api/v1/conversations/{conversation}/messages", 201, |_| {
            Body::Json(json!({"body": "Hi"}))
        })
        .shape(shapes::message()),
        write("POST", "/api/v1/notifications/{notification}/read", 200, nothing),
    ]
}

pub(crate) fn a_job(sample: &Sample) -> Value {
    json!({
        "title": "Engineer", "company": "Acme", "location": sample["location"], "category": sample["category"],
        "salary_min_cents": 5_000_000, "salary_max_cents": 7_000_000,
    })
}

fn operations() -> Vec<Route> {
    use Who::{Admin, Anyone, Tenant};
    let any = || json!({"*": "any"});
    vec![
        read("/health", Anyone, shapes::health()),
        read("/health/live", Anyone, any()),
        read("/health/ready", Anyone, any()),
        read("/health/cache", Anyone, shapes::cache_health()),
        read("/api/cache/stats", Tenant, shapes::cache_stats()),
        read("/api/v1/cache/metrics", Admin, any()),
        read("/api/cache/overview", Tenant, any()),
        read("/api/cache/keys", Admin, any()),
        read("/api/cache/keys/{key}", Admin, any()),
        Route { shape: None, ..read("/metrics", Anyone, any()) },
        write("POST", "/api/cache/invalidate", 200, |_| Body::Json(json!({"tag": "nothing"}))),
        write("POST", "/api/cache/clear", 200, nothing).shape(shapes::cleared()),
        write("POST", "/rt/{tenant}/ticket", 200, nothing)
            .shape(json!({"ticket": "string", "expires_in": "int"})),
    ]
}
