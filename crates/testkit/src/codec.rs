//! Owns the codecs a test participant speaks: their names in session descriptions, their rates, and samples to payloads and back.
//!
//! G.711 is the test side's own, L16 needs none, G.722 and Opus come from libraries that the server's codecs share no code with, except
//! for libopus itself, which there is only one of. Never conceals and never repairs: a packet gives the samples that are in it.

use audio_codec::g722::{G722Decoder, G722Encoder};
use audio_codec::{Decoder as _, Encoder as _};

use crate::g711::Law;

/// Samples of 10 ms of Opus.
const OPUS_10_MS: usize = 480;
/// Longest Opus packet in samples (120 ms) and octets (RFC 6716 §3.2, §3.4).
const OPUS_PACKET_SAMPLES: usize = 5760;
const OPUS_PACKET_OCTETS: usize = 1275 * 6;

/// A codec of a test participant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Codec {
    /// G.711 µ-law, 8 kHz.
    Pcmu,
    /// G.711 A-law, 8 kHz.
    Pcma,
    /// G.722 at 64 kbit/s: 16 kHz audio, 8000 Hz RTP clock (RFC 3551 §4.5.2).
    G722,
    /// Opus, sent and heard as mono at 48 kHz (RFC 7587).
    Opus,
    /// Samples of 16 bits, one channel, at this rate in Hz (RFC 3551 §4.5.11).
    L16(u32),
}

impl From<Law> for Codec {
    fn from(law: Law) -> Self {
        match law {
            Law::Mu => Self::Pcmu,
            Law::A => Self::Pcma,
        }
    }
}

impl Codec {
    /// Every codec, L16 at each rate that servers have.
    pub const ALL: [Self; 8] = [
        Self::Pcmu,
        Self::Pcma,
        Self::G722,
        Self::Opus,
        Self::L16(8000),
        Self::L16(16_000),
        Self::L16(44_100),
        Self::L16(48_000),
    ];

    /// Returns the rate of the samples in Hz.
    pub fn rate_hz(self) -> u32 {
        match self {
            Self::Pcmu | Self::Pcma => 8000,
            Self::G722 => 16_000,
            Self::Opus => 48_000,
            Self::L16(rate_hz) => rate_hz,
        }
    }

    /// Returns the rate of RTP timestamps in Hz.
    pub fn rtp_clock_hz(self) -> u32 {
        match self {
            Self::G722 => 8000,
            other => other.rate_hz(),
        }
    }

    /// Returns the value of an `rtpmap` attribute behind the payload type.
    pub fn rtpmap(self) -> String {
        match self {
            Self::Pcmu => "PCMU/8000".to_owned(),
            Self::Pcma => "PCMA/8000".to_owned(),
            Self::G722 => "G722/8000".to_owned(),
            Self::Opus => "opus/48000/2".to_owned(),
            Self::L16(rate_hz) => format!("L16/{rate_hz}"),
        }
    }

    /// Reads the value of an `rtpmap` attribute behind the payload type; `None` for a codec that is none of these.
    pub fn from_rtpmap(value: &str) -> Option<Self> {
        let mut parts = value.trim().split('/');
        let name = parts.next()?.to_ascii_uppercase();
        let clock: u32 = parts.next()?.parse().ok()?;
        let channels: u8 = parts.next().map_or(Some(1), |part| part.parse().ok())?;
        match (name.as_str(), clock, channels) {
            ("PCMU", 8000, 1) => Some(Self::Pcmu),
            ("PCMA", 8000, 1) => Some(Self::Pcma),
            ("G722", 8000, 1) => Some(Self::G722),
            ("OPUS", 48_000, 2) => Some(Self::Opus),
            ("L16", rate_hz, 1) => Some(Self::L16(rate_hz)),
            _ => None,
        }
    }

    /// Returns the codec that RFC 3551 §6 gives this payload type.
    pub fn of_static_type(payload_type: u8) -> Option<Self> {
        match payload_type {
            0 => Some(Self::Pcmu),
            8 => Some(Self::Pcma),
            9 => Some(Self::G722),
            11 => Some(Self::L16(44_100)),
            _ => None,
        }
    }

    /// Returns the payload type that an agent offers it with: the static one where there is one.
    pub fn payload_type(self) -> u8 {
        match self {
            Self::Pcmu => 0,
            Self::Pcma => 8,
            Self::G722 => 9,
            Self::Opus => 111,
            Self::L16(44_100) => 11,
            Self::L16(8000) => 112,
            Self::L16(16_000) => 113,
            Self::L16(48_000) => 114,
            Self::L16(_) => 115,
        }
    }

