//! `CACHE_WARM`: what is loaded before anybody asks.

use crate::client::Client;
use crate::server::{Dir, Server, launch, log};
use larder_testkit::assert_eventually;
use std::time::Duration;

const WARM: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_is_to_be_warm_is_a_hit_for_every_tenant_at_its_first_read_and_stays_so() {
    let dir = Dir::new();
    // Short enough to expire while the test looks on.
    std::fs::write(dir.path().join("larder.toml"), "[ttl]\ncampaigns = \"4s\"\n").unwrap();
    let server = Server::start_in(&dir, &[("CACHE_WARM", "campaigns,dashboard_kpis,charts")]).await;
    // Two endpoints for each of three tenants, and three charts for all.
    assert_eventually!(
        server.log().contains("done=9 total=9"),
        WARM,
        "it says how far it is: {}",
        server.log()
    );
    let anyone = Client::new(server.url());
    for tenant in ["acme", "globex"] {
        let owner = anyone.sign_in(&format!("owner@{tenant}.test")).await;
        assert_eq!(owner.get("/api/v1/dashboard/kpis").await.expect(200).cache(), "HIT", "{tenant}");
    }
    for chart in ["trend", "severity", "sources"] {
        assert_eq!(anyone.get(&format!("/api/charts/{chart}")).await.expect(200).cache(), "HIT", "{chart}");
    }
    // Nobody asks for it any more, and still it is loaded again: the key's age is looked at, which loads nothing.
    let admin = anyone.sign_in("admin@larder.test").await;
    let age = async || {
        let entry = admin.get("/api/cache/keys/campaigns:acme:page:1:limit:20").await;
        entry.expect(200).json()["age"].as_f64().unwrap()
    };
    assert_eventually!(age().await >= 2.0, WARM, "it ages");
    assert_eventually!(age().await < 1.0, WARM, "it is loaded again before it expires");
}

#[test]
fn an_endpoint_that_is_none_is_refused_with_the_nearest() {
    let dir = Dir::new();
    let program = launch(&dir, &[("CACHE_WARM", "campaings")]);
    assert_eq!(program.wait(WARM).unwrap().code(), Some(2));
    let said = log(&dir);
    assert!(said.contains("CACHE_WARM") && said.contains("did you mean campaigns?"), "{said}");
}
