use larder_testkit::{Answer, Gate, StubHttp, assert_eventually};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// One request on a connection of its own, and the whole answer.
async fn ask(stub: &StubHttp, method: &str, target: &str, body: &str) -> String {
    let mut stream = TcpStream::connect(stub.url().trim_start_matches("http://")).await.unwrap();
    let length = body.len();
    let head = format!(
        "{method} {target} HTTP/1.1\r\nhost: stub\r\nconnection: close\r\ncontent-length: {length}\r\n\r\n"
    );
    stream.write_all((head + body).as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    answer
}

#[tokio::test]
async fn a_script_is_followed_and_its_last_answer_repeats() {
    let stub = StubHttp::start().await;
    stub.on("/a", [Answer::status(500), Answer::json(serde_json::json!({"n": 1})).with_status(201)]);
    assert!(ask(&stub, "GET", "/a?x=1", "").await.starts_with("HTTP/1.1 500 "));
    for _ in 0..2 {
        let answer = ask(&stub, "POST", "/a", r#"{"asked":true}"#).await;
        assert!(answer.starts_with("HTTP/1.1 201 ") && answer.ends_with(r#"{"n":1}"#), "{answer}");
    }
    assert!(ask(&stub, "GET", "/b", "").await.starts_with("HTTP/1.1 404 "));
    stub.otherwise(Answer::raw("text/html", "<p>"));
    assert!(ask(&stub, "GET", "/b", "").await.contains("text/html"));
    assert_eq!((stub.calls("/a"), stub.calls("/b"), stub.calls("/c")), (3, 2, 0));
    let requests = stub.requests();
    assert_eq!((requests[0].method.as_str(), requests[0].query.as_str()), ("GET", "x=1"));
    assert_eq!(requests[1].json()["asked"], true);
    assert_eq!(requests[1].headers["host"], "stub");
}

#[tokio::test]
async fn an_answer_behind_a_gate_waits_for_the_test() {
    let (stub, gate) = (StubHttp::start().await, Gate::new());
    stub.on("/v1/chat/completions", [Answer::chat("hi \"you\"").behind(&gate)]);
    let answers = tokio::join!(
        ask(&stub, "POST", "/v1/chat/completions", "{}"),
        ask(&stub, "POST", "/v1/chat/completions", "{}"),
        async {
            stub.called("/v1/chat/completions", 2).await;
            gate.open();
        }
    );
    assert!(answers.0.contains(r#""content":"hi \"you\"""#), "{}", answers.0);
    assert!(answers.1.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_late_answer_is_late() {
    let stub = StubHttp::start().await;
    stub.on("/slow", [Answer::status(200).after(Duration::from_millis(50))]);
    let started = std::time::Instant::now();
    ask(&stub, "GET", "/slow", "").await;
    assert!(started.elapsed() >= Duration::from_millis(50));
}

#[tokio::test]
#[should_panic(expected = "the sky falls within 1 s")]
async fn what_does_not_happen_in_time_is_named() {
    assert_eventually!(false, Duration::from_millis(20), "the sky falls within {} s", 1);
}
