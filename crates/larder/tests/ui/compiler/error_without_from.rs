use larder::{Tenant, cached};

#[derive(Debug)]
struct DbError;

impl std::fmt::Display for DbError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("database")
    }
}

impl std::error::Error for DbError {}

#[cached(tenant = tenant, key("users"), ttl = "5m")]
async fn user(tenant: &Tenant) -> Result<String, DbError> {
    Err(DbError)
}

fn main() {}
