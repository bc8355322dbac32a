//! The crypto suites: what each is called in a session description and how long its parts are.

/// How packets are encrypted and authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Suite {
    /// AES-128 in counter mode, tags of 80 bits (RFC 3711; RFC 4568 §6.2.1).
    AesCm128HmacSha1_80,
    /// AES-128 in counter mode, tags of 32 bits, of 80 for SRTCP (RFC 4568 §6.2.2).
    AesCm128HmacSha1_32,
    /// AES-256 in counter mode, tags of 80 bits (RFC 6188).
    AesCm256HmacSha1_80,
    /// AES-256 in counter mode, tags of 32 bits, of 80 for SRTCP (RFC 6188).
    AesCm256HmacSha1_32,
    /// AES-128-GCM, tags of 128 bits (RFC 7714).
    AeadAes128Gcm,
    /// AES-256-GCM, tags of 128 bits (RFC 7714).
    AeadAes256Gcm,
}

impl Suite {
    /// All suites, in the order in which they are offered: what every peer has comes first among equals in strength.
    pub const ALL: [Suite; 6] = [
        Suite::AeadAes256Gcm,
        Suite::AeadAes128Gcm,
        Suite::AesCm256HmacSha1_80,
        Suite::AesCm128HmacSha1_80,
        Suite::AesCm256HmacSha1_32,
        Suite::AesCm128HmacSha1_32,
    ];

    /// Returns the suite of this name of a session description. Names are compared with regard to case (RFC 4568 §9.1); two that
    /// phones write in place of RFC 6188's are known.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Suite> {
        match name {
            "AES_CM_256_HMAC_SHA1_80" => Some(Suite::AesCm256HmacSha1_80),
            "AES_CM_256_HMAC_SHA1_32" => Some(Suite::AesCm256HmacSha1_32),
            _ => Suite::ALL.into_iter().find(|suite| suite.name() == name),
        }
    }

    /// Returns its name in a session description.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Suite::AesCm128HmacSha1_80 => "AES_CM_128_HMAC_SHA1_80",
            Suite::AesCm128HmacSha1_32 => "AES_CM_128_HMAC_SHA1_32",
            Suite::AesCm256HmacSha1_80 => "AES_256_CM_HMAC_SHA1_80",
            Suite::AesCm256HmacSha1_32 => "AES_256_CM_HMAC_SHA1_32",
            Suite::AeadAes128Gcm => "AEAD_AES_128_GCM",
            Suite::AeadAes256Gcm => "AEAD_AES_256_GCM",
        }
    }

    /// Returns the octets of the master key.
    #[must_use]
    pub const fn key_len(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm128HmacSha1_32 | Suite::AeadAes128Gcm => 16,
            Suite::AesCm256HmacSha1_80 | Suite::AesCm256HmacSha1_32 | Suite::AeadAes256Gcm => 32,
        }
    }

    /// Returns the octets of the master salt.
    #[must_use]
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 12 } else { 14 }
    }

    /// Returns the octets of the tag of an RTP packet.
    #[must_use]
    pub const fn rtp_tag_len(self) -> usize {
        match self {
            Suite::AesCm128HmacSha1_80 | Suite::AesCm256HmacSha1_80 => 10,
            Suite::AesCm128HmacSha1_32 | Suite::AesCm256HmacSha1_32 => 4,
            Suite::AeadAes128Gcm | Suite::AeadAes256Gcm => 16,
        }
    }

    /// Returns the octets of the tag of an RTCP packet.
    #[must_use]
    pub const fn rtcp_tag_len(self) -> usize {
        if self.is_aead() { 16 } else { 10 }
    }

    /// Whether encryption and authentication are one.
    pub(crate) const fn is_aead(self) -> bool {
        matches!(self, Suite::AeadAes128Gcm | Suite::AeadAes256Gcm)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_suite_is_found_by_its_name() {
        for suite in Suite::ALL {
            assert_eq!(Suite::from_name(suite.name()), Some(suite));
        }
        for name in [
            "",
            "aes_cm_128_hmac_sha1_80",
            "F8_128_HMAC_SHA1_80",
            "AES_CM_128_HMAC_SHA1_8",
        ] {
            assert_eq!(Suite::from_name(name), None, "{name}");
        }
        assert_eq!(
            Suite::from_name("AES_CM_256_HMAC_SHA1_32"),
            Some(Suite::AesCm256HmacSha1_32)
        );
    }
}
