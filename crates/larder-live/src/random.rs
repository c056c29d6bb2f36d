//! Random numbers: names that can't be guessed, and waits that don't coincide.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// 128 bits as text.
pub(crate) fn secret() -> String {
    let mut bytes = [0_u8; 16];
    fill(&mut bytes);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// A number below `bound`, or 0 for 0. The bias is below one in a million for what it is used for.
pub(crate) fn below(bound: u64) -> u64 {
    let mut bytes = [0_u8; 8];
    fill(&mut bytes);
    u64::from_ne_bytes(bytes).checked_rem(bound).unwrap_or(0)
}

fn fill(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system has randomness once it has started");
}
