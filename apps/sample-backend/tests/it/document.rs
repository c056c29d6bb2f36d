//! The OpenAPI document says what the routes are.

use serde_json::{Value, json};

use crate::support::{Api, sqlite};

async fn document() -> Value {
    let (database, _home) = sqlite();
    serde_json::to_value(&Api::start(database).await.backend.openapi).unwrap()
}

#[tokio::test]
async fn every_operation_has_an_id_of_its_own_and_answers_errors_with_problems() {
    let document = document().await;
    let mut ids = Vec::new();
    for (path, operations) in document["paths"].as_object().unwrap() {
        for (method, operation) in operations.as_object().unwrap() {
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no id"));
            ids.push(id.to_owned());
            let default = &operation["responses"]["default"]["content"]["application/problem+json"];
            assert_eq!(default["schema"]["$ref"], "#/components/schemas/Problem", "{method} {path}");
            let secured = operation["security"].is_array();
            let open = path == "/api/v1/auth/login"
                || path == "/api/v1/auth/register"
                || path.starts_with("/api/t")
                || path.starts_with("/api/stats")
                || path.starts_with("/api/charts");
            assert!(secured || open, "{method} {path} does not say that it takes a token");
        }
    }
    let count = ids.len();
    ids.sort();
    ids.dedup();
    assert_eq!((ids.len(), count >= 22), (count, true), "{ids:?}");
}

#[tokio::test]
async fn every_reference_leads_somewhere() {
    fn references(value: &Value, found: &mut Vec<String>) {
        match value {
            Value::Object(map) => {
                found.extend(map.get("$ref").and_then(Value::as_str).map(str::to_owned));
                map.values().for_each(|value| references(value, found));
            }
            Value::Array(items) => items.iter().for_each(|value| references(value, found)),
            _ => {}
        }
    }
    let document = document().await;
    let mut found = Vec::new();
    references(&document, &mut found);
    assert!(!found.is_empty());
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{reference} leads nowhere");
    }
}

#[tokio::test]
async fn schemas_say_the_limits_that_are_checked() {
    let document = document().await;
    let list = &document["paths"]["/api/v1/campaigns"]["get"]["parameters"];
    let limit = list.as_array().unwrap().iter().find(|p| p["name"] == "limit").unwrap();
    assert_eq!((&limit["schema"]["minimum"], &limit["schema"]["maximum"]), (&json!(1), &json!(100)));
    assert_eq!(limit["required"], false);
    let names: Vec<_> = list.as_array().unwrap().iter().map(|p| p["name"].as_str().unwrap()).collect();
    assert_eq!(names, ["status", "channel", "page", "limit"]);
    let new = &document["components"]["schemas"]["NewCampaign"];
    assert_eq!(new["required"], json!(["name", "channel", "budget_cents"]));
    assert_eq!(document["components"]["schemas"]["Channel"]["enum"][0], "email");
}
