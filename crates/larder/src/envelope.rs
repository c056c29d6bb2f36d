//! The bytes of an entry in Redis.
//!
//! Big endian: `'L'`, flags, number of tags, then eight bytes each of version, epoch, soft and hard expiry (server
//! time, ms), load time (ms, 4 bytes), TTL (s, 3 bytes) and codec (1 byte); 16 bytes per tag; where the flag says so,
//! the length (2 bytes) and bytes of the key; the payload; eight bytes of the BLAKE3 hash of all that. The scripts `lease`
//! and `stamps` read the header, so its layout is fixed.

use crate::limits::{MAX_PAYLOAD_BYTES, MAX_TAGS};
use crate::scope::ScopeHash;
use bytes::Bytes;
use std::time::Duration;

const MAGIC: u8 = b'L';
const HEADER: usize = 43;
/// A payload of raw bytes has no form of its own that would show that some of them are missing.
const CHECKSUM: usize = 8;
const NEGATIVE: u8 = 1;
const COMPRESSED: u8 = 2;
const HAS_KEY: u8 = 4;
/// Shorter payloads are not worth compressing.
const COMPRESS_FROM: usize = 1024;
/// Encoded keys longer than this stand in Redis as a hash, and whole in the envelope.
pub(crate) const LONG_KEY: usize = 128;

/// What an envelope says besides its payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) ver: u64,
    pub(crate) epoch: u64,
    /// Server time in ms until which the value is fresh.
    pub(crate) soft_at: u64,
    /// Server time in ms until which it is kept.
    pub(crate) hard_at: u64,
    /// How long the load took.
    pub(crate) load: Duration,
    /// The fresh time it had when it was stored, in whole seconds.
    pub(crate) ttl: Duration,
    pub(crate) codec: u8,
    /// Scopes of its tags.
    pub(crate) tags: Vec<ScopeHash>,
}

/// An envelope that has been opened.
#[derive(Debug)]
pub(crate) struct Opened {
    pub(crate) header: Header,
    /// `None`: the origin has no such value.
    pub(crate) payload: Option<Bytes>,
}

/// Puts a payload (or absence) into an envelope.
pub(crate) fn seal(header: &Header, key: &str, payload: Option<&[u8]>) -> Bytes {
    let mut out =
        Vec::with_capacity(HEADER + 16 * header.tags.len() + payload.map_or(0, <[u8]>::len) + 16 + CHECKSUM);
    let packed = payload.and_then(compress);
    let long = key.len() > LONG_KEY;
    let flags = if payload.is_none() { NEGATIVE } else { 0 }
        | if packed.is_some() { COMPRESSED } else { 0 }
        | if long { HAS_KEY } else { 0 };
    let tags = u8::try_from(header.tags.len()).expect("tags are bounded before an entry is made");
    out.extend_from_slice(&[MAGIC, flags, tags]);
    for field in [header.ver, header.epoch, header.soft_at, header.hard_at] {
        out.extend_from_slice(&field.to_be_bytes());
    }
    let load = u32::try_from(header.load.as_millis()).unwrap_or(u32::MAX);
    out.extend_from_slice(&load.to_be_bytes());
    let ttl = u32::try_from(header.ttl.as_secs()).unwrap_or(u32::MAX).min(0x00ff_ffff);
    out.extend_from_slice(&ttl.to_be_bytes()[1..]);
    out.push(header.codec);
    for tag in &header.tags {
        out.extend_from_slice(tag.as_bytes());
    }
    if long {
        let len = u16::try_from(key.len()).expect("keys are at most 1 KiB");
        out.extend_from_slice(&len.to_be_bytes());
        out.extend_from_slice(key.as_bytes());
    }
    match (packed, payload) {
        (Some(packed), _) => out.extend_from_slice(&packed),
        (None, Some(payload)) => out.extend_from_slice(payload),
        (None, None) => {}
    }
    let sum = checksum(&out);
    out.extend_from_slice(&sum);
    out.into()
}

pub(crate) fn checksum(bytes: &[u8]) -> [u8; CHECKSUM] {
    let hash = blake3::hash(bytes);
    *hash.as_bytes().first_chunk().expect("a hash has 32 bytes")
}

/// Compressed, if that makes it at least a tenth smaller.
fn compress(payload: &[u8]) -> Option<Vec<u8>> {
    if payload.len() < COMPRESS_FROM {
        return None;
    }
    let packed = lz4_flex::block::compress_prepend_size(payload);
    (packed.len() <= payload.len() / 10 * 9).then_some(packed)
}

