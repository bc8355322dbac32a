//! From a leg's jitter buffer to a block of samples: decoding, repair and concealment of what was lost, silence and how it
//! sounds, changes of the delay. Knows nothing of sockets, sources, digits or the mix.

use confab_codec::{CodecKind, ComfortNoise, Decoder};
use confab_dsp::TimeScale;
use confab_rtp::{Adjust, FrameRef, Playout, Pull, RtpTimestamp, SequenceNumber, SpeechAdjust, Tick};

use super::lull::Use;
use super::receiving::{LONGEST_PERIOD_MS, Receiving, Scale};
use super::rest::Rest;
use super::skipped::Skipped;

/// Samples of the longest packet that is decoded: 120 ms at 48 kHz.
pub(crate) const MAX_FRAME_SAMPLES: usize = 5760;

/// Mean absolute sample up to which a frame counts as silence that may be shortened or stretched unheard.
const SILENCE_SCORE: u16 = 8;

/// Octets up to which an Opus packet holds no sound: it begins a pause (RFC 7587 §3.1.3).
pub(super) const OPUS_PAUSE_OCTETS: usize = 2;

/// Score up to which a leg is unheard whatever it says: it is muted.
const MUTED: u16 = u16::MAX;

/// What a block was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Block {
    /// Decoded or concealed audio, or the noise of a pause, at least in part.
    Audio {
        /// Mean absolute sample of the block.
        score: u16,
    },
    /// Silence: the sender pauses or there is no stream.
    Quiet,
}

/// Audio that came from elsewhere than its own packet, in nanoseconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Substitutes {
    /// Made up for lost packets.
    pub(super) concealed_ns: u64,
    /// Made up since the last packet. Whether something was lost there or the sender paused without a word is not known before the
    /// next one comes.
    unexplained_ns: u64,
    /// Sequence number, and timestamp of the end, of the last packet.
    last: Option<(SequenceNumber, RtpTimestamp)>,
    /// Restored from what the packet behind a lost one carried.
    pub(super) repaired_ns: u64,
}

impl Substitutes {
    /// Takes the next packet. When it is the one behind the last by its number, but later by its time, the sender was silent
    /// between them, and what was made up was a pause and stood for nothing.
    fn explain(&mut self, packet: &FrameRef<'_>) {
        let end = RtpTimestamp(packet.timestamp.0.wrapping_add(packet.samples));
        let last = self.last.replace((packet.sequence_number, end));
        if self.unexplained_ns == 0 {
            return;
        }
        let unexplained_ns = std::mem::take(&mut self.unexplained_ns);
        let paused = last.is_some_and(|(sequence, end)| {
            packet.sequence_number.0 == sequence.0.wrapping_add(1) && packet.timestamp != end
        });
        if !paused {
            self.concealed_ns += unexplained_ns;
        }
    }
}

/// What is done to the length of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Change {
    Keep,
    /// Silence is left out, or put before it; units of the RTP clock.
    Drop(u32),
    Insert(u32),
    /// Speech is made shorter or longer by about so many units.
    Shorten(u32),
    Lengthen(u32),
}

impl Change {
    /// Asks what the delay needs of a frame of so many units.
    fn wanted(playout: &mut Playout, silent: bool, units: u32) -> Change {
        if silent {
            return match playout.adjust_in_silence(units) {
                Adjust::Keep => Change::Keep,
                Adjust::Drop { samples } => Change::Drop(samples),
                Adjust::Insert { samples } => Change::Insert(samples),
            };
        }
        match playout.adjust_in_speech() {
            SpeechAdjust::Keep => Change::Keep,
            SpeechAdjust::Shorten { samples } => Change::Shorten(samples),
            SpeechAdjust::Lengthen { samples } => Change::Lengthen(samples),
        }
    }
}

