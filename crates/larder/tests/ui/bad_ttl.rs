use larder::{Tenant, cached};

#[cached(tenant = tenant, key("users"), ttl = "5 minutes")]
async fn in_words(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

#[cached(tenant = tenant, key("users"), ttl = 300, stale_if_error = "0s")]
async fn without_unit(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

#[cached(tenant = tenant, key("users"), ttl = "31d")]
async fn for_ever(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

fn main() {}
