//! How often one client address may ask.

use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use governor::clock::{Clock, DefaultClock};
use governor::middleware::NoOpMiddleware;
use governor::state::keyed::DashMapStateStore;
use governor::{Quota, RateLimiter};

use crate::config::value::Rate;
use crate::limits::{RATE_KEYS, RATE_SHARED_KEYS};

/// Who shares one count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Key {
    /// One address; of IPv6 the /64 that one customer has to choose addresses from.
    One(IpAddr),
    /// One of a fixed number of shares, where there are too many addresses to count each.
    Shared(u64),
}

/// Counts requests by client address, in bounded memory.
pub(super) struct Limiter<C: Clock = DefaultClock> {
    limiter: RateLimiter<Key, DashMapStateStore<Key>, C, NoOpMiddleware<C::Instant>>,
    clock: C,
    hasher: RandomState,
    max_keys: usize,
    /// Requests since somebody last looked at the number of keys.
    since_swept: AtomicU32,
}

/// Looking at every request would lock every shard every time.
const SWEEP_EVERY: u32 = 1024;

impl Limiter {
    /// A limiter for `rate`, or none where that is off.
    pub(super) fn new(rate: Rate) -> Option<Self> {
        Self::with_clock(rate, DefaultClock::default(), RATE_KEYS)
    }
}

impl<C: Clock + Clone> Limiter<C> {
    fn with_clock(rate: Rate, clock: C, max_keys: usize) -> Option<Self> {
        let Rate::Per(count, period) = rate else { return None };
        let quota = Quota::with_period(period / count.get())?.allow_burst(count.saturating_add(count.get()));
        Some(Self {
            limiter: RateLimiter::dashmap_with_clock(quota, clock.clone()),
            clock,
            hasher: RandomState::new(),
            max_keys,
            since_swept: AtomicU32::new(0),
        })
    }

    /// Counts one request of `address`.
    ///
    /// # Errors
    /// How long it should wait, where that was one too many.
    pub(super) fn check(&self, address: IpAddr) -> Result<(), Duration> {
        if self.since_swept.fetch_add(1, Ordering::Relaxed).is_multiple_of(SWEEP_EVERY) {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(&self.key(address))
            .map_err(|not_until| not_until.wait_time_from(self.clock.now()))
    }

    fn key(&self, address: IpAddr) -> Key {
        let address = match address {
            IpAddr::V6(v6) => IpAddr::V6(Ipv6Addr::from_bits(v6.to_bits() & !u128::from(u64::MAX))),
            v4 @ IpAddr::V4(_) => v4,
        };
        if self.limiter.len() < self.max_keys {
            return Key::One(address);
        }
        Key::Shared(self.hasher.hash_one(address) % RATE_SHARED_KEYS)
    }

    #[cfg(test)]
    fn keys(&self) -> usize {
        self.limiter.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::value::Value;
    use governor::clock::FakeRelativeClock;

    fn limiter(rate: &str, max_keys: usize) -> (Limiter<FakeRelativeClock>, FakeRelativeClock) {
        let clock = FakeRelativeClock::default();
        (Limiter::with_clock(Rate::parse(rate).unwrap(), clock.clone(), max_keys).unwrap(), clock)
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn the_burst_is_twice_the_rate_and_then_the_rate_holds() {
        let (limiter, clock) = limiter("10/s", 100);
        let granted = |tries| (0..tries).filter(|_| limiter.check(ip("198.51.100.7")).is_ok()).count();
        assert_eq!(granted(50), 20);
        clock.advance(Duration::from_secs(1));
        assert_eq!(granted(50), 10);
    }

    #[test]
    fn who_is_refused_learns_how_long_to_wait() {
        let (limiter, clock) = limiter("1/m", 100);
        let address = ip("198.51.100.7");
        assert_eq!(limiter.check(address), Ok(()));
        assert_eq!(limiter.check(address), Ok(()));
        let wait = limiter.check(address).unwrap_err();
        assert_eq!(wait, Duration::from_secs(60));
        clock.advance(wait);
        assert_eq!(limiter.check(address), Ok(()));
    }

    #[test]
    fn addresses_are_counted_each_by_itself_and_an_ipv6_network_as_one() {
        let (limiter, _clock) = limiter("1/h", 100);
        for address in ["198.51.100.7", "198.51.100.8", "2001:db8:0:1::1"] {
            assert_eq!((limiter.check(ip(address)), limiter.check(ip(address))), (Ok(()), Ok(())));
            assert!(limiter.check(ip(address)).is_err());
        }
        assert!(limiter.check(ip("2001:db8:0:1:ffff::2")).is_err());
        assert!(limiter.check(ip("2001:db8:0:2::1")).is_ok());
    }

    #[test]
    fn the_number_of_counts_is_bounded_whoever_asks() {
        let (limiter, _clock) = limiter("1/h", 100);
        for number in 0..20_000_u32 {
            let _ = limiter.check(IpAddr::from(number.to_be_bytes()));
        }
        let bound = 100 + usize::try_from(RATE_SHARED_KEYS).unwrap();
        assert!(limiter.keys() <= bound, "{} counts", limiter.keys());
    }

    #[test]
    fn off_is_no_limiter() {
        assert!(Limiter::new(Rate::Off).is_none());
    }
}
