//! Encode groups: listeners of one coding and packet time who hear the same signal share one encoded payload: of the common
//! mix, with or without data to repair what is lost, of what plays to those who wait, or of silence.
//!
//! A group fills packets at the positions of the mix that are multiples of its packet time, so all its listeners' packets
//! begin together, and a listener who comes to hear something else in the middle of a packet can go on by himself. For
//! codecs with a memory he takes the group's along, so that the far decoder notices nothing.

use confab_codec::{CodecKind, Coding, Encoder, NoiseDescription};

use super::bus::samples_in;
use crate::leg::output::Shared;

/// Loss that repair data are made for, in percent.
const LOSS_PERCENT: u8 = 10;

/// Level of silence in −dBov: the least that comfort noise can tell.
const SILENT: u8 = 127;

/// One signal in one coding: the packet being filled and, when complete, its payload.
struct Stream {
    encoder: Encoder,
    /// The encoder as it was before the packet just encoded.
    before: Encoder,
    pcm: Box<[i16]>,
    payload: Box<[u8]>,
    payload_len: usize,
    encoded: bool,
    /// This packet went on from that other shared signal.
    from: Option<Shared>,
    /// Milliseconds of packets encoded without a break.
    running_ms: u32,
}

/// All listeners of one coding and packet time.
pub(crate) struct EncodeGroup {
    coding: Coding,
    ptime_ms: u16,
    /// Index of the bus with its rate; set by the conference.
    pub(crate) bus: usize,
    /// Legs in the group; an empty group does nothing.
    pub(crate) members: u32,
    /// In the order of [`Shared::ALL`].
    streams: [Stream; Shared::ALL.len()],
    /// Nobody is heard in the common mix of the packet so far.
    quiet: bool,
    /// Level of its noise in −dBov, once somebody asked.
    noise_level: Option<u8>,
    /// Samples of the packet before this block.
    pub(crate) start: usize,
    /// Samples of the packet with this block.
    pub(crate) end: usize,
    /// This block completes the packet.
    pub(crate) complete: bool,
}

impl EncodeGroup {
    /// Allocates a group for a mix of the given rate in Hz.
    pub(crate) fn new(coding: Coding, ptime_ms: u16, mix_rate_hz: u32) -> Self {
        let stream = |coding: Coding, samples: usize| {
            let encoder = || {
                let mut encoder = coding.encoder();
                encoder.set_mix_rate(mix_rate_hz);
                encoder
            };
            Stream {
                encoder: encoder(),
                before: encoder(),
                pcm: vec![0; samples].into_boxed_slice(),
                payload: vec![0; coding.kind.max_payload(samples)].into_boxed_slice(),
                payload_len: 0,
                encoded: false,
                from: None,
                running_ms: 0,
            }
        };
        let samples = samples_in(coding.kind.sample_rate_hz(), ptime_ms);
        let mut streams = Shared::ALL.map(|signal| match signal {
            // Never used: it costs next to nothing.
            Shared::Protected if !has_classes(coding) => stream(CodecKind::Pcmu.into(), 0),
            _ => stream(coding, samples),
        });
        streams[Shared::Protected as usize].encoder.set_loss(LOSS_PERCENT);
        EncodeGroup {
            coding,
            ptime_ms,
            bus: 0,
            members: 0,
            streams,
            quiet: false,
            noise_level: None,
            start: 0,
            end: 0,
            complete: false,
        }
    }

    /// Returns whether listeners of this coding and packet time belong here.
    pub(crate) fn serves(&self, coding: Coding, ptime_ms: u16) -> bool {
        self.coding == coding && self.ptime_ms == ptime_ms
    }

    /// Returns the rate of its samples in Hz.
    pub(crate) fn rate_hz(&self) -> u32 {
        self.coding.kind.sample_rate_hz()
    }

    /// Follows the mix to another rate.
    pub(crate) fn set_mix_rate(&mut self, mix_rate_hz: u32) {
        for stream in &mut self.streams {
            stream.encoder.set_mix_rate(mix_rate_hz);
        }
    }

    /// Returns whether it encodes with repair data, too.
    pub(crate) fn protects(&self) -> bool {
        has_classes(self.coding)
    }

    /// Returns whether a completed packet of a shared signal holds nobody's voice and nothing that plays.
    pub(crate) fn is_quiet(&self, signal: Shared) -> bool {
        match signal {
            Shared::Common | Shared::Protected => self.quiet,
            Shared::Silence => true,
            Shared::Waiting => false,
        }
    }

