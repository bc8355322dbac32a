//! What this side can do: codecs and packet times as data, so that another codec is another row.

use crate::crypto::SrtpPolicy;

/// Shortest packet time that is sent, ms. A peer that asks for less gets this.
pub const MIN_PTIME_MS: u16 = 10;

/// What is offered and accepted for audio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Capabilities {
    /// Codecs in our order of preference.
    pub codecs: Vec<CodecCapability>,
    /// Whether DTMF by telephone-event (RFC 4733) is offered and accepted.
    pub telephone_event: bool,
    /// Whether comfort noise (RFC 3389) in place of silence is offered and accepted.
    pub comfort_noise: bool,
    /// Whether RTP and RTCP on one port (RFC 5761) is offered and accepted.
    pub rtcp_mux: bool,
    /// Whether extended reports about voice quality and round trip (RFC 3611) are offered and accepted.
    pub extended_reports: bool,
    /// When streams are secured, in calls that have keys.
    pub srtp: SrtpPolicy,
    /// Packet time that is offered, and used when the peer asks for none; ms.
    pub ptime_ms: u16,
    /// Longest packet time that is sent or taken; ms, at least [`MIN_PTIME_MS`], printed as `maxptime`.
    pub max_ptime_ms: u16,
    /// Whose order of codecs decides when answering.
    pub preference: CodecPreference,
}

/// Whose order of codecs decides in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CodecPreference {
    /// The first format of the offer that we have (RFC 3264 §6.1 recommends it).
    #[default]
    Offerer,
    /// The first codec of ours that is in the offer.
    Ours,
}

/// One codec that can be decoded and encoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecCapability {
    /// Encoding name of `rtpmap`, compared without regard to case.
    pub name: String,
    /// RTP clock rate, Hz (8000 for G.722 although it samples at 16 kHz, RFC 3551 §4.5.2).
    pub clock_rate: u32,
    /// Channels as written in `rtpmap`; 1 is left out there.
    pub channels: u8,
    /// The payload type that RFC 3551 assigns, when there is one; otherwise a dynamic number is used.
    pub static_pt: Option<u8>,
    /// Our `fmtp` parameters for it: what we like to receive.
    pub fmtp: Option<String>,
}

impl CodecCapability {
    /// G.711 µ-law, payload type 0.
    pub fn pcmu() -> Self {
        CodecCapability::narrowband("PCMU", 0)
    }

    /// G.711 A-law, payload type 8.
    pub fn pcma() -> Self {
        CodecCapability::narrowband("PCMA", 8)
    }

    /// G.722 at 64 kbit/s, payload type 9. It samples at 16 kHz and counts time at 8000 Hz (RFC 3551 §4.5.2).
    pub fn g722() -> Self {
        CodecCapability::narrowband("G722", 9)
    }

    /// Opus (RFC 7587), always written with two channels; `fmtp` says what we like to receive.
    pub fn opus(fmtp: impl Into<String>) -> Self {
        CodecCapability {
            name: "opus".to_owned(),
            clock_rate: 48_000,
            channels: 2,
            static_pt: None,
            fmtp: Some(fmtp.into()).filter(|fmtp| !fmtp.is_empty()),
        }
    }

    /// Uncompressed 16-bit samples, one channel, at this rate in Hz (RFC 3551 §4.5.11); payload type 11 at 44,100 Hz.
    pub fn l16(rate_hz: u32) -> Self {
        CodecCapability {
            name: "L16".to_owned(),
            clock_rate: rate_hz,
            channels: 1,
            static_pt: (rate_hz == 44_100).then_some(11),
            fmtp: None,
        }
    }

    fn narrowband(name: &str, static_pt: u8) -> Self {
        CodecCapability {
            name: name.to_owned(),
            clock_rate: 8000,
            channels: 1,
            static_pt: Some(static_pt),
            fmtp: None,
        }
    }
}

impl Default for Capabilities {
    /// PCMU and PCMA, telephone-event, no comfort noise, rtcp-mux, extended reports, no SRTP, 20 ms packets (10 to 60 ms), the offerer's order.
    fn default() -> Self {
        Capabilities {
            codecs: vec![CodecCapability::pcmu(), CodecCapability::pcma()],
            telephone_event: true,
            comfort_noise: false,
            rtcp_mux: true,
            extended_reports: true,
            srtp: SrtpPolicy::Off,
            ptime_ms: 20,
            max_ptime_ms: 60,
            preference: CodecPreference::Offerer,
        }
    }
}
