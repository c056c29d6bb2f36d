//! Encodings of keys.
#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| larder::simulation::fuzz::key(text));
