//! The entry of the fuzz target: any octets as a sequence of operations on one decoder.

use crate::codec::{CodecKind, Decoder};
use crate::comfort_noise::{ComfortNoise, NoiseDescription};

const KINDS: [CodecKind; 8] = [
    CodecKind::Opus,
    CodecKind::G722,
    CodecKind::Pcmu,
    CodecKind::Pcma,
    CodecKind::L16 {
        rate_hz: 8000,
        channels: 1,
    },
    CodecKind::L16 {
        rate_hz: 44_100,
        channels: 2,
    },
    CodecKind::L16 {
        rate_hz: 48_000,
        channels: 1,
    },
    CodecKind::Opus,
];

/// The longest payload of an operation.
const MAX_PAYLOAD: usize = 1500;

/// Drives a decoder with arbitrary payloads, losses of arbitrary lengths, redundancy and silences. The first octet picks the
/// codec; then each operation is an octet that names it, an octet or two of size, and the payload.
///
/// # Panics
/// When a decoder breaks its contract.
pub fn fuzz_decoders(data: &[u8]) {
    let Some((&first, mut rest)) = data.split_first() else {
        return;
    };
    let kind = KINDS[usize::from(first) % KINDS.len()];
    let mut decoder = kind.decoder();
    let mut noise = ComfortNoise::new(u32::from(first));
    let mut out = vec![0; kind.max_frame_samples()];
    while let [operation, high, low, tail @ ..] = rest {
        let size = usize::from(u16::from_be_bytes([*high, *low])) % (MAX_PAYLOAD + 1);
        let (argument, tail) = tail.split_at(size.min(tail.len()));
        match operation % 5 {
            0 | 1 => decode(&mut *decoder, argument, &mut out),
            2 => {
                // No payload: the next octets are the next operation.
                let lost = (size * 8).min(out.len());
                decoder.conceal(&mut out[..lost]);
                rest = &rest[3..];
                continue;
            }
            3 => {
                let lost = (usize::from(operation / 5) * 60).min(out.len());
                let carries = decoder.carries_fec(argument);
                assert_eq!(decoder.decode_fec(argument, &mut out[..lost]), carries);
                decode(&mut *decoder, argument, &mut out);
            }
            _ => {
                decoder.reset();
                noise.receive(argument);
                noise.fill(&mut out[..80]);
                if let Some(description) = NoiseDescription::parse(argument) {
                    let mut written = [0; 64];
                    let octets = description.write(&mut written);
                    assert_eq!(NoiseDescription::parse(&written[..octets]), Some(description));
                }
            }
        }
        rest = tail;
    }
}

fn decode(decoder: &mut dyn Decoder, payload: &[u8], out: &mut [i16]) {
    let announced = decoder.samples(payload);
    assert!(announced.is_ok() || !decoder.is_inactive(payload));
    match decoder.decode(payload, out) {
        Ok(samples) => assert_eq!(announced, Ok(samples)),
        Err(_) => decoder.conceal(&mut out[..160]),
    }
}
