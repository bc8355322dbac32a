//! L16: linear samples in network order (RFC 3551 §4.5.11), one or two channels. Holds no state but the concealment's.

use crate::codec::{DecodeError, Decoder};
use crate::concealment::Concealment;

/// Decoder for one incoming L16 stream.
#[derive(Debug, Clone)]
pub struct L16Decoder {
    rate_hz: u32,
    channels: usize,
    concealment: Concealment,
}

impl L16Decoder {
    /// Makes a decoder with no history for `rate_hz` samples per second of 1 or 2 channels.
    #[must_use]
    pub fn new(rate_hz: u32, channels: u8) -> Self {
        Self {
            rate_hz,
            channels: usize::from(channels.max(1)),
            concealment: Concealment::new(rate_hz),
        }
    }
}

impl Decoder for L16Decoder {
    fn sample_rate_hz(&self) -> u32 {
        self.rate_hz
    }

    fn samples(&self, payload: &[u8]) -> Result<usize, DecodeError> {
        // A last sample that is not whole is left out.
        match payload.len() / (2 * self.channels) {
            0 if payload.is_empty() => Err(DecodeError::Empty),
            0 => Err(DecodeError::Malformed),
            samples => Ok(samples),
        }
    }

    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError> {
        let samples = self.samples(payload)?;
        let capacity = out.len();
        let Some(out) = out.get_mut(..samples) else {
            return Err(DecodeError::BufferTooSmall { samples, capacity });
        };
        for (sample, octets) in out.iter_mut().zip(payload.chunks_exact(2 * self.channels)) {
            *sample = mean(octets);
        }
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

/// The mean of one moment's channels, rounded down.
fn mean(octets: &[u8]) -> i16 {
    let (channels, _) = octets.as_chunks::<2>();
    let sum: i32 = channels
        .iter()
        .map(|&octets| i32::from(i16::from_be_bytes(octets)))
        .sum();
    (sum >> (channels.len() - 1)) as i16
}

/// Encodes samples, each into all of `channels`; returns the number of octets written.
pub(crate) fn encode(pcm: &[i16], channels: u8, out: &mut [u8]) -> usize {
    let width = 2 * usize::from(channels.max(1));
    let mut written = 0;
    for (moment, sample) in out.chunks_exact_mut(width).zip(pcm) {
        for octets in moment.chunks_exact_mut(2) {
            octets.copy_from_slice(&sample.to_be_bytes());
        }
        written += width;
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_in_network_order_and_channels_are_averaged() {
        let rows: [(u8, &[u8], &[i16]); 5] = [
            (1, &[0x12, 0x34, 0xff, 0xfe], &[0x1234, -2]),
            (1, &[0x80, 0x00, 0x7f, 0xff, 0x01], &[i16::MIN, i16::MAX]),
            (2, &[0x00, 0x02, 0x00, 0x04], &[3]),
            (
                2,
                &[0x80, 0x00, 0x80, 0x00, 0x7f, 0xff, 0x80, 0x00],
                &[i16::MIN, -1],
            ),
            (2, &[0x00, 0x02, 0x00, 0x04, 0x55, 0x55], &[3]),
        ];
        for (channels, payload, expected) in rows {
            let mut decoder = L16Decoder::new(48_000, channels);
            let mut out = [0; 8];
            assert_eq!(decoder.samples(payload), Ok(expected.len()));
            assert_eq!(decoder.decode(payload, &mut out), Ok(expected.len()));
            assert_eq!(out[..expected.len()], *expected);
        }
        assert_eq!(L16Decoder::new(8000, 1).samples(&[]), Err(DecodeError::Empty));
        assert_eq!(
            L16Decoder::new(8000, 2).samples(&[1, 2, 3]),
            Err(DecodeError::Malformed)
        );
    }

    #[test]
    fn encoding_and_decoding_is_exact_for_every_sample() {
        let all: Vec<i16> = (i16::MIN..=i16::MAX).collect();
        for channels in [1, 2] {
            let width = 2 * usize::from(channels);
            let mut payload = vec![0; all.len() * width];
            assert_eq!(encode(&all, channels, &mut payload), payload.len());
            let mut heard = vec![0; all.len()];
            let mut decoder = L16Decoder::new(16_000, channels);
            assert_eq!(decoder.decode(&payload, &mut heard), Ok(all.len()));
            assert_eq!(heard, all);
        }
    }

    #[test]
    fn encoding_stops_at_the_end_of_either_buffer() {
        assert_eq!(encode(&[1, 2, 3], 1, &mut [0; 5]), 4);
        assert_eq!(encode(&[1, 2, 3], 2, &mut [0; 100]), 12);
        assert_eq!(encode(&[], 2, &mut [0; 100]), 0);
    }
}
