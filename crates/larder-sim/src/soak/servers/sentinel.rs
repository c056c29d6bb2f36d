//! A primary, two replicas, three Sentinels.

use super::super::scene::Scene;
use super::one::Victim;
use super::trouble::{OF_A_WAY, OF_ONE, round};
use super::{ONLY, Servers, Trouble, guard};
use crate::chance::Chance;
use larder_testkit::{Member, RedisSentinel, RedisServer, TcpProxy};
use std::time::Duration;

/// A server that does not answer for so long is replaced. Longer than it takes a primary to notice that its replicas are
/// gone: what it takes in between nobody else would ever hear of.
const DOWN_AFTER: Duration = Duration::from_secs(3);
/// The Sentinel that the node in the first place asks, and no other.
const ALONE: usize = 0;
/// What only this set-up suffers.
const ITS_OWN: [Trouble; 8] = [
    Trouble::FailoverOnDemand,
    Trouble::KilledAndReplaced,
    Trouble::StoppedAndReplaced,
    Trouble::IsolatedAndReplaced,
    Trouble::AllStopped,
    Trouble::AllEmpty,
    Trouble::ReplicaKilled,
    Trouble::SentinelStopped,
];

pub(super) struct Sentinel {
    servers: RedisSentinel,
    guarded: bool,
}

impl Sentinel {
    pub(super) fn start(guarded: bool) -> Self {
        let server = guard(RedisServer::builder(), guarded);
        let servers = RedisSentinel::builder().server(server).down_after(DOWN_AFTER).start();
        Self { servers, guarded }
    }

    fn primary(&self) -> usize {
        self.servers.await_settled();
        self.servers.primary().expect("they have just agreed")
    }

    /// The primary and a Sentinel are parted from the others, who put another in its place; clients reach both sides, and
    /// one of them knows this Sentinel only.
    fn isolate(&self, primary: usize, chance: &Chance, scene: &Scene) {
        self.servers.isolate(&[Member::Server(primary), Member::Sentinel(ALONE)]);
        let _ = self.servers.await_failover(primary);
        if chance.below(2) == 0 {
            self.poison(primary, scene);
        }
        scene.last(chance.pick(&[0, 1000, 2500]));
        // It goes on as a primary, until a Sentinel tells it.
        self.servers.heal();
    }

    /// Somebody writes to the server that was replaced, which nobody may ever be served: every entry under the key of
    /// another, and nothing invalidated.
    fn poison(&self, replaced: usize, scene: &Scene) {
        let (proxy, old) = (self.servers.proxy(replaced), &self.servers.servers()[replaced]);
        // While it takes writes no node reaches it.
        scene.runtime.block_on(proxy.set(larder_testkit::Fault::Refuse));
        proxy.cut();
        old.need_replicas(0, 0);
        let names = old.command(&["KEYS", "ld1:soak:*:e:*"]);
        let names: Vec<&[u8]> = names.items().iter().filter_map(|name| name.bytes()).collect();
        let values = names.iter().map(|name| old.command(&[b"GET", *name])).collect::<Vec<_>>();
        for (name, value) in names.iter().zip(values.iter().cycle().skip(1)) {
            if let Some(value) = value.bytes() {
                old.command(&[b"SET", *name, value, b"PX", b"60000"]);
            }
        }
        let state = format!("ld1:soak:{{{ONLY}}}:i");
        for member in old.command(&["ZRANGE", &state, "0", "-1"]).items() {
            if let Some(scope) = member.bytes().filter(|member| member[0] != b'!') {
                old.command(&[b"ZREM", state.as_bytes(), scope]);
            }
        }
        if self.guarded {
            old.need_replicas(1, 1);
        }
        scene.runtime.block_on(proxy.heal());
    }

    fn proxies(&self) -> impl Iterator<Item = &TcpProxy> + Clone {
        (0..self.servers.servers().len()).map(|server| self.servers.proxy(server))
    }

    /// What a server alone suffers too.
    fn strike_primary(&self, what: Trouble, primary: usize, chance: &Chance, scene: &Scene) {
        let (server, of) = (&self.servers.servers()[primary], format!("of primary {primary}"));
        let victim = Victim { server, of: &of, alone: false, stops: &[50, 300, 600], downs: &[0, 300] };
        victim.strike(what, self.servers.proxy(primary), self.proxies(), chance, scene);
    }

