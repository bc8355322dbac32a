//! Composition of timeline, storage and policy into what a leg uses: packets in at any time, media out per tick.

use super::buffer::Rejected;
use crate::ids::{ClockRate, PayloadType, RtpTimestamp, SequenceNumber};
use crate::packet::RtpPacket;

/// Sizes and bounds of one [`Playout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// RTP clock of the stream. All `samples` of this module are units of this clock.
    pub clock_rate: ClockRate,
    /// Packets the buffer can hold, 2 to 64. Default 32: 320 ms of 10 ms packets.
    pub slots: usize,
    /// Octets of payload per slot; larger packets are rejected. Default 960: 120 ms of G.711, 20 ms of L16 at 24 kHz.
    pub payload_capacity: usize,
    /// Safety between arrival of a stream's first packet and its tick. Default 3 ms.
    pub margin_ns: u64,
    /// Hard upper bound of the delay that adaptation may build up. Default 200 ms.
    pub max_delay_ns: u64,
}

impl PlayoutConfig {
    /// The defaults for a stream of this clock rate.
    #[must_use]
    pub const fn new(clock_rate: ClockRate) -> Self {
        Self {
            clock_rate,
            slots: 32,
            payload_capacity: 960,
            margin_ns: 3_000_000,
            max_delay_ns: 200_000_000,
        }
    }
}

/// What a packet carries, as told by the leg that knows the payload types and codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Coded audio of this many samples (`Decoder::samples`, in units of the RTP clock), at least 1.
    Audio {
        /// Duration in units of the RTP clock.
        samples: u32,
    },
    /// Comfort noise (RFC 3389): what follows until the next audio is silence.
    ComfortNoise,
    /// No audio at all, such as telephone-event: takes a sequence number, so that it is not taken for a loss.
    NoAudio,
}

/// One mix tick as seen by the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tick {
    /// Scheduled (not actual) start of the tick, nanoseconds on the monotonic clock of the arrivals.
    pub at_ns: u64,
    /// Samples of one tick in units of the RTP clock, at least 1: 160 for 20 ms at 8000 Hz.
    pub samples: u32,
}

/// A whole packet that is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FrameRef<'a> {
    /// Coded audio, exactly as received.
    pub payload: &'a [u8],
    /// Payload type it came with.
    pub payload_type: PayloadType,
    /// Marker bit.
    pub marker: bool,
    /// Sequence number on the wire.
    pub sequence_number: SequenceNumber,
    /// Timestamp on the wire.
    pub timestamp: RtpTimestamp,
    /// Duration in units of the RTP clock, as given to `push`.
    pub samples: u32,
    /// Samples at the frame's start that were concealed already or are to be left out: decode all, then drop these. Less
    /// than `samples`; almost always 0.
    pub skip: u32,
}

/// What the stream has for the leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull<'a> {
    /// Decode this packet whole; it may be longer or shorter than what was missing.
    Frame(FrameRef<'a>),
    /// Conceal this many samples (1 to `missing`).
    Lost {
        /// Units of the RTP clock.
        samples: u32,
    },
    /// The sender is silent on purpose (DTX, comfort noise, a long pause): this many samples of silence (1 to `missing`).
    Quiet {
        /// Units of the RTP clock.
        samples: u32,
    },
    /// No stream: nothing was received yet, or nothing for a second. Fill the tick with silence and stop pulling.
    Idle,
}

/// What to do with a frame that decoded to silence; see [`Playout::adjust_in_silence`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjust {
    /// Use the frame as it is.
    Keep,
    /// Leave out this many samples of it.
    Drop {
        /// Units of the RTP clock, at most the frame's.
        samples: u32,
    },
    /// Put this many samples of silence before it.
    Insert {
        /// Units of the RTP clock, at most one tick.
        samples: u32,
    },
}

/// Jitter buffer and playout by media time for one incoming stream.
#[derive(Debug)]
pub struct Playout {
    config: PlayoutConfig,
}

impl Playout {
    /// Allocates all the stream will ever need.
    #[must_use]
    pub fn new(config: PlayoutConfig) -> Self {
        Self { config }
    }

    /// Stores a packet received at `arrival_ns`.
    ///
    /// # Errors
    /// [`Rejected`] says why the packet will not be heard.
    pub fn push(
        &mut self,
        _arrival_ns: u64,
        _packet: &RtpPacket<'_>,
        _content: Content,
    ) -> Result<(), Rejected> {
        Ok(())
    }

    /// Returns what is due for the tick, of which `missing` samples (at least 1) are not covered yet.
    pub fn pull(&mut self, _tick: Tick, _missing: u32) -> Pull<'_> {
        Pull::Idle
    }

    /// Told that the frame just pulled decoded to silence of `samples` (after `skip`): the moment to correct the delay unheard.
    pub fn adjust_in_silence(&mut self, _samples: u32) -> Adjust {
        Adjust::Keep
    }

    /// Forgets the stream, for a new codec or clock; counters stay.
    pub fn restart(&mut self, clock_rate: ClockRate) {
        self.config.clock_rate = clock_rate;
    }
}
