//! The places of a node: how many connect, how fast, and from where.
//!
//! Who has signed in before takes a place of the node's, at the node's rate; who has not may have a tenth of them, at a rate of its own: whoever
//! has no token can keep nobody out who has one. An address may take a part of either.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use parking_lot::Mutex;

use crate::config::Config;
use crate::rate::{Bucket, Each};

/// The places.
pub(crate) struct Seats {
    bounds: Bounds,
    open: AtomicUsize,
    /// Of those who have signed in before they connect.
    connects: Mutex<Bucket>,
    /// The same of each address.
    of_addresses: Each<IpAddr>,
    /// Of those who have not.
    strange_connects: Mutex<Bucket>,
    strangers: Mutex<Strangers>,
}

#[derive(Clone, Copy)]
struct Bounds {
    node: usize,
    strangers: usize,
    strangers_of_address: usize,
}

/// Those who have not signed in yet.
#[derive(Default)]
struct Strangers {
    count: usize,
    /// As many as there are strangers, at most.
    of_addresses: HashMap<IpAddr, usize, ahash::RandomState>,
}

/// A connection's place on this node, free again when it is dropped.
pub(crate) struct Seat(Arc<Seats>);

/// One who has not signed in yet, until it is dropped.
pub(crate) struct Stranger {
    seats: Arc<Seats>,
    address: Option<IpAddr>,
}

impl std::fmt::Debug for Stranger {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stranger").field("address", &self.address).finish_non_exhaustive()
    }
}

/// Why there is no place.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoSeat {
    Draining,
    TooFast,
    Full,
}

impl Seats {
    pub(crate) fn new(config: &Config) -> Self {
        let now = Instant::now();
        let full = |rate: u32| Mutex::new(Bucket::full(rate, rate, now));
        let of_address = config.address_connects_per_second;
        Self {
            bounds: Bounds {
                node: config.node_connections,
                strangers: config.unsigned_connections,
                strangers_of_address: config.address_unsigned_connections,
            },
            open: AtomicUsize::new(0),
            connects: full(config.connects_per_second),
            of_addresses: Each::full(of_address, of_address, now),
            strange_connects: full(config.connects_per_second),
            strangers: Mutex::default(),
        }
    }

    /// A place for who has signed in, and comes from this address.
    pub(crate) fn one(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Seat, NoSeat> {
        let now = Instant::now();
        // The address before the node: what one takes too much of is not taken from the others.
        let address = address.map_or(Ok(()), |address| self.of_addresses.take(network(address), now));
        address.and_then(|()| self.connects.lock().take(now)).map_err(|_| NoSeat::TooFast)?;
        self.sit()
    }

    /// A place for who has not.
    pub(crate) fn strange(self: &Arc<Self>, address: Option<IpAddr>) -> Result<(Seat, Stranger), NoSeat> {
        let stranger = self.wait(address.map(network))?;
        self.strange_connects.lock().take(Instant::now()).map_err(|_| NoSeat::TooFast)?;
        Ok((self.sit()?, stranger))
    }

    fn sit(self: &Arc<Self>) -> Result<Seat, NoSeat> {
        if self.open.fetch_add(1, Ordering::Relaxed) >= self.bounds.node {
            self.open.fetch_sub(1, Ordering::Relaxed);
            return Err(NoSeat::Full);
        }
        Ok(Seat(Arc::clone(self)))
    }

    fn wait(self: &Arc<Self>, address: Option<IpAddr>) -> Result<Stranger, NoSeat> {
        let strangers = &mut *self.strangers.lock();
        if strangers.count >= self.bounds.strangers {
            return Err(NoSeat::Full);
        }
        if let Some(address) = address {
            let own = strangers.of_addresses.get(&address).copied().unwrap_or(0);
            if own >= self.bounds.strangers_of_address {
                return Err(NoSeat::TooFast);
            }
            strangers.of_addresses.insert(address, own + 1);
        }
        strangers.count += 1;
        Ok(Stranger { seats: Arc::clone(self), address })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let strangers = &mut *self.seats.strangers.lock();
        strangers.count -= 1;
        let Some(address) = self.address else { return };
        if let Some(own) = strangers.of_addresses.get_mut(&address) {
            *own -= 1;
            if *own == 0 {
                strangers.of_addresses.remove(&address);
            }
        }
    }
}

/// Of IPv6 the /64 that one customer has to choose addresses from.
fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seats(change: impl FnOnce(&mut Config)) -> Arc<Seats> {
        let mut config = Config::default();
        change(&mut config);
        Arc::new(Seats::new(&config))
    }

    fn at(text: &str) -> Option<IpAddr> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn who_has_not_signed_in_takes_no_connect_of_who_has() {
        let seats = seats(|config| config.connects_per_second = 3);
        while seats.strange(at("192.0.2.1")).is_ok() {}
        for _ in 0..3 {
            assert!(seats.one(at("192.0.2.1")).is_ok());
        }
        assert_eq!(seats.one(at("192.0.2.1")).err(), Some(NoSeat::TooFast));
    }

    #[test]
    fn an_address_takes_a_part_of_the_nodes_rate() {
        let seats = seats(|config| (config.connects_per_second, config.address_connects_per_second) = (5, 2));
        for _ in 0..2 {
            assert!(seats.one(at("2001:db8::1")).is_ok());
        }
        for _ in 0..100 {
            assert_eq!(seats.one(at("2001:db8::2")).err(), Some(NoSeat::TooFast), "the same network");
        }
        assert!(seats.one(at("2001:db8:1::1")).is_ok(), "and took nothing from others");
        assert!(seats.one(None).is_ok());
    }

    #[test]
    fn those_who_have_not_signed_in_have_their_own_bound_by_node_and_by_address() {
        let seats = seats(|config| {
            (config.unsigned_connections, config.address_unsigned_connections) = (3, 2);
        });
        let mut here = vec![seats.strange(at("192.0.2.1")), seats.strange(at("192.0.2.1"))];
        assert_eq!(seats.strange(at("192.0.2.1")).err(), Some(NoSeat::TooFast));
        here.push(seats.strange(at("192.0.2.2")));
        assert_eq!(seats.strange(at("192.0.2.3")).err(), Some(NoSeat::Full));
        // One signs in: it stays, and is a stranger no more.
        let (seat, stranger) = here.remove(0).unwrap();
        drop(stranger);
        assert!(seats.strange(at("192.0.2.1")).is_ok());
        assert_eq!(seats.open.load(Ordering::Relaxed), 3);
        drop((seat, here));
        assert_eq!(seats.open.load(Ordering::Relaxed), 0);
        assert!(seats.strangers.lock().of_addresses.is_empty());
    }
}
