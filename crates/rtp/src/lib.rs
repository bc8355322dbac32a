//! RTP, RTCP, telephone-event, jitter buffer and reception statistics, without sockets or clocks.

pub mod ids;
pub mod jitter;
pub mod packet;
pub mod sender;
pub mod source_guard;
pub mod statistics;
pub mod telephone_event;

pub use ids::{
    ClockRate, ExtendedSequenceNumber, PayloadType, PayloadTypes, RtpTimestamp, SequenceNumber, Ssrc,
};
pub use jitter::{Adjust, Content, FrameRef, Playout, PlayoutConfig, Pull, Rejected, Tick};
pub use packet::{RtpError, RtpHeader, RtpPacket, is_rtcp};
