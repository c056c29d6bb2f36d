use larder_testkit::{Member, RedisSentinel, RedisServer, assert_eventually_blocking};
use std::net::TcpStream;
use std::time::{Duration, Instant};

const LONG: Duration = Duration::from_secs(30);

fn role(server: &RedisServer) -> String {
    server.command(&["ROLE"]).items()[0].text()
}

#[test]
fn a_primary_two_replicas_and_three_sentinels_know_each_other_within_seconds() {
    let started = Instant::now();
    let all = RedisSentinel::start();
    eprintln!("all knew each other after {:?}", started.elapsed());
    assert_eq!(all.primary(), Some(0));
    let roles: Vec<String> = all.servers().iter().map(role).collect();
    assert_eq!(roles, ["master", "slave", "slave"]);
    all.servers()[0].command(&["SET", "a", "1"]);
    assert_eventually_blocking!(
        all.servers()[2].command(&["GET", "a"]).text() == "1",
        LONG,
        "the replica has it"
    );
    let told = all.sentinels()[2].command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", all.name()]);
    assert_eq!(told.items()[1].text(), all.port(0).to_string());
    assert_eq!(all.url().matches("127.0.0.1:").count(), 3, "{}", all.url());
    let ports: Vec<u16> = all.servers().iter().chain(all.sentinels()).map(RedisServer::port).collect();
    drop(all);
    for port in ports {
        assert!(TcpStream::connect(("127.0.0.1", port)).is_err(), "nobody listens on port {port}");
    }
}

#[test]
fn another_server_becomes_the_primary_on_demand_and_when_the_primary_dies() {
    let all = RedisSentinel::start();
    all.servers()[0].command(&["SET", "a", "1"]);
    let second = all.failover();
    assert_ne!(second, 0);
    assert_eq!(
        (role(&all.servers()[second]).as_str(), role(&all.servers()[0]).as_str()),
        ("master", "slave")
    );
    assert_eq!(all.servers()[second].command(&["GET", "a"]).text(), "1");

    all.servers()[second].kill();
    let third = all.await_failover(second);
    assert_ne!(third, second);
    assert_eq!(all.servers()[third].command(&["SET", "a", "2"]).text(), "OK");
    // A server remembers its role; Sentinel corrects it.
    all.servers()[second].restart();
    all.await_settled();
    assert_eq!(role(&all.servers()[second]), "slave");
    assert_eq!(all.servers()[second].command(&["GET", "a"]).text(), "2");
}

#[test]
fn a_primary_that_stands_still_is_replaced_and_follows_afterwards() {
    let all = RedisSentinel::start();
    all.servers()[0].pause();
    let new = all.await_failover(0);
    all.servers()[0].resume();
    all.await_settled();
    assert_eq!(all.primary(), Some(new));
}

#[test]
#[cfg(target_os = "linux")]
fn an_isolated_primary_goes_on_with_its_clients_and_its_own_sentinel() {
    let all = RedisSentinel::start();
    all.isolate(&[Member::Server(0), Member::Sentinel(0)]);
    let new = all.await_failover(0);
    assert_eq!(role(&all.servers()[0]), "master", "there are two now");
    let told = all.sentinels()[0].command(&["SENTINEL", "GET-MASTER-ADDR-BY-NAME", all.name()]);
    assert_eq!(
        told.items()[1].text(),
        all.port(0).to_string(),
        "the sentinel of the smaller side knows nothing"
    );
    assert_eq!(all.servers()[0].command(&["SET", "a", "lost"]).text(), "OK");
    all.heal();
    all.await_settled();
    assert_eq!(all.primary(), Some(new));
    assert!(all.servers()[0].command(&["GET", "a"]).is_nil(), "what the old primary took is lost");
}

#[test]
fn servers_and_sentinels_have_passwords_of_their_own() {
    let all = RedisSentinel::builder()
        .server(RedisServer::builder().password("data"))
        .sentinel(RedisServer::builder().password("watch"))
        .start();
    assert_eq!(all.failover(), all.primary().unwrap());
    let url = all.url_by(":data@", &[1]);
    assert!(url.starts_with("redis+sentinel://:data@127.0.0.1:") && url.ends_with("/main/0"), "{url}");
}
