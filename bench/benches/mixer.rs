//! One 20 ms tick of a conference at 8 kHz: everybody sends, three talk, everybody's signal is asked for and talkers' own
//! mixes are rendered. Encoding and sending are not in it. With exceptions: each of the first hundred does not hear one
//! of the talkers, ten listeners have a gain, something plays to all. With plays: something plays to all, or to each of a
//! hundred alone. Recorded: beside its listeners, twenty with something that plays to all are taken into a recording, the full mix alone
//! or with everybody's part and the server's.

use confab_mixer::{Audience, MixFormat, Mixer, MixerStorage, Room, Signal, SlotId};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};

const TALKERS: usize = 3;

fn tone(step: f32, peak: f32) -> Vec<i16> {
    (0..160)
        .map(|n| ((n as f32 * step).sin() * peak) as i16)
        .collect()
}

fn tick(mixer: &mut Mixer, slots: &[SlotId], talk: &[Vec<i16>], hiss: &[i16], out: &mut [i16]) -> i64 {
    mixer.begin();
    feed(mixer, slots, talk, hiss);
    listen(mixer, slots, out)
}

fn feed(mixer: &mut Mixer, slots: &[SlotId], talk: &[Vec<i16>], hiss: &[i16]) {
    for (n, &slot) in slots.iter().enumerate() {
        mixer.input(slot, talk.get(n).map_or(hiss, Vec::as_slice));
    }
}

fn listen(mixer: &mut Mixer, slots: &[SlotId], out: &mut [i16]) -> i64 {
    mixer.mix();
    let mut heard = 0;
    for &slot in slots {
        heard += match mixer.signal(slot) {
            Signal::Silence | Signal::Waiting => 0,
            Signal::Common => i64::from(mixer.common()[0]),
            Signal::Own => {
                mixer.render_own(slot, out);
                i64::from(out[0])
            }
        };
    }
    heard
}

/// Takes what a recording takes; returns how many blocks that were.
fn record(mixer: &mut Mixer, slots: &[SlotId], tracks: bool, taken: &mut [[i16; 160]]) -> i64 {
    let mut blocks = i64::from(mixer.full_mix(&mut taken[0]));
    if tracks {
        blocks += i64::from(mixer.server_part(&mut taken[1]));
        for (&slot, taken) in slots.iter().zip(&mut taken[2..]) {
            if let Some(part) = mixer.contribution(slot) {
                taken.copy_from_slice(part);
                blocks += 1;
            }
        }
    }
    blocks
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
    for (name, private) in [
        ("100 with a play to all", false),
        ("100 with a play to each", true),
    ] {
        group.bench_function(name, |bencher| {
            let room = Room {
                sources: 100,
                ..Room::for_participants(100)
            };
            let mut mixer = Mixer::with_storage(MixerStorage::with_room(format, room), 20);
            let slots: Vec<_> = (0..100).filter_map(|_| mixer.add(false, false)).collect();
            let audiences: Vec<_> = if private {
                slots.iter().map(|&slot| Audience::One(slot)).collect()
            } else {
                vec![Audience::All]
            };
            let sources: Vec<_> = audiences
                .into_iter()
                .filter_map(|audience| mixer.add_source(audience, 0.0, Some(12.0)))
                .collect();
            let (block, mut out) = (tone(0.3, 9000.0), [0; 160]);
            bencher.iter(|| {
                mixer.begin();
                for &source in &sources {
                    mixer.source_input(source, &block);
                }
                feed(&mut mixer, &slots, &talk, &hiss);
                listen(&mut mixer, &slots, &mut out)
            });
        });
    }
    for (name, takes) in [
        ("20 with a play to all", None),
        ("20 recorded", Some(false)),
        ("20 recorded with tracks", Some(true)),
    ] {
        group.bench_function(name, |bencher| {
            let mut mixer = Mixer::new(format, 20, 20);
            let slots: Vec<_> = (0..20).filter_map(|_| mixer.add(false, false)).collect();
            let music = mixer.add_source(Audience::All, -12.0, Some(12.0));
            let (block, mut out) = (tone(0.3, 9000.0), [0; 160]);
            let mut taken = vec![[0; 160]; slots.len() + 2];
            bencher.iter(|| {
                mixer.begin();
                if let Some(music) = music {
                    mixer.source_input(music, &block);
                }
                feed(&mut mixer, &slots, &talk, &hiss);
                let heard = listen(&mut mixer, &slots, &mut out);
                heard + takes.map_or(0, |tracks| record(&mut mixer, &slots, tracks, &mut taken))
            });
        });
    }
    group.bench_function("1000 with exceptions", |bencher| {
        let mut mixer = Mixer::new(format, 1000, 20);
        let slots: Vec<_> = (0..1000).filter_map(|_| mixer.add(false, false)).collect();
        let mut out = [0; 160];
        for (n, &listener) in slots[TALKERS..][..100].iter().enumerate() {
            mixer.set_relation(slots[n % TALKERS], listener, false);
        }
        for &listener in &slots[200..210] {
            mixer.set_output_gain(listener, -6.0);
        }
        let music = mixer.add_source(Audience::All, -12.0, Some(12.0));
        let block = tone(0.3, 9000.0);
        bencher.iter(|| {
            mixer.begin();
            if let Some(music) = music {
                mixer.source_input(music, &block);
            }
            feed(&mut mixer, &slots, &talk, &hiss);
            listen(&mut mixer, &slots, &mut out)
        });
    });
    group.finish();
}

criterion_group!(benches, mix);
criterion_main!(benches);
