//! RTP, RTCP, telephone-event, jitter buffer and reception statistics, without sockets or clocks.
//!
//! # What it is for
//! Everything a media leg must know about RTP between the datagram and the decoder, and between the encoder and the datagram:
//!
//! - [`RtpPacket`] reads a datagram in place, [`RtpHeader`] writes the fixed header, [`RtpSender`] numbers what is sent.
//! - [`SourceGuard`] decides which addresses are listened to and sent to: no takeover of audio, no reflector.
//! - [`Playout`] holds packets until they are due, by media time; see [`jitter`] for its rules and for the loop of a leg.
//! - [`ReceptionStatistics`] counts loss, jitter, duplicates and reordering as RTCP reports them.
//! - [`TelephoneEventReceiver`] assembles DTMF digits, [`TelephoneEventSender`] sends them, [`DtmfMerger`] lets a press through once
//!   that comes in several ways.
//! - [`rtcp`] reads and writes reports; [`QualityMeter`] makes a rating of what a leg receives.
//!
//! # What it does not do
//! It opens no socket, reads no clock, draws no random number, decodes no audio and logs nothing. It does not encrypt.
//! Times are nanoseconds of the caller's monotonic clock (`u64`), wall time comes in as [`rtcp::NtpTimestamp`], SSRCs and first
//! sequence numbers from the caller. After construction nothing allocates, blocks or panics, whatever arrives; what is
//! dropped has a reason and a counter.
//!
//! # Example
//! The way in, from datagram to due frame (a leg's whole loop stands in [`jitter`]):
//! ```
//! use confab_rtp::{ClockRate, Content, Playout, PlayoutConfig, Pull, RtpHeader, RtpPacket, Tick};
//! use confab_rtp::{PayloadType, RtpTimestamp, SequenceNumber, Ssrc};
//!
//! let mut datagram = [0xff_u8; 12 + 160];
//! let header = RtpHeader {
//!     marker: true,
//!     payload_type: PayloadType::PCMU,
//!     sequence_number: SequenceNumber(65_535),
//!     timestamp: RtpTimestamp(0),
//!     ssrc: Ssrc(0x1234_5678),
//! };
//! header.write(datagram.first_chunk_mut().expect("twelve octets"));
//!
//! let packet = RtpPacket::parse(&datagram)?;
//! let mut playout = Playout::new(PlayoutConfig::new(ClockRate::HZ_8000));
//! playout.push(7_000_000, &packet, Content::Audio { samples: 160 }).expect("a first packet is taken");
//!
//! // Ticks of 20 ms: at 10 ms the packet has waited 3 ms, its margin.
//! let Pull::Frame(frame) = playout.pull(Tick { at_ns: 10_000_000, samples: 160 }, 160) else { panic!("due") };
//! assert_eq!(frame.payload, [0xff; 160]);
//! # Ok::<(), confab_rtp::RtpError>(())
//! ```
//!
//! # Standards
//! RFC 3550 §5.1 (packets), §6 (RTCP, without the bandwidth rules of large sessions), A.1, A.3, A.8 (statistics); RFC 3389 (comfort noise, as a kind of
//! packet); RFC 3551 §4.1
//! (marker); RFC 3611 (extended reports: reference time, its answer, VoIP metrics); RFC 4733 (telephone-event); RFC 5506 (reduced-size RTCP, receiving); RFC 5761 §4 (RTP and RTCP on one
//! port); RFC 8285 (header extensions, reading);
//! ITU-T G.107 (E-model, reduced to delay, loss and codec).

pub mod burst;
pub mod dtmf;
pub mod ids;
pub mod jitter;
pub mod packet;
pub mod quality;
pub mod rtcp;
pub mod sender;
pub mod sequence;
pub mod source_guard;
pub mod statistics;
pub mod telephone_event;

pub use burst::{BurstMeter, BurstReport};
pub use dtmf::{DtmfMerger, DtmfSource};
pub use ids::{
    ClockRate, ExtendedSequenceNumber, PayloadType, PayloadTypes, RtpTimestamp, SequenceNumber, Ssrc,
};
pub use jitter::{
    Adjust, Content, FrameRef, Playout, PlayoutConfig, PlayoutCounters, Preload, Pull, Rejected,
    SpeechAdjust, Tick,
};
pub use packet::{RtpError, RtpHeader, RtpPacket, is_rtcp};
pub use quality::{CodecImpairment, QualityMeter, Rating, StreamSnapshot, Transmission};
pub use sender::RtpSender;
pub use source_guard::{IpNet, Latch, RejectReason, SendBlocked, SourceGuard, SourceRules, Verdict};
pub use statistics::{Reception, ReceptionStatistics, ReceptionTotals};
pub use telephone_event::{DtmfDigit, DtmfEnd, DtmfEvent, TelephoneEventReceiver, TelephoneEventSender};
