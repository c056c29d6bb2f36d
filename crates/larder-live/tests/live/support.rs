//! A server and its clients.

use std::net::SocketAddr;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::{SinkExt, StreamExt};
use larder::{Cache, Event};
use larder_live::{Claims, Config, Live, TokenError};
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::client::IntoClientRequest;
use tokio_tungstenite::tungstenite::handshake::client::Request;
use tokio_tungstenite::tungstenite::{Error, Message};

/// Longer than anything that a test waits for takes on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// A process: a cache and its notifications.
pub(crate) struct Server {
    pub(crate) cache: Cache,
    pub(crate) live: Live,
    pub(crate) address: SocketAddr,
}

fn now() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs()
}

/// A token is the JSON of what it says; `ttl` is in seconds, and not positive for one that has run out.
fn verify(token: &str) -> Result<Claims, TokenError> {
    let said: Value = serde_json::from_str(token).map_err(|_| TokenError::Invalid)?;
    let ttl = said["ttl"].as_i64().unwrap_or(3600);
    if ttl <= 0 {
        return Err(TokenError::Expired);
    }
    let text = |name: &str| said[name].as_str().map(str::to_owned);
    let list = |name: &str| serde_json::from_value(said[name].clone()).ok();
    let until = now() + u64::try_from(ttl).unwrap();
    let mut claims =
        Claims::new(text("tenant").ok_or(TokenError::Invalid)?, text("user").unwrap_or_default(), until);
    claims.rooms = list("rooms");
    claims.publish = list("pub");
    claims.token_id = text("jti");
    claims.info = said.get("info").cloned();
    Ok(claims)
}

pub(crate) fn token(tenant: &str, user: &str) -> String {
    json!({"tenant": tenant, "user": user}).to_string()
}

impl Server {
    pub(crate) async fn start() -> Self {
        Self::with(|_| ()).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Config)) -> Self {
        Self::on(Cache::builder("live").build().await.unwrap(), change).await
    }

    pub(crate) async fn on(cache: Cache, change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let live = Live::builder(cache.clone(), verify)
            .config(config)
            .secret("what all nodes of a test know")
            .allow_origin(|origin| origin == "https://app.example")
            .build()
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let routes = live.streams().merge(live.requests());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        Self { cache, live, address }
    }

    /// Publishes `count` events and returns the place of the last.
    pub(crate) async fn publish(&self, tenant: &str, count: usize) -> larder::Position {
        let mut last = None;
        for number in 1..=count {
            last = Some(self.publish_to(tenant, "tenant", json!({"n": number})).await);
        }
        last.unwrap()
    }

    pub(crate) async fn publish_to(&self, tenant: &str, room: &str, data: Value) -> larder::Position {
        let event = Event::new("thing.changed").room(room).data(data);
        publish(&self.cache, tenant, event).await
    }

    pub(crate) fn request(&self, tenant: &str, query: &str) -> Request {
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        format!("ws://{}/ws/notifications/{tenant}{query}", self.address).into_client_request().unwrap()
    }

    /// Connects without a token.
    pub(crate) async fn connect(&self, tenant: &str) -> Client {
        self.dial(self.request(tenant, "")).await.unwrap()
    }

    pub(crate) async fn dial(&self, request: Request) -> Result<Client, Error> {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        let (socket, response) = tokio_tungstenite::client_async(request, stream).await?;
        let protocol = response.headers().get("sec-websocket-protocol");
        let protocol = protocol.map(|value| value.to_str().unwrap().to_owned());
        Ok(Client { socket, protocol })
    }

    /// Connects, signed in by the `Authorization` header, and takes `hello`.
    pub(crate) async fn join(&self, tenant: &str, user: &str, query: &str) -> (Client, Value) {
        self.join_with(tenant, &token(tenant, user), query).await
    }

    pub(crate) async fn join_with(&self, tenant: &str, token: &str, query: &str) -> (Client, Value) {
        let mut request = self.request(tenant, query);
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        let mut client = self.dial(request).await.unwrap();
        let hello = client.next().await;
        assert_eq!(hello["type"], "hello", "{hello}");
        (client, hello)
    }

    /// The same, after `synced`.
    pub(crate) async fn live(&self, tenant: &str, user: &str) -> Client {
        let (mut client, _) = self.join(tenant, user, "").await;
        client.expect("synced").await;
        client
    }
}

