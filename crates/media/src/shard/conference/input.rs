//! From a leg's jitter buffer to the mixer: one block of one leg.

use confab_mixer::SlotId;
use confab_rtp::Tick;

use super::{ConferenceAudio, TickTime};
use crate::event::MediaEvent;
use crate::leg::Leg;
use crate::leg::input::{Block, Input};
use crate::leg::notices::EventSink;
use crate::leg::processing::Processing;
use crate::leg::session::Session;
use crate::shard::bus::samples_in;
use crate::shard::workbench::Scratch;
use crate::tap::TapSource;

impl ConferenceAudio {
    /// Gives the mixer one block of a leg.
    pub(super) fn take_input<S>(
        &mut self,
        leg: &mut Leg<S>,
        slot: SlotId,
        scratch: &mut Scratch,
        sink: &mut impl EventSink,
        time: TickTime,
    ) {
        let Some(session) = &mut leg.session else { return };
        let filled = if session.receives {
            self.decode(
                session,
                &mut leg.input,
                leg.tap.as_deref_mut(),
                slot,
                scratch,
                time,
            )
        } else {
            if let Some(tap) = &mut leg.tap {
                let rate_hz = session.receiving.kind.sample_rate_hz();
                tap.put_silence(
                    self.position_ms,
                    rate_hz,
                    samples_in(rate_hz, self.mixer.block_ms()),
                );
            }
            Block::Quiet
        };
        leg.tell_digits();
        let block = &self.block[..self.mixer.block_samples()];
        let report = match filled {
            Block::Audio { score } => self.mixer.input_scored(slot, block, score),
            Block::Quiet => self.mixer.input_quiet(slot),
        };
        leg.set_energy(report.score);
        if let Some(talking) = report.talking_changed {
            leg.set_talking(talking);
            if !talking {
                sink.level(MediaEvent::Energy {
                    leg: leg.id,
                    score: report.score,
                });
            }
        } else if leg.notices.is_talking() {
            leg.notices.level(time.now_ns, report.score, sink);
        }
        if leg.notices.waiting {
            leg.notices.tell(time.now_ns, sink);
        }
    }

    /// Decodes what is due into `self.block`, at the rate of the mix.
    fn decode(
        &mut self,
        session: &mut Session,
        input: &mut Input,
        tap: Option<&mut TapSource>,
        slot: SlotId,
        scratch: &mut Scratch,
        time: TickTime,
    ) -> Block {
        let receiving = &mut session.receiving;
        let unheard = self.mixer.unheard_up_to(slot);
        // Whoever taps a leg hears all of it.
        let undecoded = if tap.is_some() { 0 } else { unheard };
        let position_ms = self.position_ms;
        let block = &mut self.block[..self.mixer.block_samples()];
        let rate_hz = receiving.kind.sample_rate_hz();
        let samples = samples_in(rate_hz, self.mixer.block_ms());
        let tick = Tick {
            at_ns: time.due_ns,
            samples: receiving.scale().units(samples),
        };
        let Scratch { frame, decoded, .. } = scratch;
        if rate_hz == self.mixer.format().rate_hz() {
            let filled = input.fill(receiving, tick, block, frame, undecoded);
            put(tap, position_ms, rate_hz, filled, block);
            return process(
                &mut session.processing,
                &mut self.denoised,
                filled,
                block,
                rate_hz,
                unheard,
            );
        }
        let decoded = &mut decoded[..samples];
        let filled = input.fill(receiving, tick, decoded, frame, undecoded);
        put(tap, position_ms, rate_hz, filled, decoded);
        let processing = &mut session.processing;
        let filled = process(processing, &mut self.denoised, filled, decoded, rate_hz, unheard);
        // What an open gate lets through is converted however quiet it is: the tail of what came before is in it.
        let written = match filled {
            Block::Audio { score } if score > unheard || unheard == 0 || self.mixer.is_amplified(slot) => {
                receiving.to_mix.process(decoded, block)
            }
            // Nobody hears it, but what comes next is joined to it.
            Block::Audio { .. } | Block::Quiet => {
                receiving.to_mix.skip(decoded);
                0
            }
        };
        // The block before it belonged to another leg, or to a listener.
        block[written..].fill(0);
        filled
    }
}

/// Lets a block out that was just decoded, before anything is done with it.
fn put(tap: Option<&mut TapSource>, at_ms: u64, rate_hz: u32, filled: Block, block: &[i16]) {
    let Some(tap) = tap else { return };
    match filled {
        Block::Audio { .. } => tap.put(at_ms, rate_hz, block),
        Block::Quiet => tap.put_silence(at_ms, rate_hz, block.len()),
    }
}

/// Blocks of one conference that are denoised in one tick at most: about 3 ms of work. Who talks beyond that is mixed as he
/// is.
const MAX_DENOISED: u32 = 8;

/// Denoises and levels a block that may be heard; returns what it is then.
fn process(
    processing: &mut Processing,
    denoised: &mut u32,
    filled: Block,
    block: &mut [i16],
    rate_hz: u32,
    unheard: u16,
) -> Block {
    match filled {
        Block::Audio { score } if score > unheard && processing.is_needed(rate_hz) => {
            *denoised += u32::from(processing.process(block, *denoised < MAX_DENOISED));
            Block::Audio {
                score: confab_dsp::score(block),
            }
        }
        Block::Audio { score } => {
            processing.pause(block.len(), score);
            filled
        }
        Block::Quiet => {
            processing.pause(block.len(), 0);
            filled
        }
    }
}
