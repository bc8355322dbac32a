use super::*;
use crate::codec::{CodecKind, DecodeError, Decoder};
use crate::coding::{Coding, Encoder};

const FEC: OpusSettings = OpusSettings {
    bitrate_bps: 0,
    cbr: false,
    stereo: false,
    dtx: false,
    inband_fec: true,
    loss_percent: 20,
    max_playback_rate_hz: 16_000,
};

fn coder(opus: OpusSettings) -> Encoder {
    Coding::new(CodecKind::Opus, opus).encoder()
}

/// Something like speech: a pulse train of wandering pitch through a resonance, swelling and falling.
pub(super) fn voice(samples: usize) -> Vec<i16> {
    let (mut past, mut phase) = ([0.0_f32; 2], 0.0_f32);
    (0..samples)
        .map(|n| {
            let time = n as f32 / 48_000.0;
            phase += (130.0 + 30.0 * (time * 7.0).sin()) / 48_000.0;
            let pulse = if phase >= 1.0 { 900.0 } else { 0.0 };
            phase = phase.fract();
            let output = pulse * ((time * 11.0).sin().abs() + 0.1) + 1.977 * past[0] - 0.9801 * past[1];
            past = [output, past[0]];
            output.clamp(-20_000.0, 20_000.0) as i16
        })
        .collect()
}

fn encode_all(encoder: &mut Encoder, pcm: &[i16], frame: usize) -> Vec<Vec<u8>> {
    pcm.chunks_exact(frame)
        .map(|pcm| {
            let mut payload = vec![0; MAX_PAYLOAD];
            let octets = encoder.encode(pcm, &mut payload);
            assert!(octets > 0);
            payload.truncate(octets);
            payload
        })
        .collect()
}

/// Energy of the difference to that of the signal, as signal to noise in dB.
fn snr_db(original: &[i16], heard: &[i16]) -> f32 {
    let (mut signal, mut difference) = (1.0_f32, 1.0_f32);
    for (&a, &b) in original.iter().zip(heard) {
        signal += f32::from(a).powi(2);
        difference += (f32::from(a) - f32::from(b)).powi(2);
    }
    10.0 * (signal / difference).log10()
}

#[test]
fn every_packet_time_encodes_to_one_packet_of_that_time() {
    let pcm = voice(48_000);
    for ms in [10, 20, 30, 40, 50, 60] {
        for rate in [8000, 16_000, 48_000] {
            let mut encoder = coder(OpusSettings::default());
            encoder.set_mix_rate(rate);
            let mut decoder = OpusDecoder::new();
            let mut heard = Vec::new();
            for payload in encode_all(&mut encoder, &pcm, ms * 48) {
                assert_eq!(decoder.samples(&payload), Ok(ms * 48));
                let mut out = vec![0; ms * 48];
                assert_eq!(decoder.decode(&payload, &mut out), Ok(ms * 48));
                heard.extend(out);
            }
            // The codec delays by 6.5 ms.
            let snr = snr_db(&pcm, &heard[312..]);
            assert!(snr > 3.0, "{ms} ms at {rate} Hz: {snr} dB");
        }
    }
}

#[test]
fn packets_are_no_larger_than_room_or_ethernet_allows() {
    let loud: Vec<i16> = voice(2880)
        .iter()
        .map(|sample| sample.saturating_mul(3))
        .collect();
    for frame in [480, 960, 1440, 1920, 2400, 2880] {
        let most = OpusSettings {
            bitrate_bps: 510_000,
            cbr: true,
            ..OpusSettings::default()
        };
        let mut encoder = coder(most);
        for room in [2000, 1400, 100, 60, 12, 2, 1, 0] {
            let mut out = vec![0; room];
            let octets = encoder.encode(&loud[..frame], &mut out);
            assert!(octets <= room.min(MAX_PAYLOAD));
            assert!(room < 60 || octets > 0, "{frame} samples into {room} octets");
            if octets > 0 {
                assert_eq!(OpusDecoder::new().samples(&out[..octets]), Ok(frame));
            }
        }
        assert_eq!(encoder.encode(&loud[..479], &mut [0; 100]), 0);
        assert!(encoder.encode(&loud[..frame], &mut [0; 1400]) > 0);
    }
}

