//! The Redis in memory answers as a real one does: random commands, and random calls of the real scripts.

use larder_sim::chance::Chance;
use larder_sim::redis::{Data, Identity, Reply, Server, Time};
use larder_testkit::{RedisServer, Reply as Real};
use tokio::time::Instant;

/// Both, told the same.
struct Both {
    real: RedisServer,
    simulated: Server,
}

impl Both {
    fn start() -> Self {
        let identity = Identity { run_id: "a".repeat(40), replid: "b".repeat(40), replid2: "0".repeat(40) };
        let simulated = Server::start(identity, Data::default(), Time::since(Instant::now()), None);
        Self { real: RedisServer::start(), simulated }
    }

    /// Asks both; both answers, written the same way.
    fn ask(&self, words: &[Vec<u8>]) -> (String, String) {
        let real = of_real(&self.real.command(words));
        (real, of_simulated(&self.simulated.run(1, &words.to_vec()).0))
    }

    fn agree(&self, words: &[Vec<u8>], seed: u64) {
        let (mut real, mut simulated) = self.ask(words);
        if words[0] == b"HKEYS" {
            // Fields have no order.
            (real, simulated) = (sorted(&real), sorted(&simulated));
        }
        let shown: Vec<_> = words.iter().map(|word| String::from_utf8_lossy(word)).collect();
        assert_eq!(real, simulated, "seed {seed}: {shown:?}");
    }
}

fn of_real(reply: &Real) -> String {
    match reply {
        Real::Status(text) => format!("+{text}"),
        Real::Error(text) => error(text),
        Real::Int(number) => format!(":{number}"),
        Real::Bulk(bytes) => format!("${}", String::from_utf8_lossy(bytes)),
        Real::Nil => "nil".to_owned(),
        Real::Array(items) => list(items.iter().map(of_real).collect()),
    }
}

/// As a client of the older protocol sees it.
fn of_simulated(reply: &Reply) -> String {
    match reply {
        Reply::Status(text) => format!("+{text}"),
        Reply::Error(text) => error(text),
        Reply::Int(number) => format!(":{number}"),
        Reply::Bulk(bytes) => format!("${}", String::from_utf8_lossy(bytes)),
        Reply::Text(text) => format!("${text}"),
        Reply::Double(number) => format!("${number}"),
        Reply::Null => "nil".to_owned(),
        Reply::Array(items) | Reply::Push(items) => list(items.iter().map(of_simulated).collect()),
        Reply::Map(pairs) => {
            list(pairs.iter().flat_map(|(name, value)| [of_simulated(name), of_simulated(value)]).collect())
        }
    }
}

/// Code and first words: where in a script it happened is told in different ways.
fn error(text: &str) -> String {
    let words: Vec<&str> = text.split_whitespace().take(4).collect();
    format!("-{}", words.join(" "))
}

/// What Lua's `pairs` goes through has no order.
fn list(items: Vec<String>) -> String {
    let line = format!("[{}]", items.join(" "));
    if items.first().is_some_and(|first| first == "$WAIT") {
        format!("[$WAIT {}", sorted(&line))
    } else {
        line
    }
}

fn sorted(line: &str) -> String {
    let mut words: Vec<&str> = line.trim_matches(['[', ']']).split(' ').collect();
    words.sort_unstable();
    words.join(" ")
}

