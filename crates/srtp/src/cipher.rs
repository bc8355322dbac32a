//! What turns octets into others: AES in counter mode, HMAC-SHA1, AES-GCM. Owns keys that are ready for use; knows no packet.

use aes::cipher::{Array, BlockCipherEncrypt as _, KeyInit as _};
use aes::{Aes128, Aes256};
use hmac::{Hmac, Mac as _};
use ring::aead::{AES_128_GCM, AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha1::Sha1;

/// Octets of the salt of the counter mode.
pub(crate) const SALT_LEN: usize = 14;
/// Octets of a tag of AES-GCM.
pub(crate) const GCM_TAG_LEN: usize = 16;

/// Octets of a block of AES.
const BLOCK: usize = 16;
/// Blocks that are made at once: processors do so many beside each other.
const AT_ONCE: usize = 8;

/// AES in counter mode (RFC 3711 §4.1.1).
#[derive(Clone)]
pub(crate) enum CounterMode {
    Aes128(Box<Aes128>),
    Aes256(Box<Aes256>),
}

impl CounterMode {
    /// Takes a key of 32 octets, or of 16: of others the first 16, and zeros for what they lack.
    pub(crate) fn new(key: &[u8]) -> CounterMode {
        if let Ok(key) = <&[u8; 32]>::try_from(key) {
            return CounterMode::Aes256(Box::new(Aes256::new(key.into())));
        }
        let mut first = [0; 16];
        let len = key.len().min(16);
        first[..len].copy_from_slice(&key[..len]);
        CounterMode::Aes128(Box::new(Aes128::new(&first.into())))
    }

    /// Adds the key stream from `iv` on, whose last two octets count blocks, to `data`.
    pub(crate) fn apply(&self, iv: [u8; BLOCK], data: &mut [u8]) {
        let mut counter = u128::from_be_bytes(iv);
        for data in data.chunks_mut(BLOCK * AT_ONCE) {
            let mut blocks = [Array::from([0; BLOCK]); AT_ONCE];
            let blocks = &mut blocks[..data.len().div_ceil(BLOCK)];
            for block in &mut *blocks {
                *block = counter.to_be_bytes().into();
                counter = counter.wrapping_add(1);
            }
            match self {
                CounterMode::Aes128(aes) => aes.encrypt_blocks(blocks),
                CounterMode::Aes256(aes) => aes.encrypt_blocks(blocks),
            }
            let stream = blocks.iter().flat_map(|block| block.iter());
            for (octet, key) in data.iter_mut().zip(stream) {
                *octet ^= key;
            }
        }
    }
}

/// HMAC-SHA1 with its key taken in.
#[derive(Clone)]
pub(crate) struct Authentication {
    keyed: Hmac<Sha1>,
}

impl Authentication {
    pub(crate) fn new(key: &[u8; 20]) -> Authentication {
        Authentication {
            keyed: Hmac::new(&Array::<u8, _>::from(padded(key))),
        }
    }

    /// Returns the tag of `packet` followed by `index`.
    pub(crate) fn tag(&self, packet: &[u8], index: [u8; 4]) -> [u8; 20] {
        let mut mac = self.keyed.clone();
        mac.update(packet);
        mac.update(&index);
        mac.finalize().into_bytes().into()
    }
}

/// A key of HMAC is as good as the one that zeros make as long as a block of the hash (RFC 2104 §2).
fn padded(key: &[u8; 20]) -> [u8; 64] {
    let mut block = [0; 64];
    block[..20].copy_from_slice(key);
    block
}

/// AES-GCM with its key taken in.
pub(crate) struct Gcm {
    key: LessSafeKey,
}

impl Gcm {
    /// `None` for a key of other lengths than 16 and 32 octets.
    pub(crate) fn new(key: &[u8]) -> Option<Gcm> {
        let algorithm = if key.len() == 32 {
            &AES_256_GCM
        } else {
            &AES_128_GCM
        };
        let key = UnboundKey::new(algorithm, key).ok()?;
        Some(Gcm {
            key: LessSafeKey::new(key),
        })
    }

    /// Encrypts `data` and returns the tag of it and of `associated`. `None` only for more data than any packet has.
    pub(crate) fn seal(
        &self,
        nonce: [u8; NONCE_LEN],
        associated: &[u8],
        data: &mut [u8],
    ) -> Option<[u8; GCM_TAG_LEN]> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let tag = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(associated), data);
        tag.ok()?.as_ref().try_into().ok()
    }

    /// Decrypts `data`, which ends with its tag. Returns whether the tag was right; if not, `data` is worthless.
    pub(crate) fn open(&self, nonce: [u8; NONCE_LEN], associated: &[u8], data: &mut [u8]) -> bool {
        let nonce = Nonce::assume_unique_for_key(nonce);
        self.key.open_in_place(nonce, Aad::from(associated), data).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rfc_3711_b_2() {
        let key = hex::decode("2B7E151628AED2A6ABF7158809CF4F3C").expect("hex");
        let mut iv = [0; 16];
        iv[..SALT_LEN].copy_from_slice(&hex::decode("F0F1F2F3F4F5F6F7F8F9FAFBFCFD").expect("hex"));
        let mut stream = vec![0; 0xff02 * 16];
        CounterMode::new(&key).apply(iv, &mut stream);
        for (block, expected) in [
            (0, "E03EAD0935C95E80E166B16DD92B4EB4"),
            (1, "D23513162B02D0F72A43A2FE4A5F97AB"),
            (2, "41E95B3BB0A2E8DD477901E4FCA894C0"),
            (0xfeff, "EC8CDF7398607CB0F2D21675EA9EA1E4"),
            (0xff00, "362B7C3C6773516318A077D7FC5073AE"),
            (0xff01, "6A2CC3787889374FBEB4C81B17BA6C44"),
        ] {
            assert_eq!(
                hex::encode_upper(&stream[block * 16..][..16]),
                expected,
                "{block:x}"
            );
        }
    }

    #[test]
    fn rfc_2202_3() {
        let key: [u8; 20] = [0x0b; 20];
        let tag = Authentication::new(&key).tag(b"Hi T", *b"here");
        assert_eq!(hex::encode(tag), "b617318655057264e28bc0b6fb378c8ef146be00");
    }
}
