//! The echo endpoint for conformance suites: `scripts/conformance` runs one against it.

use tokio::net::TcpListener;

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:9001".to_owned());
    let listener = TcpListener::bind(&address).await?;
    eprintln!("echoing on ws://{}", listener.local_addr()?);
    axum::serve(listener, larder_live::echo()).await
}
