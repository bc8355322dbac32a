//! Composition of timeline, storage and policy into what a leg uses: packets in at any time, media out per tick. Owns the
//! read position in media time and the decision what fills a gap; decodes nothing.

use super::buffer::{Content, JitterBuffer, PacketInfo, Rejected};
use super::policy::{PlayoutPolicy, PolicyConfig};
use super::timeline::{MediaPosition, Newest, Timeline};
use crate::ids::{ClockRate, ExtendedSequenceNumber, PayloadType, RtpTimestamp, SequenceNumber, Ssrc};
use crate::packet::RtpPacket;
use crate::sequence::{SequenceExtender, SequenceStep};

/// Nothing received for this long: the next packet begins a new stream.
const IDLE_AFTER_NS: u64 = 1_000_000_000;
/// Packets that come this long after the last pull find nobody listening: what is stored is stale.
const UNHEARD_AFTER_NS: u64 = 250_000_000;
/// Concealment has faded to silence well before; what follows is called silence.
const CONCEAL_AT_MOST_NS: u64 = 100_000_000;
/// How long packets must be off the line, in arrivals, before the line moves to them.
const OFF_LINE_NS: u64 = 60_000_000;
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

/// Where playout stands in media time.
#[derive(Debug, Clone, Copy)]
struct Reader {
    /// The next sample to hand out.
    position: MediaPosition,
    /// End of the last packet handed out; what lies between it and `position` was filled.
    last_end: MediaPosition,
    /// Duration of the last packet handed out.
    last_samples: u32,
    /// What fills the place after it.
    filler: Filler,
    /// Samples to be filled without media time passing: delay being added.
    insert: u32,
    /// Samples since the buffer ran empty.
    underrun: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Filler {
    Concealment,
    Silence,
}

/// What the next pull gives.
enum Step {
    Frame,
    Fill(Filler, u32),
    Idle,
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

    // ---- packets in ----

    fn accept(&mut self, arrival_ns: u64, packet: &RtpPacket<'_>, content: Content) -> Result<(), Rejected> {
        if content == (Content::Audio { samples: 0 }) {
            return Err(Rejected::Empty);
        }
        if self.ssrc.replace(packet.ssrc()) != Some(packet.ssrc()) {
            self.extender = SequenceExtender::new();
            self.end_stream();
        } else if self.is_unheard(arrival_ns) {
            self.end_stream();
        }
        let sequence = match self.extender.extend(packet.sequence_number()) {
            SequenceStep::First(number) | SequenceStep::Ahead(number) | SequenceStep::Behind(number) => {
                number
            }
            SequenceStep::Jump => return Err(Rejected::SequenceJump),
            SequenceStep::Restarted(number) => {
                self.end_stream();
                number
            }
        };
        if let Err(reason @ (Rejected::Duplicate | Rejected::TooLarge)) =
            self.buffer.check(sequence, packet.payload().len())
        {
            return Err(reason);
        }
        let position = match content {
            Content::Audio { samples } => {
                let place = Newest {
                    sequence,
                    position: self.reader.position,
                    samples,
                };
                self.place_audio(arrival_ns, place, packet)?
            }
            Content::ComfortNoise | Content::NoAudio => {
                match self.place_other(arrival_ns, sequence, packet, content) {
                    Some(position) => position,
                    // Nothing is playing: there is no audio whose place this could take.
                    None => return Ok(()),
                }
            }
        };
        let info = PacketInfo {
            sequence,
            position,
            content,
            payload_type: packet.payload_type(),
            marker: packet.marker(),
            timestamp: packet.timestamp(),
        };
        let payload = match content {
            Content::Audio { samples } => {
                self.bound_depth(position.plus(i64::from(samples)), samples);
                packet.payload()
            }
            Content::ComfortNoise | Content::NoAudio => &[],
        };
        self.buffer.insert(info, payload)?;
        if let (Phase::Idle, Content::Audio { samples }) = (self.phase, content) {
            self.counters.streams += 1;
            let start_ns = arrival_ns.saturating_add(self.policy.start_margin_ns());
            self.phase = Phase::Waiting { start_ns, samples };
        }
        Ok(())
    }

