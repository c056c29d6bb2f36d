//! Messages of the coherence stream.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| larder::simulation::fuzz::message(bytes));