    /// Returns the number of samples in a packet of `ptime_ms`.
    pub fn samples_in(self, ptime_ms: u32) -> usize {
        (u64::from(self.rate_hz()) * u64::from(ptime_ms) / 1000) as usize
    }

    /// Returns the octets that code samples independently of all others; `None` for codecs with a memory.
    pub(crate) fn encode_stateless(self, samples: &[i16]) -> Option<Vec<u8>> {
        match self {
            Self::Pcmu => Some(Law::Mu.encode_block(samples)),
            Self::Pcma => Some(Law::A.encode_block(samples)),
            Self::L16(_) => Some(samples.iter().flat_map(|sample| sample.to_be_bytes()).collect()),
            Self::G722 | Self::Opus => None,
        }
    }
}

/// How an agent encodes Opus. The default leaves everything to libopus and everything special off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OpusEncoding {
    /// Bit rate in bit/s; 0 leaves it to libopus.
    pub bitrate_bps: u32,
    /// Puts a copy of each frame at low rate into the next one.
    pub fec: bool,
    /// Loss in percent that the encoder is made ready for.
    pub loss_percent: u8,
    /// Sends next to nothing in silence.
    pub dtx: bool,
    /// Codes no more than a signal of this rate in Hz holds: 8000, 12,000, 16,000 or 24,000; anything else leaves it to libopus.
    pub bandwidth_hz: u32,
}

/// Turns samples into packets.
pub struct Encoder(Coder);

enum Coder {
    Stateless(Codec),
    G722(Box<G722Encoder>),
    Opus(opus::Encoder),
}

impl Encoder {
    /// Makes an encoder at its beginning for packets of `ptime_ms`. Opus in packets of 30 and 50 ms is sent without the modes that have
    /// FEC and DTX: several frames in a packet have to be of one mode.
    pub fn new(codec: Codec, ptime_ms: u32, opus: OpusEncoding) -> Self {
        Self(match codec {
            Codec::G722 => Coder::G722(Box::default()),
            Codec::Opus => {
                let is_one_frame = matches!(ptime_ms, 10 | 20 | 40 | 60);
                Coder::Opus(opus_encoder(is_one_frame, opus).expect("settings within libopus's ranges"))
            }
            other => Coder::Stateless(other),
        })
    }

    /// Encodes one packet.
    pub fn encode(&mut self, samples: &[i16]) -> Vec<u8> {
        match &mut self.0 {
            Coder::Stateless(codec) => codec.encode_stateless(samples).unwrap_or_default(),
            Coder::G722(encoder) => {
                let mut payload = vec![0; encoder.max_encode_bytes(samples.len())];
                let length = encoder.encode_into(samples, &mut payload).expect("room for all");
                payload.truncate(length);
                payload
            }
            Coder::Opus(encoder) => encode_opus(encoder, samples).expect("a packet of whole frames"),
        }
    }
}

fn opus_encoder(is_one_frame: bool, settings: OpusEncoding) -> opus::Result<opus::Encoder> {
    let application = if is_one_frame {
        opus::Application::Voip
    } else {
        opus::Application::LowDelay
    };
    let mut encoder = opus::Encoder::new(48_000, opus::Channels::Mono, application)?;
    if !is_one_frame {
        encoder.set_bandwidth(opus::Bandwidth::Fullband)?;
    }
    if settings.bitrate_bps > 0 {
        let bitrate = settings.bitrate_bps.min(510_000) as i32;
        encoder.set_bitrate(opus::Bitrate::Bits(bitrate))?;
    }
    encoder.set_inband_fec(settings.fec)?;
    encoder.set_packet_loss_perc(i32::from(settings.loss_percent.min(100)))?;
    encoder.set_dtx(settings.dtx)?;
    let bandwidth = match settings.bandwidth_hz {
        8000 => opus::Bandwidth::Narrowband,
        12_000 => opus::Bandwidth::Mediumband,
        16_000 => opus::Bandwidth::Wideband,
        24_000 => opus::Bandwidth::Superwideband,
        _ => opus::Bandwidth::Fullband,
    };
    encoder.set_max_bandwidth(bandwidth)?;
    Ok(encoder)
}

