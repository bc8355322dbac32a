//! SRTP and SRTCP: packets are encrypted, authenticated and their replay is refused, in place.
//!
//! # What it is for
//! A secured leg differs from a plain one in a few octets and in who can read it. What is sent goes through a [`Protector`] on its way
//! to the socket, what is received through an [`Unprotector`] on its way to the parser; both are made from a [`MasterKey`],
//! which the session description carries (SDES, RFC 4568) or a handshake brings.
//!
//! # What it does not do
//! It opens no socket, reads no clock, draws no random number and agrees on no key. After construction nothing allocates, blocks or
//! panics, whatever arrives: a packet that does not authenticate leaves no trace but the reason that is returned.
//!
//! # Example
//! ```
//! use confab_srtp::{MasterKey, Protector, Suite, Unprotector};
//!
//! let key = MasterKey::new(Suite::AesCm128HmacSha1_80, &[7; 30]).expect("thirty octets");
//! let (mut protector, mut unprotector) = (Protector::new(&key, None), Unprotector::new(&key, None));
//!
//! let plain = [0x80, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0xff, 0xff];
//! let mut packet = [0; 64];
//! packet[..plain.len()].copy_from_slice(&plain);
//! let length = protector.protect_rtp(&mut packet, plain.len())?;
//! assert_eq!(length, plain.len() + protector.rtp_overhead());
//!
//! let length = unprotector.unprotect_rtp(&mut packet[..length])?;
//! assert_eq!(packet[..length], plain);
//! # Ok::<(), confab_srtp::SrtpError>(())
//! ```
//!
//! # Standards
//! RFC 3711 (SRTP, AES in counter mode, HMAC-SHA1, key derivation without a derivation rate, MKI), RFC 6188 (AES-256), RFC 7714 (AES-GCM), RFC 4568 §6.2 (names
//! and lengths).

mod cipher;
mod derive;
mod error;
mod fuzz;
mod header;
mod key;
mod protect;
mod replay;
mod rollover;
mod suite;
mod transform;
mod unprotect;

pub use error::SrtpError;
pub use fuzz::fuzz_srtp;
pub use key::{MAX_MKI, MasterKey, Mki};
pub use protect::Protector;
pub use suite::Suite;
pub use unprotect::Unprotector;

/// The most octets that protection adds to a packet: an SRTCP index, the longest tag, the longest MKI.
pub const MAX_OVERHEAD: usize = 4 + 16 + MAX_MKI;
