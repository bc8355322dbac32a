//! Plays packets and ticks, encoded in bytes, to a [`TelephoneEventReceiver`]. Called by the fuzz target `telephone_event`
//! and by the property tests.

use super::{DtmfEvent, TelephoneEventReceiver};
use crate::ids::{ClockRate, PayloadType, RtpTimestamp, SequenceNumber, Ssrc};
use crate::packet::{RtpHeader, RtpPacket};

/// Reads eight octets per packet: time step, flags, timestamp step, and up to five octets of payload.
///
/// # Panics
/// When a digit is reported twice or one comes out that never went in.
pub fn fuzz_telephone_event(data: &[u8]) {
    let mut receiver = TelephoneEventReceiver::new(ClockRate::HZ_8000);
    let (mut now_ns, mut timestamp, mut starts) = (0_u64, u32::MAX - 2000, 0_u64);
    let mut reported: Vec<DtmfEvent> = Vec::new();
    for (number, operation) in data.chunks_exact(8).enumerate() {
        now_ns += u64::from(operation[0]) * 1_000_000;
        timestamp = timestamp.wrapping_add(u32::from(operation[2]) * 40);
        let header = RtpHeader {
            marker: operation[1] & 1 == 1,
            payload_type: PayloadType::from_low_bits(101),
            sequence_number: SequenceNumber(number as u16),
            timestamp: RtpTimestamp(timestamp),
            ssrc: Ssrc(u32::from(operation[1] >> 7)),
        };
        let mut bytes = [0; 17];
        let mut head = [0; 12];
        header.write(&mut head);
        bytes[..12].copy_from_slice(&head);
        bytes[12..].copy_from_slice(&operation[3..]);
        let len = 12 + usize::from(operation[1] >> 1 & 7).min(5);
        if let Ok(packet) = RtpPacket::parse(&bytes[..len]) {
            starts += 1;
            reported.extend(receiver.push(now_ns, &packet));
        }
        reported.extend(receiver.tick(now_ns));
    }
    reported.extend(receiver.tick(u64::MAX));
    assert!(reported.len() as u64 <= starts, "more digits than packets");
    assert!(receiver.tick(u64::MAX).is_none(), "a digit after the last");
}
