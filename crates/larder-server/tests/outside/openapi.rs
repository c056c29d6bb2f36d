//! The document that the server describes itself with, and answers validated against it.

use crate::client::{Answer, Client};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub(crate) struct OpenApi(Value);

/// A method and a path whose parameters have lost their names: `GET /api/v1/campaigns/{}`.
pub(crate) fn operation(method: &str, path: &str) -> String {
    let plain = path.split('{').map(|part| part.split_once('}').map_or(part, |(_, rest)| rest));
    format!("{} {}", method.to_uppercase(), plain.collect::<Vec<_>>().join("{}"))
}

impl OpenApi {
    pub(crate) async fn of(client: &Client) -> Self {
        let document = client.get("/openapi.json").await.expect(200).json();
        assert!(document["openapi"].as_str().unwrap().starts_with("3.1"), "{}", document["openapi"]);
        Self(document)
    }

    /// All operations.
    pub(crate) fn operations(&self) -> BTreeSet<String> {
        self.each().map(|(name, _)| name).collect()
    }

    fn each(&self) -> impl Iterator<Item = (String, &Value)> {
        const METHODS: [&str; 6] = ["get", "put", "post", "delete", "patch", "head"];
        self.0["paths"].as_object().unwrap().iter().flat_map(|(path, item)| {
            let methods =
                item.as_object().unwrap().iter().filter(|(name, _)| METHODS.contains(&name.as_str()));
            methods.map(move |(method, operation_)| (operation(method, path), operation_))
        })
    }

    /// The operations that nobody may call without a token.
    pub(crate) fn secured(&self) -> BTreeSet<String> {
        let needs_token = |described: &Value| {
            let ways = described["security"].as_array();
            ways.is_some_and(|ways| !ways.is_empty() && ways.iter().all(|way| way.get("bearer").is_some()))
        };
        self.each().filter(|(_, described)| needs_token(described)).map(|(name, _)| name).collect()
    }

    /// Asserts that the document knows this operation to answer so, and that the body is what it says.
    #[track_caller]
    pub(crate) fn validate(&self, operation: &str, answer: &Answer) {
        let (_, described) = self
            .each()
            .find(|(name, _)| name == operation)
            .unwrap_or_else(|| panic!("{operation} is not in the document"));
        let responses = &described["responses"];
        // Refusals are described once for all.
        let other = if answer.status >= 400 { responses.get("default") } else { None };
        let response = responses.get(answer.status.to_string()).or(other);
        let response = response.unwrap_or_else(|| {
            panic!("{operation} answers {}, which the document does not know", answer.status)
        });
        let response = self.resolve(response);
        let Some(content) = response["content"].as_object() else {
            assert!(
                answer.body.is_empty(),
                "{operation} has a body that the document does not know: {}",
                answer.text()
            );
            return;
        };
        let kind = answer.header("content-type").split(';').next().unwrap().to_owned();
        let schema = &content
            .get(&kind)
            .unwrap_or_else(|| panic!("{operation} answers {kind}, not {content:?}"))["schema"];
        if kind.ends_with("json") {
            self.check(operation, schema, &answer.json());
        }
    }

    fn resolve<'a>(&'a self, value: &'a Value) -> &'a Value {
        match value["$ref"].as_str() {
            Some(reference) => self.0.pointer(reference.trim_start_matches('#')).unwrap(),
            None => value,
        }
    }

    #[track_caller]
    fn check(&self, operation: &str, schema: &Value, body: &Value) {
        assert!(schema.is_object(), "{operation}: the document has no schema");
        // References are relative to the document.
        let schema = json!({"allOf": [schema], "components": self.0["components"]});
        let validator = jsonschema::options()
            .with_draft(jsonschema::Draft::Draft202012)
            .should_validate_formats(true)
            .build(&schema)
            .unwrap_or_else(|e| panic!("{operation}: {e}"));
        let errors: Vec<String> =
            validator.iter_errors(body).map(|e| format!("{}: {e}", e.instance_path())).collect();
        assert!(errors.is_empty(), "{operation}: {errors:#?}\nin {body:#}");
    }
}

#[test]
fn the_names_of_parameters_do_not_count() {
    assert_eq!(operation("get", "/a/{id}/b/{other}"), "GET /a/{}/b/{}");
    assert_eq!(operation("post", "/a"), "POST /a");
}
