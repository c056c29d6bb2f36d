use larder::{Policy, Tenant, cached};
use std::time::Duration;

#[cached(tenant = tenant, key("users", id), prefix = "users", ttl = "5m")]
async fn two_keys(tenant: &Tenant, id: u64) -> Result<String, larder::Error> {
    Ok(id.to_string())
}

#[cached(tenant = tenant, key("users", id), skip(id), ttl = "5m")]
async fn skip_without_prefix(tenant: &Tenant, id: u64) -> Result<String, larder::Error> {
    Ok(id.to_string())
}

#[cached(tenant = tenant, key("users"), ttl = "5m", policy = Policy::ttl(Duration::from_secs(1)))]
async fn two_policies(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

#[cached(tenant = tenant, key("users"), ttl = "5m", negative_ttl = "1s")]
async fn never_absent(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

#[cached(tenant = tenant, key("users"), ttl = "5m", ttl = "6m")]
async fn given_twice(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

fn main() {}
