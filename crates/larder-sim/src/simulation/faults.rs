//! What goes wrong.

use super::loads::{AFTERMATH, LOOKS};
use super::world::{Place, World};
use crate::network::{Network, Weather};
use crate::redis::Data;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What goes on for a while, and when it ends.
#[derive(Default)]
pub(super) struct Troubles {
    until: BTreeMap<(usize, Trouble), u64>,
    snapshots: BTreeMap<usize, Data>,
    /// Servers that come back with what they had, or whose place another takes, and when.
    doomed: BTreeMap<usize, (u64, Data, Fate)>,
    /// When each Sentinel learns of a failover.
    unheard: BTreeMap<usize, u64>,
    /// When each part of the data that is on its way has arrived.
    moving: BTreeMap<String, u64>,
    /// When it was looked around last.
    looked_ms: u64,
}

/// What is about to happen to a server, with the data that it had then.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// It restarts.
    Restarts,
    /// Its replica takes over, at its address.
    IsReplaced,
    /// Its replica takes over, at another address.
    FailsOver,
    /// Its replica takes over, and it takes its place back.
    PlaysPingPong,
}

/// What a server has for a while.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Trouble {
    Away,
    Stalled,
    Full,
    Lonely,
}

impl Troubles {
    /// Whether nothing goes on, and nothing is about to.
    fn are_over(&self) -> bool {
        self.until.is_empty() && self.doomed.is_empty() && self.unheard.is_empty() && self.moving.is_empty()
    }

    /// Begins something, unless it goes on already.
    fn begin(&mut self, server: &Network, trouble: Trouble, until_ms: u64) -> bool {
        let key = (server.number(), trouble);
        if self.until.contains_key(&key) {
            return false;
        }
        self.until.insert(key, until_ms);
        true
    }
}

