use larder::{Tenant, cached};

#[cached(tenant = tenant, key("users", id), ttl = "5m")]
async fn user(tenant: &Tenant, id: u64) -> String {
    id.to_string()
}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn nothing(tenant: &Tenant) {}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn borrowed(tenant: &Tenant) -> Result<&str, larder::Error> {
    Ok("")
}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn shared_already(tenant: &Tenant) -> Result<std::sync::Arc<String>, larder::Error> {
    Ok(Default::default())
}

fn main() {}