    /// Returns the level of a quiet packet of a shared signal in −dBov, as comfort noise tells it (RFC 3389 §3.1).
    pub(crate) fn noise_level(&mut self, signal: Shared) -> u8 {
        if signal == Shared::Silence {
            return SILENT;
        }
        let pcm = &self.streams[Shared::Common as usize].pcm;
        *self
            .noise_level
            .get_or_insert_with(|| NoiseDescription::measure(pcm, 0).level())
    }

    /// Takes the block of the common mix, and what those who wait hear, at the group's rate, that lies at `position_ms` of the
    /// mix; `quiet` tells that the common mix is silence or comfort noise.
    pub(crate) fn take_block(&mut self, position_ms: u64, common: &[i16], waiting: &[i16], quiet: bool) {
        let into_packet_ms = (position_ms % u64::from(self.ptime_ms)) as usize;
        let packet = self.packet_samples();
        self.start = packet * into_packet_ms / usize::from(self.ptime_ms);
        self.end = (self.start + common.len()).min(packet);
        self.complete = self.end == packet;
        let here = self.start..self.end;
        let protected = self.protects().then_some((Shared::Protected, common));
        let blocks = [(Shared::Common, common), (Shared::Waiting, waiting)];
        for (signal, block) in blocks.into_iter().chain(protected) {
            self.stream_mut(signal).pcm[here.clone()].copy_from_slice(&block[..here.len()]);
        }
        if here.start == 0 {
            for stream in &mut self.streams {
                if !std::mem::take(&mut stream.encoded) {
                    stream.running_ms = 0;
                }
                stream.from = None;
            }
            (self.quiet, self.noise_level) = (true, None);
        }
        self.quiet &= quiet;
    }

    /// Returns the samples of the packet that is begun and not complete.
    pub(crate) fn pending(&self) -> usize {
        if self.complete { 0 } else { self.end }
    }

    /// Returns the samples of a packet.
    pub(crate) fn packet_samples(&self) -> usize {
        self.stream(Shared::Common).pcm.len()
    }

    /// Returns the packet of a shared signal as filled so far.
    pub(crate) fn pcm(&self, signal: Shared) -> &[i16] {
        &self.stream(signal).pcm[..self.end]
    }

    /// Encodes the completed packet of a shared signal, unless that was done for another listener.
    pub(crate) fn encode(&mut self, signal: Shared) {
        let ptime_ms = u32::from(self.ptime_ms);
        let stateful = self.coding.kind.has_memory();
        let stream = self.stream_mut(signal);
        if !stream.encoded {
            if stateful {
                stream.before.copy_state_from(&stream.encoder);
            }
            stream.payload_len = stream.encoder.encode(&stream.pcm, &mut stream.payload);
            stream.encoded = true;
            stream.running_ms = stream.running_ms.saturating_add(ptime_ms);
        }
    }

    /// Returns the encoded packet of a shared signal.
    pub(crate) fn payload(&self, signal: Shared) -> &[u8] {
        let stream = self.stream(signal);
        &stream.payload[..stream.payload_len]
    }

    /// Returns for how many milliseconds a shared signal was encoded without a break before this packet.
    pub(crate) fn running_ms(&self, signal: Shared) -> u32 {
        let stream = self.stream(signal);
        let this = if stream.encoded {
            u32::from(self.ptime_ms)
        } else {
            0
        };
        stream.running_ms.saturating_sub(this)
    }

    /// Returns the encoder of a shared signal as it was before this packet.
    pub(crate) fn encoder_before(&self, signal: Shared) -> &Encoder {
        let stream = self.stream(signal);
        if stream.encoded {
            &stream.before
        } else {
            &stream.encoder
        }
    }

    /// Lets a signal that nobody is sent go on from what a listener was sent by his own encoder. Returns whether it does: not
    /// once somebody is sent it.
    pub(crate) fn adopt(&mut self, signal: Shared, encoder: &Encoder) -> bool {
        let (has_classes, stream) = (self.protects(), self.stream_mut(signal));
        stream.is_idle() && stream.go_on_from(encoder, signal, has_classes)
    }

    /// Lets a signal that nobody is sent go on from another shared signal. Returns whether this packet does, by this call or by
    /// one for another listener.
    pub(crate) fn adopt_other(&mut self, signal: Shared, followed: Shared) -> bool {
        if signal == followed {
            return true;
        }
        let has_classes = self.protects();
        let [stream, other] = self
            .streams
            .get_disjoint_mut([signal as usize, followed as usize])
            .expect("two of the streams there are");
        if stream.is_idle() {
            let from = if other.encoded {
                &other.before
            } else {
                &other.encoder
            };
            let goes_on = stream.go_on_from(from, signal, has_classes);
            stream.from = goes_on.then_some(followed);
        }
        stream.from == Some(followed)
    }

