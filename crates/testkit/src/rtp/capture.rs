//! Owns what a stream has received, packet by packet, in order of arrival.

use crate::g711::Law;
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
}

impl Capture {
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

    /// Returns the decoded samples of one packet; empty for a payload type that is no G.711.
    pub fn decode(&self, packet: &CapturedPacket) -> Vec<i16> {
        let mut samples = Vec::with_capacity(packet.length);
        if let Some(law) = law_of(packet.payload_type) {
            law.decode_into(self.payload(packet), &mut samples);
        }
        samples
    }

    /// Returns the decoded samples of all G.711 packets in order of arrival, without filling gaps.
    pub fn samples(&self) -> Vec<i16> {
        let mut samples = Vec::with_capacity(self.payload.len());
        for packet in &self.packets {
            if let Some(law) = law_of(packet.payload_type) {
                law.decode_into(self.payload(packet), &mut samples);
            }
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

fn law_of(payload_type: u8) -> Option<Law> {
    [Law::Mu, Law::A]
        .into_iter()
        .find(|law| law.payload_type() == payload_type)
}
