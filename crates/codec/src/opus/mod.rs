//! Opus by libopus: decoding of any stream to 48 kHz mono, encoding of mono, in-band FEC both ways.
//!
//! The library is linked statically; what the safe wrappers of it lack and this server needs (copying an encoder's state,
//! memory owned by us) is done in one file, `raw`, the only one with unsafe code.

mod activity;
mod decoder;
mod encoder;
mod raw;
mod settings;

pub use decoder::OpusDecoder;
pub(crate) use encoder::OpusEncoder;
pub use settings::OpusSettings;

/// Rate of all samples, and of the RTP clock (RFC 7587 §4.1).
const RATE_HZ: u32 = 48_000;

/// Samples in 10 ms.
const TEN_MS: usize = 480;

/// The most octets that an encoder puts into one payload: with its headers that fits an Ethernet frame. Only bitrates that a
/// conference has no use for reach it; the encoder then lowers its quality.
pub(crate) const MAX_PAYLOAD: usize = 1400;

#[cfg(test)]
mod tests;
