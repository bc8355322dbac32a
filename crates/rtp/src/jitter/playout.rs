//! Composition of timeline, storage and policy into what a leg uses: packets in at any time (`place`), media out per tick
//! (`read`). Owns the read position in media time and the decision what fills a gap; decodes nothing.

use super::buffer::{Content, JitterBuffer, Rejected};
use super::policy::{PlayoutPolicy, PolicyConfig};
use super::timeline::{MediaPosition, Timeline};
use crate::ids::{ClockRate, PayloadType, RtpTimestamp, SequenceNumber, Ssrc};
use crate::packet::RtpPacket;
use crate::sequence::SequenceExtender;

mod place;
mod read;

use read::{Filler, Reader, Step};

/// The first position; far enough up that reordered packets before it have one as well.
const ORIGIN: MediaPosition = MediaPosition(1 << 40);

/// Sizes and bounds of one [`Playout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PlayoutConfig {
    /// RTP clock of the stream. All `samples` of this module are units of this clock.
    pub clock_rate: ClockRate,
    /// Packets the buffer can hold, 2 to 64, rounded up to a power of two. Default 32: 320 ms of 10 ms packets.
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

/// What happened since construction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlayoutCounters {
    /// Packets handed out.
    pub frames: u64,
    /// Packets stored and overtaken before they were due: overlapping timestamps, skipped ticks.
    pub overtaken: u64,
    /// Samples that were to be concealed.
    pub lost_samples: u64,
    /// Samples of intended silence.
    pub quiet_samples: u64,
    /// Samples of delay added by adaptation.
    pub inserted_samples: u64,
    /// Samples of delay taken away by adaptation.
    pub dropped_samples: u64,
    /// Samples left out because ticks were skipped.
    pub skipped_samples: u64,
    /// Streams begun: the first, after a pause, a change of SSRC, a restart of numbering.
    pub streams: u64,
    /// Breaks in the timestamps that were bridged.
    pub breaks: u64,
    /// Packets refused, by [`Rejected`] in the order of [`Rejected::ALL`].
    pub rejected: [u64; Rejected::ALL.len()],
}

impl PlayoutCounters {
    /// Packets refused for this reason.
    #[must_use]
    pub const fn rejected_for(&self, reason: Rejected) -> u64 {
        self.rejected[reason as usize]
    }
}

/// Jitter buffer and playout by media time for one incoming stream. See the [module](super) for the leg's loop.
///
/// `push` and `pull` neither allocate nor fail on any input; memory is fixed at construction: `slots × payload_capacity`
/// octets and about 4 KB.
#[derive(Debug)]
pub struct Playout {
    config: PlayoutConfig,
    ssrc: Option<Ssrc>,
    extender: SequenceExtender,
    timeline: Timeline,
    buffer: JitterBuffer,
    policy: PlayoutPolicy,
    phase: Phase,
    reader: Reader,
    /// Arrival of the first and number of packets in a row that were too late for any adaptation.
    off_line: Option<(u64, u32)>,
    counters: PlayoutCounters,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Idle,
    /// The first packet, of `samples`, may play from `start_ns` on.
    Waiting {
        start_ns: u64,
        samples: u32,
    },
    Playing,
}

impl Playout {
    /// Allocates all the stream will ever need.
    #[must_use]
    pub fn new(config: PlayoutConfig) -> Self {
        let policy = PolicyConfig {
            margin_ns: config.margin_ns,
            max_delay_ns: config.max_delay_ns,
        };
        Self {
            config,
            ssrc: None,
            extender: SequenceExtender::new(),
            timeline: Timeline::new(),
            buffer: JitterBuffer::new(config.slots, config.payload_capacity),
            policy: PlayoutPolicy::new(policy),
            phase: Phase::Idle,
            reader: Reader::at(ORIGIN),
            off_line: None,
            counters: PlayoutCounters::default(),
        }
    }

