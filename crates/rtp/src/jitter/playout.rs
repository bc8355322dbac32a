//! Composition of timeline, storage and policy into what a leg uses: packets in at any time (`place`), media out per tick
//! (`read`). Owns the read position in media time and the decision what fills a gap; decodes nothing.

use super::buffer::{Content, JitterBuffer, PacketInfo, Rejected};
use super::drift::DriftEstimator;
use super::policy::{PlayoutPolicy, PolicyConfig};
use super::timeline::{MediaPosition, Timeline};
use crate::burst::BurstMeter;
use crate::ids::{ClockRate, PayloadType, RtpTimestamp, SequenceNumber, Ssrc};
use crate::packet::RtpPacket;
use crate::sequence::SequenceExtender;

mod noise;
mod place;
mod read;

use noise::NoiseParameters;
use read::{Filler, Reader, Step};

/// The first position; far enough up that reordered packets before it have one as well.
const ORIGIN: MediaPosition = MediaPosition(1 << 40);

/// Least time between two shortenings of speech. A pitch period is mostly 3 to 12 ms, so speech is 5 to 20 % fast.
const SHORTEN_EVERY_NS: u64 = 60_000_000;
/// Least time between two lengthenings of speech.
const LENGTHEN_EVERY_NS: u64 = 20_000_000;

/// Octets of payload in most packets: 20 ms of G.711.
const USUAL_PAYLOAD: usize = 160;

/// Loads memory into the processor's cache ahead of its use, and changes nothing.
pub trait Preload {
    /// Begins to load what `value` occupies, without what it points to.
    fn preload<T: ?Sized>(&self, value: &T);
}

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

impl<'a> FrameRef<'a> {
    fn new(info: &PacketInfo, payload: &'a [u8], samples: u32, skip: u32) -> Self {
        Self {
            payload,
            payload_type: info.payload_type,
            marker: info.marker,
            sequence_number: info.sequence.low(),
            timestamp: info.timestamp,
            samples,
            skip,
        }
    }
}

