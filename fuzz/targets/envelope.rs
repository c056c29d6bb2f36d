//! Bytes under our keys in Redis.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder::simulation::fuzz::envelope(bytes));
