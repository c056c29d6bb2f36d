//! What a fuzzer calls: everything that reads bytes from outside. Each panics where a promise is broken, and only then.

use crate::envelope;
use crate::key::Key;
use bytes::Bytes;

/// Bytes under one of our keys: as they are, and with a checksum that fits.
pub fn envelope(bytes: &[u8]) {
    for key in ["campaigns:page:1", &"k".repeat(200)] {
        let _ = envelope::open(&Bytes::copy_from_slice(bytes), key);
        let whole = Bytes::from([bytes, &envelope::checksum(bytes)[..]].concat());
        let Some(opened) = envelope::open(&whole, key) else { continue };
        // What was understood says the same when it is written and read again.
        let again = envelope::seal(&opened.header, key, opened.payload.as_deref());
        let again = envelope::open(&again, key).expect("it was just made");
        assert_eq!(again.payload, opened.payload);
        assert_eq!((again.header.ver, again.header.epoch), (opened.header.ver, opened.header.epoch));
        assert_eq!(again.header.tags, opened.header.tags);
    }
}

/// Text as a key's encoding, and as one of its segments.
pub fn key(text: &str) {
    if let Ok(key) = Key::from_encoded(text) {
        assert_eq!(key.as_str(), text);
    }
    let key = Key::empty().with(text).with(1);
    if key.check().is_ok() {
        assert_eq!(Key::from_encoded(key.as_str()).expect("its own encoding"), key);
    }
}

/// A message on the coherence stream or a wake-up channel.
#[cfg(feature = "redis")]
pub fn message(bytes: &[u8]) {
    crate::store::redis::fuzz_message(bytes);
}

/// An answer of a script, as it comes over the wire.
#[cfg(feature = "redis")]
pub fn reply(bytes: &[u8]) {
    crate::store::redis::fuzz_reply(bytes);
}
