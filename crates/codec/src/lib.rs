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
//! All memory is taken when a codec is made; no call allocates, locks or panics on any input. For 20 ms of audio (figures and
//! machine in `bench/README.md`) G.711 takes about 0.1 µs to encode or decode, G.722 some µs, Opus some tens of µs to decode
//! and about a hundred to encode; the first concealed frame of a loss takes 12 µs at 8 kHz and 40 µs at 48 kHz,
//! later ones 4 to 20 µs, Opus as long as decoding.
//!
//! # Opus
//! libopus 1.6, linked statically and built from its source, which needs cmake and a C compiler. A listener's wishes come from
//! his `a=fmtp` line ([`OpusSettings::from_fmtp`]). Redundancy for lost packets (in-band FEC) is added when he asked for it and
//! [`Encoder::set_loss`] tells of loss; received redundancy is used by [`Decoder::decode_fec`]. A packet in which nobody speaks is known by
//! its flags, without decoding it: [`Decoder::is_inactive`].
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
//! assert!(heard[0] > 950); // it goes on
//! ```
//!
//! # Standards
//! ITU-T G.711 (both laws, exact over their whole input) and, with the differences its module names, Appendix I
//! (concealment, used for G.722 and L16 as well); ITU-T G.722 at 64 kbit/s, to the bit; RFC 6716 and RFC 7587 (Opus and its
//! parameters); RFC 3389 (comfort noise); RFC 3551 §4.5.2, §4.5.11, §4.5.14 and §6 (payload formats, names, rates, static
//! payload types).

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