impl Receiving {
    /// Fills one block at the codec's rate with what is due. Frames whose score is not above `unheard` are heard by nobody:
    /// they may be shortened or stretched, and left undecoded where that saves much.
    pub(super) fn fill(
        &mut self,
        tick: Tick,
        out: &mut [i16],
        frame: &mut [i16; MAX_FRAME_SAMPLES],
        unheard: u16,
        substitutes: &mut Substitutes,
    ) -> Block {
        let (playout, mut work) = self.divided(frame, unheard, substitutes);
        let clock = work.clock;
        let silence = unheard.max(SILENCE_SCORE);
        let waiting = work.rest.left_out();
        let mut filled = work.rest.take(out);
        let mut heard = filled > 0 && waiting.is_none();
        // The scores of what was left out, each as often as it has samples in the block.
        let mut left_out = u64::from(waiting.unwrap_or(0)) * filled as u64;
        while filled < out.len() {
            let missing = out.len() - filled;
            match playout.pull(tick, clock.units(missing)) {
                Pull::Frame(packet) => {
                    work.substitutes.explain(&packet);
                    let usage = work.consider(&packet);
                    if let Use::LeaveOut { score } = usage {
                        let units = packet.samples - packet.skip;
                        let change = Change::wanted(playout, true, units);
                        let placed = work.leave_out(change, units, score, &mut out[filled..]);
                        left_out += u64::from(score) * placed as u64;
                        filled += placed;
                        continue;
                    }
                    heard = true;
                    // As a rule a packet is a block: it is decoded where it is wanted, and measured once.
                    if filled == 0 && packet.skip == 0 && clock.samples(packet.samples) == missing {
                        work.lead_up_to(usage);
                        decode(work.decoder, clock, &packet, out);
                        let score = work.measured(confab_dsp::score(out));
                        let change = Change::wanted(playout, score <= silence, clock.units(missing));
                        if change == Change::Keep {
                            return Block::Audio { score };
                        }
                        work.frame[..missing].copy_from_slice(out);
                        filled = work.place(playout, change, missing, out);
                        continue;
                    }
                    let samples = work.decode_after_skip(&packet, usage);
                    let score = work.measured(confab_dsp::score(&work.frame[..samples]));
                    let change = Change::wanted(playout, score <= silence, clock.units(samples));
                    filled += work.place(playout, change, samples, &mut out[filled..]);
                }
                Pull::Lost { samples, next } => {
                    heard |= !work.is_muted();
                    filled += work.substitute(samples, next, &mut out[filled..]);
                }
                Pull::Quiet { samples } => {
                    let end = filled + clock.samples(samples).clamp(1, missing);
                    heard |= work.pause(None, &mut out[filled..end]);
                    filled = end;
                }
                Pull::ComfortNoise { payload, samples } => {
                    let end = filled + clock.samples(samples).clamp(1, missing);
                    heard |= work.pause(Some(payload), &mut out[filled..end]);
                    filled = end;
                }
                Pull::Idle => {
                    out[filled..].fill(0);
                    filled = out.len();
                }
            }
        }
        let left_out = (left_out / out.len().max(1) as u64) as u16; // a mean of scores
        if heard {
            Block::Audio {
                score: confab_dsp::score(out).saturating_add(left_out),
            }
        } else if left_out > 0 {
            Block::Audio { score: left_out }
        } else {
            Block::Quiet
        }
    }

    /// Returns the jitter buffer, and beside it what its packets are worked on with.
    fn divided<'r>(
        &'r mut self,
        frame: &'r mut [i16; MAX_FRAME_SAMPLES],
        unheard: u16,
        substitutes: &'r mut Substitutes,
    ) -> (&'r mut Playout, Work<'r>) {
        let work = Work {
            clock: super::receiving::scale(self.kind),
            sounds_in_pauses: self.kind == CodecKind::Opus,
            unheard,
            decoder: &mut *self.decoder,
            rest: &mut self.rest,
            time_scale: &mut self.time_scale,
            noise: &mut self.noise,
            skipped: self.skipped.as_deref_mut(),
            inactive: false,
            frame,
            substitutes,
        };
        (&mut self.playout, work)
    }
}

