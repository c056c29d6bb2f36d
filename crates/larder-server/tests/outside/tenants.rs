//! One tenant cannot reach, see or change what belongs to another, and learns nothing from trying.

use crate::client::{Answer, Body};
use crate::openapi::OpenApi;
use crate::routes::{self, People, Who, sample};
use crate::stack::{Stack, on_every_stack};

on_every_stack!(
    unhurried
    another_tenants_id_is_unknown_on_every_route,
    the_same_path_shows_each_tenant_its_own,
    one_tenants_writes_leave_the_other_alone
);

async fn another_tenants_id_is_unknown_on_every_route(stack: Stack) {
    let people = People::of(&stack).await;
    let globex = stack.globex().await;
    let document = OpenApi::of(&people.anyone).await;
    // Everything of the owner is in the cache, where a mistaken key would find it.
    for route in routes::all().iter().filter(|route| route.cached.is_some()) {
        route.call(&people).await.expect(200);
    }
    let mut tried = 0;
    for route in routes::all() {
        // A tenant in the path is no secret: there it is forbidden, and larder-live's tests see to that.
        let names_an_id =
            ["{key}", "{tenant"].iter().all(|other| !route.path.contains(other)) && route.path.contains('{');
        if !names_an_id || route.who != Who::Tenant {
            continue;
        }
        let (target, body) = (route.target(&people.sample), (route.body)(&people.sample));
        let answer = globex.send(route.method, &target, &body).await.expect_problem(404);
        document.validate(&route.operation(), &answer);
        for id in people.sample.values().filter(|id| id.len() == 36) {
            assert!(!answer.text().contains(id) || target.contains(id), "{} shows {id}", answer.what);
        }
        // The owner's own was not touched.
        if route.method == "GET" {
            route.call(&people).await.expect(200);
        }
        tried += 1;
    }
    assert!(tried >= 12, "{tried} routes with ids");
    let foreign = serde_json::json!({"participant_ids": [people.sample["user"]]});
    globex.post("/api/v1/conversations", foreign).await.expect_problem(422);
    let order = serde_json::json!({"product_id": people.sample["product"], "quantity": 1});
    globex.post("/api/v1/orders", order).await.expect_problem(404);
}

async fn the_same_path_shows_each_tenant_its_own(stack: Stack) {
    let people = People::of(&stack).await;
    let globex = stack.globex().await;
    let theirs = sample(&globex).await;
    for route in routes::all() {
        if route.cached.is_none() || route.who != Who::Tenant || route.path.contains('{') {
            continue;
        }
        let target = route.target(&people.sample);
        let (ours, others) =
            (people.acme.get(&target).await.expect(200), globex.get(&target).await.expect(200));
        assert_eq!(others.cache(), "MISS", "{target}");
        assert!(
            !foreign_ids(&ours, &theirs) && !foreign_ids(&others, &people.sample),
            "{target} mixes tenants"
        );
    }
}

fn foreign_ids(answer: &Answer, sample: &routes::Sample) -> bool {
    // Ids, not the names of categories, which tenants share.
    sample.values().filter(|id| id.len() == 36).any(|id| answer.text().contains(id))
}

async fn one_tenants_writes_leave_the_other_alone(stack: Stack) {
    let people = People::of(&stack).await;
    let globex = stack.globex().await;
    let path = "/api/v1/campaigns";
    people.acme.get(path).await.expect(200);
    globex.post(path, routes::a_campaign("Theirs")).await.expect(201);
    globex.send("POST", "/api/cache/clear", &Body::Nothing).await.expect(200);
    let ours = people.acme.get(path).await.expect(200);
    assert_eq!(ours.cache(), "HIT");
    assert!(!ours.text().contains("Theirs"));
    let stats = globex.get("/api/cache/stats").await.expect(200).json();
    assert_eq!(stats["hits"], 0, "the statistics are the tenant's own: {stats}");
}
