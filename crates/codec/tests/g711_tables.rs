//! Both laws over their whole input, against the decision values of ITU-T G.711 and against another implementation.

use audio_codec_algorithms::{decode_alaw, decode_ulaw, encode_alaw, encode_ulaw};
use confab_codec::g711::Law;

/// Upper ends of the 128 intervals of one sign, in the units of the recommendation (tables 1a and 2a, column "decision
/// value"): the first intervals are `first` wide and later ones `step`, and the step doubles from segment to segment.
fn decision_values(law: Law) -> Vec<i32> {
    let mut values = Vec::new();
    let mut value = 0;
    for interval in 0..128 {
        value += match law {
            // 0, 1, 3, 5 … 31, 35, 39 … 95, 103 … 8159
            Law::Mu if interval == 0 => 1,
            Law::Mu => 2 << (interval / 16),
            // 0, 2, 4 … 64, 68 … 128, 136 … 4096: the first two segments have the same step.
            Law::A => 2 << (interval / 16 - i32::from(interval >= 16)),
        };
        values.push(value);
    }
    values
}

/// Units of the recommendation in 16-bit samples: µ-law has 14 bits, A-law 13.
fn scale(law: Law) -> i32 {
    match law {
        Law::Mu => 4,
        Law::A => 8,
    }
}

fn octet_by_definition(law: Law, sample: i16) -> u8 {
    let magnitude = i32::from(if sample < 0 { !sample } else { sample });
    let values = decision_values(law);
    let interval = values
        .iter()
        .position(|&end| magnitude < end * scale(law))
        .unwrap_or(127) as u8;
    match (law, sample < 0) {
        (Law::Mu, false) => 0xff - interval,
        (Law::Mu, true) => 0x7f - interval,
        (Law::A, false) => (0x80 | interval) ^ 0x55,
        (Law::A, true) => interval ^ 0x55,
    }
}

fn value_by_definition(law: Law, octet: u8) -> i16 {
    let (interval, negative) = match law {
        Law::Mu => (usize::from(!octet & 0x7f), octet & 0x80 == 0),
        Law::A => (usize::from((octet ^ 0x55) & 0x7f), octet & 0x80 == 0),
    };
    let values = decision_values(law);
    let low = if interval == 0 { 0 } else { values[interval - 1] };
    let middle = match (law, interval) {
        // The first µ-law interval straddles zero with its mirror image.
        (Law::Mu, 0) => 0,
        _ => (low + values[interval]) * scale(law) / 2,
    };
    (if negative { -middle } else { middle }) as i16
}

fn encode(law: Law, sample: i16) -> u8 {
    let mut octet = [0];
    assert_eq!(law.encode(&[sample], &mut octet), 1);
    octet[0]
}

fn decode(law: Law, octet: u8) -> i16 {
    let mut sample = [0];
    law.decode(&[octet], &mut sample);
    sample[0]
}

#[test]
fn the_decision_values_end_where_the_recommendation_says() {
    let mu = decision_values(Law::Mu);
    assert_eq!((mu[15], mu[31], mu[47], mu[127]), (31, 95, 223, 8159));
    let a = decision_values(Law::A);
    assert_eq!((a[15], a[31], a[47], a[127]), (32, 64, 128, 4096));
}

#[test]
fn every_sample_encodes_as_defined_and_as_elsewhere() {
    for sample in i16::MIN..=i16::MAX {
        for (law, elsewhere) in [(Law::Mu, encode_ulaw(sample)), (Law::A, encode_alaw(sample))] {
            let octet = encode(law, sample);
            assert_eq!(octet, octet_by_definition(law, sample), "{law:?} {sample}");
            assert_eq!(octet, elsewhere, "{law:?} {sample}");
        }
    }
}

#[test]
fn every_octet_decodes_as_defined_and_as_elsewhere_and_encodes_back() {
    for octet in 0..=255 {
        for (law, elsewhere) in [(Law::Mu, decode_ulaw(octet)), (Law::A, decode_alaw(octet))] {
            let sample = decode(law, octet);
            assert_eq!(sample, value_by_definition(law, octet), "{law:?} {octet:#04x}");
            assert_eq!(sample, elsewhere, "{law:?} {octet:#04x}");
            // µ-law has two codes for zero; the negative one encodes back as the positive.
            let back = if law == Law::Mu && octet == 0x7f {
                0xff
            } else {
                octet
            };
            assert_eq!(encode(law, sample), back, "{law:?} {octet:#04x}");
        }
    }
}

#[test]
fn silence_is_the_smallest_positive_value() {
    assert_eq!(decode(Law::Mu, Law::Mu.silence()), 0);
    assert_eq!(decode(Law::A, Law::A.silence()), 8);
}