    /// Makes room for audio up to `end`: when more would wait than the bound allows, the oldest goes. On the line this never
    /// happens; it takes a burst, such as one that follows a stall in which the stream was given up.
    fn bound_depth(&mut self, end: MediaPosition, samples: u32) {
        let bound = self
            .config
            .clock_rate
            .units(self.config.max_delay_ns)
            .cast_signed();
        let slack = 2 * i64::from(self.policy.tick_samples()) + i64::from(samples);
        let Some(oldest) = self.buffer.front().map(|front| front.position) else {
            return;
        };
        if end.since(oldest.max(self.reader.position)) <= bound + slack {
            return;
        }
        let keep_from = end.plus(-bound);
        while self
            .buffer
            .front()
            .is_some_and(|front| front.position < keep_from)
        {
            self.buffer.pop_front();
            self.counters.overtaken += 1;
        }
        if self.phase == Phase::Playing {
            let keep_from = self.buffer.front().map_or(keep_from, |front| front.position);
            let dropped = keep_from.since(self.reader.position).max(0);
            self.reader = Reader {
                position: self.reader.position.plus(dropped),
                ..self.reader
            };
            self.reader.last_end = self.reader.position;
            self.delay_by(-dropped);
        }
    }

    /// Tells whether nobody has pulled for so long that what is stored is of no use.
    fn is_unheard(&self, arrival_ns: u64) -> bool {
        let since_ns = match (self.phase, self.policy.last_tick_ns()) {
            (Phase::Waiting { start_ns, .. }, _) => start_ns,
            (Phase::Playing, Some(at_ns)) => at_ns,
            _ => return false,
        };
        arrival_ns.saturating_sub(since_ns) > UNHEARD_AFTER_NS
    }

    /// Finds the place of a packet without audio: that of its timestamp if this fits the line, else after all audio so far.
    /// A telephone-event carries the timestamp of its start, which may be long past.
    fn place_other(
        &self,
        arrival_ns: u64,
        sequence: ExtendedSequenceNumber,
        packet: &RtpPacket<'_>,
        content: Content,
    ) -> Option<MediaPosition> {
        let newest = self.timeline.newest()?;
        let stated = self.timeline.position(sequence, packet.timestamp())?;
        let fits = self
            .policy
            .lateness_ns(stated, arrival_ns)
            .is_none_or(|late| self.policy.is_on_line(late));
        Some(if content == Content::ComfortNoise && fits {
            stated
        } else {
            newest.end()
        })
    }

    /// Finds the place of an audio packet; `packet_place.position` is where the first packet of a stream goes.
    fn place_audio(
        &mut self,
        arrival_ns: u64,
        place: Newest,
        packet: &RtpPacket<'_>,
    ) -> Result<MediaPosition, Rejected> {
        let (sequence, timestamp) = (place.sequence, packet.timestamp());
        let (Some(newest), Some(stated)) = (
            self.timeline.newest(),
            self.timeline.position(sequence, timestamp),
        ) else {
            self.timeline.advance(place, timestamp);
            return Ok(place.position);
        };
        if sequence <= newest.sequence {
            return self.admit(
                arrival_ns,
                Newest {
                    position: stated,
                    ..place
                },
                false,
            );
        }
        let position = snap(&newest, sequence, stated);
        let lateness_ns = self.policy.lateness_ns(position, arrival_ns);
        let on_line = lateness_ns.is_none_or(|late| self.policy.is_on_line(late));
        let goes_on = position == newest.expected(sequence);
        if position < newest.end() || (!on_line && !goes_on) {
            return Ok(self.bridge(arrival_ns, Newest { position, ..place }, timestamp));
        }
        if lateness_ns.is_some_and(|late| late > 0) && !on_line {
            return self.take_off_line(arrival_ns, Newest { position, ..place }, packet);
        }
        self.off_line = None;
        self.timeline.advance(Newest { position, ..place }, timestamp);
        self.admit(
            arrival_ns,
            Newest { position, ..place },
            position > newest.expected(sequence),
        )
    }

