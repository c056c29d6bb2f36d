//! What one server suffers.

use super::super::scene::Scene;
use super::Trouble;
use super::trouble::OF_A_WAY;
use super::way::{break_network, lose_messages};
use crate::chance::Chance;
use larder_testkit::{RedisServer, TcpProxy};
use std::time::{Duration, Instant};

/// How long a command that a server refuses is repeated: it does while a replica is a moment late.
const REFUSED: Duration = Duration::from_secs(3);

/// A server, and what stands around it.
pub(super) struct Victim<'a> {
    pub(super) server: &'a RedisServer,
    /// As the report calls it.
    pub(super) of: &'a str,
    /// While it is away nothing is there.
    pub(super) alone: bool,
    /// How long it is stopped, in milliseconds.
    pub(super) stops: &'a [u64],
    /// How long it is down before it is restarted, in milliseconds.
    pub(super) downs: &'a [u64],
}

impl Victim<'_> {
    /// What happens to a server among several, on the way to it, or on the ways to all.
    pub(super) fn strike<'w>(
        &self,
        what: Trouble,
        way: &TcpProxy,
        all: impl Iterator<Item = &'w TcpProxy> + Clone,
        chance: &Chance,
        scene: &Scene,
    ) {
        match what {
            Trouble::MessagesLost => lose_messages(all, "of all servers", chance, scene),
            what if OF_A_WAY.contains(&what) => break_network(what, way, self.of, chance, scene),
            what => self.suffer(what, chance, scene),
        }
    }

    /// One of [`OF_ONE`](super::trouble::OF_ONE).
    pub(super) fn suffer(&self, what: Trouble, chance: &Chance, scene: &Scene) {
        match what {
            Trouble::Stopped | Trouble::Empty | Trouble::Restarted | Trouble::OldSnapshot => {
                self.go_away(what, chance, scene);
            }
            _ => self.stay(what, chance, scene),
        }
    }

    /// It is not there for a moment.
    fn go_away(&self, what: Trouble, chance: &Chance, scene: &Scene) {
        let (server, of) = (self.server, self.of);
        match what {
            Trouble::Stopped => {
                let lasts = chance.pick(self.stops);
                let _fault = scene.fault(what.as_str(), format_args!("{of} {lasts} ms"));
                server.pause();
                self.away(lasts, scene, || server.resume());
            }
            Trouble::Empty => {
                let lasts = chance.pick(self.downs);
                let _fault = scene.fault(what.as_str(), format_args!("{of} after {lasts} ms"));
                server.kill();
                server.wipe();
                self.away(lasts, scene, || server.restart());
            }
            Trouble::Restarted => {
                let _fault = scene.fault(what.as_str(), of);
                server.restart_keeping_data();
            }
            _ => {
                let (age, lasts) = (chance.pick(&[300, 1500, 5000]), chance.pick(self.downs));
                let _fault = scene.fault(what.as_str(), format_args!("{of} {age} ms old, after {lasts} ms"));
                let old = server.snapshot();
                scene.last(age);
                server.kill();
                self.away(lasts, scene, || server.restore_snapshot(&old));
            }
        }
    }

    fn away(&self, lasts: u64, scene: &Scene, back: impl FnOnce()) {
        if self.alone {
            scene.away(lasts, back);
        } else {
            scene.last(lasts);
            back();
        }
    }

    /// It goes on.
    fn stay(&self, what: Trouble, chance: &Chance, scene: &Scene) {
        let (server, of, ms) = (self.server, self.of, Duration::from_millis);
        match what {
            Trouble::ClientsKilled => {
                let _fault = scene.fault(what.as_str(), of);
                server.kill_clients("normal");
            }
            Trouble::SubscribersKilled => {
                let _fault = scene.fault(what.as_str(), of);
                server.kill_clients("pubsub");
            }
            Trouble::WritesPaused => {
                let lasts = chance.pick(&[100, 600, 1500, 2500]);
                let _fault = scene.fault(what.as_str(), format_args!("{of} {lasts} ms"));
                server.pause_writes(ms(lasts));
                scene.last(lasts);
                server.unpause_clients();
            }
            Trouble::ClientsPaused => {
                let lasts = chance.pick(&[100, 600, 1500, 2500]);
                let _fault = scene.fault(what.as_str(), format_args!("{of} {lasts} ms"));
                // Nobody can end it: it ends by itself.
                server.pause_clients(ms(lasts));
                std::thread::sleep(ms(lasts));
            }
            Trouble::MemoryFull => {
                let _fault = scene.fault(what.as_str(), of);
                server.fill_up(chance.pick(&[0, 10_000, 200_000]));
                scene.last(chance.pick(&[300, 1000, 2000]));
                server.limit_memory(0, "noeviction");
            }
            Trouble::Evicted => {
                let _fault = scene.fault(what.as_str(), of);
                let used: u64 =
                    server.info("memory")["used_memory"].parse().expect("used_memory is a number");
                let room = used.saturating_sub(chance.pick(&[1000, 30_000, 300_000]));
                server.limit_memory(room, "allkeys-random");
                scene.last(chance.pick(&[100, 500, 1500]));
                server.limit_memory(0, "noeviction");
            }
            Trouble::StateEvicted => {
                let _fault = scene.fault(what.as_str(), of);
                // Just after a flush there may be none, until a node comes.
                let states = || server.command(&["KEYS", "ld1:soak:*:i"]);
                until(scene, "no coherence state could be evicted", || {
                    states().items().iter().filter(|key| server.evict(key.text())).count() > 0
                });
            }
            Trouble::Flushed => {
                let _fault = scene.fault(what.as_str(), of);
                until(scene, "FLUSHALL is refused", || !server.command(&["FLUSHALL"]).is_error());
            }
            Trouble::SmallBuffers => {
                let _fault = scene.fault(what.as_str(), of);
                server.limit_subscribers(chance.pick(&[64, 1000]));
                scene.last(chance.pick(&[300, 1000, 2000]));
                server.limit_subscribers(0);
            }
            other => unreachable!("{other:?} is not of one server"),
        }
    }
}

/// Does something again and again until it works, or the scene ends.
fn until(scene: &Scene, otherwise: &str, works: impl Fn() -> bool) {
    let began = Instant::now();
    while !works() && !scene.wait(Duration::from_millis(50)) {
        assert!(began.elapsed() < REFUSED, "{otherwise}");
    }
}
