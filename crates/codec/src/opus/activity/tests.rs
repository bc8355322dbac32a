use ::opus::{Application, Bandwidth, Bitrate, Channels, Encoder, Repacketizer};
use proptest::prelude::*;

use super::is_inactive;
use crate::codec::Decoder;
use crate::opus::OpusDecoder;
use crate::opus::tests::voice;

/// The range decoder as far as symbols of even odds need it (RFC 6716 §4.1.1 to §4.1.3.2).
struct RangeDecoder<'a> {
    octets: &'a [u8],
    next: usize,
    range: u32,
    value: u32,
}

impl<'a> RangeDecoder<'a> {
    fn new(octets: &'a [u8]) -> Self {
        let mut decoder = Self {
            octets,
            next: 1,
            range: 128,
            value: 127 - u32::from(octets[0] >> 1),
        };
        decoder.normalise();
        decoder
    }

    fn normalise(&mut self) {
        while self.range <= 1 << 23 {
            let octet = |at: usize| u32::from(self.octets.get(at).copied().unwrap_or(0));
            let symbol = ((octet(self.next - 1) << 8 | octet(self.next)) >> 1) & 255;
            self.next += 1;
            self.range <<= 8;
            self.value = ((self.value << 8) + (255 - symbol)) & 0x7fff_ffff;
        }
    }

    fn bit(&mut self) -> bool {
        let half = self.range >> 1;
        let bit = self.value < half;
        if bit {
            self.range = half;
        } else {
            self.value -= half;
            self.range -= half;
        }
        self.normalise();
        bit
    }
}

/// Whether a SILK layer's voice activity flags are all clear, read symbol after symbol.
fn is_clear(frame: &[u8], silk_frames: usize, channels: usize) -> bool {
    let mut decoder = RangeDecoder::new(frame);
    let mut clear = true;
    for _ in 0..channels {
        for _ in 0..silk_frames {
            clear &= !decoder.bit();
        }
        decoder.bit(); // redundancy
    }
    clear
}

/// SILK frames in a frame of each configuration that has them.
const SILK_FRAMES: [usize; 16] = [1, 1, 2, 3, 1, 1, 2, 3, 1, 1, 2, 3, 1, 1, 1, 1];

fn toc(configuration: usize, channels: usize) -> u8 {
    (configuration << 3 | (channels - 1) << 2) as u8
}

proptest! {
    #[test]
    fn the_flags_are_what_the_range_decoder_finds(
        configuration in 0..16_usize,
        channels in 1..=2_usize,
        frame in prop::collection::vec(any::<u8>(), 2..20),
    ) {
        let mut packet = vec![toc(configuration, channels)];
        packet.extend(&frame);
        prop_assert_eq!(
            is_inactive(&packet),
            is_clear(&frame, SILK_FRAMES[configuration], channels)
        );
    }

    #[test]
    fn every_frame_of_a_packet_counts(
        configuration in 0..16_usize,
        channels in 1..=2_usize,
        frames in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..300), 1..=3),
    ) {
        let toc = toc(configuration, channels);
        let singles: Vec<Vec<u8>> = frames
            .iter()
            .map(|frame| std::iter::once(toc).chain(frame.iter().copied()).collect())
            .collect();
        let singles: Vec<&[u8]> = singles.iter().map(Vec::as_slice).collect();
        let mut packet = vec![0; 1000];
        // Refused when it is longer than 120 ms.
        if let Ok(octets) = Repacketizer::new().unwrap().combine(&singles, &mut packet) {
            prop_assert_eq!(is_inactive(&packet[..octets]), singles.iter().all(|single| is_inactive(single)));
            let padded = octets + 2;
            ::opus::packet::pad(&mut packet[..padded], octets).unwrap();
            prop_assert_eq!(is_inactive(&packet[..padded]), singles.iter().all(|single| is_inactive(single)));
        }
    }

    #[test]
    fn only_packets_of_a_silk_layer_are_called_inactive(packet in prop::collection::vec(any::<u8>(), 0..40)) {
        if is_inactive(&packet) {
            prop_assert!(packet[0] < 0x80);
            prop_assert!(OpusDecoder::new().samples(&packet).is_ok());
        }
    }
}

