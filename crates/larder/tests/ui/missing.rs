use larder::{Tenant, cached};

#[cached]
async fn everything(tenant: &Tenant) -> Result<String, larder::Error> {
    Ok(String::new())
}

#[cached(tenant = tenant, prefix = "users", skip(connection))]
async fn ttl_and_argument(tenant: &Tenant, connecton: u64) -> Result<String, larder::Error> {
    Ok(connecton.to_string())
}

fn main() {}
