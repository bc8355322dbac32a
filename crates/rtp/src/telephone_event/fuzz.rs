//! Plays packets and ticks, encoded in bytes, to a [`TelephoneEventReceiver`]. Called by the fuzz target `telephone_event`
//! and by the property tests.

use super::{DtmfDigit, DtmfEvent, TelephoneEventReceiver, TelephoneEventSender};
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
    fuzz_sending(data);
}

/// Reads three octets per operation: what to do, and with which numbers.
///
/// # Panics
/// When a digit that was queued is not received once, in order.
fn fuzz_sending(data: &[u8]) {
    let clock_rate = [8000, 16_000, 48_000][data.len() % 3];
    let Some(clock_rate) = ClockRate::new(clock_rate) else {
        return;
    };
    let mut sender = TelephoneEventSender::new(clock_rate);
    let mut receiver = TelephoneEventReceiver::new(clock_rate);
    let (mut timestamp, mut now_ns) = (RtpTimestamp(u32::MAX - 5000), 0_u64);
    let (mut queued, mut heard) = (Vec::new(), Vec::new());
    let mut slot = |sender: &mut TelephoneEventSender, slot_ms: u32| {
        let packets = sender.slot(timestamp, slot_ms);
        for event in packets.iter().flat_map(|slot| slot.packets()) {
            let header = RtpHeader {
                marker: event.marker,
                payload_type: PayloadType::from_low_bits(101),
                sequence_number: SequenceNumber(0),
                timestamp: event.timestamp,
                ssrc: Ssrc(1),
            };
            let mut head = [0; 12];
            header.write(&mut head);
            let mut bytes = [0; 16];
            bytes[..12].copy_from_slice(&head);
            bytes[12..].copy_from_slice(&event.payload);
            if let Ok(packet) = RtpPacket::parse(&bytes) {
                heard.extend(receiver.push(now_ns, &packet).map(|event| event.digit));
            }
        }
        timestamp = timestamp.wrapping_add(clock_rate.units(u64::from(slot_ms) * 1_000_000) as u32);
        now_ns += u64::from(slot_ms) * 1_000_000;
        heard.extend(receiver.tick(now_ns).map(|event| event.digit));
    };
    for operation in data.chunks_exact(3).take(500) {
        if let Some(digit) = DtmfDigit::from_event(operation[0]) {
            if sender
                .send(digit, u32::from(operation[1]) * 4, operation[2])
                .is_ok()
            {
                queued.push(digit);
            }
        } else {
            slot(&mut sender, 10 + u32::from(operation[1] % 6) * 10);
        }
    }
    while !sender.is_idle() {
        slot(&mut sender, 60);
    }
    slot(&mut sender, 60);
    assert_eq!(heard, queued, "digits on the way");
}