/// libopus has frames of 10, 20, 40 and 60 ms; packets of 30 and 50 ms are made of several (RFC 6716 §3.2).
fn encode_opus(encoder: &mut opus::Encoder, samples: &[i16]) -> opus::Result<Vec<u8>> {
    if matches!(samples.len() / OPUS_10_MS, 1 | 2 | 4 | 6) {
        return encoder.encode_vec(samples, OPUS_PACKET_OCTETS);
    }
    let frames = samples
        .chunks(OPUS_10_MS)
        .map(|frame| encoder.encode_vec(frame, OPUS_PACKET_OCTETS))
        .collect::<opus::Result<Vec<_>>>()?;
    let frames: Vec<&[u8]> = frames.iter().map(Vec::as_slice).collect();
    let mut packet = vec![0; OPUS_PACKET_OCTETS];
    let length = opus::Repacketizer::new()?.combine(&frames, &mut packet)?;
    packet.truncate(length);
    Ok(packet)
}

/// Turns packets into samples, in the order of the stream.
pub struct Decoder(Reader);

enum Reader {
    Law(Law),
    L16,
    G722(Box<G722Decoder>),
    Opus(opus::Decoder),
}

impl Decoder {
    /// Makes a decoder at its beginning.
    pub fn new(codec: Codec) -> Self {
        Self(match codec {
            Codec::Pcmu => Reader::Law(Law::Mu),
            Codec::Pcma => Reader::Law(Law::A),
            Codec::L16(_) => Reader::L16,
            Codec::G722 => Reader::G722(Box::default()),
            Codec::Opus => {
                let decoder = opus::Decoder::new(48_000, opus::Channels::Mono);
                Reader::Opus(decoder.expect("a rate and channels that libopus has"))
            }
        })
    }

    /// Appends the samples of one payload to `out`. A payload that is no packet of the codec gives none.
    pub fn decode_into(&mut self, payload: &[u8], out: &mut Vec<i16>) {
        match &mut self.0 {
            Reader::Law(law) => law.decode_into(payload, out),
            Reader::L16 => {
                let (pairs, _) = payload.as_chunks::<2>();
                out.extend(pairs.iter().map(|pair| i16::from_be_bytes(*pair)));
            }
            Reader::G722(decoder) => {
                let start = out.len();
                out.resize(start + decoder.max_decode_samples(payload.len()), 0);
                let length = decoder.decode_into(payload, &mut out[start..]).unwrap_or(0);
                out.truncate(start + length);
            }
            Reader::Opus(decoder) => {
                let start = out.len();
                out.resize(start + OPUS_PACKET_SAMPLES, 0);
                let length = decoder.decode(payload, &mut out[start..], false).unwrap_or(0);
                out.truncate(start + length);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::meter;

    #[test]
    fn every_codec_is_known_by_what_it_is_offered_as() {
        for codec in Codec::ALL {
            assert_eq!(Codec::from_rtpmap(&codec.rtpmap()), Some(codec));
            let by_type = Codec::of_static_type(codec.payload_type());
            assert!(by_type == Some(codec) || codec.payload_type() >= 96, "{codec:?}");
        }
        for value in ["opus/48000", "L16/16000/2", "G722/16000", "GSM/8000", "PCMU", ""] {
            assert_eq!(Codec::from_rtpmap(value), None, "{value}");
        }
    }

    #[test]
    fn a_tone_survives_every_codec_at_every_packet_time() {
        for codec in Codec::ALL {
            for ptime_ms in [10, 20, 30, 40, 50, 60] {
                let size = codec.samples_in(ptime_ms);
                let rate = codec.rate_hz() as usize;
                let tone = meter::sine(1000.0, -20.0, codec.rate_hz(), 0, 2 * rate);
                let mut encoder = Encoder::new(codec, ptime_ms, OpusEncoding::default());
                let mut decoder = Decoder::new(codec);
                let mut heard = Vec::new();
                for packet in tone.chunks_exact(size) {
                    decoder.decode_into(&encoder.encode(packet), &mut heard);
                }
                assert_eq!(heard.len(), tone.len() / size * size, "{codec:?} {ptime_ms}");
                let level = meter::tone_dbfs(&heard[rate / 2..rate * 3 / 2], codec.rate_hz(), 1000.0);
                assert!((level + 20.0).abs() < 0.5, "{codec:?} {ptime_ms} ms: {level}");
            }
        }
    }

    #[test]
    fn payloads_that_are_no_packets_give_no_samples() {
        for codec in [Codec::Opus, Codec::L16(8000)] {
            let mut heard = Vec::new();
            Decoder::new(codec).decode_into(&[0xFF], &mut heard);
            assert!(heard.is_empty(), "{codec:?}");
        }
    }
}
