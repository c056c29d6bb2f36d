//! Text from an OpenAI-compatible server, asked once however many want the same.

mod generator;
mod model;
mod routes;

pub use generator::Generator;
pub use model::{Generate, Generated};
pub(crate) use routes::routes;
