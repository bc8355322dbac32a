//! The traits every codec implements and the closed list of codecs. Owns no codec's arithmetic.

use crate::g711::{G711Decoder, G711Encoder, Law};

/// Why a payload cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload is empty.
    #[error("the payload is empty")]
    Empty,
    /// The payload decodes to more samples than the caller's buffer holds.
    #[error("the payload has {samples} samples, the buffer holds {capacity}")]
    BufferTooSmall {
        /// Samples the payload has.
        samples: usize,
        /// Samples the buffer holds.
        capacity: usize,
    },
}

/// One incoming stream's decoder with its concealment state. No method allocates.
pub trait Decoder: Send {
    /// Tells how many samples a payload decodes to, without decoding it.
    ///
    /// # Errors
    /// [`DecodeError::Empty`] for a payload without audio.
    fn samples(&self, payload: &[u8]) -> Result<usize, DecodeError>;

    /// Decodes a payload into the front of `out`; returns the number of samples written.
    ///
    /// After concealed audio the start of the frame is joined smoothly to it.
    ///
    /// # Errors
    /// [`DecodeError`]; the state is as before, the caller conceals the frame.
    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError>;

    /// Fills `out` with what likely stood in a lost stretch; consecutive calls continue and fade out.
    fn conceal(&mut self, out: &mut [i16]);

    /// Told that the stream is silent on purpose: concealment and smoothing start afresh with the next frame.
    fn reset(&mut self);
}

/// One outgoing stream's encoder. No method allocates.
pub trait Encoder: Send {
    /// Encodes one packet's samples into the front of `out`; returns the number of octets written.
    ///
    /// `out` must hold [`CodecKind::max_payload`] of `pcm.len()` octets; samples that do not fit are left out.
    fn encode(&mut self, pcm: &[i16], out: &mut [u8]) -> usize;
}

/// The codecs of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// G.711 µ-law, RFC 3551 §4.5.14.
    Pcmu,
    /// G.711 A-law, RFC 3551 §4.5.14.
    Pcma,
}

impl CodecKind {
    /// Finds a codec by its SDP encoding name (case-insensitive) and RTP clock rate.
    #[must_use]
    pub fn by_name(name: &str, clock_hz: u32) -> Option<Self> {
        [Self::Pcmu, Self::Pcma]
            .into_iter()
            .find(|kind| kind.name().eq_ignore_ascii_case(name) && kind.rtp_clock_hz() == clock_hz)
    }

    /// The SDP encoding name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
        }
    }

    /// Rate of the decoded samples in Hz.
    #[must_use]
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// Rate of the RTP timestamps in Hz; differs from the sample rate for G.722.
    #[must_use]
    pub const fn rtp_clock_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
        }
    }

    /// Upper bound of the octets that `samples` encode to.
    #[must_use]
    pub const fn max_payload(self, samples: usize) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => samples,
        }
    }

    /// Makes a decoder; this is the only allocation of its life.
    #[must_use]
    pub fn decoder(self) -> Box<dyn Decoder> {
        Box::new(G711Decoder::new(self.law()))
    }

    /// Makes an encoder; this is the only allocation of its life.
    #[must_use]
    pub fn encoder(self) -> Box<dyn Encoder> {
        Box::new(G711Encoder::new(self.law()))
    }

    const fn law(self) -> Law {
        match self {
            Self::Pcmu => Law::Mu,
            Self::Pcma => Law::A,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codecs_are_found_by_name_and_clock() {
        let rows = [
            ("PCMU", 8000, Some(CodecKind::Pcmu)),
            ("pcma", 8000, Some(CodecKind::Pcma)),
            ("PCMU", 16_000, None),
            ("", 8000, None),
            ("PCMU ", 8000, None),
            ("telephone-event", 8000, None),
        ];
        for (name, clock, expected) in rows {
            assert_eq!(CodecKind::by_name(name, clock), expected, "{name} {clock}");
        }
    }

    #[test]
    fn what_does_not_fit_is_refused_and_leaves_the_decoder_as_it_was() {
        for kind in [CodecKind::Pcmu, CodecKind::Pcma] {
            let mut decoder = kind.decoder();
            let payload = [0x31; 160];
            let mut before = [0; 160];
            decoder.decode(&payload, &mut before).unwrap();
            decoder.conceal(&mut [0; 160]);
            assert_eq!(decoder.decode(&[], &mut before), Err(DecodeError::Empty));
            let too_small = DecodeError::BufferTooSmall {
                samples: 160,
                capacity: 159,
            };
            assert_eq!(decoder.decode(&payload, &mut [0; 159]), Err(too_small));
            let mut blended = [0; 160];
            assert_eq!(decoder.decode(&payload, &mut blended), Ok(160));
            assert_eq!(blended[80..], before[80..]);
        }
    }

    #[test]
    fn encoding_stops_at_the_end_of_either_buffer() {
        let mut encoder = CodecKind::Pcma.encoder();
        assert_eq!(encoder.encode(&[0; 10], &mut [0; 4]), 4);
        assert_eq!(encoder.encode(&[0; 3], &mut [0; 4]), 3);
        assert_eq!(encoder.encode(&[], &mut []), 0);
    }

    #[test]
    fn without_loss_every_packet_decodes_to_the_table_whatever_its_size() {
        let mut decoder = CodecKind::Pcmu.decoder();
        let payload: Vec<u8> = (0..=255).cycle().take(4800).collect();
        let mut expected = vec![0; payload.len()];
        Law::Mu.decode(&payload, &mut expected);
        for size in [1, 80, 160, 240, 480, 511, 512, 513, 960, 4800] {
            for (octets, samples) in payload.chunks(size).zip(expected.chunks(size)) {
                let mut out = vec![0; size];
                assert_eq!(decoder.decode(octets, &mut out), Ok(octets.len()));
                assert_eq!(out[..octets.len()], *samples, "packets of {size}");
            }
        }
    }
}
