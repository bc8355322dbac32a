//! Media out: what a tick hears next, and what fills a gap.

use super::super::buffer::{Content, PacketInfo};
use super::super::timeline::MediaPosition;
use super::{FrameRef, Phase, Playout, Pull, Tick};

/// Nothing received for this long: the next packet begins a new stream.
const IDLE_AFTER_NS: u64 = 1_000_000_000;
/// The same while the sender is known to be silent: comfort noise need not be repeated (RFC 3389 §5).
const QUIET_IDLE_AFTER_NS: u64 = 60_000_000_000;
/// How long after a loss the delay leaves room for its repair.
const LOSS_REMEMBERED_NS: u64 = 10_000_000_000;
/// Concealment has faded to silence well before; what follows is called silence.
const CONCEAL_AT_MOST_NS: u64 = 100_000_000;

/// Where playout stands in media time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Reader {
    /// The next sample to hand out.
    pub(super) position: MediaPosition,
    /// End of the last packet handed out; what lies between it and `position` was filled.
    pub(super) last_end: MediaPosition,
    /// Duration of the last packet handed out.
    pub(super) last_samples: u32,
    /// How much of it is beyond what its tick needs.
    pub(super) beyond: u32,
    /// What fills the place after it.
    pub(super) filler: Filler,
    /// Samples to be filled without media time passing: delay being added.
    pub(super) insert: u32,
    /// Samples since the buffer ran empty.
    pub(super) underrun: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Filler {
    Concealment,
    Silence,
    /// Silence with a sound of its own: the noise parameters say which.
    Noise,
}

/// What the next pull gives.
pub(super) enum Step {
    Frame,
    Fill(Filler, u32),
    Idle,
}

impl Reader {
    pub(super) const fn at(position: MediaPosition) -> Self {
        Self {
            position,
            last_end: position,
            last_samples: 0,
            beyond: 0,
            filler: Filler::Silence,
            insert: 0,
            underrun: 0,
        }
    }
}

impl Playout {
    /// Earliest tick of a stream whose first packet may play from `start_ns` on.
    ///
    /// Packets that are no multiple of a tick begin anywhere within ticks; one that begins late in a tick must be there at the
    /// tick's start all the same. The first packet waits by as much as the worst of them needs.
    pub(super) fn first_start_ns(&self, tick: Tick, start_ns: u64, samples: u32) -> u64 {
        let within_tick = tick.samples - greatest_common_divisor(tick.samples, samples);
        start_ns.saturating_add(self.config.clock_rate.nanoseconds(u64::from(within_tick)))
    }

    pub(super) fn start(&mut self, tick: Tick, missing: u32, start_ns: u64) {
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
    pub(super) fn begin_tick(&mut self, tick: Tick, missing: u32) {
        let Some(due) = self.policy.due_at(tick.at_ns) else {
            return;
        };
        self.policy.ticks_moved(due.phase_ns);
        self.policy.set_reserve(self.repair_reserve_ns(tick));
        self.policy.set_skew(self.drift.skew_ppm().unwrap_or(0));
        // What the leg still has decoded is heard first.
        let heard_before = i64::from(tick.samples) - i64::from(missing) + i64::from(self.reader.insert);
        let behind = due.position.since(self.reader.position.plus(-heard_before));
        self.skip(behind.clamp(0, 1 << 40));
        self.set_anchor(tick, missing);
    }

    /// How long a packet should wait so that the one behind it is there in time to repair it.
    fn repair_reserve_ns(&self, tick: Tick) -> u64 {
        let lossy = self
            .last_loss_ns
            .is_some_and(|loss_ns| tick.at_ns.saturating_sub(loss_ns) < LOSS_REMEMBERED_NS);
        if self.fec && lossy { self.packet_ns() } else { 0 }
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

    pub(super) fn next_step(&mut self, tick: Tick, missing: u32) -> Step {
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
                Content::Audio { samples } | Content::Dtx { samples } if ahead + i64::from(samples) <= 0 => {
                    self.bursts.missing(missing_packets + 1);
                    self.buffer.pop_front();
                    self.counters.overtaken += 1;
                }
                Content::Audio { .. } | Content::Dtx { .. } if ahead <= 0 => {
                    self.count_packets(tick, missing_packets);
                    return Step::Frame;
                }
                Content::NoAudio if in_order || ahead <= 0 => {
                    self.count_packets(tick, missing_packets);
                    self.pass_over_event();
                }
                Content::ComfortNoise if ahead <= 0 => {
                    self.count_packets(tick, missing_packets);
                    self.pass_over_noise();
                }
                _ => return self.fill_gap(tick, missing, ahead, &front),
            }
        }
        self.fill_underrun(tick, missing)
    }

    /// Takes note of the front packet and of those missing before it.
    fn count_packets(&mut self, tick: Tick, missing: u64) {
        if missing > 0 {
            self.last_loss_ns = Some(tick.at_ns);
        }
        self.bursts.missing(missing);
        self.bursts.received();
    }

