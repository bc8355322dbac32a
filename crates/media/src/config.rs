//! What the media plane is told at start and at each negotiation: plain values, checked when they are used.

use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::Duration;

pub use confab_codec::{CodecKind, Coding, OpusSettings};
pub use confab_rtp::Latch;
use confab_srtp::{MasterKey, Mki};

/// Start-up settings of the whole media plane.
#[derive(Debug, Clone)]
pub struct MediaConfig {
    /// Local addresses on which legs may be opened. Default: `0.0.0.0`.
    pub bind: Vec<IpAddr>,
    /// UDP ports for legs: RTP on an even port of the range, RTCP on the one above it. Default: 16384..=32767.
    pub ports: RangeInclusive<u16>,
    /// Number of shard threads; 0 means one less than the cores, and at least one. Default: 0.
    pub shards: usize,
    /// From where media may come besides the signalled address. Default: [`Latch::Signalling`].
    pub latch: Latch,
    /// Hard upper bound of a jitter buffer's depth. Default: 200 ms.
    pub max_delay: Duration,
    /// Silence on RTP and RTCP after which [`MediaEvent::MediaTimeout`](crate::MediaEvent::MediaTimeout) is raised. Default: 60 s.
    pub timeout: Duration,
    /// New legs are refused while the 99th percentile of turn lateness over 5 s is above this; `None` sets no bound.
    /// Default: 5 ms.
    pub max_lateness: Option<Duration>,
    /// Differentiated services code point of all media, 0..=63. Default: 46 (expedited forwarding).
    pub dscp: u8,
    /// Networks (address, prefix length) that may be sent to although they are private or loopback. Default: none.
    pub local_nets: Vec<(IpAddr, u8)>,
}

impl Default for MediaConfig {
    fn default() -> Self {
        MediaConfig {
            bind: vec![IpAddr::from([0, 0, 0, 0])],
            ports: 16384..=32767,
            shards: 0,
            latch: Latch::Signalling,
            max_delay: Duration::from_millis(200),
            timeout: Duration::from_secs(60),
            max_lateness: Some(Duration::from_millis(5)),
            dscp: 46,
            local_nets: Vec::new(),
        }
    }
}

/// Who may send audio on a leg, seen from our side (RFC 3264 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MediaDirection {
    /// Both ways.
    #[default]
    SendRecv,
    /// We send, the peer does not: its packets are dropped.
    SendOnly,
    /// The peer sends, we do not.
    RecvOnly,
    /// Nobody sends RTP; RTCP goes on.
    Inactive,
}

impl MediaDirection {
    /// Returns whether we send RTP.
    pub fn sends(self) -> bool {
        matches!(self, MediaDirection::SendRecv | MediaDirection::SendOnly)
    }

    /// Returns whether RTP of the peer is used.
    pub fn receives(self) -> bool {
        matches!(self, MediaDirection::SendRecv | MediaDirection::RecvOnly)
    }
}

/// What one offer/answer exchange decided about a leg's audio; given at the first answer and again at each re-INVITE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LegMedia {
    /// Where the peer wants its RTP. An unspecified IP (`c=IN IP4 0.0.0.0`) or port 0 means that nothing is sent.
    pub remote: SocketAddr,
    /// Where the peer wants its RTCP; ignored when `rtcp_mux`.
    pub remote_rtcp: SocketAddr,
    /// RTP and RTCP share one port (RFC 5761).
    pub rtcp_mux: bool,
    /// The keys of SRTP, when the stream is secured.
    pub srtp: Option<SrtpMedia>,
    /// Extended reports that the peer wants and sends (RFC 3611).
    pub extended_reports: ExtendedReports,
    /// The codec of both directions, and how the peer wants to be sent to.
    pub coding: Coding,
    /// Payload type that we write, 0..=127.
    pub send_pt: u8,
    /// Payload types under which the peer sends that codec.
    pub recv_pts: Vec<u8>,
    /// Further codecs that the peer may change to (RFC 3264 §7), each with its payload types.
    pub alternatives: Vec<(CodecKind, Vec<u8>)>,
    /// Telephone-events (RFC 4733), when negotiated.
    pub telephone_event: Option<TelephoneEventMedia>,
    /// Comfort noise (RFC 3389), when negotiated: silence is not sent.
    pub comfort_noise: Option<ComfortNoiseMedia>,
    /// Milliseconds of audio per packet that the peer asked for; taken down to a multiple of 10 within 10..=60, and for
    /// uncompressed audio to what fits into an Ethernet packet.
    pub ptime_ms: u16,
    /// Who sends, seen from our side.
    pub direction: MediaDirection,
    /// Address that the call's signalling comes from: media may come from there and go there.
    pub signalling_ip: IpAddr,
    /// Further addresses named by the call's Via and Contact, from which media may come.
    pub trusted_ips: Vec<IpAddr>,
}