/// What the stream has for the leg.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pull<'a> {
    /// Decode this packet whole; it may be longer or shorter than what was missing.
    Frame(FrameRef<'a>),
    /// Make up this many samples for what was lost or is late.
    Lost {
        /// Units of the RTP clock: 1 to `missing`. With [`set_fec`](Playout::set_fec) it may be more, when that makes a whole
        /// packet for `next` to repair.
        samples: u32,
        /// The packet right behind the lost stretch, when it is here already and the stretch ends where it begins. It is still
        /// handed out as a [`Frame`](Self::Frame) afterwards. Its payload may repair what was lost if `samples` is not less
        /// than its own.
        next: Option<FrameRef<'a>>,
    },
    /// The sender is silent on purpose and says nothing of its background (DTX, a long pause): this many samples of silence
    /// (1 to `missing`).
    Quiet {
        /// Units of the RTP clock.
        samples: u32,
    },
    /// The sender is silent on purpose and says how that sounds: this many samples of noise (1 to `missing`).
    ComfortNoise {
        /// The last comfort noise payload (RFC 3389 §3): level and reflection coefficients, at most 32 octets.
        payload: &'a [u8],
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

/// What the delay needs while there is no silence to change it in; see [`Playout::adjust_in_speech`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpeechAdjust {
    /// Use the frame as it is.
    Keep,
    /// Take out up to this many samples, a pitch period or two.
    Shorten {
        /// Units of the RTP clock.
        samples: u32,
    },
    /// Put in about this many samples, a pitch period or two; up to one period more does no harm.
    Lengthen {
        /// Units of the RTP clock.
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
    /// Samples of delay added by adaptation, in silence, in speech and in concealment.
    pub inserted_samples: u64,
    /// Samples of delay taken away by adaptation, in silence and in speech.
    pub dropped_samples: u64,
    /// Changes of the delay made in speech by the leg's time-scale modification.
    pub speech_adjustments: u64,
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
/// octets and about 5 KB.
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
    noise: NoiseParameters,
    drift: DriftEstimator,
    bursts: BurstMeter,
    /// The stream carries forward error correction.
    fec: bool,
    /// Tick in which a loss was last noticed.
    last_loss_ns: Option<u64>,
    /// The leg can change the time scale of speech.
    scales_speech: bool,
    /// Before this tick speech is left alone.
    speech_rests_until_ns: u64,
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
            noise: NoiseParameters::default(),
            drift: DriftEstimator::new(),
            bursts: BurstMeter::new(),
            fec: false,
            last_loss_ns: None,
            scales_speech: false,
            speech_rests_until_ns: 0,
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
            Step::Frame => self.pop_frame(missing),
            Step::Fill(Filler::Concealment, samples) => {
                self.counters.lost_samples += u64::from(samples);
                Pull::Lost {
                    samples,
                    next: self.next_frame(),
                }
            }
            Step::Fill(filler, samples) => {
                self.counters.quiet_samples += u64::from(samples);
                match self.noise.payload().filter(|_| filler == Filler::Noise) {
                    Some(payload) => Pull::ComfortNoise { payload, samples },
                    None => Pull::Quiet { samples },
                }
            }
            Step::Idle => Pull::Idle,
        }
    }

    /// Told that the frame just pulled decoded to silence of `samples` (after `skip`): the moment to correct the delay unheard.
    pub fn adjust_in_silence(&mut self, samples: u32) -> Adjust {
        let wish = self.policy.wish();
        let grow = wish.grow.max(wish.grow_in_silence);
        if grow > 0 {
            let samples = grow.min(self.policy.tick_samples());
            self.delay_by(i64::from(samples));
            return Adjust::Insert { samples };
        }
        let spare = if self.buffer.is_empty() {
            self.reader.beyond
        } else {
            u32::MAX
        };
        let wanted = wish.shrink.min(samples).min(spare);
        if wanted == 0 {
            return Adjust::Keep;
        }
        self.delay_by(-i64::from(wanted));
        Adjust::Drop { samples: wanted }
    }

    /// Asked about a frame just pulled that is not silence: what its time scale should be. Whatever the leg then does to it, also
    /// when that is nothing, it tells [`adjusted_in_speech`](Self::adjusted_in_speech).
    ///
    /// Almost always [`SpeechAdjust::Keep`]: without loss, delay to get rid of, or clock drift that ate up the margin, speech is
    /// left alone. Between two requests to shorten lie at least 60 ms, between two to lengthen 20 ms.
    /// A leg that asks here is taken to be able to: delay that can wait is then not added as concealment.
    #[must_use]
    pub fn adjust_in_speech(&mut self) -> SpeechAdjust {
        self.scales_speech = true;
        let wish = self.policy.wish();
        let rests = self
            .policy
            .last_tick_ns()
            .is_none_or(|tick_ns| tick_ns < self.speech_rests_until_ns);
        // What is taken out of a frame that its tick needs must be there in the next.
        let spare = if self.goes_on_at_once() {
            u32::MAX
        } else {
            self.reader.beyond
        };
        match (wish.grow, wish.shrink.min(spare)) {
            _ if rests || !wish.in_speech => SpeechAdjust::Keep,
            (0, 0) => SpeechAdjust::Keep,
            (0, samples) => SpeechAdjust::Shorten { samples },
            (samples, _) => SpeechAdjust::Lengthen { samples },
        }
    }

    /// Told how many samples the leg's time-scale modification added to (removed from, when negative) the frame just pulled.
    pub fn adjusted_in_speech(&mut self, samples: i32) {
        let Some(tick_ns) = self.policy.last_tick_ns() else {
            return;
        };
        // Lengthening is urgent: packets are about to be late.
        let rest_ns = if self.policy.wish().grow > 0 {
            LENGTHEN_EVERY_NS
        } else {
            SHORTEN_EVERY_NS
        };
        self.speech_rests_until_ns = tick_ns.saturating_add(rest_ns);
        if samples == 0 {
            self.policy.not_shortened();
        } else {
            self.counters.speech_adjustments += 1;
            self.delay_by(i64::from(samples));
        }
    }

    /// Tells whether packets may carry what is needed to repair the packet before them (Opus in-band FEC).
    ///
    /// With it, and while a loss was noticed in the last ten seconds, the delay is kept a packet longer, so that the packet behind
    /// a lost one is here when the lost one is due. Stays as set over a [`restart`](Self::restart).
    pub fn set_fec(&mut self, carried: bool) {
        self.fec = carried;
    }

    /// Forgets the stream, for a new codec or clock; counters and what was learnt of the network stay.
    pub fn restart(&mut self, clock_rate: ClockRate) {
        self.config.clock_rate = clock_rate;
        self.ssrc = None;
        self.extender = SequenceExtender::new();
        self.drift.forget();
        self.end_stream();
    }

    /// Speed of the sender's clock against ours in parts per million, positive when it is fast; `None` for the first minute or so
    /// of a source. Good to a few ppm once it was measured for five minutes.
    #[must_use]
    pub const fn skew_ppm(&self) -> Option<i32> {
        self.drift.skew_ppm()
    }

    /// Whether the stream plays and the packet that it needs next is not here: one that was sent later may have overtaken it.
    #[must_use]
    pub fn lacks_next(&self) -> bool {
        let is_here = |front: &PacketInfo| front.position <= self.reader.position;
        self.phase == Phase::Playing && !self.buffer.front().is_some_and(is_here)
    }

    /// Shows `preload` the memory that storing and playing the next packet is likely to touch outside of this value: a caller
    /// with many streams may have the processor fetch it in time.
    pub fn preload_next(&self, preload: &impl Preload) {
        let (slot, payload) = self.buffer.next_place();
        preload.preload(slot);
        preload.preload(&payload[..payload.len().min(USUAL_PAYLOAD)]);
        preload.preload(self.policy.next_count());
    }

    /// Sizes and bounds, as they are.
    #[must_use]
    pub const fn config(&self) -> &PlayoutConfig {
        &self.config
    }

    /// Duration of the newest audio packet in nanoseconds; 0 before the first.
    #[must_use]
    pub fn packet_ns(&self) -> u64 {
        let samples = self.timeline.newest().map_or(0, |newest| newest.samples);
        self.config.clock_rate.nanoseconds(u64::from(samples))
    }

    /// Packets lost or too late for playout, and how they cluster, since construction.
    #[must_use]
    pub const fn bursts(&self) -> &BurstMeter {
        &self.bursts
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

    /// The packet that begins where the reader stands, if that is here.
    fn next_frame(&self) -> Option<FrameRef<'_>> {
        let (info, payload) = self.buffer.front_packet()?;
        let samples = info.content.samples()?;
        (info.position == self.reader.position && self.reader.insert == 0)
            .then(|| FrameRef::new(info, payload, samples, 0))
    }

    /// Tells whether the stream goes on where the last frame ended, with a packet that is here.
    fn goes_on_at_once(&self) -> bool {
        self.reader.insert == 0
            && self.buffer.front().is_some_and(|front| {
                front.content.samples().is_some() && front.position <= self.reader.position
            })
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
        self.drift.break_off();
        self.phase = Phase::Idle;
        self.off_line = None;
        self.noise = NoiseParameters::default();
        self.last_loss_ns = None;
        self.speech_rests_until_ns = 0;
        // Positions go on upwards, clear of all before.
        let next = self.reader.position.plus(i64::from(self.config.clock_rate.hz()));
        self.reader = Reader::at(next);
    }
}
