//! Digest authentication of requests (RFC 3261 §22 with RFC 7616 and RFC 8760: SHA-256 and MD5): the server's half, which asks for
//! `qop=auth`; `client` has the other one.
//!
//! Owns nonces and what was done with them. Knows no users: whoever verifies brings the password. A nonce carries its own age, signed with
//! the server's key, so that a challenge costs no memory; only nonces that were used are remembered, until they expire.

mod client;
mod credentials;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

pub use client::{DigestChallenge, DigestIdentity, DigestRequest};
pub use credentials::{DigestCredentials, DigestTarget};

/// Used nonces that are remembered at most, 40 octets each; beyond, the oldest are taken as expired.
const MOST_USED: usize = 50_000;
/// Octets of a nonce: time, number, signature.
const NONCE: usize = 32;
/// Octets of it that are signed.
const SIGNED: usize = 16;

/// A hash function of digest authentication.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestAlgorithm {
    /// `MD5`, which most phones know.
    Md5,
    /// `SHA-256`.
    Sha256,
}

impl DigestAlgorithm {
    /// All of them, the better one first (RFC 8760 §2.4).
    pub const ALL: [DigestAlgorithm; 2] = [DigestAlgorithm::Sha256, DigestAlgorithm::Md5];

    /// Returns the one of this name, in any case.
    fn by_name(name: &str) -> Option<DigestAlgorithm> {
        Self::ALL
            .into_iter()
            .find(|known| known.name().eq_ignore_ascii_case(name))
    }

    /// Returns the name in headers.
    pub fn name(self) -> &'static str {
        match self {
            DigestAlgorithm::Md5 => "MD5",
            DigestAlgorithm::Sha256 => "SHA-256",
        }
    }

    /// Returns the hash of the parts joined by colons, in lower-case hexadecimal digits.
    fn hash(self, parts: &[&[u8]]) -> String {
        let text = parts.join(&b':');
        match self {
            DigestAlgorithm::Md5 => hex(&Md5::digest(text)),
            DigestAlgorithm::Sha256 => hex(&Sha256::digest(text)),
        }
    }
}

/// What credentials come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DigestVerdict {
    /// The password is known to who sent them.
    Right,
    /// The nonce is not one of this server's, too old, or was used before: to be challenged again, `stale` where the password was right.
    Stale {
        /// The password was right.
        was_right: bool,
    },
    /// The password is wrong.
    Wrong,
}

/// The counts with which a nonce was used: requests may overtake each other on their way, none may come twice.
#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    highest: u32,
    /// Bit n: `highest - n` was used.
    window: u64,
}

impl Counts {
    /// Notes a count; says whether it is used for the first time. What lies too far back counts as used.
    fn take(&mut self, count: u32) -> bool {
        if count > self.highest {
            let step = count - self.highest;
            self.window = self.window.checked_shl(step).unwrap_or(0) | 1;
            self.highest = count;
            return true;
        }
        let behind = self.highest - count;
        let bit = 1_u64.checked_shl(behind).unwrap_or(0);
        let is_new = count > 0 && bit != 0 && self.window & bit == 0;
        self.window |= bit;
        is_new
    }
}

/// The server's half of digest authentication. `Debug` shows no key.
pub struct DigestServer {
    key: [u8; 32],
    began: Instant,
    lifetime: Duration,
    offered: Vec<DigestAlgorithm>,
    issued: u64,
    /// The counts of each nonce that was used, by time and number.
    used: BTreeMap<(u64, u64), Counts>,
    /// Nonces up to this one are expired, whatever their time.
    forgotten: (u64, u64),
}

impl std::fmt::Debug for DigestServer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("DigestServer")
            .field("issued", &self.issued)
            .field("used", &self.used.len())
            .finish_non_exhaustive()
    }
}

impl DigestServer {
    /// Returns a server that signs nonces with `key`, random and nobody else's, and takes each for `lifetime`.
    pub fn new(key: [u8; 32], began: Instant, lifetime: Duration) -> DigestServer {
        DigestServer {
            key,
            began,
            lifetime,
            offered: DigestAlgorithm::ALL.into(),
            issued: 0,
            used: BTreeMap::new(),
            forgotten: (0, 0),
        }
    }

    /// Offers these algorithms, in this order, instead of all.
    #[must_use]
    pub fn offering(mut self, algorithms: Vec<DigestAlgorithm>) -> DigestServer {
        self.offered = algorithms;
        self
    }

