use larder::cached;

#[cached(key("users"), ttl = "5m")]
struct User;

fn main() {}