    /// Stores a packet received at `arrival_ns` (monotonic; a kernel timestamp where there is one).
    ///
    /// Every packet of the stream is pushed, those without audio as [`Content::NoAudio`]. A new SSRC ends the old stream.
    ///
    /// # Errors
    /// [`Rejected`] says why the packet will not be heard; it is counted.
    pub fn push(
        &mut self,
        arrival_ns: u64,
        packet: &RtpPacket<'_>,
        content: Content,
    ) -> Result<(), Rejected> {
        let result = self.accept(arrival_ns, packet, content);
        if let Err(reason) = result {
            self.counters.rejected[reason as usize] += 1;
        }
        result
    }

    /// Returns what is due for the tick, of which `missing` samples (at least 1) are not covered yet. Call it until the tick is
    /// covered or the answer is [`Pull::Idle`], in the order of the ticks; not at all in a tick that is covered already.
    pub fn pull(&mut self, tick: Tick, missing: u32) -> Pull<'_> {
        let (tick, missing) = (
            Tick {
                samples: tick.samples.max(1),
                ..tick
            },
            missing.max(1),
        );
        match self.phase {
            Phase::Idle => return Pull::Idle,
            Phase::Waiting { start_ns, samples } => {
                let start_ns = self.first_start_ns(tick, start_ns, samples);
                if tick.at_ns < start_ns {
                    return Pull::Idle;
                }
                self.start(tick, missing, start_ns);
            }
            Phase::Playing => self.begin_tick(tick, missing),
        }
        match self.next_step(tick, missing) {
            Step::Frame => self.pop_frame(),
            Step::Fill(Filler::Concealment, samples) => {
                self.counters.lost_samples += u64::from(samples);
                Pull::Lost { samples }
            }
            Step::Fill(Filler::Silence, samples) => {
                self.counters.quiet_samples += u64::from(samples);
                Pull::Quiet { samples }
            }
            Step::Idle => Pull::Idle,
        }
    }

    /// Told that the frame just pulled decoded to silence of `samples` (after `skip`): the moment to correct the delay unheard.
    pub fn adjust_in_silence(&mut self, samples: u32) -> Adjust {
        let wish = self.policy.wish();
        if wish.grow > 0 {
            let samples = wish.grow.min(self.policy.tick_samples());
            self.delay_by(i64::from(samples));
            return Adjust::Insert { samples };
        }
        let wanted = wish.shrink.min(samples);
        if wanted == 0 || self.buffer.is_empty() {
            return Adjust::Keep;
        }
        self.delay_by(-i64::from(wanted));
        Adjust::Drop { samples: wanted }
    }

    /// Forgets the stream, for a new codec or clock; counters and what was learnt of the network stay.
    pub fn restart(&mut self, clock_rate: ClockRate) {
        self.config.clock_rate = clock_rate;
        self.ssrc = None;
        self.extender = SequenceExtender::new();
        self.end_stream();
    }

    /// What happened since construction.
    #[must_use]
    pub const fn counters(&self) -> &PlayoutCounters {
        &self.counters
    }

    /// Received media that was not handed out yet, in nanoseconds: the delay from the newest packet's end to the next tick.
    #[must_use]
    pub fn buffered_ns(&self) -> u64 {
        let Some(newest) = self.timeline.newest().filter(|_| !self.buffer.is_empty()) else {
            return 0;
        };
        let from = if self.phase == Phase::Playing {
            self.reader.position
        } else {
            self.buffer
                .front()
                .map_or(newest.position, |front| front.position)
        };
        let units = newest.end().since(from) + i64::from(self.reader.insert);
        self.config.clock_rate.nanoseconds(units.max(0).cast_unsigned())
    }

    /// Counts a change of the delay and tells the policy.
    fn delay_by(&mut self, samples: i64) {
        if samples > 0 {
            self.counters.inserted_samples += samples.unsigned_abs();
        } else {
            self.counters.dropped_samples += samples.unsigned_abs();
        }
        if samples != 0 {
            self.policy.delayed_by(samples);
        }
    }

    fn end_stream(&mut self) {
        self.buffer.clear();
        self.timeline.clear();
        self.policy.end_stream();
        self.phase = Phase::Idle;
        self.off_line = None;
        // Positions go on upwards, clear of all before.
        let next = self.reader.position.plus(i64::from(self.config.clock_rate.hz()));
        self.reader = Reader::at(next);
    }
}
