//! What goes wrong on the way to a server.

use super::super::scene::Scene;
use super::Trouble;
use crate::chance::Chance;
use larder_testkit::{TcpProxy, proxy::Fault};
use std::time::Duration;

/// The network fails, lasts so, and is mended.
pub(super) fn break_network(what: Trouble, proxy: &TcpProxy, of: &str, chance: &Chance, scene: &Scene) {
    let ms = Duration::from_millis;
    let fault = match what {
        Trouble::Delays => Fault::Delay(ms(chance.pick(&[5, 30, 120, 250]))),
        Trouble::HalfOpen => Fault::Stall,
        Trouble::RepliesHeld => Fault::HoldReplies,
        Trouble::RequestsHeld => Fault::HoldRequests,
        Trouble::Drops => Fault::Drop,
        Trouble::RepliesCut => Fault::CutReplies { after: chance.pick(&[1, 20, 300, 5000]) },
        Trouble::Trickles => Fault::Trickle { bytes: chance.pick(&[1, 7, 100]), every: ms(2) },
        Trouble::RequestsTrickle => Fault::TrickleRequests { bytes: chance.pick(&[1, 7, 100]), every: ms(2) },
        Trouble::Reset => Fault::Reset,
        Trouble::Refused => Fault::Refuse,
        Trouble::Cut => {
            let _fault = scene.fault(what.as_str(), of);
            return proxy.cut();
        }
        other => unreachable!("{other:?} is not of a way"),
    };
    let _fault = scene.fault(what.as_str(), format_args!("{of} {fault:?}"));
    scene.runtime.block_on(proxy.set(fault));
    scene.last(chance.pick(&[50, 300, 900, 1500, 3000]));
    if fault == Fault::Drop {
        // Streams with a hole are of no use to anybody.
        proxy.cut();
    }
    scene.runtime.block_on(proxy.heal());
}

/// What is published does not reach nodes on these ways, and nothing else shows it.
pub(super) fn lose_messages<'a>(
    proxies: impl Iterator<Item = &'a TcpProxy> + Clone,
    of: &str,
    chance: &Chance,
    scene: &Scene,
) {
    let lasts = chance.pick(&[100, 400, 1500, 3000]);
    let _fault = scene.fault(Trouble::MessagesLost.as_str(), format_args!("{of} {lasts} ms"));
    proxies.clone().for_each(|proxy| scene.runtime.block_on(proxy.set(Fault::LosePushes)));
    scene.last(lasts);
    proxies.for_each(|proxy| scene.runtime.block_on(proxy.heal()));
}
