//! How often somebody may try a password.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// Tries in a row.
const BURST: u32 = 10;
/// One more try after this long: ten a minute.
const REFILL: Duration = Duration::from_secs(6);
/// Pairs of address and e-mail that are remembered, some 1.5 MB. A try costs a password hash, so that pushing a pair out
/// takes longer than its refill.
const REMEMBERED: usize = 10_000;

/// Ten tries a minute for each pair of client address and e-mail.
#[derive(Debug, Default)]
pub struct Throttle {
    /// When a pair would have all its tries back (the generic cell rate algorithm).
    full_at: Mutex<HashMap<(IpAddr, String), Instant>>,
}

impl Throttle {
    /// Takes one try, or says how long to wait for it.
    ///
    /// # Errors
    /// The time to wait.
    pub fn take(&self, address: IpAddr, email: &str, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock();
        let key = (address, email.to_lowercase());
        if full_at.len() >= REMEMBERED && !full_at.contains_key(&key) {
            make_room(&mut full_at, now);
        }
        let entry = full_at.entry(key).or_insert(now);
        let next = (*entry).max(now) + REFILL;
        let allowed_from = next.checked_sub(REFILL * BURST).unwrap_or(now);
        if allowed_from > now {
            return Err(allowed_from - now);
        }
        *entry = next;
        Ok(())
    }
}

/// Forgets those that have all their tries back; where that is nobody, the one that is nearest to it.
fn make_room(full_at: &mut HashMap<(IpAddr, String), Instant>, now: Instant) {
    full_at.retain(|_, at| *at > now);
    if full_at.len() < REMEMBERED {
        return;
    }
    let nearest = full_at.iter().min_by_key(|(_, at)| **at).map(|(key, _)| key.clone());
    if let Some(key) = nearest {
        full_at.remove(&key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    #[test]
    fn the_eleventh_try_of_a_minute_waits_and_others_do_not() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            assert_eq!(throttle.take(HERE, "a@acme.test", now), Ok(()));
        }
        assert_eq!(
            throttle.take(HERE, "A@acme.test", now),
            Err(Duration::from_secs(6)),
            "case does not matter"
        );
        assert_eq!(throttle.take(HERE, "b@acme.test", now), Ok(()));
        assert_eq!(throttle.take("10.0.0.1".parse().unwrap(), "a@acme.test", now), Ok(()));
        assert_eq!(throttle.take(HERE, "a@acme.test", now + Duration::from_secs(6)), Ok(()));
        assert!(throttle.take(HERE, "a@acme.test", now + Duration::from_secs(6)).is_err());
    }

    #[test]
    fn memory_is_bounded_and_a_throttled_pair_is_not_the_first_to_be_forgotten() {
        let (throttle, now) = (Throttle::default(), Instant::now());
        for _ in 0..10 {
            throttle.take(HERE, "victim@acme.test", now).unwrap();
        }
        for i in 0..REMEMBERED + 100 {
            throttle.take(HERE, &format!("{i}@acme.test"), now).unwrap();
        }
        assert_eq!(throttle.full_at.lock().len(), REMEMBERED);
        assert!(throttle.take(HERE, "victim@acme.test", now).is_err());
    }
}
