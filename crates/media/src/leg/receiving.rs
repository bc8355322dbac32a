//! One codec that a leg's peer may send: jitter buffer, decoder, and everything else whose size or state depends on it.
//! Built outside the shard; what is done with it stands in `decode`.

use std::time::Duration;

use confab_codec::{CodecKind, ComfortNoise, Decoder};
use confab_dsp::{DtmfDetector, Resampler, TimeScale};
use confab_rtp::{
    ClockRate, CodecImpairment, PayloadType, PayloadTypes, Playout, PlayoutConfig, QualityMeter,
};

use super::rest::Rest;
use super::skipped::Skipped;
use crate::sys;

/// How long the first packet of a stream waits at least, in nanoseconds. The path may be up to 1 ms slower for later packets without
/// anything being done about it; where it is worse the delay grows by a tick, as often as it would be too short otherwise.
const MARGIN_NS: u64 = 2_000_000;

/// Octets of payload that a slot of the jitter buffer holds at least: 120 ms of G.711, and any Opus frame.
const MIN_PAYLOAD_CAPACITY: usize = 960;
const OPUS_PAYLOAD_CAPACITY: usize = 1500;
/// Milliseconds of uncompressed audio that some peers send in a packet, although it is more than Ethernet holds.
const L16_PACKET_MS: usize = 60;

/// The longest piece that is put into speech at once, in milliseconds: a period of the lowest voice.
pub(super) const LONGEST_PERIOD_MS: usize = 15;

/// How long a stream that carried repair data is taken to go on doing so.
const FEC_REMEMBERED_NS: u64 = 10_000_000_000;

/// One codec that the peer may send.
pub(crate) struct Receiving {
    pub(crate) kind: CodecKind,
    pub(crate) payload_types: PayloadTypes,
    pub(super) decoder: Box<dyn Decoder>,
    pub(crate) playout: Playout,
    pub(super) rest: Rest,
    pub(super) time_scale: TimeScale,
    /// What stands for the peer's background while it says how that sounds.
    pub(super) noise: Box<ComfortNoise>,
    /// Hears digits, where the peer has no other way to send them in RTP.
    pub(super) detector: Option<Box<DtmfDetector>>,
    /// For codecs whose decoding is worth leaving out while nobody hears it.
    pub(super) skipped: Option<Box<Skipped>>,
    pub(super) quality: Box<QualityMeter>,
    /// When a packet last carried what repairs the one before it.
    fec_ns: Option<u64>,
    /// From the decoder's rate to the mix.
    pub(crate) to_mix: Box<Resampler>,
}

impl Receiving {
    /// Allocates for a codec; `in_band` when digits can only be heard.
    pub(super) fn new(kind: CodecKind, payload_types: &[u8], max_delay: Duration, in_band: bool) -> Self {
        let mut playout = PlayoutConfig::new(clock_rate(kind));
        playout.margin_ns = MARGIN_NS;
        playout.max_delay_ns = u64::try_from(max_delay.as_nanos()).unwrap_or(u64::MAX);
        playout.payload_capacity = match kind {
            CodecKind::Opus => OPUS_PAYLOAD_CAPACITY,
            CodecKind::L16 { rate_hz, channels } => {
                rate_hz as usize * L16_PACKET_MS / 1000 * 2 * usize::from(channels)
            }
            _ => MIN_PAYLOAD_CAPACITY,
        };
        let rate_hz = kind.sample_rate_hz();
        let period = rate_hz as usize * LONGEST_PERIOD_MS / 1000;
        Receiving {
            kind,
            payload_types: payload_types
                .iter()
                .filter_map(|&pt| PayloadType::new(pt))
                .collect(),
            decoder: kind.decoder(),
            playout: Playout::new(playout),
            // A packet, and a tick that is inserted before it (both are 120 ms at most), and a period put into it.
            rest: Rest::new(2 * kind.max_frame_samples() + period),
            time_scale: TimeScale::new(rate_hz),
            noise: Box::new(ComfortNoise::new(0x5eed)),
            detector: in_band.then(|| Box::new(DtmfDetector::new(rate_hz))),
            skipped: (kind == CodecKind::Opus && !in_band).then(|| Box::new(Skipped::new())),
            quality: Box::new(QualityMeter::new(impairment(kind, false))),
            fec_ns: None,
            to_mix: Box::new(Resampler::new()),
        }
    }

