//! Passwords: argon2id, off the async threads and a few at a time.

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use larder_http::Problem;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// One hash takes 19 MiB and some 15 ms of a core: more than a few at once gain nothing and cost memory.
const AT_ONCE: usize = 4;

/// A hash that no password has.
pub const NO_PASSWORD: &str = "!";

/// Verified in place of the hash of an unknown user; it has the cost of the real ones.
const DECOY: &str = "$argon2id$v=19$m=19456,t=2,p=1$c29tZSBzYWx0IG9mIG91cnM$\
     AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8";

/// Hashes and verifies passwords.
#[derive(Debug, Clone)]
pub struct Passwords {
    permits: Arc<Semaphore>,
}

impl Default for Passwords {
    fn default() -> Self {
        Self { permits: Arc::new(Semaphore::new(AT_ONCE)) }
    }
}

impl Passwords {
    /// The hash to be stored.
    ///
    /// # Errors
    /// Where the system gives no randomness.
    ///
    /// # Cancel safety
    /// Cancelled, the hashing ends unused.
    pub async fn hash(&self, password: String) -> Result<String, Problem> {
        self.blocking(move || hash_now(&password)).await?.ok_or_else(Problem::internal)
    }

    /// Whether this is the password. Takes as long where there is no hash at all, so that nobody can tell an unknown
    /// user from a wrong password by the clock.
    ///
    /// # Errors
    /// Where the work can't be done at all.
    ///
    /// # Cancel safety
    /// Cancelled, the verification ends unused.
    pub async fn verify(&self, password: String, hash: Option<String>) -> Result<bool, Problem> {
        self.blocking(move || {
            let known = hash.as_deref().and_then(|hash| PasswordHash::new(hash).ok());
            let is_known = known.is_some();
            let hash =
                known.unwrap_or_else(|| PasswordHash::new(DECOY).expect("its form is that of every hash"));
            Argon2::default().verify_password(password.as_bytes(), &hash).is_ok() && is_known
        })
        .await
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, Problem> {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| Problem::internal())?;
        // The permit goes along: a request that is cancelled does not stop its hash.
        let task = spawn_blocking(move || {
            let result = work();
            drop(permit);
            result
        });
        task.await.map_err(|_| Problem::internal())
    }
}

/// Hashes on the calling thread.
pub(crate) fn hash_now(password: &str) -> Option<String> {
    Argon2::default().hash_password(password.as_bytes()).ok().map(|hash| hash.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_password_of_a_hash_is_right() {
        let passwords = Passwords::default();
        let hash = passwords.hash("larder-demo".into()).await.unwrap();
        assert!(hash.starts_with("$argon2id$"));
        assert!(passwords.verify("larder-demo".into(), Some(hash.clone())).await.unwrap());
        assert!(!passwords.verify("larder-dem0".into(), Some(hash)).await.unwrap());
        assert!(!passwords.verify(String::new(), Some(NO_PASSWORD.into())).await.unwrap());
        assert!(!passwords.verify("larder-demo".into(), None).await.unwrap());
    }
    #[test]
    fn an_unknown_user_costs_what_a_known_one_does() {
        let (decoy, real) = (PasswordHash::new(DECOY).unwrap(), hash_now("x").unwrap());
        let real = PasswordHash::new(&real).unwrap();
        assert_eq!((decoy.algorithm, decoy.params), (real.algorithm, real.params));
    }
}
