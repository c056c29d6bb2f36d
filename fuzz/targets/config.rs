//! Configuration files, and the address of Redis.
#![no_main]

libfuzzer_sys::fuzz_target!(|texts: (&str, &str)| {
    larder_server::config::fuzz(texts.0, texts.1);
    let _ = larder::RedisConfig::new(texts.0).validate();
});
