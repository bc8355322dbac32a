//! RTP, RTCP, telephone-event, jitter buffer and reception statistics, without sockets or clocks.

pub mod ids;
pub mod jitter;
pub mod packet;
pub mod rtcp;
pub mod sender;
pub mod sequence;
pub mod source_guard;
pub mod statistics;
pub mod telephone_event;

pub use ids::{
    ClockRate, ExtendedSequenceNumber, PayloadType, PayloadTypes, RtpTimestamp, SequenceNumber, Ssrc,
};
pub use jitter::{Adjust, Content, FrameRef, Playout, PlayoutConfig, Pull, Rejected, Tick};
pub use packet::{RtpError, RtpHeader, RtpPacket, is_rtcp};
pub use sender::RtpSender;
pub use source_guard::{IpNet, Latch, RejectReason, SendBlocked, SourceGuard, SourceRules, Verdict};
pub use statistics::{Reception, ReceptionStatistics, ReceptionTotals};
pub use telephone_event::{DtmfDigit, DtmfEnd, DtmfEvent, TelephoneEventReceiver};