/// Hiss of about −66 dBFS.
fn hiss(samples: usize) -> Vec<i16> {
    let mut random = 1_u32;
    (0..samples)
        .map(|_| {
            random = random.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (random >> 16) as i16 % 28
        })
        .collect()
}

fn encoder(channels: Channels, bandwidth: Bandwidth, bitrate_bps: i32) -> Encoder {
    let mut encoder = Encoder::new(48_000, channels, Application::Voip).unwrap();
    encoder.set_bandwidth(bandwidth).unwrap();
    encoder.set_bitrate(Bitrate::Bits(bitrate_bps)).unwrap();
    encoder.set_force_channels(Some(channels)).unwrap();
    // Below 7, SILK alone decides who speaks.
    encoder.set_complexity(5).unwrap();
    encoder
}

#[test]
fn libopus_sets_the_flags_in_speech_and_clears_them_in_pauses() {
    let pieces = [
        voice(96_000),
        hiss(96_000),
        voice(48_000),
        hiss(144_000),
        voice(48_000),
    ]
    .concat();
    let stereo: Vec<i16> = pieces.iter().flat_map(|&sample| [sample, sample / 3]).collect();
    for (channels, pcm) in [(Channels::Mono, &pieces), (Channels::Stereo, &stereo)] {
        for (bandwidth, bitrate_bps) in [
            (Bandwidth::Narrowband, 16_000),
            (Bandwidth::Wideband, 24_000),
            (Bandwidth::Superwideband, 32_000),
            (Bandwidth::Fullband, 36_000),
        ] {
            for ms in [10, 20, 40, 60] {
                let name = format!("{channels:?} {bandwidth:?} {ms} ms");
                let mut encoder = encoder(channels, bandwidth, bitrate_bps * channels as i32);
                encoder.set_dtx(true).unwrap();
                let (mut speaking, mut pausing, mut was_pausing) = (0, 0, false);
                for frame in pcm.chunks_exact(ms * 48 * channels as usize) {
                    let packet = encoder.encode_vec(frame, 1500).unwrap();
                    assert!(packet[0] < 0x80, "{name}: not CELT");
                    // libopus counts frames without activity, and calls ten a pause: who leaves one spoke.
                    let pauses = encoder.get_in_dtx().unwrap();
                    if was_pausing || pauses {
                        assert_eq!(is_inactive(&packet), pauses, "{name}: {packet:?}");
                    }
                    speaking += u32::from(!is_inactive(&packet));
                    pausing += u32::from(is_inactive(&packet) && packet.len() > 2);
                    was_pausing = pauses;
                }
                assert!(speaking > 3000 / ms as u32, "{name}: {speaking} active packets");
                assert!(
                    pausing >= 400 / ms as u32,
                    "{name}: {pausing} inactive ones with sound"
                );
            }
        }
    }
}

#[test]
fn silence_is_inactive_without_dtx_and_what_only_the_side_channel_says_is_not() {
    let silence = vec![0; 960];
    let mut mono = encoder(Channels::Mono, Bandwidth::Wideband, 24_000);
    let mut stereo = encoder(Channels::Stereo, Bandwidth::Wideband, 40_000);
    // Opposite in both channels: nothing is left in the middle.
    let apart: Vec<i16> = voice(48_000)
        .iter()
        .flat_map(|&sample| [sample, -sample])
        .collect();
    let mut active = 0;
    for (n, frame) in apart.chunks_exact(2 * 960).enumerate() {
        let packet = mono.encode_vec(&silence, 1500).unwrap();
        assert!(packet.len() > 2 && (n < 5 || is_inactive(&packet)), "{packet:?}");
        active += u32::from(!is_inactive(&stereo.encode_vec(frame, 1500).unwrap()));
    }
    assert!(active > 40, "{active} of 50");
    let mut celt = Encoder::new(48_000, Channels::Mono, Application::LowDelay).unwrap();
    assert!(
        !is_inactive(&celt.encode_vec(&silence, 1500).unwrap()),
        "it has no flags"
    );
}
