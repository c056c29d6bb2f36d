use larder::{Tenant, cached};

#[cached(tenant = tenant, key("users", id), ttl = "5m")]
fn user(tenant: &Tenant, id: u64) -> Result<String, larder::Error> {
    Ok(id.to_string())
}

fn main() {}