fn words(line: &str) -> Vec<Vec<u8>> {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn a_command(chance: &Chance) -> String {
    let key = format!("k{}", chance.below(4));
    let member = || format!("m{}", chance.below(5));
    let number = || i64::try_from(chance.below(12)).expect("it is small") - 4;
    let score = || chance.pick(&["-inf", "+inf", "(2", "0", "-3", "5", "1.5", "1700000000000001"]);
    let flag = chance.pick(&["", "NX ", "XX ", "GT ", "LT ", "CH ", "LT CH "]);
    match chance.below(32) {
        0 => format!("GET {key}"),
        1 => format!("SET {key} value{}", number()),
        2 => format!("SET {key} v PX 100000 {}", chance.pick(&["NX", "XX"])),
        3 => format!("DEL {key} k{}", chance.below(4)),
        4 => format!("EXISTS {key} {key} k0"),
        5 => format!("GETRANGE {key} {} {}", number(), number()),
        6 => "MGET k0 k1 k2 k3".to_owned(),
        7 => format!("HSET {key} field{} {}", chance.below(3), number()),
        8 => format!("HGET {key} field1"),
        9 => format!("HMGET {key} field0 field1 field2"),
        10 => format!("HKEYS {key}"),
        11 => format!("HDEL {key} field{}", chance.below(3)),
        12..=15 => format!("ZADD {key} {flag}{} {} {} {}", number(), member(), number(), member()),
        16 => format!("ZSCORE {key} {}", member()),
        17 => format!("ZMSCORE {key} {} {} m9", member(), member()),
        18 => format!("ZREM {key} {} {}", member(), member()),
        19 => format!("ZCARD {key}"),
        20 => format!("ZRANGE {key} {} {}", number(), number()),
        21 => format!("ZRANGE {key} {} {} BYSCORE LIMIT {} {}", score(), score(), chance.below(3), number()),
        22 => format!("ZRANGE {key} {} {} BYSCORE", score(), score()),
        23 => format!("ZREMRANGEBYSCORE {key} {} {}", score(), score()),
        25 => format!("INCR {key}"),
        26 => format!("HLEN {key}"),
        27 | 28 => {
            let how = chance.pick(&["", "NOMKSTREAM ", "MAXLEN 3 ", "MAXLEN = 2 "]);
            format!("XADD {key} {how}{}-{} field{} v", chance.below(9), chance.below(2), chance.below(3))
        }
        29 => format!("XRANGE {key} {} {}", chance.pick(&["-", "2", "3-1"]), chance.pick(&["+", "4", "5-0"])),
        30 => format!("XREVRANGE {key} {} - COUNT {}", chance.pick(&["+", "6"]), number()),
        24 => format!("PEXPIRE {key} {}", chance.pick(&["100000", "0", "-1"])),
        _ => format!("RENAME {key} k{}", chance.below(4)),
    }
}

#[tokio::test]
async fn random_commands_get_the_same_answers() {
    let both = Both::start();
    for seed in 0..300 {
        let chance = Chance::new(seed);
        both.agree(&words("FLUSHALL"), seed);
        for _ in 0..100 {
            both.agree(&words(&a_command(&chance)), seed);
        }
    }
}

const SCRIPTS: [(&str, &str); 10] = [
    ("lease", include_str!("../../larder/src/store/redis/scripts/lease.lua")),
    ("fill", include_str!("../../larder/src/store/redis/scripts/fill.lua")),
    ("release", include_str!("../../larder/src/store/redis/scripts/release.lua")),
    ("inv", include_str!("../../larder/src/store/redis/scripts/inv.lua")),
    ("hb", include_str!("../../larder/src/store/redis/scripts/hb.lua")),
    ("recover", include_str!("../../larder/src/store/redis/scripts/recover.lua")),
    ("barrier", include_str!("../../larder/src/store/redis/scripts/barrier.lua")),
    ("stamps", include_str!("../../larder/src/store/redis/scripts/stamps.lua")),
    ("log_append", include_str!("../../larder/src/store/redis/scripts/log_append.lua")),
    ("log_read", include_str!("../../larder/src/store/redis/scripts/log_read.lua")),
];

/// What differs between servers is read from keys instead: the time, and who a server is.
fn with_told_time(script: &str) -> String {
    script
        .replace("redis.call('TIME')", "redis.call('HMGET', 'clock', 's', 'u')")
        .replace("redis.call('INFO', 'replication')", "redis.call('GET', 'info:replication')")
        .replace("redis.call('INFO', 'server')", "redis.call('GET', 'info:server')")
}

/// An envelope, as far as scripts look into it: version, epoch and freshness, and one tag.
fn envelope(ver: u64, epoch: u64, soft_ms: u64, tag: &[u8]) -> Vec<u8> {
    let mut bytes = b"L\0\x01".to_vec();
    for number in [ver, epoch, soft_ms, soft_ms] {
        bytes.extend(number.to_be_bytes());
    }
    bytes.extend([0; 8]);
    bytes.extend(tag);
    bytes.extend(b"payload");
    bytes
}

fn a_call(chance: &Chance, names: &[(String, String)], now: u64) -> Vec<Vec<u8>> {
    let (script, hash) = &names[chance.index(names.len())];
    let scope = || {
        format!("s{}", ["aaaaaaaaaaaaaaa", "bbbbbbbbbbbbbbb", "ccccccccccccccc"][chance.index(3)])
            .into_bytes()
    };
    let label =
        chance.pick(&["aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb", "aaaaaaaaaaaaaaaabbbbbbbbbbbbbbbb", "other"]);
    let node = chance.pick(&["n1", "n2", "n3"]);
    let token = chance.pick(&["t1", "t2"]);
    let epoch = chance.pick(&["7", "8"]);
    let head = now - chance.below(4_000_000);
    let text = |line: String| words(&line);
    let (keys, mut arguments): (&[&str], _) = match script.as_str() {
        "lease" => (
            &["I", "E", "L"],
            text(format!(
                "{label} {node} {token} 60000 {} {}",
                chance.pick(&[0, 9_000_000]),
                now + 1000 - chance.below(3) * 1000
            )),
        ),
        "fill" => {
            let mut arguments = text(format!("{label} {token} {epoch} {head} 60000"));
            arguments.push(envelope(
                head,
                epoch.parse().expect("a digit"),
                (now + 1_000_000) / 1000,
                &scope(),
            ));
            arguments.push(b"wakes:".to_vec());
            (&["I", "E", "L"], arguments)
        }
        "stamps" => (&["I", "E", "L", "E"], text(label.to_owned())),
        "release" => (&["L"], text(format!("{token} {} wakes:", chance.pick(&[0, 5000])))),
        "inv" => {
            let cap = chance.pick(&[8, 1000]);
            let ack = chance.below(2);
            (&["I", "E", "L"], text(format!("{label} changes wakes: 3600000000 {cap} {node} {ack} 1")))
        }
        "hb" => (&["I"], text(format!("{label} {node} 1000000 {}", chance.below(2)))),
        "recover" => {
            (&["I"], text(format!("{epoch} changes {} 2592000000000", u8::from(chance.below(10) == 0))))
        }
        "log_append" => {
            let (name, renew) = (chance.pick(&["e1", "e2"]), u8::from(chance.below(8) == 0));
            let (batch, id) = (chance.below(9), chance.below(4));
            let fixed =
                format!("{label} events acme {name} {renew} {batch} 1000 300000 900000 600000 4194304");
            (&["I", "Q", "M", "S", "B", "K"], text(format!("{fixed} a{id} 0 {{1}} one 1 {{2}}")))
        }
        "log_read" => {
            let (name, of) = (chance.pick(&["e1", "e2"]), chance.pick(&["e1", "e2"]));
            let after = format!("{of} {} {} {}", chance.below(4), chance.below(4), chance.below(9));
            (&["I", "M", "S", "Q"], text(format!("{label} {name} 900000 {after} events acme")))
        }
        _ => (&["I"], text(format!("{label} {node} {head} {} {epoch} changes n1", chance.below(2)))),
    };
    if !["hb", "recover", "barrier", "log_append", "log_read"].contains(&script.as_str()) {
        arguments.extend([scope(), scope(), scope()]);
    }
    let mut call = words(&format!("EVALSHA {hash} {}", keys.len()));
    call.extend(keys.iter().map(|key| key.as_bytes().to_vec()));
    call.extend(arguments);
    call
}

#[tokio::test]
async fn random_calls_of_the_scripts_get_the_same_answers_and_leave_the_same() {
    let both = Both::start();
    let mut names = Vec::new();
    for (name, text) in SCRIPTS {
        let load = ["SCRIPT".into(), "LOAD".into(), with_told_time(text).into_bytes()];
        let (real, simulated) = both.ask(&load);
        names.push((name.to_owned(), real, simulated));
    }
    let mut answers = std::collections::BTreeSet::new();
    for seed in 0..200 {
        let chance = Chance::new(seed);
        both.agree(&words("FLUSHALL"), seed);
        both.agree(&words(&format!("SET info:server run_id:{}", "a".repeat(40))), seed);
        let (replid, none) = ("b".repeat(40), "0".repeat(40));
        both.agree(
            &words(&format!("SET info:replication master_replid:{replid},master_replid2:{none}")),
            seed,
        );
        let mut now: u64 = 1_700_000_000_000_000;
        for _ in 0..60 {
            now += chance.pick(&[0, 1, 1000, 400_000, 1_500_000]);
            both.agree(&words(&format!("HSET clock s {} u {}", now / 1_000_000, now % 1_000_000)), seed);
            let simulated: Vec<_> =
                names.iter().map(|(name, _, hash)| (name.clone(), hash.clone())).collect();
            let mut call = a_call(&chance, &simulated, now);
            let hash = String::from_utf8(call[1].clone()).unwrap();
            let real = names.iter().find(|(_, _, other)| *other == hash).unwrap().1.clone();
            call[1] = hash.trim_start_matches('$').into();
            let answer = of_simulated(&both.simulated.run(1, &call).0);
            let mut told = call.clone();
            told[1] = real.trim_start_matches('$').into();
            let script = &names.iter().find(|(_, _, other)| *other == hash).unwrap().0;
            assert_eq!(of_real(&both.real.command(&told)), answer, "seed {seed}: {script}");
            answers.insert(format!(
                "{script} {}",
                answer.trim_start_matches(['[', '{']).split([' ', ']']).next().unwrap()
            ));
            for look in [
                "ZRANGE I 0 -1",
                "GET E",
                "HMGET L t n e x v f",
                "HKEYS L",
                "GET Q",
                "HMGET M e o c",
                "XRANGE S - +",
                "GET B",
            ] {
                both.agree(&words(look), seed);
            }
        }
    }
    // Enough of what they can say was said.
    let wanted = [
        "lease $LEASE",
        "lease $WAIT",
        "lease $RETRY",
        "lease $LATE",
        "lease $RECOVER",
        "fill $OK",
        "fill $LOST",
    ];
    let more = [
        "fill $INVALIDATED",
        "inv $OK",
        "hb $OK",
        "recover $OK",
        "recover $BUMPED",
        "release :1",
        "release :0",
        "log_append $OK",
        "log_append $LATE",
        "log_append $RECOVER",
        "log_read $OK",
        "log_read $RECOVER",
    ];
    let missing: Vec<_> = wanted.iter().chain(&more).filter(|one| !answers.contains(**one)).collect();
    assert!(missing.is_empty(), "{missing:?} of {answers:?}");
}
