//! Random numbers: names that can't be guessed, and waits that don't coincide.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 128 bits as text.
pub(crate) fn secret() -> String {
    URL_SAFE_NO_PAD.encode(bytes::<16>())
}

/// So many bytes.
pub(crate) fn bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    getrandom::fill(&mut bytes).expect("the operating system has randomness once it has started");
    bytes
}

/// A number below `bound`, or 0 for 0. The bias is below one in a million for what it is used for.
pub(crate) fn below(bound: u64) -> u64 {
    u64::from_ne_bytes(bytes()).checked_rem(bound).unwrap_or(0)
}