#[test]
fn the_mix_and_the_listener_bound_the_bandwidth() {
    // Rate of the mix, the listener's highest, and the configurations (upper five bits; RFC 6716 §3.1) that a packet may have:
    // those for speech and those for music.
    let rows = [
        (8000, 48_000, 0..=3, 16..=19),
        (16_000, 48_000, 8..=11, 20..=23),
        (48_000, 8000, 0..=3, 16..=19),
        (48_000, 16_000, 8..=11, 20..=23),
        (32_000, 48_000, 12..=15, 24..=31),
        (48_000, 48_000, 14..=15, 28..=31),
    ];
    let pcm = voice(48_000);
    for (mix, listener, speech, music) in rows {
        let settings = OpusSettings {
            max_playback_rate_hz: listener,
            ..OpusSettings::default()
        };
        let mut encoder = coder(settings);
        encoder.set_mix_rate(mix);
        for payload in encode_all(&mut encoder, &pcm, 960) {
            let configuration = payload[0] >> 3;
            assert!(
                speech.contains(&configuration) || music.contains(&configuration),
                "{mix} {listener}: {configuration}"
            );
        }
    }
}

#[test]
fn bitrates_are_kept() {
    let pcm = voice(96_000);
    for (bitrate_bps, cbr) in [(0, false), (12_000, false), (24_000, true), (64_000, true)] {
        let mut encoder = coder(OpusSettings {
            bitrate_bps,
            cbr,
            ..OpusSettings::default()
        });
        let sizes: Vec<usize> = encode_all(&mut encoder, &pcm, 960).iter().map(Vec::len).collect();
        let bits = sizes.iter().sum::<usize>() as u32 * 4;
        let asked = if bitrate_bps == 0 { 56_000 } else { bitrate_bps };
        // Without CBR a simple signal takes less.
        let least = if cbr { asked * 97 / 100 } else { asked / 2 };
        assert!((least..=asked * 11 / 10).contains(&bits), "{bits} of {asked}");
        assert!(!cbr || sizes.iter().all(|&size| size == sizes[0]));
    }
}

#[test]
fn fec_is_nearer_to_what_was_lost_than_concealment() {
    let pcm = voice(96_000);
    for frame in [480, 960, 1920, 2880] {
        let packets = encode_all(&mut coder(FEC), &pcm, frame);
        let carrying = packets
            .iter()
            .filter(|packet| OpusDecoder::new().carries_fec(packet))
            .count();
        assert!(
            carrying > packets.len() / 2,
            "{carrying} of {} carry FEC",
            packets.len()
        );
        let hear = |lose: bool, fec: bool| -> Vec<i16> {
            let mut decoder = OpusDecoder::new();
            let mut heard = vec![0; pcm.len()];
            for (n, out) in heard.chunks_exact_mut(frame).enumerate() {
                let lost = lose && n % 5 == 3;
                let repaired = lost
                    && fec
                    && packets
                        .get(n + 1)
                        .is_some_and(|next| decoder.decode_fec(next, out));
                match lost {
                    true if !repaired => decoder.conceal(out),
                    true => {}
                    false => assert_eq!(decoder.decode(&packets[n], out), Ok(frame)),
                }
            }
            heard
        };
        let whole = hear(false, false);
        let (concealed, repaired) = (
            snr_db(&whole, &hear(true, false)),
            snr_db(&whole, &hear(true, true)),
        );
        println!("{frame} samples: concealed {concealed:.1} dB, repaired {repaired:.1} dB");
        assert!(
            repaired > concealed + 2.0,
            "{frame}: {concealed} and {repaired} dB"
        );
    }
}

#[test]
fn fec_fills_stretches_of_any_length() {
    let packets = encode_all(&mut coder(FEC), &voice(48_000), 960);
    for lost in [0, 1, 100, 120, 480, 959, 960, 961, 1440, 1920, 5000] {
        let mut decoder = OpusDecoder::new();
        let mut out = vec![0; 960];
        for packet in &packets[..20] {
            decoder.decode(packet, &mut out).unwrap();
        }
        let mut stretch = vec![i16::MAX; lost];
        assert!(decoder.decode_fec(&packets[21], &mut stretch));
        assert!(stretch.iter().all(|&sample| sample != i16::MAX));
        assert_eq!(decoder.decode(&packets[21], &mut out), Ok(960));
    }
}

