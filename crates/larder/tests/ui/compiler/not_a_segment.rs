use larder::{Tenant, cached};

#[derive(Clone)]
struct Filter;

#[cached(tenant = tenant, prefix = "users", ttl = "5m")]
async fn user(tenant: &Tenant, filter: Filter) -> Result<String, larder::Error> {
    drop(filter);
    Ok(String::new())
}

fn main() {}
