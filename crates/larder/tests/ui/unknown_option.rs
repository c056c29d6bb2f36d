use larder::{Tenant, cached};

#[cached(tenant = tenant, key("users"), ttk = "5m")]
async fn near(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

#[cached(tenant = tenant, key("users"), ttl = "5m", compression = "lz4")]
async fn far(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

fn main() {}