/// Publishes an event, and returns its place once it is in the log.
pub(crate) async fn publish(cache: &Cache, tenant: &str, event: Event) -> larder::Position {
    let mut publication = cache.tenant(tenant).publish(event);
    let logged = publication.logged();
    publication.await.unwrap();
    logged.await.unwrap()
}

/// A client.
pub(crate) struct Client {
    pub(crate) socket: WebSocketStream<TcpStream>,
    /// The sub-protocol that the server chose.
    pub(crate) protocol: Option<String>,
}

impl Client {
    pub(crate) async fn send(&mut self, message: &Value) {
        self.text(&message.to_string()).await;
    }

    pub(crate) async fn text(&mut self, text: &str) {
        self.socket.send(Message::text(text)).await.unwrap();
    }

    /// The next message that is no control frame.
    pub(crate) async fn message(&mut self) -> Result<Message, Error> {
        loop {
            let message = tokio::time::timeout(PATIENCE, self.socket.next()).await.expect("a message comes");
            match message {
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
                Some(message) => return message,
                None => return Err(Error::ConnectionClosed),
            }
        }
    }

    /// The next JSON message.
    pub(crate) async fn next(&mut self) -> Value {
        match self.message().await.unwrap() {
            Message::Text(text) => serde_json::from_str(&text).unwrap_or_else(|_| json!(text.as_str())),
            other => panic!("{other:?} instead of a text"),
        }
    }

    /// The next JSON message, which has this type.
    pub(crate) async fn expect(&mut self, kind: &str) -> Value {
        let message = self.next().await;
        assert_eq!(message["type"], kind, "{message}");
        message
    }

    /// The next event's number.
    pub(crate) async fn number(&mut self) -> u64 {
        self.expect("event").await["data"]["n"].as_u64().unwrap()
    }

    /// The code with which the server closes, and the error that it said before.
    pub(crate) async fn closed(&mut self) -> (u16, Option<String>) {
        let mut error = None;
        loop {
            match self.message().await {
                Ok(Message::Text(text)) => {
                    if let Ok(said) = serde_json::from_str::<Value>(&text)
                        && said["type"] == "error"
                    {
                        error = said["code"].as_str().map(str::to_owned);
                    }
                }
                Ok(Message::Close(frame)) => return (frame.unwrap().code.into(), error),
                other => panic!("{other:?} instead of a close"),
            }
        }
    }

    pub(crate) async fn sign_in(&mut self, token: &str) {
        self.send(&json!({"id": 1, "type": "auth", "token": token})).await;
    }
}

pub(crate) fn bearer_protocol(token: &str) -> String {
    format!("larder.v1, bearer.{}", URL_SAFE_NO_PAD.encode(token))
}

/// All that a connection brings until it ends.
pub(crate) async fn read_all(mut stream: TcpStream) -> String {
    use tokio::io::AsyncReadExt;
    let mut bytes = Vec::new();
    tokio::time::timeout(PATIENCE, stream.read_to_end(&mut bytes)).await.expect("it ends").unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Sends a handshake, and returns what comes as it is until the server ends it.
pub(crate) async fn raw(server: &Server, request: Request) -> String {
    use tokio::io::AsyncWriteExt;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let mut text = format!("GET {} HTTP/1.1\r\n", request.uri().path());
    for (name, value) in request.headers() {
        text.push_str(&format!("{name}: {}\r\n", value.to_str().unwrap()));
    }
    text.push_str("\r\n");
    stream.write_all(text.as_bytes()).await.unwrap();
    read_all(stream).await
}