    /// Takes a packet without audio off the front: what follows it is silence until there is audio again.
    fn pass_over_event(&mut self) {
        self.buffer.pop_front();
        if self.reader.filler == Filler::Concealment {
            self.reader.filler = Filler::Silence;
        }
    }

    /// Takes comfort noise off the front: it sounds until there is audio again.
    fn pass_over_noise(&mut self) {
        if let Some((_, payload)) = self.buffer.front_packet() {
            self.noise.set(payload);
        }
        self.buffer.pop_front();
        self.reader.filler = Filler::Noise;
    }

    pub(super) fn pop_frame(&mut self, missing: u32) -> Pull<'_> {
        let at = self.reader.position;
        let Some((info, payload)) = self.buffer.pop_front() else {
            return Pull::Idle;
        };
        let Some(samples) = info.content.samples() else {
            return Pull::Idle;
        };
        let end = info.position.plus(i64::from(samples));
        let skip = u32::try_from(at.since(info.position)).unwrap_or(0);
        self.reader = Reader {
            last_samples: samples,
            beyond: (samples - skip).saturating_sub(missing),
            filler: match info.content {
                Content::Dtx { .. } => Filler::Silence,
                _ => Filler::Concealment,
            },
            ..Reader::at(end)
        };
        self.counters.frames += 1;
        Pull::Frame(FrameRef::new(&info, payload, samples, skip))
    }

    /// The next packet is not due for `ahead` samples. As many packets as are missing before it were lost; what is beyond their
    /// duration the sender left out on purpose.
    fn fill_gap(&mut self, tick: Tick, missing: u32, ahead: i64, front: &PacketInfo) -> Step {
        self.reader.underrun = 0;
        let lost_packets = self
            .buffer
            .missing_before_front()
            .min(u64::from(u16::MAX))
            .cast_signed();
        let lost_until = self
            .reader
            .last_end
            .plus(lost_packets * i64::from(self.reader.last_samples));
        let lost = lost_until.since(self.reader.position).min(ahead);
        if self.reader.filler != Filler::Concealment || lost <= 0 {
            if self.reader.filler == Filler::Concealment {
                self.reader.filler = Filler::Silence;
            }
            let gap = u32::try_from(ahead).unwrap_or(u32::MAX);
            return self.fill_silence(tick, gap, missing);
        }
        let lost = u32::try_from(lost).unwrap_or(u32::MAX);
        let repairable = front
            .content
            .samples()
            .filter(|_| self.fec && ahead == i64::from(lost));
        let samples = match repairable {
            // The last packet lost is left whole for the next one to repair.
            Some(whole) if lost > whole => missing.min(lost - whole),
            Some(whole) if lost == whole => lost,
            _ => lost.min(missing),
        };
        self.reader.position = self.reader.position.plus(i64::from(samples));
        Step::Fill(Filler::Concealment, samples)
    }

    /// Nothing is stored: lost, late, or the sender is silent without saying so.
    fn fill_underrun(&mut self, tick: Tick, missing: u32) -> Step {
        let clock_rate = self.config.clock_rate;
        let idle_after_ns = if self.reader.filler == Filler::Noise {
            QUIET_IDLE_AFTER_NS
        } else {
            IDLE_AFTER_NS
        };
        self.reader.underrun += u64::from(missing);
        if self.reader.underrun > clock_rate.units(idle_after_ns) {
            self.end_stream();
            return Step::Idle;
        }
        let filled = self.reader.position.since(self.reader.last_end);
        let conceals = self.reader.filler == Filler::Concealment;
        if conceals && filled >= clock_rate.units(CONCEAL_AT_MOST_NS).cast_signed() {
            self.reader.filler = Filler::Silence;
        }
        if self.reader.filler != Filler::Concealment {
            return self.fill_silence(tick, u32::MAX, missing);
        }
        self.reader.position = self.reader.position.plus(i64::from(missing));
        Step::Fill(Filler::Concealment, missing)
    }

    /// Up to `gap` samples of silence, in which the delay may change unheard.
    fn fill_silence(&mut self, tick: Tick, gap: u32, missing: u32) -> Step {
        let wish = self.policy.wish();
        let grow = wish.grow.max(wish.grow_in_silence).min(tick.samples);
        if grow > 0 {
            self.reader.insert = grow;
            self.delay_by(i64::from(grow));
            let samples = grow.min(missing);
            self.reader.insert -= samples;
            return Step::Fill(self.reader.filler, samples);
        }
        let mut gap = gap;
        let shrink = wish.shrink.min(tick.samples);
        if shrink > 0 && gap > shrink {
            gap -= shrink;
            self.reader.position = self.reader.position.plus(i64::from(shrink));
            self.delay_by(-i64::from(shrink));
        }
        let samples = gap.min(missing);
        self.reader.position = self.reader.position.plus(i64::from(samples));
        Step::Fill(self.reader.filler, samples)
    }
}

fn greatest_common_divisor(mut a: u32, mut b: u32) -> u32 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}
