//! The trait every decoder implements and the closed list of codecs. Owns no codec's arithmetic.

use crate::coding::{Coding, Encoder};
use crate::g711::{G711Decoder, Law};
use crate::g722::G722Decoder;
use crate::l16::L16Decoder;
use crate::opus::{self, OpusDecoder};

/// Why a payload cannot be decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// The payload is empty.
    #[error("the payload is empty")]
    Empty,
    /// The payload is not one of this codec.
    #[error("the payload is malformed")]
    Malformed,
    /// The payload decodes to more samples than the caller's buffer holds.
    #[error("the payload has {samples} samples, the buffer holds {capacity}")]
    BufferTooSmall {
        /// Samples the payload has.
        samples: usize,
        /// Samples the buffer holds.
        capacity: usize,
    },
}

/// One incoming stream's decoder with its concealment state. All samples are mono. No method allocates.
pub trait Decoder: Send {
    /// The rate of the decoded samples in Hz.
    fn sample_rate_hz(&self) -> u32;

    /// Tells how many samples a payload decodes to, without decoding it.
    ///
    /// # Errors
    /// [`DecodeError::Empty`] for a payload without audio, [`DecodeError::Malformed`] for one of another codec.
    fn samples(&self, payload: &[u8]) -> Result<usize, DecodeError>;

    /// Decodes a payload into the front of `out`; returns the number of samples written.
    ///
    /// After concealed audio the start of the frame is joined smoothly to it.
    ///
    /// # Errors
    /// [`DecodeError`]; the caller conceals the frame.
    fn decode(&mut self, payload: &[u8], out: &mut [i16]) -> Result<usize, DecodeError>;

    /// Fills `out` with what likely stood in a lost stretch; consecutive calls continue and fade out.
    fn conceal(&mut self, out: &mut [i16]);

    /// Whether a payload says of itself that nobody speaks in it: at most the background is in it, however loud that is. Told
    /// without decoding; `false` where it says nothing, as with most codecs.
    fn is_inactive(&self, _payload: &[u8]) -> bool {
        false
    }

    /// Whether a payload repeats, coarsely, the audio of the frame before it: see [`decode_fec`](Self::decode_fec).
    fn carries_fec(&self, _payload: &[u8]) -> bool {
        false
    }

    /// Fills `out`, a lost stretch that ends where `next_payload` begins, from the redundancy in that payload; what lies
    /// before the part it repeats is concealed. Call it once for the whole stretch, then [`decode`](Self::decode) the payload
    /// itself.
    ///
    /// Returns false, having done nothing, when there is no redundancy: the caller conceals.
    fn decode_fec(&mut self, _next_payload: &[u8], _out: &mut [i16]) -> bool {
        false
    }

    /// Told that the stream is silent on purpose: concealment and smoothing start afresh with the next frame.
    fn reset(&mut self);
}

/// The codecs of this server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum CodecKind {
    /// G.711 µ-law, RFC 3551 §4.5.14.
    Pcmu,
    /// G.711 A-law, RFC 3551 §4.5.14.
    Pcma,
    /// G.722 at 64 kbit/s, RFC 3551 §4.5.2: 16 kHz audio under an RTP clock of 8 kHz.
    G722,
    /// Linear 16-bit samples, RFC 3551 §4.5.11.
    L16 {
        /// Samples per second and channel: 8000, 16,000, 44,100 or 48,000.
        rate_hz: u32,
        /// Channels on the wire, 1 or 2; decoded to their mean, encoded all alike.
        channels: u8,
    },
    /// Opus, RFC 6716 and RFC 7587; always decoded to 48 kHz.
    Opus,
}

/// Rates at which linear samples are taken.
const L16_RATES_HZ: [u32; 4] = [8000, 16_000, 44_100, 48_000];

impl CodecKind {
    /// Finds a codec by its SDP encoding name (case-insensitive), RTP clock rate and number of channels (1 where the
    /// description names none).
    #[must_use]
    pub fn by_name(name: &str, clock_hz: u32, channels: u8) -> Option<Self> {
        let found = |kind: Self| kind.name().eq_ignore_ascii_case(name) && kind.rtp_clock_hz() == clock_hz;
        let mono = [Self::Pcmu, Self::Pcma, Self::G722];
        if let Some(kind) = mono.into_iter().find(|&kind| channels == 1 && found(kind)) {
            return Some(kind);
        }
        if !(1..=2).contains(&channels) {
            return None;
        }
        // RFC 7587 §7 wants "opus/48000/2"; who leaves out the 2 means the same codec.
        if found(Self::Opus) {
            return Some(Self::Opus);
        }
        let linear = Self::L16 {
            rate_hz: clock_hz,
            channels,
        };
        (L16_RATES_HZ.contains(&clock_hz) && found(linear)).then_some(linear)
    }