    fn stream(&self, signal: Shared) -> &Stream {
        &self.streams[signal as usize]
    }

    fn stream_mut(&mut self, signal: Shared) -> &mut Stream {
        &mut self.streams[signal as usize]
    }
}

impl Stream {
    /// Returns whether nobody is sent it.
    fn is_idle(&self) -> bool {
        !self.encoded && self.running_ms == 0
    }

    /// Goes on from another encoder of the same coding, whose far decoder then goes on with this one.
    fn go_on_from(&mut self, encoder: &Encoder, signal: Shared, has_classes: bool) -> bool {
        let goes_on = self.encoder.copy_state_from(encoder);
        if goes_on && has_classes {
            self.encoder.set_loss(loss_percent(signal));
        }
        goes_on
    }
}

/// Returns whether listeners of a coding are of two classes: those who are sent repair data and those who are not.
fn has_classes(coding: Coding) -> bool {
    coding.opus.inband_fec && coding.opus.loss_percent == 0
}

/// Returns the loss that the encoder of a signal reckons with.
pub(crate) fn loss_percent(signal: Shared) -> u8 {
    match signal {
        Shared::Protected => LOSS_PERCENT,
        Shared::Common | Shared::Silence | Shared::Waiting => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_fill_at_multiples_of_their_time_whatever_the_block() {
        for (ptime_ms, block_ms) in [(10, 10u16), (20, 20), (20, 10), (30, 10), (60, 20), (60, 30)] {
            let mut group = EncodeGroup::new(Coding::from(CodecKind::Pcma), ptime_ms, 8000);
            for step in 0..20u64 {
                let position_ms = step * u64::from(block_ms);
                let block = vec![step as i16; usize::from(block_ms) * 8];
                group.take_block(position_ms, &block, &block, false);
                assert_eq!(group.start, (position_ms % u64::from(ptime_ms)) as usize * 8);
                assert_eq!(group.end - group.start, block.len());
                assert_eq!(
                    group.complete,
                    (position_ms + u64::from(block_ms)).is_multiple_of(u64::from(ptime_ms))
                );
                assert_eq!(group.pcm(Shared::Common)[group.start..], block);
                assert!(group.pcm(Shared::Silence).iter().all(|&sample| sample == 0));
            }
        }
    }

    #[test]
    fn a_signal_runs_as_long_as_every_packet_of_it_is_encoded() {
        let mut group = EncodeGroup::new(Coding::from(CodecKind::G722), 20, 16_000);
        let mut run = |encodes: bool, position_ms: u64| {
            group.take_block(position_ms, &[100; 320], &[0; 320], false);
            if encodes {
                group.encode(Shared::Common);
                group.encode(Shared::Common);
            }
            group.running_ms(Shared::Common)
        };
        assert_eq!([run(true, 0), run(true, 20), run(true, 40)], [0, 20, 40]);
        assert_eq!([run(false, 60), run(true, 80), run(true, 100)], [60, 0, 20]);
    }

    #[test]
    fn a_signal_that_somebody_is_sent_is_not_taken_from_him() {
        let mut group = EncodeGroup::new(Coding::from(CodecKind::G722), 20, 16_000);
        let mut own = Coding::from(CodecKind::G722).encoder();
        own.encode(&[3000; 320], &mut [0; 160]);
        group.take_block(0, &[1000; 320], &[0; 320], false);
        group.encode(Shared::Common);
        // Two listeners go over from the common signal to silence in one packet: the second finds what the first began.
        assert!(group.adopt_other(Shared::Silence, Shared::Common));
        group.encode(Shared::Silence);
        let mut sent = group.stream(Shared::Silence).encoder.clone();
        assert!(group.adopt_other(Shared::Silence, Shared::Common));
        assert!(
            !group.adopt(Shared::Silence, &own),
            "and a third with an encoder of his own does not"
        );
        assert!(group.stream(Shared::Silence).encoder.agrees_with(&sent));
        group.take_block(20, &[1000; 320], &[0; 320], false);
        assert!(
            !group.adopt_other(Shared::Silence, Shared::Common),
            "it runs by itself now"
        );
        group.encode(Shared::Silence);
        let mut expected = [0; 160];
        sent.encode(&[0; 320], &mut expected);
        assert_eq!(group.payload(Shared::Silence), expected);
    }
}