    fn all(&self) -> impl Iterator<Item = &RedisServer> {
        self.servers.servers().iter().chain(self.servers.sentinels())
    }
}

impl Servers for Sentinel {
    fn url(&self, place: usize) -> String {
        if place == 0 { self.servers.url_by("", &[ALONE]) } else { self.servers.url() }
    }

    fn lease(&self) -> Duration {
        Duration::from_secs(1)
    }

    fn round(&self) -> Vec<Trouble> {
        round(&ITS_OWN, &[&OF_ONE, &OF_A_WAY])
    }

    fn may_replace(&self, what: Trouble) -> bool {
        use Trouble::{Empty, MessagesLost, OldSnapshot, ReplicaKilled, Restarted, SentinelStopped};
        match what {
            ReplicaKilled | SentinelStopped | MessagesLost => false,
            // Nobody takes its place, unless it takes longer to come back than it should.
            Empty | Restarted | OldSnapshot => true,
            what => !OF_ONE.contains(&what),
        }
    }

    fn strike(&self, what: Trouble, chance: &Chance, scene: &Scene) {
        let primary = self.primary();
        let (servers, of) = (self.servers.servers(), format!("{primary}"));
        match what {
            Trouble::FailoverOnDemand => {
                let _fault = scene.fault(what.as_str(), &of);
                let _ = self.servers.failover();
            }
            Trouble::KilledAndReplaced => {
                let _fault = scene.fault(what.as_str(), &of);
                servers[primary].kill();
                let _ = self.servers.await_failover(primary);
                servers[primary].restart();
            }
            Trouble::StoppedAndReplaced => {
                let _fault = scene.fault(what.as_str(), &of);
                servers[primary].pause();
                let _ = self.servers.await_failover(primary);
                scene.last(chance.pick(&[0, 1000]));
                // It goes on as a primary, until a Sentinel tells it.
                servers[primary].resume();
            }
            Trouble::IsolatedAndReplaced => {
                let _fault = scene.fault(what.as_str(), &of);
                self.isolate(primary, chance, scene);
            }
            Trouble::AllStopped => {
                let lasts = chance.pick(&[400, 1900, 2400, 4000]);
                let _fault = scene.fault(what.as_str(), format_args!("{lasts} ms"));
                self.all().for_each(RedisServer::pause);
                scene.away(lasts, || self.all().for_each(RedisServer::resume));
            }
            Trouble::AllEmpty => {
                let lasts = chance.pick(&[0, 1000, 2400]);
                let _fault = scene.fault(what.as_str(), format_args!("after {lasts} ms"));
                self.servers.sentinels().iter().for_each(RedisServer::pause);
                servers.iter().for_each(RedisServer::kill);
                scene.away(lasts, || servers.iter().for_each(RedisServer::restart));
                self.servers.sentinels().iter().for_each(RedisServer::resume);
            }
            Trouble::ReplicaKilled => {
                let replica = (primary + 1 + chance.index(2)) % 3;
                let _fault = scene.fault(what.as_str(), replica);
                servers[replica].kill();
                scene.last(chance.pick(&[100, 1500]));
                servers[replica].restart();
            }
            Trouble::SentinelStopped => {
                let sentinel = chance.index(3);
                let _fault = scene.fault(what.as_str(), sentinel);
                self.servers.sentinels()[sentinel].pause();
                scene.last(chance.pick(&[500, 2500]));
                self.servers.sentinels()[sentinel].resume();
            }
            what => self.strike_primary(what, primary, chance, scene),
        }
    }

    fn stores(&self) -> Vec<&RedisServer> {
        self.servers.servers().iter().collect()
    }

    fn authority(&self, _chance: &Chance) -> Option<(usize, &'static str)> {
        Some((self.servers.primary()?, ONLY))
    }

    fn watchers(&self) -> &[RedisServer] {
        self.servers.sentinels()
    }

    fn ways(&self) -> Vec<&TcpProxy> {
        self.proxies().collect()
    }

    fn join(&self) {
        self.servers.heal();
    }

    fn guarded(&self) -> bool {
        self.guarded
    }
}
