//! What is measured.

use serde_json::Value;

use super::People;
use crate::failure::Failure;

/// One row of the report.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// What people call it.
    pub(super) name: String,
    /// Asked for at the same time, as a page does.
    pub(super) paths: Vec<String>,
    /// What makes it cold; everything where it is empty.
    pub(super) patterns: Vec<&'static str>,
}

impl Target {
    fn new(path: &str, pattern: &'static str) -> Self {
        Self { name: path.to_owned(), paths: vec![path.to_owned()], patterns: vec![pattern] }
    }
}

/// The five reads of the threat pages.
const THREATS: [(&str, &str); 5] = [
    ("/api/stats", "stats:*"),
    ("/api/threats", "threats:*"),
    ("/api/charts/trend", "charts:*"),
    ("/api/charts/severity", "charts:*"),
    ("/api/charts/sources", "charts:*"),
];

/// What a tenant sees most.
const TENANT: [(&str, &str); 9] = [
    ("/api/v1/campaigns", "campaigns:*"),
    ("/api/v1/dashboard/stats", "dashboard_stats:*"),
    ("/api/v1/dashboard/kpis", "dashboard_kpis:*"),
    ("/api/v1/dashboard/trends?days=30", "dashboard_trends:*"),
    ("/api/v1/products", "products:*"),
    ("/api/v1/posts", "posts:*"),
    ("/api/v1/jobs", "jobs:*"),
    ("/api/v1/jobs/stats", "jobs_stats:*"),
    ("/api/v1/conversations", "conversations:*"),
];

/// The heavy lists, the five reads of the threat pages, and those five as one page.
pub(super) async fn heavy(people: &People) -> Result<Vec<Target>, Failure> {
    let mut plan: Vec<Target> = THREATS.iter().map(|(path, pattern)| Target::new(path, pattern)).collect();
    plan.push(Target {
        name: "those five as one page".into(),
        paths: THREATS.iter().map(|(path, _)| (*path).to_owned()).collect(),
        patterns: vec!["stats:*", "threats:*", "charts:*"],
    });
    if people.signed_in() {
        plan.extend(TENANT.iter().map(|(path, pattern)| Target::new(path, pattern)));
        let campaigns: Value = people.reader.get("api/v1/campaigns", &[("limit", "1")]).await?;
        if let Some(id) = campaigns["items"][0]["id"].as_str() {
            plan.push(Target {
                name: "/api/v1/campaigns/{id}/leads".into(),
                paths: vec![format!("/api/v1/campaigns/{id}/leads")],
                patterns: vec!["leads:*"],
            });
        }
    }
    Ok(plan)
}

/// One endpoint of the user's choice.
pub(super) fn one(path: String) -> Vec<Target> {
    vec![Target { name: path.clone(), paths: vec![path], patterns: Vec::new() }]
}
