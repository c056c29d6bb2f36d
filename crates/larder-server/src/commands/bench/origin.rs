//! What the database was asked, as the server counts it: what a cache saves is measured there and nowhere else.

use reqwest::Method;
use serde_json::Value;

use super::People;

const COUNTER: &str = "larder_database_statements_total";

/// Statements that the server's database was asked to run since the server started. `None` where that can't be read: it
/// takes the role admin, or to be on the server's machine, and a larder server with a database.
pub(super) async fn statements(people: &People) -> Option<u64> {
    if let Some(operator) = &people.operator
        && let Ok(metrics) = operator.get::<Value>("api/v1/cache/metrics", &[]).await
        && let Some(count) = metrics["database_statements"].as_u64()
    {
        return Some(count);
    }
    let client = &people.reader;
    let response = client.send(client.request(Method::GET, client.url("metrics"))).await.ok()?;
    if !response.status().is_success() {
        return None;
    }
    scraped(&response.text().await.ok()?)
}

/// Statements between two readings. A server that started anew in between, or another one, counts for nothing.
pub(super) fn between(before: Option<u64>, after: Option<u64>) -> Option<u64> {
    after?.checked_sub(before?)
}

fn scraped(text: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(COUNTER))?;
    line.strip_prefix(' ')?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_counter_is_found_among_the_metrics() {
        let text = "# HELP larder_database_statements_total Statements\n# TYPE larder_database_statements_total counter\n\
                    larder_database_statements_total 42\nlarder_database_connections_max 60\n";
        assert_eq!(scraped(text), Some(42));
        assert_eq!(scraped("larder_database_statements_total_more 42\n"), None);
        assert_eq!(scraped("<html>larder</html>"), None);
    }

    #[test]
    fn what_can_not_be_read_is_not_guessed() {
        assert_eq!(between(Some(3), Some(5)), Some(2));
        assert_eq!(between(Some(5), Some(3)), None, "another server answered");
        assert_eq!(between(None, Some(3)), None);
    }
}