    /// Lets a packet on the line in, unless its place was filled already; a late one may move the line instead, the more readily
    /// when it begins a talkspurt after a pause.
    fn admit(
        &mut self,
        arrival_ns: u64,
        place: Newest,
        after_pause: bool,
    ) -> Result<MediaPosition, Rejected> {
        let Some(lateness_ns) = self.policy.lateness_ns(place.position, arrival_ns) else {
            return Ok(place.position);
        };
        let duration_ns = self.config.clock_rate.nanoseconds(u64::from(place.samples));
        self.policy.record(arrival_ns, lateness_ns, duration_ns);
        if self.reader.position.since(place.position) > 0 {
            self.grow_for(place.position, after_pause);
        }
        if place.end() <= self.reader.position {
            Err(Rejected::Late)
        } else {
            Ok(place.position)
        }
    }

    /// Adds the delay that the policy wishes, or that lets a talkspurt's first packet in: in silence that is not heard.
    fn grow_for(&mut self, position: MediaPosition, after_pause: bool) {
        let behind = self.reader.position.since(position).max(0).cast_unsigned();
        let to_cover = behind.next_multiple_of(u64::from(self.policy.tick_samples()));
        let in_silence =
            after_pause && self.reader.filler == Filler::Silence && position >= self.reader.last_end;
        let wanted = self.policy.wish().grow;
        let samples = i64::from(if in_silence {
            u32::try_from(to_cover)
                .unwrap_or(u32::MAX)
                .max(wanted)
                .min(self.policy.room_to_grow())
        } else {
            wanted
        });
        // What was filled since the last packet turns into delay; only the rest has yet to be heard.
        let filled = self.reader.position.since(self.reader.last_end).clamp(0, samples);
        self.reader.position = self.reader.position.plus(-filled);
        self.reader.insert += u32::try_from(samples - filled).unwrap_or(0);
        self.delay_by(samples);
    }

    /// Timestamps broke off: the packet follows on what was received if that is in time, else it is due as a first packet is.
    fn bridge(&mut self, arrival_ns: u64, place: Newest, timestamp: RtpTimestamp) -> MediaPosition {
        self.counters.breaks += 1;
        self.off_line = None;
        let newest_end = self
            .timeline
            .newest()
            .map_or(place.position, |newest| newest.end());
        let follows_on = newest_end.max(self.reader.position);
        let in_time = newest_end >= self.reader.position
            && self
                .policy
                .lateness_ns(follows_on, arrival_ns)
                .is_none_or(|late| late <= 0 && self.policy.is_on_line(late));
        let due_ns = arrival_ns.saturating_add(self.policy.start_margin_ns());
        let position = match self.policy.position_at(due_ns) {
            Some(position) if !in_time => position.max(follows_on),
            _ => follows_on,
        };
        self.timeline.break_off(Newest { position, ..place }, timestamp);
        position
    }

    /// A packet that is later than any adaptation could mend, though sequence and timestamp go on: after a stall of the network
    /// those behind it will be in time again; after a pause in which the sender's clock stood still they will not.
    fn take_off_line(
        &mut self,
        arrival_ns: u64,
        place: Newest,
        packet: &RtpPacket<'_>,
    ) -> Result<MediaPosition, Rejected> {
        let (since_ns, packets) = self
            .off_line
            .map_or((arrival_ns, 1), |(since, packets)| (since, packets + 1));
        self.off_line = Some((since_ns, packets));
        let stays_off = packets >= 3 && arrival_ns.saturating_sub(since_ns) >= OFF_LINE_NS;
        if packet.marker() || stays_off {
            return Ok(self.bridge(arrival_ns, place, packet.timestamp()));
        }
        self.timeline.advance(place, packet.timestamp());
        Err(Rejected::Late)
    }

    // ---- media out ----

