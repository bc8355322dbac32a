//! Encode groups: listeners of one coding and packet time who hear the same signal share one encoded payload.
//!
//! A group fills packets at the positions of the mix that are multiples of its packet time, so all its listeners' packets
//! begin together, and a listener who comes to hear something else in the middle of a packet can go on by himself. For
//! codecs with a memory he takes the group's along, so that the far decoder notices nothing.

use confab_codec::comfort_noise::NoiseDescription;
use confab_codec::{Coding, Encoder};

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
    payload: Box<[u8]>,
    payload_len: usize,
    encoded: bool,
    /// This packet went on from another shared signal.
    from_other: Option<Shared>,
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
    common: Stream,
    /// The common mix with repair data, for codings that can have them.
    protected: Option<Box<Stream>>,
    silence: Stream,
    common_pcm: Box<[i16]>,
    silent_pcm: Box<[i16]>,
    /// Nobody is heard in the packet so far.
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
        let samples = samples_in(coding.kind.sample_rate_hz(), ptime_ms);
        let encoder = || {
            let mut encoder = coding.encoder();
            encoder.set_mix_rate(mix_rate_hz);
            encoder
        };
        let stream = || Stream {
            encoder: encoder(),
            before: encoder(),
            payload: vec![0; coding.kind.max_payload(samples)].into_boxed_slice(),
            payload_len: 0,
            encoded: false,
            from_other: None,
            running_ms: 0,
        };
        EncodeGroup {
            coding,
            ptime_ms,
            bus: 0,
            members: 0,
            common: stream(),
            protected: has_classes(coding).then(|| {
                let mut protected = Box::new(stream());
                protected.encoder.set_loss(LOSS_PERCENT);
                protected
            }),
            silence: stream(),
            common_pcm: vec![0; samples].into_boxed_slice(),
            silent_pcm: vec![0; samples].into_boxed_slice(),
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
        for stream in self.streams() {
            stream.encoder.set_mix_rate(mix_rate_hz);
        }
    }

    /// Returns whether it encodes with repair data, too.
    pub(crate) fn protects(&self) -> bool {
        self.protected.is_some()
    }

    /// Returns whether a completed packet of a shared signal holds nobody's voice.
    pub(crate) fn is_quiet(&self, signal: Shared) -> bool {
        signal == Shared::Silence || self.quiet
    }

    /// Returns the level of a quiet packet of a shared signal in −dBov, as comfort noise tells it (RFC 3389 §3.1).
    pub(crate) fn noise_level(&mut self, signal: Shared) -> u8 {
        if signal == Shared::Silence {
            return SILENT;
        }
        let pcm = &self.common_pcm;
        *self
            .noise_level
            .get_or_insert_with(|| NoiseDescription::measure(pcm, 0).level())
    }

    fn streams(&mut self) -> impl Iterator<Item = &mut Stream> {
        [&mut self.common, &mut self.silence]
            .into_iter()
            .chain(self.protected.as_deref_mut())
    }

    /// Takes the block of the common mix, at the group's rate, that lies at `position_ms` of the mix; `quiet` tells that nobody is
    /// heard in it.
    pub(crate) fn take_block(&mut self, position_ms: u64, block: &[i16], quiet: bool) {
        let into_packet_ms = (position_ms % u64::from(self.ptime_ms)) as usize;
        let packet = self.packet_samples();
        self.start = packet * into_packet_ms / usize::from(self.ptime_ms);
        self.end = (self.start + block.len()).min(packet);
        self.complete = self.end == packet;
        self.common_pcm[self.start..self.end].copy_from_slice(&block[..self.end - self.start]);
        if self.start == 0 {
            for stream in self.streams() {
                if !std::mem::take(&mut stream.encoded) {
                    stream.running_ms = 0;
                }
                stream.from_other = None;
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
        self.common_pcm.len()
    }

    /// Returns the packet of a shared signal as filled so far.
    pub(crate) fn pcm(&self, signal: Shared) -> &[i16] {
        let pcm = match signal {
            Shared::Common | Shared::Protected => &self.common_pcm,
            Shared::Silence => &self.silent_pcm,
        };
        &pcm[..self.end]
    }

    /// Encodes the completed packet of a shared signal, unless that was done for another listener.
    pub(crate) fn encode(&mut self, signal: Shared) {
        let ptime_ms = u32::from(self.ptime_ms);
        let stateful = self.coding.kind.has_memory();
        let (stream, pcm) = match signal {
            Shared::Common => (&mut self.common, &self.common_pcm),
            Shared::Protected => (
                self.protected.as_deref_mut().unwrap_or(&mut self.common),
                &self.common_pcm,
            ),
            Shared::Silence => (&mut self.silence, &self.silent_pcm),
        };
        if !stream.encoded {
            if stateful {
                stream.before.copy_state_from(&stream.encoder);
            }
            stream.payload_len = stream.encoder.encode(pcm, &mut stream.payload);
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

    /// Lets a signal that nobody is sent go on from another shared signal. Returns whether this packet does, by this call
    /// or by one for another listener.
    pub(crate) fn adopt_other(&mut self, signal: Shared, other: Shared) -> bool {
        let has_classes = self.protects();
        let Self {
            common,
            protected,
            silence,
            ..
        } = self;
        let mut all = [
            (Shared::Common, Some(common)),
            (Shared::Protected, protected.as_deref_mut()),
            (Shared::Silence, Some(silence)),
        ];
        let mut take = |wanted| {
            let found = all.iter_mut().find(|(shared, _)| *shared == wanted)?;
            found.1.take()
        };
        let (Some(stream), Some(other_stream)) = (take(signal), take(other)) else {
            return false;
        };
        if stream.is_idle() {
            let from = if other_stream.encoded {
                &other_stream.before
            } else {
                &other_stream.encoder
            };
            if stream.go_on_from(from, signal, has_classes) {
                stream.from_other = Some(other);
            }
        }
        stream.from_other == Some(other)
    }

    fn stream(&self, signal: Shared) -> &Stream {
        match signal {
            Shared::Common => &self.common,
            Shared::Protected => self.protected.as_deref().unwrap_or(&self.common),
            Shared::Silence => &self.silence,
        }
    }

    fn stream_mut(&mut self, signal: Shared) -> &mut Stream {
        match signal {
            Shared::Common => &mut self.common,
            Shared::Protected => self.protected.as_deref_mut().unwrap_or(&mut self.common),
            Shared::Silence => &mut self.silence,
        }
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
pub(crate) fn has_classes(coding: Coding) -> bool {
    coding.opus.inband_fec && coding.opus.loss_percent == 0
}

/// Returns the loss that the encoder of a signal reckons with.
pub(crate) fn loss_percent(signal: Shared) -> u8 {
    match signal {
        Shared::Protected => LOSS_PERCENT,
        Shared::Common | Shared::Silence => 0,
    }
}

#[cfg(test)]
mod tests {
    use confab_codec::CodecKind;

    use super::*;

    #[test]
    fn packets_fill_at_multiples_of_their_time_whatever_the_block() {
        for (ptime_ms, block_ms) in [(10, 10u16), (20, 20), (20, 10), (30, 10), (60, 20), (60, 30)] {
            let mut group = EncodeGroup::new(Coding::from(CodecKind::Pcma), ptime_ms, 8000);
            for step in 0..20u64 {
                let position_ms = step * u64::from(block_ms);
                let block = vec![step as i16; usize::from(block_ms) * 8];
                group.take_block(position_ms, &block, false);
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
            group.take_block(position_ms, &[100; 320], false);
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
        group.take_block(0, &[1000; 320], false);
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
        group.take_block(20, &[1000; 320], false);
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