    /// The codec of a static payload type (RFC 3551 §6), which needs no description.
    #[must_use]
    pub const fn by_static_pt(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            10 => Some(Self::L16 {
                rate_hz: 44_100,
                channels: 2,
            }),
            11 => Some(Self::L16 {
                rate_hz: 44_100,
                channels: 1,
            }),
            _ => None,
        }
    }

    /// The static payload type of the codec, if it has one (RFC 3551 §6).
    #[must_use]
    pub const fn static_pt(self) -> Option<u8> {
        match self {
            Self::Pcmu => Some(0),
            Self::Pcma => Some(8),
            Self::G722 => Some(9),
            Self::L16 {
                rate_hz: 44_100,
                channels: 2,
            } => Some(10),
            Self::L16 {
                rate_hz: 44_100,
                channels: 1,
            } => Some(11),
            Self::L16 { .. } | Self::Opus => None,
        }
    }

    /// The SDP encoding name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pcmu => "PCMU",
            Self::Pcma => "PCMA",
            Self::G722 => "G722",
            Self::L16 { .. } => "L16",
            Self::Opus => "opus",
        }
    }

    /// Rate of the decoded samples in Hz.
    #[must_use]
    pub const fn sample_rate_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
            Self::G722 => 16_000,
            Self::L16 { rate_hz, .. } => rate_hz,
            Self::Opus => 48_000,
        }
    }

    /// Rate of the RTP timestamps in Hz; differs from the sample rate for G.722, which by an old mistake has two samples per
    /// unit (RFC 3551 §4.5.2).
    #[must_use]
    pub const fn rtp_clock_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 8000,
            Self::L16 { rate_hz, .. } => rate_hz,
            Self::Opus => 48_000,
        }
    }

    /// Channels as the SDP names them; Opus has always 2 there (RFC 7587 §7), whatever its packets hold.
    #[must_use]
    pub const fn channels(self) -> u8 {
        match self {
            Self::Pcmu | Self::Pcma | Self::G722 => 1,
            Self::L16 { channels, .. } => channels,
            Self::Opus => 2,
        }
    }

    /// Whether an encoder carries a state from packet to packet, so that a stream must not change to another encoder
    /// without taking the state along.
    #[must_use]
    pub const fn has_memory(self) -> bool {
        matches!(self, Self::G722 | Self::Opus)
    }

    /// Upper bound of the octets that `samples` (mono, at [`sample_rate_hz`](Self::sample_rate_hz)) encode to.
    #[must_use]
    pub const fn max_payload(self, samples: usize) -> usize {
        match self {
            Self::Pcmu | Self::Pcma => samples,
            Self::G722 => samples / 2,
            Self::L16 { channels, .. } => samples * 2 * channels as usize,
            Self::Opus => opus::MAX_PAYLOAD,
        }
    }

    /// Samples of the longest frame that decoders are asked for: 120 ms.
    #[must_use]
    pub const fn max_frame_samples(self) -> usize {
        self.sample_rate_hz() as usize * 120 / 1000
    }

    /// Makes a decoder; this is the only allocation of its life.
    #[must_use]
    pub fn decoder(self) -> Box<dyn Decoder> {
        match self {
            Self::Pcmu => Box::new(G711Decoder::new(Law::Mu)),
            Self::Pcma => Box::new(G711Decoder::new(Law::A)),
            Self::G722 => Box::new(G722Decoder::new()),
            Self::L16 { rate_hz, channels } => Box::new(L16Decoder::new(rate_hz, channels)),
            Self::Opus => Box::new(OpusDecoder::new()),
        }
    }

    /// Makes an encoder with the codec's default settings; this is the only allocation of its life.
    #[must_use]
    pub fn encoder(self) -> Encoder {
        Coding::from(self).encoder()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn l16(rate_hz: u32, channels: u8) -> CodecKind {
        CodecKind::L16 { rate_hz, channels }
    }

    #[test]
    fn codecs_are_found_by_name_clock_and_channels() {
        let rows = [
            ("PCMU", 8000, 1, Some(CodecKind::Pcmu)),
            ("pcma", 8000, 1, Some(CodecKind::Pcma)),
            ("PCMU", 16_000, 1, None),
            ("PCMU", 8000, 2, None),
            ("", 8000, 1, None),
            ("PCMU ", 8000, 1, None),
            ("telephone-event", 8000, 1, None),
            ("G722", 8000, 1, Some(CodecKind::G722)),
            ("G722", 16_000, 1, None),
            ("opus", 48_000, 2, Some(CodecKind::Opus)),
            ("OPUS", 48_000, 1, Some(CodecKind::Opus)),
            ("opus", 16_000, 2, None),
            ("opus", 48_000, 3, None),
            ("L16", 16_000, 1, Some(l16(16_000, 1))),
            ("l16", 44_100, 2, Some(l16(44_100, 2))),
            ("L16", 11_025, 1, None),
            ("L16", 48_000, 0, None),
            ("L16", 48_000, 6, None),
        ];
        for (name, clock, channels, expected) in rows {
            assert_eq!(
                CodecKind::by_name(name, clock, channels),
                expected,
                "{name} {clock} {channels}"
            );
        }
    }

    #[test]
    fn static_payload_types_name_their_codec_and_only_it() {
        for payload_type in 0..=u8::MAX {
            let kind = CodecKind::by_static_pt(payload_type);
            assert_eq!(kind.is_some(), [0, 8, 9, 10, 11].contains(&payload_type));
            assert!(kind.is_none_or(|kind| kind.static_pt() == Some(payload_type)));
        }
        assert_eq!(l16(16_000, 1).static_pt(), None);
        assert_eq!(CodecKind::Opus.static_pt(), None);
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