    /// Earliest tick of a stream whose first packet may play from `start_ns` on.
    ///
    /// Packets that are no multiple of a tick begin anywhere within ticks; one that begins late in a tick must be there at the
    /// tick's start all the same. The first packet waits by as much as the worst of them needs.
    fn first_start_ns(&self, tick: Tick, start_ns: u64, samples: u32) -> u64 {
        let within_tick = tick.samples - greatest_common_divisor(tick.samples, samples);
        start_ns.saturating_add(self.config.clock_rate.nanoseconds(u64::from(within_tick)))
    }

    fn start(&mut self, tick: Tick, missing: u32, start_ns: u64) {
        self.buffer.begin_at_front();
        if let Some(front) = self.buffer.front() {
            self.reader = Reader::at(front.position);
        }
        self.phase = Phase::Playing;
        // Ticks that should have played already, had anybody pulled.
        let missed_ns = tick.at_ns.saturating_sub(start_ns);
        let missed_ticks = missed_ns / self.config.clock_rate.nanoseconds(u64::from(tick.samples)).max(1);
        self.skip(
            missed_ticks
                .saturating_mul(u64::from(tick.samples))
                .min(1 << 40)
                .cast_signed(),
        );
        self.set_anchor(tick, missing);
    }

    /// On the first pull of a tick: moves the line on to it, leaving out the media of ticks that never took place.
    fn begin_tick(&mut self, tick: Tick, missing: u32) {
        let Some(due) = self.policy.due_at(tick.at_ns) else {
            return;
        };
        self.policy.ticks_moved(due.phase_ns);
        // What the leg still has decoded is heard first.
        let heard_before = i64::from(tick.samples) - i64::from(missing) + i64::from(self.reader.insert);
        let behind = due.position.since(self.reader.position.plus(-heard_before));
        self.skip(behind.clamp(0, 1 << 40));
        self.set_anchor(tick, missing);
    }

    fn skip(&mut self, samples: i64) {
        if samples > 0 {
            self.reader.position = self.reader.position.plus(samples);
            self.reader.last_end = self.reader.position;
            self.counters.skipped_samples += samples.unsigned_abs();
        }
    }

    fn set_anchor(&mut self, tick: Tick, missing: u32) {
        let heard_before = i64::from(tick.samples) - i64::from(missing) + i64::from(self.reader.insert);
        let tick_ns = self.config.clock_rate.nanoseconds(u64::from(tick.samples));
        self.policy.set_anchor(
            tick.at_ns,
            self.reader.position.plus(-heard_before),
            tick.samples,
            tick_ns,
        );
    }

    fn next_step(&mut self, tick: Tick, missing: u32) -> Step {
        if self.reader.insert > 0 {
            let samples = self.reader.insert.min(missing);
            self.reader.insert -= samples;
            return Step::Fill(self.reader.filler, samples);
        }
        if self.policy.wish().at_once && self.buffer.len() > 1 {
            let samples = i64::from(tick.samples);
            self.reader.position = self.reader.position.plus(samples);
            self.delay_by(-samples);
        }
        while let Some(&front) = self.buffer.front() {
            let ahead = front.position.since(self.reader.position);
            let missing_packets = self.buffer.missing_before_front();
            let in_order = missing_packets == 0;
            match front.content {
                Content::Audio { samples } if ahead + i64::from(samples) <= 0 => {
                    self.buffer.pop_front();
                    self.counters.overtaken += 1;
                }
                Content::Audio { .. } if ahead <= 0 => return Step::Frame,
                Content::NoAudio if in_order || ahead <= 0 => self.pass_over(),
                Content::ComfortNoise if ahead <= 0 => self.pass_over(),
                _ => return self.fill_gap(tick, missing, ahead, missing_packets),
            }
        }
        self.fill_underrun(tick, missing)
    }

    /// Takes a packet without audio off the front: what follows it is silence until there is audio again.
    fn pass_over(&mut self) {
        self.buffer.pop_front();
        self.reader.filler = Filler::Silence;
    }

