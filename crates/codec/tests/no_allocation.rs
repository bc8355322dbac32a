//! Nothing after construction allocates: a counting allocator watches a minute of every codec with losses, redundancy, silences
//! and changes of encoder. libopus works in memory that we give it and on the stack, so it has no part in this.

use confab_codec::{CodecKind, Coding, ComfortNoise, NoiseDescription, OpusSettings};
use confab_testkit::allocation::{CountingAllocator, calls};

#[global_allocator]
static ALLOCATOR: CountingAllocator = CountingAllocator;

fn codings() -> Vec<Coding> {
    let opus = OpusSettings::from_fmtp("useinbandfec=1;usedtx=1");
    let kinds = [
        CodecKind::Pcmu,
        CodecKind::Pcma,
        CodecKind::G722,
        CodecKind::L16 {
            rate_hz: 44_100,
            channels: 2,
        },
        CodecKind::Opus,
    ];
    kinds.into_iter().map(|kind| Coding::new(kind, opus)).collect()
}

#[test]
fn the_allocator_counts() {
    let before = calls();
    drop(Box::new([0_u8; 100]));
    assert_eq!(calls(), before + 2);
}

#[test]
fn a_minute_of_every_codec_allocates_nothing() {
    for coding in codings() {
        let kind = coding.kind;
        let ten_ms = kind.sample_rate_hz() as usize / 100;
        let pcm: Vec<i16> = (0..6 * ten_ms)
            .map(|n| (n * n * 31 % 20_011) as i16 - 10_000)
            .collect();
        let mut payload = vec![0; kind.max_payload(pcm.len())];
        let mut steered = payload.clone();
        let mut heard = vec![0; kind.max_frame_samples()];
        let (mut encoder, mut other, mut decoder) = (coding.encoder(), coding.encoder(), kind.decoder());
        let mut noise = ComfortNoise::new(1);
        let before = calls();
        for n in 0..1000_usize {
            let samples = ten_ms * (n % 6 + 1);
            encoder.set_mix_rate(if n % 200 < 100 { 8000 } else { 48_000 });
            encoder.set_loss((n / 10 % 20) as u8);
            let octets = encoder.encode(&pcm[..samples], &mut payload);
            assert!(octets > 0);
            other.encode_towards(&pcm[..samples], &payload[..octets], &mut steered);
            let payload = &payload[..octets];
            match n % 7 {
                3 => decoder.conceal(&mut heard[..samples]),
                4 if decoder.decode_fec(payload, &mut heard[..samples]) => {}
                5 => {
                    decoder.reset();
                    noise.describe(NoiseDescription::measure(&heard[..samples], 10));
                    noise.fill(&mut heard[..samples]);
                }
                _ => assert_eq!(decoder.decode(payload, &mut heard), Ok(samples)),
            }
            if n % 50 == 0 {
                assert!(other.copy_state_from(&encoder));
                std::mem::swap(&mut encoder, &mut other);
            }
        }
        assert_eq!(calls(), before, "{coding:?}");
    }
}
