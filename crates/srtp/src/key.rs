//! Master keys with their salts, and identifiers of them. Owns secrets: nothing here prints them.

use std::fmt;

use subtle::ConstantTimeEq;

use crate::suite::Suite;

/// The most octets of a master key identifier (RFC 4568 §6.1 allows 128).
pub const MAX_MKI: usize = 128;

/// A master key and salt for one direction, of a suite.
#[derive(Clone)]
pub struct MasterKey {
    suite: Suite,
    bytes: [u8; 46],
}

impl MasterKey {
    /// Takes key and salt, one behind the other as session descriptions have them (RFC 4568 §6.1). `None` when they are not as long as
    /// the suite's.
    #[must_use]
    pub fn new(suite: Suite, key_and_salt: &[u8]) -> Option<MasterKey> {
        if key_and_salt.len() != suite.key_len() + suite.salt_len() {
            return None;
        }
        let mut bytes = [0; 46];
        bytes[..key_and_salt.len()].copy_from_slice(key_and_salt);
        Some(MasterKey { suite, bytes })
    }

    /// Returns the suite.
    #[must_use]
    pub fn suite(&self) -> Suite {
        self.suite
    }

    /// Returns key and salt, one behind the other.
    #[must_use]
    pub fn key_and_salt(&self) -> &[u8] {
        &self.bytes[..self.suite.key_len() + self.suite.salt_len()]
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.bytes[..self.suite.key_len()]
    }

    pub(crate) fn salt(&self) -> &[u8] {
        &self.key_and_salt()[self.suite.key_len()..]
    }
}

impl PartialEq for MasterKey {
    fn eq(&self, other: &MasterKey) -> bool {
        self.suite == other.suite && bool::from(self.bytes.ct_eq(&other.bytes))
    }
}

impl Eq for MasterKey {}

impl fmt::Debug for MasterKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MasterKey")
            .field("suite", &self.suite)
            .finish_non_exhaustive()
    }
}

/// A master key identifier: octets in front of each tag that name the key (RFC 3711 §3.1).
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Mki {
    bytes: [u8; MAX_MKI],
    len: usize,
}

impl Mki {
    /// Takes an identifier. `None` when it has no octets or more than [`MAX_MKI`].
    #[must_use]
    pub fn new(identifier: &[u8]) -> Option<Mki> {
        let mut bytes = [0; MAX_MKI];
        bytes.get_mut(..identifier.len())?.copy_from_slice(identifier);
        (!identifier.is_empty()).then_some(Mki {
            bytes,
            len: identifier.len(),
        })
    }

    /// Returns its octets.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl fmt::Debug for Mki {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mki").field(&self.as_bytes()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_has_the_length_of_its_suite_and_does_not_show() {
        for suite in Suite::ALL {
            let len = suite.key_len() + suite.salt_len();
            let key = MasterKey::new(suite, &vec![0xab; len]).expect("as long as it has to be");
            assert_eq!(key.key_and_salt(), vec![0xab; len]);
            assert!(!format!("{key:?}").contains("171"));
            for wrong in [0, len - 1, len + 1, 200] {
                assert_eq!(MasterKey::new(suite, &vec![0xab; wrong]), None);
            }
        }
    }

    #[test]
    fn an_identifier_has_one_octet_at_least_and_128_at_most() {
        assert_eq!(Mki::new(&[]), None);
        assert_eq!(Mki::new(&[1; 129]), None);
        assert_eq!(Mki::new(&[1; 128]).expect("it fits").as_bytes(), [1; 128]);
    }
}
