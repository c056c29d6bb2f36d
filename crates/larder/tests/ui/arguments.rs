use larder::{Tenant, cached};
use std::fmt::Display;

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn mutable(tenant: &Tenant, seen: &mut u64) -> Result<u64, larder::Error> {
    Ok(*seen)
}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn unnamed_type(tenant: &Tenant, id: impl Display) -> Result<String, larder::Error> {
    Ok(id.to_string())
}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn unsized_type(tenant: &Tenant, id: &dyn Display) -> Result<String, larder::Error> {
    Ok(id.to_string())
}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn borrowed_inside(tenant: &Tenant, name: Option<&str>) -> Result<String, larder::Error> {
    Ok(name.unwrap_or_default().to_owned())
}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn taken_apart(tenant: &Tenant, (a, b): (u64, u64)) -> Result<u64, larder::Error> {
    Ok(a + b)
}

fn main() {}
