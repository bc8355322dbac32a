//! One 20 ms frame through the resampler, for the pairs of rates that calls meet.

use confab_dsp::{Resampler, ResamplerTable};
use criterion::{Criterion, criterion_group, criterion_main};

const PAIRS: [(u32, u32); 10] = [
    (8000, 16_000),
    (16_000, 8000),
    (8000, 48_000),
    (48_000, 8000),
    (16_000, 48_000),
    (48_000, 16_000),
    (8000, 44_100),
    (44_100, 8000),
    (44_100, 48_000),
    (48_000, 44_100),
];

fn resample(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("resample 20 ms");
    for (from_hz, to_hz) in PAIRS {
        let mut resampler = Resampler::new();
        resampler.set(ResamplerTable::get(from_hz, to_hz).expect("both rates are known"));
        let input: Vec<i16> = (0..from_hz / 50).map(|n| (n * n) as i16).collect();
        let mut out = [0; 960];
        group.bench_function(format!("{from_hz} to {to_hz}"), |bencher| {
            bencher.iter(|| resampler.process(std::hint::black_box(&input), &mut out));
        });
    }
    group.finish();
}

criterion_group!(benches, resample);
criterion_main!(benches);