/// A fault, and whom it struck.
type Struck = Option<(&'static str, String)>;

fn evict(server: &Network, chosen: impl Fn(&[u8]) -> bool) {
    server.with_server(|server| {
        let now = server.now_ms();
        let names: Vec<Vec<u8>> =
            server.data.keys(now).filter(|name| chosen(name)).map(<[u8]>::to_vec).collect();
        for name in names {
            server.data.remove(&name, now);
        }
    });
}

impl World {
    /// One fault.
    fn strike(&self, troubles: &mut Troubles, places: &mut [Place]) {
        let struck = if self.chance.below(100) < 41 {
            self.strike_a_node(places)
        } else {
            let server = self.network.at(self.chance.pick(&self.network.primaries()));
            match self.chance.below(60) {
                0..22 => self.trouble(&server, troubles),
                22..45 => self.replace(&server, troubles),
                _ => self.strike_data(&server, troubles),
            }
        };
        if let Some((fault, whom)) = struck {
            self.count("faults", fault);
            self.note(format_args!("FAULT {fault} ({whom})"));
        }
    }

    fn briefly(&self) -> u64 {
        self.chance.pick(&[3, 40, 200, 700, 1100, 1600, 3000])
    }

    fn strike_a_node(&self, places: &mut [Place]) -> Struck {
        let (chance, now) = (&self.chance, self.trace.now_ms());
        let place = &mut places[chance.index(3.min(places.len()))];
        let (id, briefly) = (place.node.host.id, self.briefly());
        let fault = match chance.below(41) {
            0..10 => {
                self.network.disconnect(Some(id));
                "connections of a node broken"
            }
            10..13 => {
                self.network.disconnect(None);
                "all connections broken"
            }
            _ if place.until_ms > 0 => return None,
            kind => {
                place.until_ms = now + briefly;
                match kind {
                    13..25 => {
                        let (outward, inward) = chance.pick(&[(true, true), (true, false), (false, true)]);
                        self.network.cut(id, outward, inward);
                        "node cut off"
                    }
                    25..35 => {
                        place.node.host.pause();
                        "node paused"
                    }
                    _ => {
                        place.node.host.crash();
                        place.callers.abort_all();
                        self.loads.crashed(id, now);
                        "node crashed"
                    }
                }
            }
        };
        Some((fault, format!("n{id}, {briefly} ms")))
    }

    /// What a server has for a while.
    fn trouble(&self, server: &Network, troubles: &mut Troubles) -> Struck {
        let (now, briefly) = (self.trace.now_ms(), self.briefly());
        let (trouble, fault) = match self.chance.below(22) {
            0..9 => (Trouble::Away, "server away"),
            9..16 => (Trouble::Stalled, "server stalled"),
            16..20 => (Trouble::Full, "memory full"),
            _ => (Trouble::Lonely, "too few replicas"),
        };
        if !troubles.begin(server, trouble, now + briefly) {
            return None;
        }
        self.turn(server, trouble, true);
        Some((fault, format!("s{}, {briefly} ms", server.number())))
    }

    fn turn(&self, server: &Network, trouble: Trouble, on: bool) {
        match trouble {
            Trouble::Away => {
                server.set_down(on);
                let since = if on { self.trace.now_ms() } else { u64::MAX };
                self.down_since_ms[server.number()].store(since, Ordering::SeqCst);
            }
            Trouble::Stalled => server.set_stalled(on),
            Trouble::Full => server.with_server(|server| server.full = on),
            Trouble::Lonely => server.with_server(|server| server.lacks_replicas = on),
        }
    }

    /// Another process in a server's place, now or soon.
    fn replace(&self, server: &Network, troubles: &mut Troubles) -> Struck {
        let data = || server.with_server(|server| server.data.clone());
        let number = server.number();
        let fault = match self.chance.below(23) {
            0..6 => {
                troubles.snapshots.insert(number, data());
                return None;
            }
            6..11 => {
                server.restart(troubles.snapshots.get(&number)?.clone());
                "restart with old data"
            }
            11..13 => {
                server.restart(Data::default());
                "restart empty"
            }
            13..16 => {
                server.restart(data());
                "restart with all data"
            }
            _ => {
                let at = self.trace.now_ms() + self.chance.below(800);
                let fate = match self.chance.below(5) {
                    4 => Fate::PlaysPingPong,
                    0 => Fate::Restarts,
                    1 => Fate::IsReplaced,
                    _ if self.network.can_fail_over() => Fate::FailsOver,
                    2 => Fate::Restarts,
                    _ => Fate::IsReplaced,
                };
                troubles.doomed.entry(number).or_insert_with(|| (at, data(), fate));
                return None;
            }
        };
        Some((fault, format!("s{number}")))
    }

    /// What happens to a server's data, identity and clock.
    fn strike_data(&self, server: &Network, troubles: &mut Troubles) -> Struck {
        let chance = &self.chance;
        let fault = match chance.below(21) {
            0..5 => {
                // Of one bucket, where there are several.
                let tags = self.network.tags();
                let tag =
                    if tags.is_empty() { "0".to_owned() } else { tags[chance.index(tags.len())].clone() };
                let state = format!("{{{tag}}}:i");
                evict(&self.network.at(self.network.owner(&tag)), |name| name.ends_with(state.as_bytes()));
                "coherence state evicted"
            }
            5..10 => {
                // What is forgotten too soon of ids and batches of events is taken again: that is known, and told.
                let ids = |name: &[u8]| name.windows(4).any(|part| part == b"}:k:" || part == b"}:b:");
                evict(server, |name| !name.ends_with(b":i") && !ids(name) && chance.below(2) == 0);
                "entries and leases evicted"
            }
            10..12 => {
                server.first_replica();
                "first replica came"
            }
            12..16 => {
                let ms = chance.pick(&[-5000, -300, -2, 2, 300, 5000]);
                server.with_server(|server| server.time.offset_us += ms * 1000);
                match u64::try_from(ms) {
                    // What waiting for leases allows for the difference of clocks is more than 10 ms.
                    Ok(ms) if ms > 10 => {
                        let until = self.trace.now_ms() + self.lease_ms();
                        self.leapt_until_ms.store(until, Ordering::SeqCst);
                    }
                    Ok(_) => {}
                    Err(_) => drop(self.back_ms.fetch_add(ms.unsigned_abs(), Ordering::SeqCst)),
                }
                "server's clock stepped"
            }
            _ => {
                let tags = self.network.tags();
                let tag = tags.get(chance.index(tags.len()))?;
                if chance.below(2) == 0 {
                    self.network.begin_to_move(tag, server.number());
                    troubles.moving.insert(tag.clone(), self.trace.now_ms() + self.briefly());
                    return Some(("slot on its way", format!("{tag} to s{}", server.number())));
                }
                let with_data = chance.below(4) > 0;
                self.network.move_slot(tag, server.number(), with_data);
                if with_data { "slot moved" } else { "slot moved, data lost" }
            }
        };
        Some((fault, format!("s{}", server.number())))
    }

    /// Ends what has lasted long enough; `all`: everything.
    pub(super) async fn heal(self: &Arc<Self>, troubles: &mut Troubles, places: &mut [Place], all: bool) {
        let now = self.trace.now_ms();
        let over: Vec<_> = troubles.until.extract_if(.., |_, until| all || now >= *until).collect();
        for ((server, trouble), _) in over {
            self.turn(&self.network.at(server), trouble, false);
        }
        let doomed: Vec<_> = troubles.doomed.extract_if(.., |_, (at, ..)| all || now >= *at).collect();
        for (server, (_, data, fate)) in doomed {
            self.meet(server, data, fate, troubles);
        }
        self.go_on_moving(troubles, all);
        for (sentinel, _) in troubles.unheard.extract_if(.., |_, at| all || now >= *at) {
            self.network.call_primary(sentinel, self.network.primaries()[0]);
        }
        for place in places.iter_mut().filter(|place| place.until_ms > 0 && (all || now >= place.until_ms)) {
            place.until_ms = 0;
            let host = &place.node.host;
            if host.is_dead() {
                *place = self.node().await;
            } else if host.is_paused() {
                host.resume();
            } else {
                if self.chance.below(2) == 0 {
                    self.network.disconnect(Some(host.id));
                }
                self.network.join(host.id);
            }
        }
    }

    /// What was about to happen to a server happens.
    fn meet(&self, number: usize, data: Data, fate: Fate, troubles: &mut Troubles) {
        let (server, now) = (self.network.at(number), self.trace.now_ms());
        if !self.network.primaries().contains(&number) {
            return;
        }
        let fault = match fate {
            Fate::Restarts => "restart without the last writes",
            Fate::IsReplaced => "lagging replica promoted",
            Fate::FailsOver => "failover to another address",
            Fate::PlaysPingPong => "replica promoted and demoted again",
        };
        self.count("faults", fault);
        self.note(format_args!("FAULT {fault} (s{number})"));
        if fate != Fate::Restarts {
            self.demoted_ms.store(now.max(1), Ordering::SeqCst);
        }
        match fate {
            Fate::Restarts => server.restart(data),
            Fate::IsReplaced => server.promote(data),
            Fate::PlaysPingPong => {
                self.regressed_ms.store(now.max(1), Ordering::SeqCst);
                server.ping_pong(data);
            }
            Fate::FailsOver => {
                server.fail_over(data);
                if self.chance.below(2) == 0 && troubles.begin(&server, Trouble::Away, now + self.briefly()) {
                    self.turn(&server, Trouble::Away, true);
                }
                // Each learns of it at another time: most of them decide.
                for sentinel in self.network.sentinels() {
                    troubles.unheard.insert(sentinel, now + self.chance.pick(&[0, 3, 60, 400, 2000]));
                }
            }
        }
    }

    /// Keys of parts that are on their way arrive, and in the end the parts.
    fn go_on_moving(&self, troubles: &mut Troubles, all: bool) {
        let now = self.trace.now_ms();
        for tag in self.network.moving() {
            if all || troubles.moving.get(&tag).is_none_or(|until| now >= *until) {
                self.network.end_move(&tag);
                self.note(format_args!("{tag} has moved"));
            } else if self.chance.below(6) == 0 {
                self.network.move_keys(&tag, |_| self.chance.below(3) == 0);
            }
        }
    }

    /// Whether it is the season of faults.
    fn is_rough(&self) -> bool {
        self.options.faults && !(self.trace.now_ms() / 4000).is_multiple_of(3)
    }

    /// Whether something is amiss that explains loads beside each other, and calls that fail.
    pub(super) fn look_around(&self, troubles: &mut Troubles, places: &[Place]) {
        let now = self.trace.now_ms();
        if troubles.looked_ms == now {
            return;
        }
        troubles.looked_ms = now;
        if self.is_rough() || !troubles.are_over() || places.iter().any(|place| place.until_ms > 0) {
            self.loads.disturbed(now + AFTERMATH);
        } else if places.iter().any(|place| !place.node.inside().good) {
            self.loads.disturbed(now + LOOKS);
        }
    }

    /// Good weather and bad, in turns; and faults, now and then.
    pub(super) fn season(&self, troubles: &mut Troubles, places: &mut [Place]) {
        self.network.set_weather(if self.is_rough() { Weather::rough() } else { Weather::calm() });
        if self.is_rough() && self.chance.in_10_000(self.fault_rate) {
            self.strike(troubles, places);
        }
    }
}
