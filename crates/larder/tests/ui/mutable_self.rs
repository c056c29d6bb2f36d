use larder::{Cache, cached};

#[derive(Clone)]
struct Repository {
    cache: Cache,
    name: String,
}

impl Repository {
    #[cached(cache = self.cache, key("name"), ttl = "5m")]
    async fn name(&mut self) -> Result<String, larder::Error> {
        Ok(self.name.clone())
    }

    #[cached(cache = self.cache, key("text"), ttl = "5m")]
    async fn text(&self) -> Result<String, larder::Error> {
        Ok(format!("{self}"))
    }
}

impl std::fmt::Display for Repository {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.name)
    }
}

fn main() {}
