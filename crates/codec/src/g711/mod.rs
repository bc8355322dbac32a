//! G.711: µ-law and A-law by table, with concealment of lost frames.
//!
//! Decoding looks each octet up in a table of 256 samples (512 octets); encoding looks each sample up in a table of
//! 65,536 octets, made at compile time. Both directions are exact over their whole input.

mod table;

pub use table::Law;

use crate::codec::{DecodeError, Decoder};
use crate::concealment::{Concealment, SMALLEST_RING};

/// Rate of the samples.
const RATE_HZ: u32 = 8000;

/// Decoder for one incoming G.711 stream, about 4.5 KB with its history.
#[derive(Debug, Clone)]
pub struct G711Decoder {
    law: Law,
    concealment: Concealment<[i16; SMALLEST_RING]>,
}

impl G711Decoder {
    /// Makes a decoder with no history.
    #[must_use]
    pub fn new(law: Law) -> Self {
        Self {
            law,
            concealment: Concealment::narrowband(),
        }
    }
}

impl Decoder for G711Decoder {
    fn sample_rate_hz(&self) -> u32 {
        RATE_HZ
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, DecodeError> {
        if payload.is_empty() {
            Err(DecodeError::Empty)
        } else {
            Ok(payload.len())
        }
    }

    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError> {
        let samples = self.samples(payload)?;
        let capacity = out.len();
        let Some(out) = out.get_mut(..samples) else {
            return Err(DecodeError::BufferTooSmall { samples, capacity });
        };
        self.law.decode(payload, out);
        self.concealment.good(out);
        Ok(samples)
    }

    fn conceal(&mut self, out: &mut [i16]) {
        self.concealment.lost(out);
    }

    fn reset(&mut self) {
        self.concealment.reset();
    }
}
