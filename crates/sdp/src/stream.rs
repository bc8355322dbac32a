//! The result of a negotiation: one audio stream, ready for the media plane.

use std::net::{IpAddr, SocketAddr};

use crate::crypto::SrtpKeys;
use crate::description::SessionDescription;
use crate::direction::Direction;

/// Where we receive: the sockets of the leg, with the address that the peer shall use.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LocalMedia {
    /// Address for `c=` and `o=`; the advertised one behind NAT.
    pub address: IpAddr,
    /// RTP port, even by convention.
    pub port: u16,
    /// RTCP port; when it is not `port + 1` the description says so (RFC 3605).
    pub rtcp_port: u16,
}

/// Identity of our side of the session for the `o=` line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin {
    /// Random number, the same through the whole call. Keep it below 2^63: some peers read it as signed.
    pub session_id: u64,
    /// Version of our description. [`Negotiation`](crate::Negotiation) counts it.
    pub version: u64,
}

/// What offer and answer agreed on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Negotiated {
    /// Our description: the answer to send, or the offer that was answered.
    pub description: SessionDescription,
    /// The audio stream.
    pub audio: AudioStream,
}

/// The one audio stream of a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AudioStream {
    /// Position of its `m=` line in the description.
    pub media_index: usize,
    /// Where the peer wants RTP. With a hold address (`0.0.0.0`) nothing is sent there: see `direction`.
    pub remote: SocketAddr,
    /// Where the peer wants RTCP: next port, `a=rtcp` (RFC 3605), or the same as `remote` with rtcp-mux.
    pub remote_rtcp: SocketAddr,
    /// Whether RTP and RTCP share one port in both directions (RFC 5761).
    pub rtcp_mux: bool,
    /// The keys, when the stream is secured.
    pub srtp: Option<SrtpKeys>,
    /// Extended reports (RFC 3611) to send and to expect.
    pub extended_reports: ExtendedReports,
    /// Direction seen from us: `RecvOnly` when the peer holds us with `sendonly`.
    pub direction: Direction,
    /// The codec to send.
    pub codec: CodecChoice,
    /// Further codecs that the peer may send because it named them in an answer to our offer (RFC 3264 §7).
    /// Empty when we answered: our answers name one codec.
    pub alternatives: Vec<CodecChoice>,
    /// DTMF as telephone-event, when agreed.
    pub telephone_event: Option<TelephoneEvent>,
    /// Comfort noise, when agreed: silence need not be sent.
    pub comfort_noise: Option<ComfortNoise>,
    /// Packet time to send with, ms: what the peer asks for, within our limits, a multiple of 10.
    pub ptime_ms: u16,
    /// Whether the peer put us on hold: it takes no audio from us (`sendonly`, `inactive` or a hold address).
    pub hold: bool,
}

/// The extended reports that both sides know (RFC 3611 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtendedReports {
    /// VoIP metrics (§4.7) about what is received.
    pub voip_metrics: bool,
    /// Reference times (§4.4) and answers to them (§4.5), by which a side that sends no audio measures the round trip.
    pub receiver_round_trip: bool,
}

/// A codec with the payload types agreed for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CodecChoice {
    /// Encoding name as our capability list spells it.
    pub name: String,
    /// RTP clock rate, Hz.
    pub clock_rate: u32,
    /// Channels.
    pub channels: u8,
    /// Payload type to send: the peer's number.
    pub send_pt: u8,
    /// Payload types to receive: ours, and the peer's own number where that is unambiguous, because some peers
    /// send by their own numbering.
    pub recv_pts: Vec<u8>,
    /// The peer's `fmtp` parameters for it: what it likes to receive.
    pub fmtp: Option<String>,
}

/// The payload types agreed for comfort noise (RFC 3389), at the clock rate of the codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ComfortNoise {
    /// Payload type to send: the peer's number.
    pub send_pt: u8,
    /// Payload type to receive: ours.
    pub recv_pt: u8,
}

/// The payload types agreed for telephone-event (RFC 4733).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelephoneEvent {
    /// Payload type to send: the peer's number.
    pub send_pt: u8,
    /// Payload type to receive: ours.
    pub recv_pt: u8,
    /// Clock rate of the event durations, Hz: the codec's, or 8000 when the peer has no other.
    pub clock_rate: u32,
}
