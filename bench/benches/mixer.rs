//! One 20 ms tick of a conference at 8 kHz: everybody sends, three talk, everybody's signal is asked for and talkers' own
//! mixes are rendered. Encoding and sending are not in it.

use confab_mixer::{MixFormat, Mixer, Signal, SlotId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const TALKERS: usize = 3;

fn tone(step: f32, peak: f32) -> Vec<i16> {
    (0..160)
        .map(|n| ((n as f32 * step).sin() * peak) as i16)
        .collect()
}

fn tick(mixer: &mut Mixer, slots: &[SlotId], talk: &[Vec<i16>], hiss: &[i16], out: &mut [i16]) -> i64 {
    mixer.begin();
    for (n, &slot) in slots.iter().enumerate() {
        mixer.input(slot, talk.get(n).map_or(hiss, Vec::as_slice));
    }
    mixer.mix();
    let mut heard = 0;
    for &slot in slots {
        heard += match mixer.signal(slot) {
            Signal::Silence => 0,
            Signal::Common => i64::from(mixer.common()[0]),
            Signal::Own => {
                mixer.render_own(slot, out);
                i64::from(out[0])
            }
        };
    }
    heard
}

fn mix(criterion: &mut Criterion) {
    let format = MixFormat::new(8000, 20).expect("a format of this server");
    let talk: Vec<_> = (0..TALKERS)
        .map(|n| tone(0.2 + n as f32 * 0.17, 6000.0))
        .collect();
    let hiss = tone(1.3, 3.0);
    let mut group = criterion.benchmark_group("mix tick");
    for participants in [2, 10, 100, 1000] {
        let mut mixer = Mixer::new(format, participants, 20);
        let slots: Vec<_> = (0..participants)
            .filter_map(|_| mixer.add(false, false))
            .collect();
        let mut out = [0; 160];
        group.throughput(Throughput::Elements(participants as u64));
        group.bench_function(BenchmarkId::from_parameter(participants), |bencher| {
            bencher.iter(|| tick(&mut mixer, &slots, &talk, &hiss, &mut out));
        });
    }
    group.finish();
}

criterion_group!(benches, mix);
criterion_main!(benches);