#[test]
fn without_fec_nothing_is_claimed() {
    let packets = encode_all(&mut coder(OpusSettings::default()), &voice(9600), 960);
    let mut decoder = OpusDecoder::new();
    for payload in packets
        .iter()
        .map(Vec::as_slice)
        .chain([&[][..], &[0x08], &[0x0b, 0x00], &[0xff]])
    {
        assert!(!decoder.carries_fec(payload));
        let mut out = [7; 960];
        assert!(!decoder.decode_fec(payload, &mut out));
        assert_eq!(out, [7; 960]);
    }
}

#[test]
fn concealment_in_pieces_is_the_same_as_at_once_and_fades() {
    let packets = encode_all(&mut coder(FEC), &voice(48_000), 960);
    let mut once = vec![0; 48_000];
    let mut pieces = once.clone();
    for (out, piece) in [(&mut once, 48_000), (&mut pieces, 377)] {
        let mut decoder = OpusDecoder::new();
        for packet in &packets[..10] {
            decoder.decode(packet, &mut [0; 960]).unwrap();
        }
        out.chunks_mut(piece).for_each(|piece| decoder.conceal(piece));
    }
    assert_eq!(once, pieces);
    let energy = |samples: &[i16]| samples.iter().map(|&s| f32::from(s).powi(2)).sum::<f32>();
    assert!(energy(&once[..960]) > 0.0);
    assert!(energy(&once[47_040..]) < energy(&once[..960]) / 1000.0);
}

#[test]
fn nothing_decoded_conceals_as_silence() {
    let mut out = [1; 3000];
    OpusDecoder::new().conceal(&mut out);
    assert_eq!(out, [0; 3000]);
}

#[test]
fn malformed_payloads_are_refused() {
    let rows: [(&[u8], Result<usize, DecodeError>); 8] = [
        (&[], Err(DecodeError::Empty)),
        // One frame, empty: silence by DTX.
        (&[0x08], Ok(960)),
        // Two equal frames of three octets together.
        (&[0x09, 1, 2, 3], Err(DecodeError::Malformed)),
        // A first frame larger than the packet.
        (&[0x0a, 200, 1], Err(DecodeError::Malformed)),
        // Code 3 without frames, with too many, and without the octet that tells their number.
        (&[0x0b, 0], Err(DecodeError::Malformed)),
        (&[0x0b, 7, 1, 1, 1, 1, 1, 1, 1], Err(DecodeError::Malformed)),
        (&[0x0b], Err(DecodeError::Malformed)),
        // Six empty frames of 20 ms: as long as a packet can be.
        (&[0x0b, 6], Ok(5760)),
    ];
    for (payload, expected) in rows {
        let mut decoder = OpusDecoder::new();
        assert_eq!(decoder.samples(payload), expected, "{payload:?}");
        assert_eq!(decoder.decode(payload, &mut [0; 5760]), expected, "{payload:?}");
    }
    let too_small = DecodeError::BufferTooSmall {
        samples: 960,
        capacity: 959,
    };
    assert_eq!(OpusDecoder::new().decode(&[0x08], &mut [0; 959]), Err(too_small));
}

#[test]
fn silence_under_dtx_is_a_payload_of_an_octet_or_two() {
    let settings = OpusSettings { dtx: true, ..FEC };
    let sizes: Vec<usize> = encode_all(&mut coder(settings), &[0; 96_000], 960)
        .iter()
        .map(Vec::len)
        .collect();
    let left_out = sizes.iter().filter(|&&size| size <= 2).count();
    assert!(left_out > sizes.len() / 2, "{sizes:?}");
}

#[test]
fn a_copied_encoder_goes_on_as_the_original() {
    let pcm = voice(96_000);
    let (early, late) = pcm.split_at(48_000);
    for frame in [960, 1440] {
        let (mut original, mut copy) = (coder(FEC), coder(FEC));
        original.set_mix_rate(8000);
        encode_all(&mut original, early, frame);
        encode_all(&mut copy, late, frame);
        assert!(copy.copy_state_from(&original));
        original.set_loss(5);
        copy.set_loss(5);
        let expected = encode_all(&mut original, late, frame);
        assert_eq!(encode_all(&mut copy, late, frame), expected);
    }
    let mut other = coder(OpusSettings { cbr: true, ..FEC });
    assert!(!other.copy_state_from(&coder(FEC)));
    assert!(
        !CodecKind::G722
            .encoder()
            .copy_state_from(&CodecKind::Pcmu.encoder())
    );
}

