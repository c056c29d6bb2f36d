//! What goes wrong.

use super::world::{Place, World};
use crate::network::Weather;
use crate::redis::Data;
use std::sync::Arc;
use std::sync::atomic::Ordering;

/// What goes on for a while, and when it ends.
#[derive(Default)]
pub(super) struct Troubles {
    down_until: Option<u64>,
    stalled_until: Option<u64>,
    full_until: Option<u64>,
    lonely_until: Option<u64>,
    snapshot: Option<Data>,
    /// To come back as, and when.
    doomed: Option<(u64, Data, bool)>,
}

impl World {
    /// One fault.
    fn strike(&self, troubles: &mut Troubles, places: &mut [Place]) {
        let now = self.trace.now_ms();
        let chance = &self.chance;
        let place = &mut places[chance.index(3.min(places.len()))];
        let id = place.node.host.id;
        let briefly = chance.pick(&[3, 40, 200, 700, 1100, 1600, 3000]);
        let fault = match chance.below(100) {
            0..10 => {
                self.network.disconnect(Some(id));
                "connections of a node broken"
            }
            10..13 => {
                self.network.disconnect(None);
                "all connections broken"
            }
            13..25 if place.until_ms == 0 => {
                let (outward, inward) = chance.pick(&[(true, true), (true, false), (false, true)]);
                self.network.cut(id, outward, inward);
                place.until_ms = now + briefly;
                "node cut off"
            }
            25..35 if place.until_ms == 0 => {
                place.node.host.pause();
                place.until_ms = now + briefly;
                "node paused"
            }
            35..41 if place.until_ms == 0 => {
                place.node.host.crash();
                place.callers.abort_all();
                place.until_ms = now + briefly;
                "node crashed"
            }
            41..50 if troubles.down_until.is_none() => {
                self.network.set_down(true);
                self.down_since_ms.store(now, Ordering::SeqCst);
                troubles.down_until = Some(now + briefly);
                "server away"
            }
            50..57 if troubles.stalled_until.is_none() => {
                self.network.set_stalled(true);
                troubles.stalled_until = Some(now + briefly);
                "server stalled"
            }
            57..62 => {
                troubles.snapshot = Some(self.network.with_server(|server| server.data.clone()));
                return;
            }
            62..67 => match troubles.snapshot.clone() {
                Some(old) => {
                    self.network.restart(old);
                    "restart with old data"
                }
                None => return,
            },
            67..69 => {
                self.network.restart(Data::default());
                "restart empty"
            }
            69..72 => {
                let data = self.network.with_server(|server| server.data.clone());
                self.network.restart(data);
                "restart with all data"
            }
            72..78 if troubles.doomed.is_none() => {
                let data = self.network.with_server(|server| server.data.clone());
                troubles.doomed = Some((now + chance.below(800), data, chance.below(2) == 0));
                return;
            }
            78..83 => {
                self.evict(|name| name.ends_with(b":i"));
                "coherence state evicted"
            }
            83..88 => {
                self.evict(|name| !name.ends_with(b":i") && chance.below(2) == 0);
                "entries and leases evicted"
            }
            88..92 if troubles.full_until.is_none() => {
                self.network.with_server(|server| server.full = true);
                troubles.full_until = Some(now + briefly);
                "memory full"
            }
            92..94 if troubles.lonely_until.is_none() => {
                self.network.with_server(|server| server.lacks_replicas = true);
                troubles.lonely_until = Some(now + briefly);
                "too few replicas"
            }
            94..96 => {
                self.network.first_replica();
                "first replica came"
            }
            96..100 => {
                let ms = chance.pick(&[-5000, -300, -2, 2, 300, 5000]);
                self.network.with_server(|server| server.time.offset_us += ms * 1000);
                if u64::try_from(ms).is_ok_and(|ms| ms > self.lease_ms()) {
                    self.leapt_until_ms.store(now + self.lease_ms(), Ordering::SeqCst);
                }
                "server's clock stepped"
            }
            _ => return,
        };
        self.count("faults", fault);
        self.note(format_args!("FAULT {fault} (n{id}, {briefly} ms)"));
    }

    fn evict(&self, chosen: impl Fn(&[u8]) -> bool) {
        self.network.with_server(|server| {
            let now = server.now_ms();
            let names: Vec<Vec<u8>> =
                server.data.keys(now).filter(|name| chosen(name)).map(<[u8]>::to_vec).collect();
            for name in names {
                server.data.remove(&name, now);
            }
        });
    }

    /// Ends what has lasted long enough; `all`: everything.
    pub(super) async fn heal(self: &Arc<Self>, troubles: &mut Troubles, places: &mut [Place], all: bool) {
        let now = self.trace.now_ms();
        let over = |until: &mut Option<u64>| until.take_if(|until| all || now >= *until).is_some();
        if over(&mut troubles.down_until) {
            self.network.set_down(false);
            self.down_since_ms.store(u64::MAX, Ordering::SeqCst);
        }
        if over(&mut troubles.stalled_until) {
            self.network.set_stalled(false);
        }
        if over(&mut troubles.full_until) {
            self.network.with_server(|server| server.full = false);
        }
        if over(&mut troubles.lonely_until) {
            self.network.with_server(|server| server.lacks_replicas = false);
        }
        if let Some((_, data, promoted)) = troubles.doomed.take_if(|(at, ..)| all || now >= *at) {
            let fault = if promoted { "lagging replica promoted" } else { "restart without the last writes" };
            self.count("faults", fault);
            self.note(format_args!("FAULT {fault}"));
            if promoted { self.network.promote(data) } else { self.network.restart(data) }
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

    /// Whether it is the season of faults.
    fn is_rough(&self) -> bool {
        self.options.faults && !(self.trace.now_ms() / 4000).is_multiple_of(3)
    }

    /// Good weather and bad, in turns; and faults, now and then.
    pub(super) fn season(&self, troubles: &mut Troubles, places: &mut [Place]) {
        self.network.set_weather(if self.is_rough() { Weather::rough() } else { Weather::calm() });
        if self.is_rough() && self.chance.in_10_000(self.fault_rate) {
            self.strike(troubles, places);
        }
    }
}