/// Opens an envelope that was found under `key`. `None`: corrupt, truncated, of another key or of a newer version.
pub(crate) fn open(bytes: &Bytes, key: &str) -> Option<Opened> {
    let end = bytes.len().checked_sub(CHECKSUM)?;
    if bytes[end..] != checksum(&bytes[..end]) {
        return None;
    }
    let bytes = bytes.slice(..end);
    let head = bytes.get(..HEADER)?;
    let (flags, tags) = (head[1], usize::from(head[2]));
    if head[0] != MAGIC || flags & !(NEGATIVE | COMPRESSED | HAS_KEY) != 0 || tags > MAX_TAGS {
        return None;
    }
    let long = |at: usize| u64::from_be_bytes(head[at..at + 8].try_into().expect("eight bytes"));
    let load = u32::from_be_bytes(head[35..39].try_into().expect("four bytes"));
    let ttl = u32::from_be_bytes([0, head[39], head[40], head[41]]);
    let mut at = HEADER + 16 * tags;
    let tags = bytes.get(HEADER..at)?.chunks_exact(16).map(a_tag).collect::<Option<Vec<_>>>()?;
    if flags & HAS_KEY != 0 {
        let len = usize::from(u16::from_be_bytes(bytes.get(at..at + 2)?.try_into().ok()?));
        if bytes.get(at + 2..at + 2 + len)? != key.as_bytes() {
            return None;
        }
        at += 2 + len;
    } else if key.len() > LONG_KEY {
        return None;
    }
    let header = Header {
        ver: long(3),
        epoch: long(11),
        soft_at: long(19),
        hard_at: long(27),
        load: Duration::from_millis(u64::from(load)),
        ttl: Duration::from_secs(u64::from(ttl)),
        codec: head[42],
        tags,
    };
    let payload = match flags & (NEGATIVE | COMPRESSED) {
        NEGATIVE => (at == bytes.len()).then_some(None)?,
        0 => Some(bytes.slice(at..)),
        COMPRESSED => Some(decompress(bytes.get(at..)?)?),
        _ => return None,
    };
    Some(Opened { header, payload })
}

fn a_tag(bytes: &[u8]) -> Option<ScopeHash> {
    ScopeHash::from_bytes(bytes).filter(|scope| !scope.is_soft())
}

fn decompress(packed: &[u8]) -> Option<Bytes> {
    let size = u32::from_le_bytes(packed.get(..4)?.try_into().ok()?);
    if usize::try_from(size).ok()? > MAX_PAYLOAD_BYTES {
        return None;
    }
    lz4_flex::block::decompress_size_prepended(packed).ok().map(Bytes::from)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(tags: usize) -> Header {
        Header {
            ver: 7,
            epoch: 9,
            soft_at: 1000,
            hard_at: 2000,
            load: Duration::from_millis(12),
            ttl: Duration::from_secs(300),
            codec: 1,
            tags: (0..tags).map(|i| ScopeHash::of_tag("t", &i.to_string())).collect(),
        }
    }

    proptest! {
        #[test]
        fn what_was_sealed_opens_unchanged(payload in proptest::option::of(proptest::collection::vec(0u8..4, 0..5000)), tags in 0usize..=32, key in "[a-z]{1,300}") {
            let sealed = seal(&header(tags), &key, payload.as_deref());
            let opened = open(&sealed, &key).expect("what we sealed");
            prop_assert_eq!(opened.header, header(tags));
            prop_assert_eq!(opened.payload.as_deref(), payload.as_deref());
        }

        #[test]
        fn bytes_from_anywhere_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = open(&Bytes::from(bytes), "key");
        }

        #[test]
        fn a_truncated_or_flipped_envelope_is_a_miss(payload in proptest::collection::vec(any::<u8>(), 0..3000), at in any::<usize>()) {
            let sealed = seal(&header(3), "key", Some(&payload)).to_vec();
            let at = at % sealed.len();
            prop_assert!(open(&Bytes::from(sealed[..at].to_vec()), "key").is_none());
            let mut flipped = sealed;
            flipped[at] ^= 0x55;
            prop_assert!(open(&Bytes::from(flipped), "key").is_none());
        }
    }

    #[test]
    fn an_envelope_of_another_long_key_is_a_miss() {
        let (one, other) = ("a".repeat(200), "b".repeat(200));
        let sealed = seal(&header(0), &one, Some(b"x"));
        assert!(open(&sealed, &one).is_some());
        assert!(open(&sealed, &other).is_none());
    }

    #[test]
    fn a_newer_version_is_a_miss() {
        let mut sealed = seal(&header(0), "k", Some(b"x")).to_vec();
        sealed.truncate(sealed.len() - CHECKSUM);
        sealed[1] |= 0x80;
        let sum = checksum(&sealed);
        sealed.extend_from_slice(&sum);
        assert!(open(&Bytes::from(sealed), "k").is_none());
    }

    #[test]
    fn a_size_that_lies_does_not_allocate() {
        let mut packed = vec![0xff; 4];
        packed.extend_from_slice(&[0; 20]);
        assert!(decompress(&packed).is_none());
    }
}
