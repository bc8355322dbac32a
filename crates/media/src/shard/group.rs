//! Encode groups: listeners of one codec and packet time who hear the same signal share one encoded payload.
//!
//! A group fills packets at the positions of the mix that are multiples of its packet time, so all its listeners' packets
//! begin together, and a listener who comes to hear something else in the middle of a packet can go on by himself.

use confab_codec::{CodecKind, Encoder};

use crate::leg::output::Shared;
use crate::leg::session::{MAX_PTIME_MS, MIN_PTIME_MS};

/// The codecs that listeners may have.
const CODECS: [CodecKind; 2] = [CodecKind::Pcmu, CodecKind::Pcma];

/// The packet times that listeners may have.
const PTIMES: usize = (MAX_PTIME_MS / MIN_PTIME_MS) as usize;

/// One signal in one codec: the packet being filled and, when complete, its payload.
struct Stream {
    encoder: Encoder,
    pcm: Box<[i16]>,
    payload: Box<[u8]>,
    payload_len: usize,
    encoded: bool,
}

/// All listeners of one codec and packet time.
pub(crate) struct EncodeGroup {
    codec: CodecKind,
    ptime_ms: u16,
    /// Legs in the group; an empty group does nothing.
    pub(crate) members: u32,
    common: Stream,
    silence: Stream,
    /// Samples of the packet before this block.
    pub(crate) start: usize,
    /// Samples of the packet with this block.
    pub(crate) end: usize,
    /// This block completes the packet.
    pub(crate) complete: bool,
}

impl EncodeGroup {
    fn new(codec: CodecKind, ptime_ms: u16) -> Self {
        let samples = codec.sample_rate_hz() as usize * usize::from(ptime_ms) / 1000;
        let stream = || Stream {
            encoder: codec.encoder(),
            pcm: vec![0; samples].into_boxed_slice(),
            payload: vec![0; codec.max_payload(samples)].into_boxed_slice(),
            payload_len: 0,
            encoded: false,
        };
        EncodeGroup {
            codec,
            ptime_ms,
            members: 0,
            common: stream(),
            silence: stream(),
            start: 0,
            end: 0,
            complete: false,
        }
    }

    /// Makes the groups of a conference, one for each codec and packet time.
    pub(crate) fn all() -> Vec<EncodeGroup> {
        let ptimes = || (1..=PTIMES as u16).map(|tens| tens * MIN_PTIME_MS);
        CODECS
            .into_iter()
            .flat_map(|codec| ptimes().map(move |ptime_ms| EncodeGroup::new(codec, ptime_ms)))
            .collect()
    }

    /// Returns whether listeners of this codec and packet time belong here.
    pub(crate) fn serves(&self, codec: CodecKind, ptime_ms: u16) -> bool {
        self.codec == codec && self.ptime_ms == ptime_ms
    }

    /// Takes the block of the common mix that lies at `position_ms` of the mix.
    pub(crate) fn take_block(&mut self, position_ms: u64, block: &[i16]) {
        let into_packet_ms = (position_ms % u64::from(self.ptime_ms)) as usize;
        let packet = self.packet_samples();
        self.start = packet * into_packet_ms / usize::from(self.ptime_ms);
        self.end = (self.start + block.len()).min(packet);
        self.complete = self.end == packet;
        self.common.pcm[self.start..self.end].copy_from_slice(&block[..self.end - self.start]);
        self.common.encoded = false;
        self.silence.encoded = false;
    }

    /// Returns the samples of the packet that is begun and not complete.
    pub(crate) fn pending(&self) -> usize {
        if self.complete { 0 } else { self.end }
    }

    /// Returns the samples of a packet.
    pub(crate) fn packet_samples(&self) -> usize {
        self.common.pcm.len()
    }

    /// Returns the packet of a shared signal as filled so far.
    pub(crate) fn pcm(&self, signal: Shared) -> &[i16] {
        let stream = match signal {
            Shared::Common => &self.common,
            Shared::Silence => &self.silence,
        };
        &stream.pcm[..self.end]
    }

    /// Encodes the completed packet of a shared signal, unless that was done for another listener.
    pub(crate) fn encode(&mut self, signal: Shared) {
        let stream = match signal {
            Shared::Common => &mut self.common,
            Shared::Silence => &mut self.silence,
        };
        if !stream.encoded {
            stream.payload_len = stream.encoder.encode(&stream.pcm, &mut stream.payload);
            stream.encoded = true;
        }
    }

    /// Returns the encoded packet of a shared signal.
    pub(crate) fn payload(&self, signal: Shared) -> &[u8] {
        let stream = match signal {
            Shared::Common => &self.common,
            Shared::Silence => &self.silence,
        };
        &stream.payload[..stream.payload_len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packets_fill_at_multiples_of_their_time_whatever_the_block() {
        for (ptime_ms, block_ms) in [(10, 10u16), (20, 20), (20, 10), (30, 10), (60, 20), (60, 30)] {
            let mut groups = EncodeGroup::all();
            let group = groups
                .iter_mut()
                .find(|group| group.serves(CodecKind::Pcma, ptime_ms))
                .unwrap();
            for step in 0..20u64 {
                let position_ms = step * u64::from(block_ms);
                let block = vec![step as i16; usize::from(block_ms) * 8];
                group.take_block(position_ms, &block);
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
    fn there_is_a_group_for_every_codec_and_packet_time() {
        let groups = EncodeGroup::all();
        assert_eq!(groups.len(), 12);
        for codec in CODECS {
            for ptime_ms in [10, 20, 30, 40, 50, 60] {
                assert_eq!(
                    groups
                        .iter()
                        .filter(|group| group.serves(codec, ptime_ms))
                        .count(),
                    1
                );
            }
        }
    }
}