    fn pop_frame(&mut self) -> Pull<'_> {
        let at = self.reader.position;
        let Some((info, payload)) = self.buffer.pop_front() else {
            return Pull::Idle;
        };
        let Content::Audio { samples } = info.content else {
            return Pull::Idle;
        };
        let end = info.position.plus(i64::from(samples));
        let skip = u32::try_from(at.since(info.position)).unwrap_or(0);
        self.reader = Reader {
            last_samples: samples,
            filler: Filler::Concealment,
            ..Reader::at(end)
        };
        self.counters.frames += 1;
        Pull::Frame(FrameRef {
            payload,
            payload_type: info.payload_type,
            marker: info.marker,
            sequence_number: info.sequence.low(),
            timestamp: info.timestamp,
            samples,
            skip,
        })
    }

    /// The next packet is not due for `ahead` samples. As many packets as are missing before it were lost; what is beyond their
    /// duration the sender left out on purpose.
    fn fill_gap(&mut self, tick: Tick, missing: u32, ahead: i64, missing_packets: u64) -> Step {
        self.reader.underrun = 0;
        let lost_packets = missing_packets.min(u64::from(u16::MAX)).cast_signed();
        let lost_until = self
            .reader
            .last_end
            .plus(lost_packets * i64::from(self.reader.last_samples));
        let lost = lost_until.since(self.reader.position).min(ahead);
        let (filler, gap) = if self.reader.filler == Filler::Concealment && lost > 0 {
            (Filler::Concealment, lost)
        } else {
            (Filler::Silence, ahead)
        };
        let gap = u32::try_from(gap).unwrap_or(u32::MAX);
        if filler == Filler::Silence {
            return self.fill_silence(tick, gap, missing);
        }
        let samples = gap.min(missing);
        self.reader.position = self.reader.position.plus(i64::from(samples));
        Step::Fill(filler, samples)
    }

    /// Nothing is stored: lost, late, or the sender is silent without saying so.
    fn fill_underrun(&mut self, tick: Tick, missing: u32) -> Step {
        let clock_rate = self.config.clock_rate;
        self.reader.underrun += u64::from(missing);
        if self.reader.underrun > clock_rate.units(IDLE_AFTER_NS) {
            self.end_stream();
            return Step::Idle;
        }
        let filled = self.reader.position.since(self.reader.last_end);
        if filled >= clock_rate.units(CONCEAL_AT_MOST_NS).cast_signed() {
            self.reader.filler = Filler::Silence;
        }
        if self.reader.filler == Filler::Silence {
            return self.fill_silence(tick, u32::MAX, missing);
        }
        self.reader.position = self.reader.position.plus(i64::from(missing));
        Step::Fill(Filler::Concealment, missing)
    }

    /// Up to `gap` samples of silence, in which the delay may change unheard.
    fn fill_silence(&mut self, tick: Tick, gap: u32, missing: u32) -> Step {
        let wish = self.policy.wish();
        if wish.grow > 0 {
            self.reader.insert = tick.samples;
            self.delay_by(i64::from(tick.samples));
            let samples = tick.samples.min(missing);
            self.reader.insert -= samples;
            return Step::Fill(Filler::Silence, samples);
        }
        let mut gap = gap;
        if wish.shrink > 0 && gap > tick.samples {
            gap -= tick.samples;
            self.reader.position = self.reader.position.plus(i64::from(tick.samples));
            self.delay_by(-i64::from(tick.samples));
        }
        let samples = gap.min(missing);
        self.reader.position = self.reader.position.plus(i64::from(samples));
        Step::Fill(Filler::Silence, samples)
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

impl Reader {
    const fn at(position: MediaPosition) -> Self {
        Self {
            position,
            last_end: position,
            last_samples: 0,
            filler: Filler::Silence,
            insert: 0,
            underrun: 0,
        }
    }
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Joins a packet to the one directly before it when its timestamp is off by less than half a packet: such a difference is
/// neither loss nor silence but a sender that reads its timestamps off a clock.
fn snap(newest: &Newest, sequence: ExtendedSequenceNumber, stated: MediaPosition) -> MediaPosition {
    let follows = sequence.0 == newest.sequence.0 + 1;
    let off = stated.since(newest.end()).unsigned_abs();
    if follows && off < u64::from(newest.samples) / 2 {
        newest.end()
    } else {
        stated
    }
}