    /// Begins to load what the next packet touches outside of this value.
    pub(super) fn preload(&self) {
        self.playout.preload_next(&sys::Prefetcher);
        sys::prefetch(&*self.decoder);
    }

    /// Takes over what a stream that goes on has shown so far; what the negotiation decided stays as it is here.
    pub(super) fn go_on_from(&mut self, before: &mut Receiving) {
        std::mem::swap(self, before);
        std::mem::swap(&mut self.payload_types, &mut before.payload_types);
        if self.detector.is_some() != before.detector.is_some() {
            std::mem::swap(&mut self.detector, &mut before.detector);
            std::mem::swap(&mut self.skipped, &mut before.skipped);
        }
    }

    /// Forgets the stream's audio: the leg joins a conference, or the codec begins anew.
    pub(crate) fn restart(&mut self) {
        self.playout.restart(self.clock_rate());
        self.rest.clear();
        self.decoder.reset();
        self.noise.reset();
        if let Some(detector) = &mut self.detector {
            detector.reset();
        }
        if let Some(skipped) = &mut self.skipped {
            skipped.restart();
        }
    }

    /// Returns whether packets were left out since the last one that was decoded, because nobody speaks in them.
    #[cfg(test)]
    pub(crate) fn leaves_out(&self) -> bool {
        self.skipped
            .as_ref()
            .is_some_and(|skipped| skipped.lull.has_left_out())
    }

    /// Looks whether a packet carries what repairs the one before it: then it is worth waiting for when that is lost.
    pub(super) fn note_fec(&mut self, arrival_ns: u64, payload: &[u8]) {
        let carried_before = self.fec_ns.is_some();
        if self.decoder.carries_fec(payload) {
            self.fec_ns = Some(arrival_ns);
        } else if self
            .fec_ns
            .is_some_and(|last_ns| arrival_ns.saturating_sub(last_ns) > FEC_REMEMBERED_NS)
        {
            self.fec_ns = None;
        }
        let carried = self.fec_ns.is_some();
        if carried != carried_before {
            self.playout.set_fec(carried);
            self.quality.set_codec(impairment(self.kind, carried));
        }
    }

    /// Returns the clock of the RTP timestamps.
    pub(crate) fn clock_rate(&self) -> ClockRate {
        clock_rate(self.kind)
    }

    /// Returns how the codec's samples relate to the RTP clock.
    pub(crate) fn scale(&self) -> Scale {
        scale(self.kind)
    }
}

/// How the codec sounds, and what loss does to it.
fn impairment(kind: CodecKind, fec: bool) -> CodecImpairment {
    match kind {
        CodecKind::Pcmu | CodecKind::Pcma => CodecImpairment::G711,
        CodecKind::G722 | CodecKind::L16 { .. } => CodecImpairment::WAVEFORM,
        CodecKind::Opus if fec => CodecImpairment::OPUS_FEC,
        CodecKind::Opus => CodecImpairment::OPUS,
    }
}

pub(super) fn clock_rate(kind: CodecKind) -> ClockRate {
    ClockRate::new(kind.rtp_clock_hz()).unwrap_or(ClockRate::HZ_8000)
}

pub(super) fn scale(kind: CodecKind) -> Scale {
    Scale {
        samples_per_unit: (kind.sample_rate_hz() / kind.rtp_clock_hz()).max(1) as usize,
    }
}

/// Decoded samples per unit of the RTP clock: 1 for most codecs, 2 for G.722 (RFC 3551 §4.5.2).
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scale {
    samples_per_unit: usize,
}

impl Scale {
    pub(crate) fn units(self, samples: usize) -> u32 {
        samples.div_ceil(self.samples_per_unit) as u32
    }

    pub(crate) fn samples(self, units: u32) -> usize {
        units as usize * self.samples_per_unit
    }

    /// Returns whether samples make whole units.
    pub(super) fn is_whole(self, samples: usize) -> bool {
        samples.is_multiple_of(self.samples_per_unit)
    }
}
