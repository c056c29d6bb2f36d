//! Bearer tokens: HS256, and nothing else.

use std::time::Duration;

use http::HeaderMap;
use http::header::AUTHORIZATION;
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, decode, encode};
use larder_http::{Authenticate, Identity, Problem, Role};
use ring::hmac;
use serde::{Deserialize, Serialize};

use crate::config::JwtConfig;

/// Whom our tokens are for.
const AUDIENCE: &str = "larder";

/// What a token says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// The user's id.
    pub sub: String,
    /// The tenant.
    pub tenant: String,
    /// What the user may do.
    pub role: Role,
    /// When it was issued, in seconds since 1970.
    pub iat: u64,
    /// From when on it is not valid.
    pub exp: u64,
    /// Whom it is for.
    pub aud: String,
    /// The token's own id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Patterns of the rooms that may be subscribed to; all but those of other users where there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rooms: Option<Vec<String>>,
    /// Patterns of the rooms that may be published to.
    #[serde(default, rename = "pub", skip_serializing_if = "Option::is_none")]
    pub publish: Option<Vec<String>>,
    /// What others in a room are told of the user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub info: Option<serde_json::Value>,
}

/// Why a token is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BadToken {
    /// It was one of ours and has run out.
    Expired,
    /// Whatever else.
    Invalid,
}

/// Issues and verifies tokens.
pub struct Tokens {
    sign: EncodingKey,
    /// The present secret, then the previous one.
    verify: Vec<DecodingKey>,
    /// The same secrets, for what is [derived](Tokens::derived) from them.
    secrets: Vec<hmac::Key>,
    validation: Validation,
    ttl: Duration,
}

impl std::fmt::Debug for Tokens {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Tokens").field("ttl", &self.ttl).finish_non_exhaustive()
    }
}

impl Tokens {
    /// Signs with `secret`; `config` brings the rest.
    #[must_use]
    pub fn new(secret: &str, config: &JwtConfig) -> Self {
        // An error says that there is a provider already, which serves as well.
        let _ = PROVIDER.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.set_audience(&[AUDIENCE]);
        validation.set_required_spec_claims(&["exp", "aud", "sub"]);
        validation.leeway = 0;
        let secrets: Vec<&[u8]> =
            std::iter::once(secret).chain(config.previous.as_deref()).map(str::as_bytes).collect();
        Self {
            sign: EncodingKey::from_secret(secret.as_bytes()),
            verify: secrets.iter().map(|secret| DecodingKey::from_secret(secret)).collect(),
            secrets: secrets.iter().map(|secret| hmac::Key::new(hmac::HMAC_SHA256, secret)).collect(),
            validation,
            ttl: config.ttl,
        }
    }

    /// How long a new token is valid.
    #[must_use]
    pub fn ttl(&self) -> Duration {
        self.ttl
    }

    /// Secrets for another use than tokens, which all servers with the same secrets derive; of the present one first.
    #[must_use]
    pub fn derived(&self, other_use: &str) -> Vec<Vec<u8>> {
        self.secrets.iter().map(|secret| hmac::sign(secret, other_use.as_bytes()).as_ref().to_vec()).collect()
    }

    /// A token for this user, valid from now.
    #[must_use]
    pub fn issue(&self, who: &Identity) -> String {
        let now = jsonwebtoken::get_current_timestamp();
        let claims = Claims {
            sub: who.user.clone(),
            tenant: who.tenant.clone(),
            role: who.role,
            iat: now,
            exp: now + self.ttl.as_secs(),
            aud: AUDIENCE.to_owned(),
            jti: None,
            rooms: None,
            publish: None,
            info: None,
        };
        encode(&Header::new(Algorithm::HS256), &claims, &self.sign)
            .expect("claims are plain JSON and HMAC takes every key")
    }

    /// What a token says, if it is one of ours and still valid.
    #[must_use]
    pub fn verify(&self, token: &str) -> Option<Identity> {
        let claims = self.read(token).ok()?;
        Some(Identity { tenant: claims.tenant, user: claims.sub, role: claims.role })
    }

    /// All that a token says, if it is one of ours and still valid.
    ///
    /// # Errors
    /// [`BadToken`], which tells one that has run out from all others.
    pub fn read(&self, token: &str) -> Result<Claims, BadToken> {
        let mut why = BadToken::Invalid;
        for key in &self.verify {
            match decode::<Claims>(token, key, &self.validation) {
                Ok(data) => return Ok(data.claims),
                // The signature is looked at first: a foreign token is never said to have run out.
                Err(error) if matches!(error.kind(), ErrorKind::ExpiredSignature) => why = BadToken::Expired,
                Err(_) => {}
            }
        }
        Err(why)
    }
}

impl Authenticate for Tokens {
    fn identify(&self, headers: &HeaderMap) -> Result<Option<Identity>, Problem> {
        let Some(header) = headers.get(AUTHORIZATION) else { return Ok(None) };
        let text = header.to_str().map_err(|_| Problem::unauthorized())?;
        let (scheme, token) = text.split_once(' ').ok_or_else(Problem::unauthorized)?;
        if !scheme.eq_ignore_ascii_case("bearer") {
            return Err(Problem::unauthorized());
        }
        self.verify(token.trim()).map(Some).ok_or_else(Problem::unauthorized)
    }
}

/// HMAC by `ring`, which the TLS library brings anyway. The provider of the crate itself would add RSA and elliptic
/// curves that nobody here may use.
static PROVIDER: CryptoProvider = CryptoProvider {
    signer_factory: signer,
    verifier_factory: verifier,
    key_utils: KeyUtils::new_unimplemented(),
};

