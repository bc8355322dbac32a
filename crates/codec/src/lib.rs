//! Audio codecs with loss concealment behind one trait.
//!
//! # What it is for
//! Turning the payloads of an RTP stream into 16-bit samples and back. [`CodecKind`] is the closed list of codecs and knows
//! their rates; [`Decoder`] and [`Encoder`] are what a leg works with. A decoder also fills what the network lost, because
//! only the codec knows how its signal goes on.
//!
//! # What it does not do
//! It knows no RTP, SDP, timing or buffering: which frame is lost is decided by the jitter buffer. It does not resample or
//! mix. It has no clock, thread or I/O.
//!
//! # Costs
//! All memory is taken when a codec is made; no call allocates, locks or fails on any input. For 20 ms of audio (figures and
//! machine in `bench/README.md`) G.711 takes about 0.1 µs to encode or decode; the first concealed frame of a loss takes some
//! µs for the pitch search, later ones below 1 µs.
//!
//! # Example
//! ```
//! use confab_codec::CodecKind;
//!
//! let kind = CodecKind::by_name("pcmu", 8000, 1).expect("a codec of this server");
//! let (mut encoder, mut decoder) = (kind.encoder(), kind.decoder());
//!
//! let speech = [1000_i16; 160];
//! let mut payload = [0_u8; 160];
//! let octets = encoder.encode(&speech, &mut payload);
//!
//! let mut heard = [0_i16; 160];
//! assert_eq!(decoder.samples(&payload[..octets]), Ok(160));
//! assert_eq!(decoder.decode(&payload[..octets], &mut heard), Ok(160));
//! assert_eq!(heard, [988; 160]);
//!
//! decoder.conceal(&mut heard); // the next packet did not come
//! assert_eq!(heard[0], 988);
//! ```
//!
//! # Standards
//! ITU-T G.711 (both laws, exact over their whole input) and, with the differences its module names, Appendix I
//! (concealment); RFC 3551 §4.5.14 (payload format, names, rates).

mod codec;
mod coding;
pub mod comfort_noise;
mod concealment;
mod fuzz;
pub mod g711;
pub mod g722;
pub mod l16;
pub mod opus;

pub use codec::{CodecKind, DecodeError, Decoder};
pub use coding::{Coding, Encoder};
pub use comfort_noise::{ComfortNoise, NoiseDescription};
pub use fuzz::fuzz_decoders;
pub use opus::OpusSettings;
