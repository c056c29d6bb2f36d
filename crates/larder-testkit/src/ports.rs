//! Free loopback ports.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which systems take the port of an outgoing connection (Linux: 32768 and up). A client that keeps
/// connecting to a port of that range, whose server is down, ends up connected to itself and then holds the port.
const RANGE: std::ops::Range<u16> = 11_000..32_000;

/// A port of 127.0.0.1 that nobody listened on a moment ago.
///
/// Somebody may take it before our server does: callers start again with another one when their server says "address in use".
///
/// # Panics
/// Where none is free.
#[must_use]
pub fn free() -> u16 {
    // RandomState differs between threads and processes, which all search at once.
    let seed = RandomState::new().hash_one(std::process::id());
    let width = u64::from(RANGE.end - RANGE.start);
    for step in 0..width {
        let offset =
            u16::try_from(seed.wrapping_add(step) % width).expect("the width of the range is below 2^16");
        let port = RANGE.start + offset;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
    panic!("no free port of 127.0.0.1 in {RANGE:?}");
}