struct Hs256(hmac::Key);

fn signer(algorithm: &Algorithm, key: &EncodingKey) -> Result<Box<dyn JwtSigner>, Error> {
    only_hs256(*algorithm)?;
    Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.as_bytes()))))
}

fn verifier(algorithm: &Algorithm, key: &DecodingKey) -> Result<Box<dyn JwtVerifier>, Error> {
    only_hs256(*algorithm)?;
    Ok(Box::new(Hs256(hmac::Key::new(hmac::HMAC_SHA256, key.try_get_as_bytes()?))))
}

fn only_hs256(algorithm: Algorithm) -> Result<(), Error> {
    if algorithm == Algorithm::HS256 { Ok(()) } else { Err(ErrorKind::InvalidAlgorithm.into()) }
}

impl Signer<Vec<u8>> for Hs256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(hmac::sign(&self.0, message).as_ref().to_vec())
    }
}

impl JwtSigner for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl Verifier<Vec<u8>> for Hs256 {
    fn verify(&self, message: &[u8], tag: &Vec<u8>) -> Result<(), signature::Error> {
        hmac::verify(&self.0, message, tag).map_err(|_| signature::Error::new())
    }
}

impl JwtVerifier for Hs256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD;
    use serde_json::{Value, json};

    const HOUR: Duration = Duration::from_secs(3600);

    fn tokens(secret: &str, previous: Option<&str>) -> Tokens {
        Tokens::new(secret, &JwtConfig { secret: None, previous: previous.map(Into::into), ttl: HOUR })
    }

    fn somebody() -> Identity {
        Identity { tenant: "acme".into(), user: "u1".into(), role: Role::Owner }
    }

    /// A token with these parts, signed with this secret.
    fn made(header: &Value, claims: &Value, secret: &str) -> String {
        let part = |v: &Value| URL_SAFE_NO_PAD.encode(v.to_string());
        let message = format!("{}.{}", part(header), part(claims));
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, secret.as_bytes()), message.as_bytes());
        format!("{message}.{}", URL_SAFE_NO_PAD.encode(tag.as_ref()))
    }

    fn claims(change: impl Fn(&mut Value)) -> Value {
        let mut claims = json!({"sub": "u1", "tenant": "acme", "role": "owner", "iat": 1, "exp": 99_999_999_999_u64, "aud": "larder"});
        change(&mut claims);
        claims
    }

    #[test]
    fn a_token_says_who_it_was_issued_to() {
        let tokens = tokens("one", None);
        assert_eq!(tokens.verify(&tokens.issue(&somebody())), Some(somebody()));
    }

    #[test]
    fn a_token_of_the_previous_secret_is_accepted_and_of_the_one_before_is_not() {
        let token = tokens("old", None).issue(&somebody());
        assert_eq!(tokens("new", Some("old")).verify(&token), Some(somebody()));
        assert_eq!(tokens("newer", Some("new")).verify(&token), None);
    }

    #[test]
    fn only_hs256_with_our_audience_and_a_future_end_is_valid() {
        let tokens = tokens("one", None);
        let hs256 = json!({"alg": "HS256", "typ": "JWT"});
        assert!(
            tokens.verify(&made(&hs256, &claims(|_| ()), "one")).is_some(),
            "the test's own way of signing"
        );
        let now = jsonwebtoken::get_current_timestamp();
        for (why, token) in [
            ("foreign key", made(&hs256, &claims(|_| ()), "two")),
            ("no algorithm", made(&json!({"alg": "none"}), &claims(|_| ()), "one")),
            ("another algorithm", made(&json!({"alg": "HS512"}), &claims(|_| ()), "one")),
            ("expired", made(&hs256, &claims(|c| c["exp"] = json!(now - 1)), "one")),
            ("no end", made(&hs256, &claims(|c| drop(c.as_object_mut().unwrap().remove("exp"))), "one")),
            ("another audience", made(&hs256, &claims(|c| c["aud"] = json!("shop")), "one")),
            ("no audience", made(&hs256, &claims(|c| drop(c.as_object_mut().unwrap().remove("aud"))), "one")),
            ("an unknown role", made(&hs256, &claims(|c| c["role"] = json!("root")), "one")),
            (
                "no signature",
                made(&hs256, &claims(|_| ()), "one").rsplit_once('.').unwrap().0.to_owned() + ".",
            ),
            ("no token", "x".into()),
        ] {
            assert_eq!(tokens.verify(&token), None, "{why}");
            let told = if why == "expired" { BadToken::Expired } else { BadToken::Invalid };
            assert_eq!(tokens.read(&token), Err(told), "{why}");
        }
        let foreign = made(&hs256, &claims(|c| c["exp"] = json!(now - 1)), "two");
        assert_eq!(tokens.read(&foreign), Err(BadToken::Invalid), "expired and of a foreign key");
    }

    #[test]
    fn no_header_is_nobody_and_a_bad_one_is_an_error() {
        let tokens = tokens("one", None);
        let mut headers = HeaderMap::new();
        assert_eq!(tokens.identify(&headers), Ok(None));
        for bad in ["Basic abc", "Bearer", "Bearer x.y.z", ""] {
            headers.insert(AUTHORIZATION, bad.parse().unwrap());
            assert_eq!(tokens.identify(&headers), Err(Problem::unauthorized()), "{bad}");
        }
        headers.insert(AUTHORIZATION, format!("bearer {}", tokens.issue(&somebody())).parse().unwrap());
        assert_eq!(tokens.identify(&headers), Ok(Some(somebody())));
    }
}