/// What one block is made with.
struct Work<'r> {
    clock: Scale,
    /// The decoder itself makes the noise of pauses.
    sounds_in_pauses: bool,
    unheard: u16,
    decoder: &'r mut dyn Decoder,
    rest: &'r mut Rest,
    time_scale: &'r mut TimeScale,
    noise: &'r mut ComfortNoise,
    skipped: Option<&'r mut Skipped>,
    /// The packet at hand says that nobody speaks in it, and is not heard as long as that is true.
    inactive: bool,
    frame: &'r mut [i16; MAX_FRAME_SAMPLES],
    substitutes: &'r mut Substitutes,
}

impl Work<'_> {
    /// Returns whether nobody hears the leg and its packets need not be decoded.
    fn is_muted(&self) -> bool {
        self.skipped.is_some() && self.unheard == MUTED
    }

    /// Decides whether a packet is decoded. One that is left out is kept for the case that the next one is not, unless it holds no
    /// sound.
    fn consider(&mut self, packet: &FrameRef<'_>) -> Use {
        self.inactive = false;
        let Some(skipped) = &mut self.skipped else {
            return Use::Decode;
        };
        if self.unheard == 0 {
            skipped.lull.end();
            return Use::Decode;
        }
        if packet.payload.len() <= OPUS_PAUSE_OCTETS {
            return Use::LeaveOut { score: 0 };
        }
        if self.unheard == MUTED {
            skipped.lull.end();
            skipped.keep(packet.payload);
            return Use::LeaveOut { score: 0 };
        }
        if !self.decoder.is_inactive(packet.payload) {
            return Use::Decode;
        }
        self.inactive = true;
        let samples_per_ms = (self.decoder.sample_rate_hz() / 1000).max(1);
        let packet_ms = self.clock.samples(packet.samples) as u32 / samples_per_ms;
        let usage = skipped.lull.consider(packet_ms, self.unheard);
        if let Use::LeaveOut { .. } = usage {
            skipped.keep(packet.payload);
        }
        usage
    }

    /// Prepares the decoder for a packet. One that is only looked at needs nothing of those before it.
    fn lead_up_to(&mut self, usage: Use) {
        match (&mut self.skipped, usage) {
            (Some(skipped), Use::Probe) => skipped.clear(),
            _ => self.catch_up(),
        }
    }

    /// Notes the score of a decoded packet, and returns it.
    fn measured(&mut self, score: u16) -> u16 {
        if let (Some(skipped), true) = (&mut self.skipped, self.inactive) {
            skipped.lull.decoded(score, self.unheard);
        }
        score
    }

    /// Decodes what was skipped last, unheard: what comes next builds on it.
    fn catch_up(&mut self) {
        while let Some(payload) = self.skipped.as_mut().and_then(|skipped| skipped.take()) {
            if self.decoder.decode(payload, &mut self.frame[..]).is_err() {
                self.decoder.reset();
            }
        }
    }

    /// Decodes a packet into the frame, without the part that is not wanted; returns the samples.
    fn decode_after_skip(&mut self, packet: &FrameRef<'_>, usage: Use) -> usize {
        self.lead_up_to(usage);
        let decoded = decode(self.decoder, self.clock, packet, &mut self.frame[..]);
        let skip = self.clock.samples(packet.skip).min(decoded);
        if skip > 0 {
            self.frame.copy_within(skip..decoded, 0);
        }
        decoded - skip
    }

    /// Puts silence into the block in the place of a packet of this score, of a changed length, and what does not fit into the
    /// rest; returns the samples placed.
    fn leave_out(&mut self, change: Change, units: u32, score: u16, out: &mut [i16]) -> usize {
        let units = match change {
            Change::Drop(left_out) => units.saturating_sub(left_out),
            Change::Insert(more) => units + more,
            Change::Keep | Change::Shorten(_) | Change::Lengthen(_) => units,
        };
        self.rest.place_left_out(self.clock.samples(units), score, out)
    }

    /// Changes the length of the frame, which has so many samples, and puts it into the block and the rest; returns the
    /// samples placed in the block.
    fn place(&mut self, playout: &mut Playout, change: Change, samples: usize, out: &mut [i16]) -> usize {
        match change {
            Change::Keep => self.rest.place(&self.frame[..samples], out),
            Change::Drop(units) => {
                let from = self.clock.samples(units).min(samples);
                self.rest.place(&self.frame[from..samples], out)
            }
            Change::Insert(units) => {
                let silence = self.clock.samples(units);
                self.rest.place_after(silence, &self.frame[..samples], out)
            }
            Change::Shorten(units) => {
                let removed = self.shorten(samples, units);
                playout.adjusted_in_speech(-self.clock.units(removed).cast_signed());
                self.rest.place(&self.frame[..samples - removed], out)
            }
            Change::Lengthen(units) => {
                let added = self.lengthen(samples, units);
                playout.adjusted_in_speech(self.clock.units(added).cast_signed());
                self.rest.place(&self.frame[..samples + added], out)
            }
        }
    }

    /// Takes at most `units` out of the frame, a whole number of them; returns the samples.
    fn shorten(&mut self, samples: usize, units: u32) -> usize {
        let at_most = self.clock.samples(units).min(samples);
        let mut removed = self.time_scale.shorten(&mut self.frame[..samples], at_most);
        while !self.clock.is_whole(removed) {
            removed += self
                .time_scale
                .shorten(&mut self.frame[..samples - removed], 1)
                .max(1);
        }
        removed
    }

    /// Puts about `units` into the frame, a whole number of them; returns the samples.
    fn lengthen(&mut self, samples: usize, units: u32) -> usize {
        // A whole period even where less is wanted: the rest is asked for sooner or later.
        let period = self.decoder.sample_rate_hz() as usize * LONGEST_PERIOD_MS / 1000;
        let at_most = self.clock.samples(units).max(period);
        let frame = &mut self.frame[..];
        let mut added = self.time_scale.lengthen(frame, samples, at_most);
        while !self.clock.is_whole(added) {
            if self.time_scale.lengthen(frame, samples + added, 1) == 0 {
                added -= 1; // no room: the last sample is left out
            } else {
                added += 1;
            }
        }
        added
    }

    /// Puts what stands for lost audio into the block and the rest: repaired from the packet behind it, or made up. Returns
    /// the samples placed in the block.
    fn substitute(&mut self, units: u32, next: Option<FrameRef<'_>>, out: &mut [i16]) -> usize {
        let samples = self.clock.samples(units).min(MAX_FRAME_SAMPLES);
        if self.is_muted() {
            return self.rest.place_left_out(samples, 0, out);
        }
        self.catch_up();
        let lost = &mut self.frame[..samples];
        let repaired = next
            .filter(|next| units >= next.samples)
            .filter(|next| self.decoder.decode_fec(next.payload, lost))
            .map_or(0, |next| self.clock.samples(next.samples));
        if repaired == 0 {
            self.decoder.conceal(lost);
        }
        let rate_hz = self.decoder.sample_rate_hz();
        self.substitutes.repaired_ns += nanoseconds(repaired, rate_hz);
        self.substitutes.unexplained_ns += nanoseconds(samples - repaired, rate_hz);
        self.rest.place(lost, out)
    }

    /// Fills a part of a pause; returns whether it sounds.
    fn pause(&mut self, description: Option<&[u8]>, out: &mut [i16]) -> bool {
        let sounds = self.unheard == 0 && (description.is_some() || self.sounds_in_pauses);
        match description {
            _ if !sounds => {
                self.decoder.reset();
                out.fill(0);
            }
            Some(description) => {
                self.decoder.reset();
                self.noise.receive(description);
                self.noise.fill(out);
            }
            None => self.decoder.conceal(out),
        }
        sounds
    }
}

/// Decodes a frame; one that cannot be decoded is concealed at its announced length.
fn decode(decoder: &mut dyn Decoder, clock: Scale, packet: &FrameRef<'_>, frame: &mut [i16]) -> usize {
    decoder.decode(packet.payload, frame).unwrap_or_else(|_| {
        let samples = clock.samples(packet.samples).min(frame.len());
        decoder.conceal(&mut frame[..samples]);
        samples
    })
}

fn nanoseconds(samples: usize, rate_hz: u32) -> u64 {
    samples as u64 * 1_000_000_000 / u64::from(rate_hz.max(1))
}

#[cfg(test)]
mod tests;
