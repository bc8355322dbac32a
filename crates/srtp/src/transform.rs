//! What happens to the octets of one packet under the session keys of one half, RTP or RTCP: nonces, what is encrypted, what is
//! authenticated. Knows neither streams nor replay.

use subtle::ConstantTimeEq;

use crate::cipher::{Authentication, CounterMode, GCM_TAG_LEN, Gcm, SALT_LEN};
use crate::derive::{Label, derive};
use crate::error::SrtpError;
use crate::key::MasterKey;

/// Octets of the salt of AES-GCM, and of its nonce.
const GCM_SALT_LEN: usize = 12;
/// Octets of the index that follows an SRTCP packet.
pub(crate) const RTCP_INDEX_LEN: usize = 4;
/// In that index: the packet is encrypted.
pub(crate) const ENCRYPTED: u32 = 0x8000_0000;

/// The session keys of RTP or of RTCP.
pub(crate) struct Transform {
    kind: Kind,
    tag_len: usize,
}

enum Kind {
    Counter {
        cipher: CounterMode,
        salt: [u8; SALT_LEN],
        authentication: Authentication,
    },
    Gcm {
        gcm: Option<Box<Gcm>>,
        salt: [u8; GCM_SALT_LEN],
    },
}

impl Transform {
    pub(crate) fn for_rtp(master: &MasterKey) -> Transform {
        let labels = [Label::RtpKey, Label::RtpSalt, Label::RtpAuthentication];
        Transform::new(master, labels, master.suite().rtp_tag_len())
    }

    pub(crate) fn for_rtcp(master: &MasterKey) -> Transform {
        let labels = [Label::RtcpKey, Label::RtcpSalt, Label::RtcpAuthentication];
        Transform::new(master, labels, master.suite().rtcp_tag_len())
    }

    fn new(master: &MasterKey, [key, salt, authentication]: [Label; 3], tag_len: usize) -> Transform {
        let mut bytes = [0; 32];
        let session_key = &mut bytes[..master.suite().key_len()];
        derive(master, key, session_key);
        let kind = if master.suite().is_aead() {
            let mut salt_bytes = [0; GCM_SALT_LEN];
            derive(master, salt, &mut salt_bytes);
            Kind::Gcm {
                gcm: Gcm::new(session_key).map(Box::new),
                salt: salt_bytes,
            }
        } else {
            let mut salt_bytes = [0; SALT_LEN];
            derive(master, salt, &mut salt_bytes);
            let mut authentication_key = [0; 20];
            derive(master, authentication, &mut authentication_key);
            Kind::Counter {
                cipher: CounterMode::new(session_key),
                salt: salt_bytes,
                authentication: Authentication::new(&authentication_key),
            }
        };
        Transform { kind, tag_len }
    }

    /// Whether tags stand behind what is protected, where an MKI goes before them.
    pub(crate) fn has_separate_tag(&self) -> bool {
        matches!(self.kind, Kind::Counter { .. })
    }

    /// Returns the octets of its tags.
    pub(crate) fn tag_len(&self) -> usize {
        self.tag_len
    }

