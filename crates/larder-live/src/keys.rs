//! What only the nodes of one application can make and read: secrets of connections, and sealed tickets.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::hmac;

use crate::random;

/// The keys of an application: the first makes, all are believed.
pub(crate) struct Keys(Vec<Key>);

struct Key {
    sign: hmac::Key,
    seal: LessSafeKey,
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keys").field("count", &self.0.len()).finish_non_exhaustive()
    }
}

/// What was sealed, and by which name it is told from all other seals.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Opened {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
}

impl Key {
    fn of(secret: &[u8]) -> Self {
        let secret = hmac::Key::new(hmac::HMAC_SHA256, secret);
        // One key for each use, so that what one makes means nothing to the other.
        let derived = |use_of: &str| hmac::sign(&secret, use_of.as_bytes());
        let seal = UnboundKey::new(&CHACHA20_POLY1305, derived("larder-live ticket 1").as_ref());
        Self {
            sign: hmac::Key::new(hmac::HMAC_SHA256, derived("larder-live connection 1").as_ref()),
            seal: LessSafeKey::new(seal.expect("both have 32 bytes")),
        }
    }
}

impl Keys {
    /// Of what the nodes share; of a random one where they share nothing.
    pub(crate) fn of(secrets: &[Vec<u8>]) -> Self {
        if secrets.is_empty() {
            return Self(vec![Key::of(random::secret().as_bytes())]);
        }
        Self(secrets.iter().map(|secret| Key::of(secret)).collect())
    }

    /// What whoever knows it may do in the name of a connection.
    pub(crate) fn secret_of(&self, connection: &[&str]) -> String {
        URL_SAFE_NO_PAD.encode(hmac::sign(&self.0[0].sign, &joined(connection)))
    }

    /// Whether it is [that](Self::secret_of) of the connection. Takes the same time wherever they differ.
    pub(crate) fn is_secret_of(&self, connection: &[&str], secret: &str) -> bool {
        let Ok(secret) = URL_SAFE_NO_PAD.decode(secret) else { return false };
        let connection = joined(connection);
        self.0.iter().any(|key| hmac::verify(&key.sign, &connection, &secret).is_ok())
    }

    /// Text that tells nobody anything, and that nobody else can make; good for `tenant` only.
    pub(crate) fn seal(&self, tenant: &str, mut bytes: Vec<u8>) -> String {
        let nonce: [u8; NONCE_LEN] = random::bytes();
        let sealed = self.0[0].seal.seal_in_place_append_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(tenant),
            &mut bytes,
        );
        sealed.expect("a ticket is far from the 256 GiB that can be sealed");
        URL_SAFE_NO_PAD.encode([&nonce[..], &bytes].concat())
    }

    /// What was sealed for `tenant`.
    pub(crate) fn open(&self, tenant: &str, text: &str) -> Option<Opened> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
        let (nonce, sealed) = bytes.split_first_chunk::<NONCE_LEN>()?;
        self.0.iter().find_map(|key| {
            let (nonce_of_it, mut sealed) = (Nonce::assume_unique_for_key(*nonce), sealed.to_vec());
            let bytes = key.seal.open_in_place(nonce_of_it, Aad::from(tenant), &mut sealed).ok()?;
            Some(Opened { name: URL_SAFE_NO_PAD.encode(nonce), bytes: bytes.to_vec() })
        })
    }
}

/// Each with its length, so that no two lists give the same.
fn joined(parts: &[&str]) -> Vec<u8> {
    let length = |part: &str| (part.len() as u64).to_be_bytes();
    parts.iter().flat_map(|part| length(part).into_iter().chain(part.bytes())).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(secrets: &[&str]) -> Keys {
        Keys::of(&secrets.iter().map(|secret| secret.as_bytes().to_vec()).collect::<Vec<_>>())
    }

    #[test]
    fn a_secret_is_of_one_connection_and_known_to_all_who_share_the_key() {
        let (one, two, strange) = (keys(&["k"]), keys(&["new", "k"]), keys(&[]));
        let secret = one.secret_of(&["acme", "42", "n.c"]);
        assert!(one.is_secret_of(&["acme", "42", "n.c"], &secret));
        assert!(two.is_secret_of(&["acme", "42", "n.c"], &secret), "the key before is still believed");
        assert!(!one.is_secret_of(&["acme", "42", "n.c"], &two.secret_of(&["acme", "42", "n.c"])));
        for other in
            [["acme", "7", "n.c"], ["globex", "42", "n.c"], ["acme", "42", "n.d"], ["acme4", "2", "n.c"]]
        {
            assert!(!one.is_secret_of(&other, &secret), "{other:?}");
        }
        assert!(!strange.is_secret_of(&["acme", "42", "n.c"], &secret));
        assert!(!one.is_secret_of(&["acme", "42", "n.c"], "nonsense!"));
    }

    #[test]
    fn a_seal_is_opened_for_its_tenant_by_who_shares_the_key_and_only_whole() {
        let (one, two) = (keys(&["k"]), keys(&["new", "k"]));
        let text = one.seal("acme", b"claims".to_vec());
        let opened = two.open("acme", &text).unwrap();
        assert_eq!(opened.bytes, b"claims");
        assert_ne!(opened.name, one.open("acme", &one.seal("acme", b"claims".to_vec())).unwrap().name);
        assert_eq!(one.open("globex", &text), None);
        assert_eq!(keys(&["other"]).open("acme", &text), None);
        for at in 0..text.len() {
            let other = if text.as_bytes()[at] == b'A' { "B" } else { "A" };
            let mut changed = text.clone();
            changed.replace_range(at..=at, other);
            assert_eq!(one.open("acme", &changed), None, "{at}");
        }
        for bad in ["", "AAAA", "!", &"A".repeat(100)] {
            assert_eq!(one.open("acme", bad), None, "{bad}");
        }
    }
}
