use larder::{Cache, cached};

struct Repository {
    cache: Cache,
    name: String,
}

impl Repository {
    #[cached(cache = self.cache, key("name"), ttl = "5m")]
    async fn name(&self) -> Result<String, larder::Error> {
        Ok(self.name.clone())
    }
}

#[cached(cache = repository.cache, key("name"), ttl = "5m")]
async fn name(repository: &Repository) -> Result<String, larder::Error> {
    Ok(repository.name.clone())
}

fn main() {}
