//! Owns what a stream has received, packet by packet, in order of arrival.

use crate::codec::{Codec, Decoder};
use crate::meter::{SequenceMeter, SequenceReport};

/// One received packet; its payload stands in the capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CapturedPacket {
    /// Arrival by the kernel's receive timestamp, in nanoseconds of the monotonic clock.
    pub arrival_ns: u64,
    /// RTP sequence number.
    pub sequence: u16,
    /// RTP timestamp.
    pub timestamp: u32,
    /// RTP synchronisation source.
    pub ssrc: u32,
    /// RTP payload type.
    pub payload_type: u8,
    /// RTP marker bit.
    pub marker: bool,
    start: usize,
    length: usize,
}

/// Everything received while capturing.
#[derive(Debug, Clone, Default)]
pub struct Capture {
    packets: Vec<CapturedPacket>,
    payload: Vec<u8>,
    /// What payload types mean that RFC 3551 gives no codec, or another one.
    formats: Vec<(u8, Codec)>,
}

impl Capture {
    pub(super) fn with_formats(formats: Vec<(u8, Codec)>) -> Self {
        Self {
            formats,
            ..Self::default()
        }
    }

    pub(super) fn set_formats(&mut self, formats: &[(u8, Codec)]) {
        self.formats = formats.to_vec();
    }

    pub(super) fn push(&mut self, arrival_ns: u64, view: &super::RtpView<'_>) {
        self.packets.push(CapturedPacket {
            arrival_ns,
            sequence: view.sequence,
            timestamp: view.timestamp,
            ssrc: view.ssrc,
            payload_type: view.payload_type,
            marker: view.marker,
            start: self.payload.len(),
            length: view.payload.len(),
        });
        self.payload.extend_from_slice(view.payload);
    }

    /// Returns the packets in order of arrival.
    pub fn packets(&self) -> &[CapturedPacket] {
        &self.packets
    }

    /// Returns the payload of one of the packets.
    pub fn payload(&self, packet: &CapturedPacket) -> &[u8] {
        &self.payload[packet.start..packet.start + packet.length]
    }

    /// Returns the codec of a packet, as agreed or as RFC 3551 has it.
    pub fn codec(&self, packet: &CapturedPacket) -> Option<Codec> {
        let agreed = self
            .formats
            .iter()
            .find(|(number, _)| *number == packet.payload_type);
        agreed
            .map(|(_, codec)| *codec)
            .or_else(|| Codec::of_static_type(packet.payload_type))
    }

    /// Returns the samples of one packet decoded by itself, which for a codec with a memory is not how it sounded; empty for an unknown
    /// payload type.
    pub fn decode(&self, packet: &CapturedPacket) -> Vec<i16> {
        let mut samples = Vec::with_capacity(packet.length);
        if let Some(codec) = self.codec(packet) {
            Decoder::new(codec).decode_into(self.payload(packet), &mut samples);
        }
        samples
    }

    /// Returns the decoded samples of all packets of known codecs in order of arrival, without filling gaps, at the rate of their codec.
    /// Decoders begin at their beginning: the first milliseconds of a capture from the middle of a stream are not what was sent.
    pub fn samples(&self) -> Vec<i16> {
        self.decode_all(|_| true)
    }

    /// Like [`Capture::samples`], for the packets of one codec only.
    pub fn samples_of(&self, codec: Codec) -> Vec<i16> {
        self.decode_all(|other| other == codec)
    }

    fn decode_all(&self, wanted: impl Fn(Codec) -> bool) -> Vec<i16> {
        let mut samples = Vec::with_capacity(self.payload.len());
        let mut decoders: Vec<(Codec, Decoder)> = Vec::new();
        for packet in &self.packets {
            let Some(codec) = self.codec(packet).filter(|codec| wanted(*codec)) else {
                continue;
            };
            let known = decoders.iter().position(|(of, _)| *of == codec);
            let index = known.unwrap_or_else(|| {
                decoders.push((codec, Decoder::new(codec)));
                decoders.len() - 1
            });
            decoders[index].1.decode_into(self.payload(packet), &mut samples);
        }
        samples
    }

    /// Returns how continuous the stream was, for packets of `samples_per_packet`.
    pub fn sequence_report(&self, samples_per_packet: u32) -> SequenceReport {
        let mut meter = SequenceMeter::new(samples_per_packet);
        self.packets
            .iter()
            .for_each(|packet| meter.push(packet.sequence, packet.timestamp));
        meter.report()
    }
}
