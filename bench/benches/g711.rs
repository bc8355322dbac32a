//! G.711 of one 20 ms frame: tables both ways, and concealment.

use confab_codec::CodecKind;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

const FRAME: usize = 160;

/// A frame with all levels in it, so that the tables are touched as speech touches them.
fn speech() -> Vec<i16> {
    (0..FRAME)
        .map(|n| ((n as f32 * 0.21).sin() * (n as f32 * 90.0)) as i16)
        .collect()
}

fn g711(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("g711");
    group.throughput(Throughput::Elements(FRAME as u64));
    for kind in [CodecKind::Pcmu, CodecKind::Pcma] {
        let (pcm, mut payload, mut out) = (speech(), [0; FRAME], [0; FRAME]);
        let (mut encoder, mut decoder) = (kind.encoder(), kind.decoder());
        group.bench_function(format!("{} encode", kind.name()), |bencher| {
            bencher.iter(|| encoder.encode(std::hint::black_box(&pcm), &mut payload));
        });
        group.bench_function(format!("{} decode", kind.name()), |bencher| {
            bencher.iter(|| decoder.decode(std::hint::black_box(&payload), &mut out));
        });
    }
    let (pcm, mut payload, mut out) = (speech(), [0; FRAME], [0; FRAME]);
    let mut decoder = CodecKind::Pcmu.decoder();
    CodecKind::Pcmu.encoder().encode(&pcm, &mut payload);
    group.bench_function("decode, conceal one frame, decode", |bencher| {
        bencher.iter(|| {
            let first = decoder.decode(&payload, &mut out);
            decoder.conceal(&mut out);
            (first, decoder.decode(&payload, &mut out))
        });
    });
    group.finish();
}

criterion_group!(benches, g711);
criterion_main!(benches);