    /// Whether credentials were made with an algorithm that is offered.
    pub fn offers(&self, credentials: &DigestCredentials) -> bool {
        self.offered.contains(&credentials.algorithm)
    }

    /// Returns the values of the WWW-Authenticate headers that ask for credentials, in their order.
    pub fn challenges(&mut self, now: Instant, realm: &str, stale: bool) -> Vec<String> {
        let nonce = self.nonce(now);
        let realm: String = realm
            .chars()
            .filter(|c| !matches!(c, '"' | '\\') && !c.is_control())
            .collect();
        let stale = if stale { ", stale=true" } else { "" };
        let challenge = |algorithm: &DigestAlgorithm| {
            let name = algorithm.name();
            format!("Digest realm=\"{realm}\", nonce=\"{nonce}\", algorithm={name}, qop=\"auth\"{stale}")
        };
        self.offered.iter().map(challenge).collect()
    }

    /// Says whether who sent a request of this method knows the password. Each nonce counts its requests up: one that comes again, or
    /// 64 or more behind the latest, is stale.
    pub fn verify(
        &mut self,
        now: Instant,
        method: &str,
        credentials: &DigestCredentials,
        password: &str,
    ) -> DigestVerdict {
        let expected = credentials.response_for(method, password);
        let was_right = bool::from(expected.as_bytes().ct_eq(credentials.response.as_bytes()));
        let Some(at) = self.is_own(now, &credentials.nonce) else {
            return DigestVerdict::Stale { was_right };
        };
        if !was_right {
            return DigestVerdict::Wrong;
        }
        if !self.used.contains_key(&at) {
            self.forget(now);
        }
        if self.used.entry(at).or_default().take(credentials.count) {
            DigestVerdict::Right
        } else {
            DigestVerdict::Stale { was_right }
        }
    }

    fn millis(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.began);
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    }

    fn nonce(&mut self, now: Instant) -> String {
        self.issued += 1;
        let mut nonce = [0; NONCE];
        nonce[..8].copy_from_slice(&self.millis(now).to_be_bytes());
        nonce[8..SIGNED].copy_from_slice(&self.issued.to_be_bytes());
        let signature = self.signature(&nonce[..SIGNED]);
        nonce[SIGNED..].copy_from_slice(&signature);
        hex(&nonce)
    }

    fn signature(&self, signed: &[u8]) -> [u8; NONCE - SIGNED] {
        let mut mac = Hmac::<Sha256>::new_from_slice(&self.key).expect("a key of any length will do");
        mac.update(signed);
        let mut signature = [0; NONCE - SIGNED];
        signature.copy_from_slice(&mac.finalize().into_bytes()[..NONCE - SIGNED]);
        signature
    }

    /// Returns time and number of a nonce that is this server's and not expired.
    fn is_own(&self, now: Instant, nonce: &str) -> Option<(u64, u64)> {
        let octets: [u8; NONCE] = unhex(nonce)?.try_into().ok()?;
        let (signed, signature) = octets.split_at(SIGNED);
        if !bool::from(self.signature(signed).ct_eq(signature)) {
            return None;
        }
        let number = |octets: &[u8]| {
            octets
                .iter()
                .fold(0, |number, octet| number << 8 | u64::from(*octet))
        };
        let at = (number(&signed[..8]), number(&signed[8..]));
        let age = self.millis(now).saturating_sub(at.0);
        let is_fresh = u128::from(age) < self.lifetime.as_millis() && at > self.forgotten;
        is_fresh.then_some(at)
    }

    /// Makes room for one more used nonce.
    fn forget(&mut self, now: Instant) {
        let lifetime = u64::try_from(self.lifetime.as_millis()).unwrap_or(u64::MAX);
        let oldest = self.millis(now).saturating_sub(lifetime);
        while let Some(first) = self.used.first_entry() {
            let at = *first.key();
            if at.0 >= oldest && self.used.len() < MOST_USED {
                break;
            }
            self.forgotten = self.forgotten.max(at);
            self.used.remove(&at);
        }
    }
}

fn hex(octets: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = octets.iter().flat_map(|octet| [octet >> 4, octet & 15]);
    digits
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text
        .chars()
        .map(|digit| digit.to_digit(16).map(|digit| digit as u8))
        .collect();
    let digits = digits.filter(|digits| digits.len() == 2 * NONCE)?;
    Some(
        digits
            .chunks_exact(2)
            .map(|pair| pair[0] << 4 | pair[1])
            .collect(),
    )
}