#[test]
fn parameters_are_read_leniently() {
    let none = OpusSettings::default();
    let rows = [
        ("", none),
        (
            "useinbandfec=1",
            OpusSettings {
                inband_fec: true,
                ..none
            },
        ),
        (
            "minptime=10; useinbandfec=1 ;STEREO=1; sprop-stereo=1",
            OpusSettings {
                inband_fec: true,
                stereo: true,
                ..none
            },
        ),
        (
            "maxplaybackrate=16000;maxaveragebitrate=20000;cbr=1;usedtx=1",
            OpusSettings {
                bitrate_bps: 20_000,
                cbr: true,
                dtx: true,
                max_playback_rate_hz: 16_000,
                ..none
            },
        ),
        (
            "maxplaybackrate=96000;maxaveragebitrate=99999999999;cbr=0",
            OpusSettings {
                bitrate_bps: 510_000,
                ..none
            },
        ),
        (
            "maxplaybackrate=1;maxaveragebitrate=0",
            OpusSettings {
                bitrate_bps: 6000,
                max_playback_rate_hz: 8000,
                ..none
            },
        ),
        ("useinbandfec;;=;usedtx=yes;cbr=-1;stereo=1 1", none),
        ("useinbandfec=1;useinbandfec=0", none),
    ];
    for (parameters, expected) in rows {
        assert_eq!(OpusSettings::from_fmtp(parameters), expected, "{parameters}");
    }
}

#[test]
fn written_parameters_read_back() {
    let all = OpusSettings::from_fmtp(
        "maxplaybackrate=16000;maxaveragebitrate=20000;cbr=1;usedtx=1;useinbandfec=1;stereo=1",
    );
    for settings in [
        OpusSettings::default(),
        OpusSettings {
            loss_percent: 0,
            ..FEC
        },
        all,
    ] {
        assert_eq!(OpusSettings::from_fmtp(&settings.fmtp()), settings);
    }
    assert_eq!(OpusSettings::default().fmtp(), "");
    assert_eq!(FEC.fmtp(), "useinbandfec=1;maxplaybackrate=16000");
}

#[test]
fn codings_that_encode_alike_are_equal() {
    let coding = |parameters| Coding::new(CodecKind::Opus, OpusSettings::from_fmtp(parameters));
    assert_eq!(coding("stereo=1;maxplaybackrate=48000"), coding(""));
    assert_eq!(coding("maxplaybackrate=14000"), coding("maxplaybackrate=16000"));
    assert_ne!(coding("maxplaybackrate=16000"), coding(""));
    assert_ne!(coding("useinbandfec=1"), coding(""));
    assert_eq!(Coding::new(CodecKind::Pcmu, FEC), Coding::from(CodecKind::Pcmu));
}

#[test]
fn a_tone_goes_on_smoothly_while_the_bandwidth_rises_whatever_the_packet_time() {
    for (ms, bitrate_bps) in [
        (10, 0),
        (20, 0),
        (30, 0),
        (40, 0),
        (50, 0),
        (60, 0),
        (30, 96_000),
        (50, 20_000),
    ] {
        let settings = OpusSettings {
            bitrate_bps,
            ..OpusSettings::default()
        };
        let mut encoder = coder(settings);
        encoder.set_mix_rate(8000);
        let mut decoder = CodecKind::Opus.decoder();
        let frame = 48 * ms;
        let mut heard = Vec::new();
        for packet in 0..9000 / ms {
            if packet == 1000 / ms {
                encoder.set_mix_rate(16_000);
            }
            let pcm: Vec<i16> = (packet * frame..(packet + 1) * frame)
                .map(|n| (3000.0 * (std::f64::consts::TAU * 733.0 * n as f64 / 48_000.0).sin()) as i16)
                .collect();
            let mut payload = vec![0; MAX_PAYLOAD];
            let octets = encoder.encode(&pcm, &mut payload);
            let mut out = vec![0; 5760];
            let samples = decoder.decode(&payload[..octets], &mut out).unwrap();
            assert_eq!(samples, frame);
            heard.extend_from_slice(&out[..samples]);
        }
        // Of the pieces of 20 ms only those around the changes of bandwidth may be louder or weaker than the tone.
        let odd = heard[9600..]
            .chunks_exact(960)
            .filter(|piece| {
                let peak = piece.iter().map(|sample| sample.unsigned_abs()).max();
                !(2400..=3600).contains(&peak.unwrap())
            })
            .count();
        assert!(
            odd <= 12,
            "{ms} ms, {bitrate_bps} bit/s: {odd} of {} pieces",
            heard.len() / 960
        );
    }
}
