//! Decoding of one incoming Opus stream, whatever its packets hold: 2.5 to 120 ms, one or many frames, mono or stereo.

use super::raw::{self, RawDecoder};
use super::{RATE_HZ, TEN_MS, activity};
use crate::codec::{DecodeError, Decoder};

/// The longest frame that libopus conceals at once: 20 ms.
const MAX_CONCEALED: usize = 2 * TEN_MS;

/// The longest frame of a packet: 60 ms.
const MAX_FRAME: usize = 6 * TEN_MS;

/// Decoder for one incoming Opus stream, about 25 KB.
///
/// libopus conceals by itself, joins what follows, and downmixes stereo: the mean of both channels.
#[derive(Debug)]
pub struct OpusDecoder {
    raw: RawDecoder,
    /// Samples of each frame in the newest packet, up to 20 ms: what is concealed at once.
    unit: usize,
    /// Room for a frame of which only a part is wanted.
    frame: Box<[i16]>,
    /// Concealed samples beyond the last call's.
    surplus: std::ops::Range<usize>,
}

impl OpusDecoder {
    /// Makes a decoder with no history.
    #[must_use]
    pub fn new() -> Self {
        Self {
            raw: RawDecoder::new(),
            unit: MAX_CONCEALED,
            frame: vec![0; MAX_FRAME].into_boxed_slice(),
            surplus: 0..0,
        }
    }
}

impl Default for OpusDecoder {
    fn default() -> Self {
        Self::new()
    }
}

impl Decoder for OpusDecoder {
    fn sample_rate_hz(&self) -> u32 {
        RATE_HZ
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, DecodeError> {
        if payload.is_empty() {
            return Err(DecodeError::Empty);
        }
        raw::packet_samples(payload).map_err(|_| DecodeError::Malformed)
    }

    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError> {
        let samples = self.samples(payload)?;
        let capacity = out.len();
        let Some(out) = out.get_mut(..samples) else {
            return Err(DecodeError::BufferTooSmall { samples, capacity });
        };
        self.surplus = 0..0;
        self.unit = raw::frame_samples(payload)
            .unwrap_or(MAX_CONCEALED)
            .min(MAX_CONCEALED);
        self.raw.decode(payload, out).map_err(|_| DecodeError::Malformed)
    }

    fn conceal(&mut self, mut out: &mut [i16]) {
        let left_over = self.surplus.len().min(out.len());
        let (first, rest) = out.split_at_mut(left_over);
        first.copy_from_slice(&self.frame[self.surplus.start..self.surplus.start + left_over]);
        self.surplus.start += left_over;
        out = rest;
        while !out.is_empty() {
            let unit = self.unit;
            if out.len() < unit {
                let frame = &mut self.frame[..unit];
                if self.raw.conceal(frame).is_err() {
                    frame.fill(0);
                }
                out.copy_from_slice(&frame[..out.len()]);
                self.surplus = out.len()..unit;
                return;
            }
            let (piece, rest) = out.split_at_mut(unit);
            if self.raw.conceal(piece).is_err() {
                piece.fill(0);
            }
            out = rest;
        }
    }

    fn is_inactive(&self, payload: &[u8]) -> bool {
        activity::is_inactive(payload)
    }

    fn carries_fec(&self, payload: &[u8]) -> bool {
        raw::has_fec(payload)
    }

    fn decode_fec(&mut self, next_payload: &[u8], out: &mut [i16]) -> bool {
        if !raw::has_fec(next_payload) {
            return false;
        }
        let Some(repeated) = raw::frame_samples(next_payload).filter(|&samples| samples <= MAX_FRAME) else {
            return false;
        };
        let before = out.len().saturating_sub(repeated);
        self.conceal(&mut out[..before]);
        self.surplus = 0..0;
        let out = &mut out[before..];
        let frame = &mut self.frame[..repeated];
        if self.raw.decode_fec(next_payload, frame).is_err() {
            self.conceal(out);
            return true;
        }
        out.copy_from_slice(&frame[repeated - out.len()..]);
        true
    }

    fn reset(&mut self) {
        // libopus's state stays: the far encoder's predictions go on from what it last sent.
        self.surplus = 0..0;
    }
}