    /// Encrypts an RTP packet of `len` octets with a header of `header`, and puts the tag behind it, for which there is room.
    pub(crate) fn seal_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        match &self.kind {
            Kind::Counter {
                cipher,
                salt,
                authentication,
            } => {
                cipher.apply(counter_iv(salt, ssrc, index), &mut packet[header..len]);
                let tag = authentication.tag(&packet[..len], rollovers(index));
                packet[len..len + self.tag_len].copy_from_slice(&tag[..self.tag_len]);
            }
            Kind::Gcm { gcm, salt } => {
                let gcm = gcm.as_ref().ok_or(SrtpError::Malformed)?;
                let (associated, body) = packet.split_at_mut(header);
                let (data, behind) = body.split_at_mut(len - header);
                let tag = gcm.seal(rtp_nonce(salt, ssrc, index), associated, data);
                behind[..GCM_TAG_LEN].copy_from_slice(&tag.ok_or(SrtpError::Malformed)?);
            }
        }
        Ok(())
    }

    /// Checks the tag of an RTP packet of `len` octets without its tag, and decrypts it. `packet` is as before when the tag is wrong,
    /// but for AES-GCM, where it is worthless then.
    pub(crate) fn open_rtp(
        &self,
        packet: &mut [u8],
        header: usize,
        len: usize,
        ssrc: u32,
        index: u64,
    ) -> Result<(), SrtpError> {
        match &self.kind {
            Kind::Counter {
                cipher,
                salt,
                authentication,
            } => {
                let tag = authentication.tag(&packet[..len], rollovers(index));
                if !bool::from(tag[..self.tag_len].ct_eq(&packet[len..len + self.tag_len])) {
                    return Err(SrtpError::Authentication);
                }
                cipher.apply(counter_iv(salt, ssrc, index), &mut packet[header..len]);
                Ok(())
            }
            Kind::Gcm { gcm, salt } => {
                let (associated, body) = packet[..len + GCM_TAG_LEN].split_at_mut(header);
                let nonce = rtp_nonce(salt, ssrc, index);
                opened(gcm.as_deref(), nonce, associated, body)
            }
        }
    }

    /// Encrypts an RTCP packet of `len` octets behind the first `clear`, and puts index and tag behind it, for which there is room.
    pub(crate) fn seal_rtcp(
        &self,
        packet: &mut [u8],
        clear: usize,
        len: usize,
        ssrc: u32,
        index: u32,
    ) -> Result<(), SrtpError> {
        let word = (index | ENCRYPTED).to_be_bytes();
        match &self.kind {
            Kind::Counter {
                cipher,
                salt,
                authentication,
            } => {
                cipher.apply(counter_iv(salt, ssrc, index.into()), &mut packet[clear..len]);
                packet[len..len + RTCP_INDEX_LEN].copy_from_slice(&word);
                let tag = authentication.tag(&packet[..len], word);
                packet[len + RTCP_INDEX_LEN..][..self.tag_len].copy_from_slice(&tag[..self.tag_len]);
            }
            Kind::Gcm { gcm, salt } => {
                let gcm = gcm.as_ref().ok_or(SrtpError::Malformed)?;
                let mut associated = [0; 8 + RTCP_INDEX_LEN];
                associated[..clear].copy_from_slice(&packet[..clear]);
                associated[clear..].copy_from_slice(&word);
                let tag = gcm.seal(
                    rtcp_nonce(salt, ssrc, index),
                    &associated,
                    &mut packet[clear..len],
                );
                packet[len..len + GCM_TAG_LEN].copy_from_slice(&tag.ok_or(SrtpError::Malformed)?);
                packet[len + GCM_TAG_LEN..][..RTCP_INDEX_LEN].copy_from_slice(&word);
            }
        }
        Ok(())
    }

    /// Says where in an SRTCP packet without its MKI the index stands: before the tag, or behind it.
    pub(crate) fn rtcp_index_at(&self, packet_len: usize) -> Option<usize> {
        match self.kind {
            Kind::Counter { .. } => packet_len.checked_sub(self.tag_len + RTCP_INDEX_LEN),
            Kind::Gcm { .. } => packet_len.checked_sub(RTCP_INDEX_LEN),
        }
    }

    /// Checks an RTCP packet of `len` octets without its tag and its index, whose index `word` is, and decrypts it if it is encrypted.
    pub(crate) fn open_rtcp(
        &self,
        packet: &mut [u8],
        clear: usize,
        len: usize,
        ssrc: u32,
        word: u32,
    ) -> Result<(), SrtpError> {
        let (index, encrypted) = (word & !ENCRYPTED, word & ENCRYPTED != 0);
        match &self.kind {
            Kind::Counter {
                cipher,
                salt,
                authentication,
            } => {
                let tag = authentication.tag(&packet[..len], word.to_be_bytes());
                let theirs = &packet[len + RTCP_INDEX_LEN..][..self.tag_len];
                if !bool::from(tag[..self.tag_len].ct_eq(theirs)) {
                    return Err(SrtpError::Authentication);
                }
                if encrypted {
                    cipher.apply(counter_iv(salt, ssrc, index.into()), &mut packet[clear..len]);
                }
                Ok(())
            }
            // What is only authenticated is all associated data (RFC 7714 §9.3), longer than what is put together here: nobody
            // sends it, and RFC 3711 has encryption as the rule.
            Kind::Gcm { .. } if !encrypted => Err(SrtpError::Authentication),
            Kind::Gcm { gcm, salt } => {
                let mut associated = [0; 8 + RTCP_INDEX_LEN];
                associated[..clear].copy_from_slice(&packet[..clear]);
                associated[clear..].copy_from_slice(&word.to_be_bytes());
                let nonce = rtcp_nonce(salt, ssrc, index);
                let body = &mut packet[clear..len + GCM_TAG_LEN];
                opened(gcm.as_deref(), nonce, &associated, body)
            }
        }
    }
}

fn opened(gcm: Option<&Gcm>, nonce: [u8; 12], associated: &[u8], body: &mut [u8]) -> Result<(), SrtpError> {
    let opened = gcm.is_some_and(|gcm| gcm.open(nonce, associated, body));
    opened.then_some(()).ok_or(SrtpError::Authentication)
}

/// Returns the bits of the index that are not in the packet (RFC 3711 §4.2).
fn rollovers(index: u64) -> [u8; 4] {
    let [_, _, a, b, c, d, _, _] = index.to_be_bytes();
    [a, b, c, d]
}

/// Returns the first counter of a packet (RFC 3711 §4.1.1).
fn counter_iv(salt: &[u8; SALT_LEN], ssrc: u32, index: u64) -> [u8; 16] {
    let mut iv = [0; 16];
    iv[..SALT_LEN].copy_from_slice(salt);
    add(&mut iv[4..8], &ssrc.to_be_bytes());
    add(&mut iv[8..14], &index.to_be_bytes()[2..]);
    iv
}

/// Returns the nonce of an RTP packet (RFC 7714 §8.1).
fn rtp_nonce(salt: &[u8; GCM_SALT_LEN], ssrc: u32, index: u64) -> [u8; GCM_SALT_LEN] {
    let mut nonce = *salt;
    add(&mut nonce[2..6], &ssrc.to_be_bytes());
    add(&mut nonce[6..12], &index.to_be_bytes()[2..]);
    nonce
}

/// Returns the nonce of an RTCP packet (RFC 7714 §9.1).
fn rtcp_nonce(salt: &[u8; GCM_SALT_LEN], ssrc: u32, index: u32) -> [u8; GCM_SALT_LEN] {
    let mut nonce = *salt;
    add(&mut nonce[2..6], &ssrc.to_be_bytes());
    add(&mut nonce[8..12], &index.to_be_bytes());
    nonce
}

fn add(to: &mut [u8], octets: &[u8]) {
    for (to, octet) in to.iter_mut().zip(octets) {
        *to ^= octet;
    }
}
