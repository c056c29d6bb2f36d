/// The client for browsers: `larder-live.js`, one ES module without dependencies, to be handed out as `text/javascript`. What it
/// offers stands in `client/README.md`; npm has the same file as the package `larder-live`.
pub const CLIENT: &str = include_str!("../client/larder-live.js");