/// The keys that secure a leg's streams (RFC 3711).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SrtpMedia {
    /// Protects what we send.
    pub send: MasterKey,
    /// Protects what the peer sends.
    pub receive: MasterKey,
    /// What names the peer's key in each of its packets, where the peer said that it does.
    pub receive_mki: Option<Mki>,
}

/// What was negotiated about extended RTCP reports (RFC 3611 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtendedReports {
    /// We send VoIP metrics (§4.7) about what we receive.
    pub voip_metrics: bool,
    /// We send reference times (§4.4) and answer the peer's (§4.5): the round trip is known without sender reports, too.
    pub receiver_round_trip: bool,
}

/// What was negotiated about telephone-events (RFC 4733).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEventMedia {
    /// Payload type under which the peer takes them, 0..=127.
    pub send_pt: u8,
    /// Payload type under which the peer sends them, 0..=127.
    pub recv_pt: u8,
    /// Clock of their timestamps and durations in Hz.
    pub clock_rate_hz: u32,
}

/// What was negotiated about comfort noise (RFC 3389). Its clock is that of the codec; Opus has pauses of its own and none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComfortNoiseMedia {
    /// Payload type under which the peer takes it, 0..=127.
    pub send_pt: u8,
    /// Payload type under which the peer sends it, 0..=127.
    pub recv_pt: u8,
}

/// How the audio of one conference is mixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ConferenceMedia {
    /// Mixing rate in Hz, a multiple of 100 within 8000..=48,000 that then stays. `None`, or any other value: the rate of
    /// the first leg, raised when a leg of a higher rate joins, never lowered.
    pub rate_hz: Option<u32>,
    /// Mixing interval in milliseconds: a multiple of 10 within 10..=120, anything else means 20.
    pub interval_ms: u16,
    /// Score above which a participant is mixed, 0..=1800; 0 is always open.
    pub energy_level: u16,
    /// Noise for those who would hear nothing: full scale divided by this number at 8 kHz, 1 is 1400, 0 is none.
    pub comfort_noise: u16,
}

impl Default for ConferenceMedia {
    fn default() -> Self {
        ConferenceMedia {
            rate_hz: None,
            interval_ms: 20,
            energy_level: 20,
            comfort_noise: 0,
        }
    }
}

/// How a leg enters a conference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct JoinOptions {
    /// The leg is not heard from its first frame on.
    pub muted: bool,
    /// The leg hears silence from its first frame on.
    pub deaf: bool,
    /// The leg is mixed like every other and never has the floor.
    pub ghost: bool,
    /// The leg is out of the mix both ways from its first frame on, as with [`LegSetting::Held`].
    pub held: bool,
}

/// Something about one leg that can be changed while it is in a conference.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum LegSetting {
    /// Out of the mix both ways, though the call goes on.
    Held(bool),
    /// Gain of what comes from it, in dB, −40..=20.
    InputGainDb(f32),
    /// Gain of what goes to it, in dB, −40..=20.
    OutputGainDb(f32),
    /// Score above which its audio gate opens, 0..=1800.
    EnergyLevel(u16),
    /// Its keys are sent on to every other leg of the conference that takes telephone-events.
    DistributeDigits(bool),
    /// Automatic gain of what comes from it.
    AutoGain(bool),
    /// Noise suppression of what comes from it.
    Denoise(bool),
}
