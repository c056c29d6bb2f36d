//! What is printed at the start: one line each, the address last, when everything is ready.

use std::net::SocketAddr;

use larder::RedisState;

use super::cache;
use crate::client::SAMPLE_PASSWORD;
use crate::config::Config;
use crate::config::value::without_password;

/// Who may sign in to a server in development.
const SAMPLE_LOGINS: &str = "owner@acme.test, owner@globex.test, admin@larder.test, crawler@larder.test";

/// What is only known once everything runs.
pub(super) struct Facts<'a> {
    pub(super) address: SocketAddr,
    pub(super) cores: usize,
    pub(super) redis: &'a RedisState,
    /// Where the built-in seller-data API listens, if it runs.
    pub(super) seller: Option<SocketAddr>,
}

pub(super) fn greeting(config: &Config, facts: &Facts<'_>) -> String {
    let workers = config.workers.count(facts.cores);
    let url = reachable(facts.address);
    let mut lines = vec![
        format!("Mode: {}", config.env.name()),
        format!("Workers: {workers} (CPU cores: {})", facts.cores),
        format!("Database: {}", without_password(&config.database_url.0)),
        format!("Cache: {}", cache::tiers(config, facts.redis)),
    ];
    lines.extend(cache::coherence(config).map(|price| format!("Coherence: {price}")));
    lines.extend(facts.seller.map(|address| seller(config, address)));
    if config.has_sample_logins() {
        lines.push(format!("Sample logins: {SAMPLE_LOGINS} (password: {SAMPLE_PASSWORD})"));
    }
    lines.push(format!(
        "Links: {url}/ {url}/demo {url}/docs {url}/health {url}/api/cache/stats {url}/metrics"
    ));
    lines.push(format!("Listening on http://{}\n", facts.address));
    lines.join("\n")
}

fn seller(config: &Config, address: SocketAddr) -> String {
    let wanted = config.seller_api_port.0;
    let instead = if wanted == 0 || u32::from(address.port()) == wanted {
        String::new()
    } else {
        format!(" (port {wanted} was taken)")
    };
    format!("Seller data: built-in API at http://{address}{instead}")
}

/// An address that listens everywhere is reached by the machine's own.
fn reachable(address: SocketAddr) -> String {
    let mut reachable = address;
    if address.ip().is_unspecified() {
        reachable.set_ip(if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        });
    }
    format!("http://{reachable}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::of_test;

    fn lines(environment: &[(&str, &str)], address: &str, seller: Option<&str>) -> Vec<String> {
        let facts = Facts {
            address: address.parse().unwrap(),
            cores: 8,
            redis: &RedisState::Disabled,
            seller: seller.map(|address| address.parse().unwrap()),
        };
        greeting(&of_test(environment), &facts).lines().map(str::to_owned).collect()
    }

    #[test]
    fn the_address_comes_last_and_no_password_of_a_url_anywhere() {
        let database = [("DATABASE_URL", "postgres://me:hunter2@db/larder"), ("WORKERS", "4")];
        let lines = lines(&database, "127.0.0.1:8000", None);
        assert_eq!(lines[0], "Mode: development");
        assert_eq!(lines[1], "Workers: 4 (CPU cores: 8)");
        assert_eq!(lines[2], "Database: postgres://me:***@db/larder");
        assert_eq!(lines[3], "Cache: memory");
        assert!(lines[4].contains("owner@acme.test") && lines[4].contains("larder-demo"), "{lines:?}");
        assert_eq!(lines.last().unwrap(), "Listening on http://127.0.0.1:8000");
    }

    #[test]
    fn production_names_no_sample_logins() {
        let production = [("ENV", "production"), ("JWT_SECRET", "0123456789abcdef0123456789abcdef")];
        assert!(!lines(&production, "0.0.0.0:80", None).iter().any(|line| line.contains("acme")));
    }

    #[test]
    fn links_lead_to_this_machine_where_every_address_is_listened_on() {
        let lines = lines(&[], "0.0.0.0:8000", None);
        assert!(lines.iter().any(|line| line.contains("http://127.0.0.1:8000/docs")), "{lines:?}");
    }

    #[test]
    fn a_seller_port_that_was_taken_is_told() {
        let line = |address| {
            lines(&[], "127.0.0.1:8000", Some(address)).into_iter().find(|line| line.contains("Seller"))
        };
        assert_eq!(line("127.0.0.1:8001").unwrap(), "Seller data: built-in API at http://127.0.0.1:8001");
        assert_eq!(
            line("127.0.0.1:4711").unwrap(),
            "Seller data: built-in API at http://127.0.0.1:4711 (port 8001 was taken)"
        );
    }
}
