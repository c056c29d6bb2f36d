use larder::{Tenant, cached};

struct User;

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn user(tenant: &Tenant) -> Result<User, larder::Error> {
    Ok(User)
}

fn main() {}
