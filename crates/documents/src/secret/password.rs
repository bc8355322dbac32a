//! Owns recognising a user: argon2id over the MD5 and the SHA-1 of `username:password`, the two forms in which clients
//! present their credentials. Never stores or returns a password.

use std::fmt;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier as _};
use md5::Md5;
use sha1::{Digest, Sha1};

use crate::error::StoreError;

/// What a client presents: the lower-case hex digest of `username:password`.
#[derive(Clone, PartialEq, Eq)]
pub enum Credentials {
    /// Its MD5.
    Md5(String),
    /// Its SHA-1.
    Sha1(String),
}

impl Credentials {
    /// Returns the MD5 that a client makes of name and password.
    pub fn md5_of(username: &str, password: &str) -> Credentials {
        Credentials::Md5(hex::encode(Md5::digest(format!("{username}:{password}"))))
    }

    /// Returns the SHA-1 that a client makes of name and password.
    pub fn sha1_of(username: &str, password: &str) -> Credentials {
        Credentials::Sha1(hex::encode(Sha1::digest(format!("{username}:{password}"))))
    }

    /// Returns the digest.
    pub(crate) fn digest(&self) -> &str {
        match self {
            Credentials::Md5(digest) | Credentials::Sha1(digest) => digest,
        }
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Credentials(…)")
    }
}

/// Recognises a user's credentials. Two argon2id strings in PHC form.
#[derive(Clone, PartialEq, Eq)]
pub struct PasswordVerifier {
    pub(crate) md5: String,
    pub(crate) sha1: String,
}

impl fmt::Debug for PasswordVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PasswordVerifier(…)")
    }
}

impl PasswordVerifier {
    /// Makes a verifier. Takes tens of milliseconds of CPU: call it off the async threads.
    pub fn new(username: &str, password: &str) -> Result<PasswordVerifier, StoreError> {
        let hash = |credentials: Credentials| {
            Argon2::default()
                .hash_password(credentials.digest().as_bytes())
                .map(|hash| hash.to_string())
                .map_err(|error| StoreError::Hashing {
                    detail: error.to_string(),
                })
        };
        Ok(PasswordVerifier {
            md5: hash(Credentials::md5_of(username, password))?,
            sha1: hash(Credentials::sha1_of(username, password))?,
        })
    }

    /// Returns whether the credentials are this user's. Takes tens of milliseconds of CPU.
    pub fn accepts(&self, credentials: &Credentials) -> bool {
        let (verifier, digest) = match credentials {
            Credentials::Md5(digest) => (&self.md5, digest),
            Credentials::Sha1(digest) => (&self.sha1, digest),
        };
        PasswordHash::new(verifier).is_ok_and(|verifier| {
            Argon2::default()
                .verify_password(digest.as_bytes(), &verifier)
                .is_ok()
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_digests_of_the_right_password_are_accepted_and_nothing_else() {
        let verifier = PasswordVerifier::new("admin", "geheim").unwrap();
        let md5 = hex::encode(Md5::digest("admin:geheim"));
        let sha1 = hex::encode(Sha1::digest("admin:geheim"));
        assert!(verifier.accepts(&Credentials::Md5(md5.clone())));
        assert!(verifier.accepts(&Credentials::Sha1(sha1.clone())));
        assert!(!verifier.accepts(&Credentials::Md5(sha1)));
        assert!(!verifier.accepts(&Credentials::Sha1(md5.clone())));
        assert!(!verifier.accepts(&Credentials::Md5(String::new())));
        assert!(!verifier.md5.contains(&md5), "the digest itself is not stored");
        assert!(verifier.md5.starts_with("$argon2id$"));
        assert!(!format!("{verifier:?}").contains("argon"));
    }
}
