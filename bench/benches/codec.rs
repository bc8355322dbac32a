//! Every codec but G.711 over one 20 ms frame: encoding, decoding, concealment and, for Opus, repair by FEC.

use confab_codec::{CodecKind, Coding, ComfortNoise, Encoder, OpusSettings};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

/// Twenty seconds like speech, so that frames differ: a pulse train of wandering pitch through a resonance, swelling and falling.
fn voice(rate_hz: u32) -> Vec<i16> {
    let rate = rate_hz as f32;
    let (mut past, mut phase) = ([0.0_f32; 2], 0.0_f32);
    let angle = std::f32::consts::TAU * 700.0 / rate;
    (0..rate_hz * 20)
        .map(|n| {
            let time = n as f32 / rate;
            phase += (130.0 + 30.0 * (time * 7.0).sin()) / rate;
            let pulse = if phase >= 1.0 { 2500.0 } else { 0.0 };
            phase = phase.fract();
            let swell = (time * 11.0).sin().abs() + 0.1;
            let output = pulse * swell + 1.96 * angle.cos() * past[0] - 0.9604 * past[1];
            past = [output, past[0]];
            output.clamp(-20_000.0, 20_000.0) as i16
        })
        .collect()
}

fn encode_all(encoder: &mut Encoder, pcm: &[i16], frame: usize) -> Vec<Vec<u8>> {
    let kind = encoder.coding().kind;
    pcm.chunks_exact(frame)
        .map(|pcm| {
            let mut payload = vec![0; kind.max_payload(frame)];
            let octets = encoder.encode(pcm, &mut payload);
            payload.truncate(octets);
            payload
        })
        .collect()
}

/// Name, coding and rate of the mix.
fn codings() -> Vec<(&'static str, Coding, u32)> {
    let opus = |fmtp, loss_percent| {
        let settings = OpusSettings {
            loss_percent,
            ..OpusSettings::from_fmtp(fmtp)
        };
        Coding::new(CodecKind::Opus, settings)
    };
    let linear = CodecKind::L16 {
        rate_hz: 48_000,
        channels: 1,
    };
    vec![
        ("G722", CodecKind::G722.into(), 16_000),
        ("L16 48 kHz", linear.into(), 48_000),
        ("opus narrowband", opus("", 0), 8000),
        ("opus wideband", opus("", 0), 16_000),
        ("opus wideband with FEC", opus("useinbandfec=1", 20), 16_000),
        ("opus fullband", opus("", 0), 48_000),
    ]
}

fn codec(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("codec");
    for (name, coding, mix_hz) in codings() {
        let kind = coding.kind;
        let frame = kind.sample_rate_hz() as usize / 50;
        group.throughput(Throughput::Elements(frame as u64));
        let pcm = voice(kind.sample_rate_hz());
        let mut encoder = coding.encoder();
        encoder.set_mix_rate(mix_hz);
        let packets = encode_all(&mut encoder, &pcm, frame);
        let mut payload = vec![0; kind.max_payload(frame)];
        let mut frames = pcm.chunks_exact(frame).cycle();
        group.bench_function(format!("{name} encode"), |bencher| {
            bencher.iter(|| frames.next().map(|pcm| encoder.encode(pcm, &mut payload)));
        });
        let mut out = vec![0; kind.max_frame_samples()];
        let mut decoder = kind.decoder();
        let mut received = packets.iter().cycle();
        group.bench_function(format!("{name} decode"), |bencher| {
            bencher.iter(|| received.next().map(|packet| decoder.decode(packet, &mut out)));
        });
        let mut received = packets.iter().cycle();
        group.bench_function(format!("{name} decode, conceal one frame"), |bencher| {
            bencher.iter(|| {
                decoder.conceal(&mut out[..frame]);
                received.next().map(|packet| decoder.decode(packet, &mut out))
            });
        });
        if coding.opus.inband_fec {
            let mut received = packets.iter().cycle();
            group.bench_function(format!("{name} decode, repair one frame"), |bencher| {
                bencher.iter(|| {
                    received.next().map(|packet| {
                        let repaired = decoder.decode_fec(packet, &mut out[..frame]);
                        (repaired, decoder.decode(packet, &mut out))
                    })
                });
            });
        }
    }
    let (mut one, other) = (
        Coding::from(CodecKind::Opus).encoder(),
        Coding::from(CodecKind::Opus).encoder(),
    );
    group.bench_function("opus copy an encoder's state", |bencher| {
        bencher.iter(|| one.copy_state_from(&other))
    });
    let mut noise = ComfortNoise::new(1);
    noise.receive(&[60, 90, 140, 120, 130, 125, 127, 127, 127, 127, 127]);
    let mut out = [0; 160];
    group.bench_function("comfort noise of order 10, 160 samples", |bencher| {
        bencher.iter(|| noise.fill(&mut out))
    });
    group.finish();
}

criterion_group!(benches, codec);
criterion_main!(benches);
