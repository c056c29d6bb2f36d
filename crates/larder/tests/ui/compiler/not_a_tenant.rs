use larder::{Cache, Tenant, cached};

struct Customer;

#[cached(cache = cache, tenant = customer, key("users"), ttl = "5m")]
async fn no_name(cache: &Cache, customer: &Customer) -> Result<u64, larder::Error> {
    Ok(1)
}

#[cached(tenant = name, key("users"), ttl = "5m")]
async fn only_a_name(name: &str) -> Result<u64, larder::Error> {
    Ok(1)
}

#[cached(cache = tenant, key("users"), ttl = "5m")]
async fn no_cache(tenant: &Tenant) -> Result<u64, larder::Error> {
    Ok(1)
}

fn main() {}
