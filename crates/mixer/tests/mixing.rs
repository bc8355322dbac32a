//! Gate, talking, limiter, floor, controls and relations as the mixer joins them.

#![allow(clippy::unwrap_used)]

use confab_mixer::{Audience, MixFormat, Mixer, MixerStorage, Room, Signal, SlotId};

fn mixer(energy_level: u16, participants: usize) -> (Mixer, Vec<SlotId>) {
    let mut mixer = Mixer::new(MixFormat::new(8000, 20).unwrap(), participants, energy_level);
    let slots = (0..participants)
        .map(|_| mixer.add(false, false).unwrap())
        .collect();
    (mixer, slots)
}

fn tick(mixer: &mut Mixer, inputs: &[(SlotId, i16)]) -> Vec<Option<bool>> {
    mixer.begin();
    let block = mixer.block_samples();
    let changes = inputs
        .iter()
        .map(|&(slot, value)| mixer.input(slot, &vec![value; block]).talking_changed)
        .collect();
    mixer.mix();
    changes
}

fn own(mixer: &mut Mixer, slot: SlotId) -> Vec<i16> {
    assert_eq!(mixer.signal(slot), Signal::Own);
    let mut out = vec![0; mixer.block_samples()];
    mixer.render_own(slot, &mut out);
    out
}

#[test]
fn a_lone_talker_hears_silence_and_his_listeners_the_common_mix() {
    let (mut mixer, slots) = mixer(20, 3);
    tick(&mut mixer, &[(slots[0], 1000), (slots[1], 0), (slots[2], 0)]);
    assert_eq!(mixer.signal(slots[0]), Signal::Silence);
    assert_eq!(mixer.signal(slots[1]), Signal::Common);
    assert_eq!(
        mixer.common()[16..],
        [1000; 144],
        "whole, but for 2 ms of fading in"
    );
    tick(&mut mixer, &[(slots[0], 1000)]);
    assert_eq!(mixer.common(), [1000; 160], "from the second frame on untouched");
}

#[test]
fn talking_starts_and_muting_ends_it() {
    let (mut mixer, slots) = mixer(20, 1);
    assert_eq!(tick(&mut mixer, &[(slots[0], 1000)]), [Some(true)]);
    assert!(mixer.is_talking(slots[0]));
    assert!(mixer.set_muted(slots[0], true));
    assert!(!mixer.set_muted(slots[0], true), "once");
    assert_eq!(tick(&mut mixer, &[(slots[0], 1000)]), [None]);
    assert_eq!(mixer.score(slots[0]), 1000, "the score of a muted leg is known");
    assert!(!mixer.is_talking(slots[0]));
}

#[test]
fn quiet_audio_is_not_mixed_and_level_zero_mixes_all() {
    let (mut gated, slots) = mixer(20, 2);
    tick(&mut gated, &[(slots[0], 20)]);
    assert_eq!(gated.signal(slots[1]), Signal::Silence);
    let (mut open, slots) = mixer(0, 2);
    tick(&mut open, &[(slots[0], 1)]);
    assert_eq!(open.signal(slots[1]), Signal::Common);
    assert_eq!(open.common(), [1; 160], "without fading in");
}

#[test]
fn own_voice_is_taken_out_before_anything_is_limited() {
    let (mut mixer, slots) = mixer(0, 4);
    let inputs = [(slots[0], 30_000), (slots[1], 30_000), (slots[2], -10_000)];
    for _ in 0..3 {
        tick(&mut mixer, &inputs);
        // a and c: 20,000 each way; b hears the same as a; c hears 60,000 limited to −3 dBFS
        assert_eq!(own(&mut mixer, slots[0]), [20_000; 160]);
        let loud = own(&mut mixer, slots[2]);
        assert!(
            loud[8..].iter().all(|&s| (23_196..=29_204).contains(&s)),
            "{loud:?}"
        );
        assert!(
            mixer.common()[8..]
                .iter()
                .all(|&s| (23_196..=29_204).contains(&s))
        );
    }
}

#[test]
fn shorter_blocks_keep_the_mix() {
    let (mut mixer, slots) = mixer(0, 2);
    mixer.set_block_ms(10);
    tick(&mut mixer, &[(slots[0], 7)]);
    assert_eq!(mixer.common(), [7; 80]);
    for bad in [0, 15, 30, u16::MAX] {
        mixer.set_block_ms(bad);
        assert_eq!(mixer.block_ms(), 10);
    }
    mixer.set_block_ms(20);
    tick(&mut mixer, &[(slots[0], 7)]);
    assert_eq!(mixer.common(), [7; 160]);
}

#[test]
fn short_and_long_inputs_are_fitted_to_the_block() {
    let (mut mixer, slots) = mixer(0, 2);
    mixer.begin();
    mixer.input(slots[0], &[5; 3]);
    mixer.input(slots[0], &[9; 160]);
    mixer.input(slots[1], &[1; 500]);
    assert_eq!(mixer.mix().contributions, 2);
    assert_eq!(mixer.common()[..5], [6, 6, 6, 1, 1]);
}

#[test]
fn the_floor_goes_to_who_talks() {
    let (mut mixer, slots) = mixer(20, 2);
    tick(&mut mixer, &[(slots[0], 0), (slots[1], 2000)]);
    assert_eq!(mixer.floor(), Some(slots[1]));
    mixer.set_muted(slots[1], true);
    tick(&mut mixer, &[(slots[0], 800), (slots[1], 2000)]);
    assert_eq!(mixer.floor(), Some(slots[0]));
    mixer.remove(slots[0]);
    tick(&mut mixer, &[]);
    assert_eq!(mixer.floor(), None);
}

#[test]
fn strangers_change_nothing() {
    let (mut mixer, slots) = mixer(0, 1);
    mixer.remove(slots[0]);
    mixer.begin();
    assert_eq!(mixer.input(slots[0], &[9; 160]).score, 0);
    assert_eq!(mixer.mix().contributions, 0);
    assert_eq!(mixer.signal(slots[0]), Signal::Silence);
    let mut out = [1; 160];
    mixer.render_own(slots[0], &mut out);
    assert_eq!(out, [0; 160]);
    let small = MixerStorage::new(mixer.format(), 0);
    assert_eq!(
        mixer.adopt_storage(small).capacity(),
        0,
        "storage that is too small comes back"
    );
}

#[test]
fn what_silences_a_talker_ends_his_contribution_at_once_and_gives_it_back() {
    type Control = fn(&mut Mixer, SlotId, bool) -> bool;
    let controls: [(&str, Control); 3] = [
        ("mute", Mixer::set_muted),
        ("hold", Mixer::set_held),
        ("wait", Mixer::set_waiting),
    ];
    for (name, control) in controls {
        let (mut mixer, slots) = mixer(20, 2);
        tick(&mut mixer, &[(slots[0], 1000)]);
        assert_eq!(mixer.floor(), Some(slots[0]), "{name}");
        assert!(control(&mut mixer, slots[0], true), "{name} ends the talking");
        assert!(!control(&mut mixer, slots[0], true), "{name}, but once");
        assert_eq!(mixer.unheard_up_to(slots[0]), u16::MAX);
        tick(&mut mixer, &[(slots[0], 1000)]);
        assert_eq!(
            (mixer.signal(slots[1]), mixer.floor()),
            (Signal::Silence, None),
            "{name}"
        );
        assert!(!control(&mut mixer, slots[0], false));
        assert_eq!(tick(&mut mixer, &[(slots[0], 1000)]), [Some(true)], "{name}");
        assert_eq!(mixer.signal(slots[1]), Signal::Common, "{name}");
    }
}

#[test]
fn one_reason_to_be_silent_is_enough() {
    let (mut mixer, slots) = mixer(20, 2);
    tick(&mut mixer, &[(slots[0], 1000)]);
    assert!(mixer.set_held(slots[0], true));
    assert!(!mixer.set_muted(slots[0], true), "he talked no more");
    assert!(!mixer.set_held(slots[0], false));
    tick(&mut mixer, &[(slots[0], 1000)]);
    assert_eq!(mixer.signal(slots[1]), Signal::Silence);
}

#[test]
fn relations_are_directional() {
    let (mut mixer, slots) = mixer(0, 3);
    let [a, b, c] = slots[..] else { unreachable!() };
    assert!(mixer.set_relation(a, b, false));
    tick(&mut mixer, &[(a, 100), (b, 10), (c, 1)]);
    assert_eq!(own(&mut mixer, a), [11; 160]);
    assert_eq!(own(&mut mixer, b), [1; 160], "without A");
    assert_eq!(own(&mut mixer, c), [110; 160], "C hears both");
    tick(&mut mixer, &[(a, 100)]);
    assert_eq!(mixer.signal(b), Signal::Silence);
    tick(&mut mixer, &[(c, 1)]);
    assert_eq!(
        mixer.signal(b),
        Signal::Common,
        "a relation to somebody silent costs nothing"
    );
    assert!(mixer.set_relation(a, b, true) && mixer.set_relation(a, b, true));
    tick(&mut mixer, &[(a, 100), (c, 1)]);
    assert_eq!(mixer.signal(b), Signal::Common);
}

#[test]
fn relations_have_bounds_and_end_with_either() {
    let (mut mixer, slots) = mixer(0, 3);
    let [a, b, c] = slots[..] else { unreachable!() };
    assert!(!mixer.set_relation(a, a, false), "nobody is related to himself");
    assert_eq!(mixer.room().relations, 6, "every pair of three");
    for (talker, listener) in [(a, b), (b, a), (b, c), (c, b)] {
        assert!(mixer.set_relation(talker, listener, false));
    }
    mixer.remove(b);
    assert_eq!(mixer.relations(), 0);
    assert!(!mixer.set_relation(a, b, false), "he is not there");
    let b = mixer.add(false, false).unwrap();
    assert!(mixer.is_related_heard(a, b) && mixer.is_related_heard(b, c));
    tick(&mut mixer, &[(a, 100), (c, 1)]);
    assert_eq!(mixer.signal(b), Signal::Common);
    let room = Room {
        participants: 3,
        relations: 1,
        sources: 0,
    };
    let mut tight = Mixer::with_storage(MixerStorage::with_room(mixer.format(), room), 0);
    let slots: Vec<_> = (0..3).map(|_| tight.add(false, false).unwrap()).collect();
    assert!(tight.set_relation(slots[0], slots[1], false));
    assert!(!tight.set_relation(slots[0], slots[2], false), "no room");
    let larger = Room { relations: 2, ..room };
    tight.adopt_storage(MixerStorage::with_room(tight.format(), larger));
    assert!(tight.set_relation(slots[0], slots[2], false));
}

#[test]
fn a_ghost_is_mixed_but_has_no_floor() {
    let (mut mixer, slots) = mixer(20, 2);
    mixer.set_ghost(slots[0], true);
    assert_eq!(
        tick(&mut mixer, &[(slots[0], 5000), (slots[1], 0)]),
        [Some(true), None]
    );
    assert_eq!((mixer.signal(slots[1]), mixer.floor()), (Signal::Common, None));
    tick(&mut mixer, &[(slots[0], 5000), (slots[1], 800)]);
    assert_eq!(mixer.floor(), Some(slots[1]));
}

fn sine(frequency: f32, rate_hz: u32, from: usize, length: usize) -> Vec<i16> {
    (from..from + length)
        .map(|n| (n as f32 * frequency * std::f32::consts::TAU / rate_hz as f32).sin() * 32_767.0)
        .map(|sample| sample.round() as i16)
        .collect()
}

#[test]
fn eight_full_scale_talkers_stay_below_the_ceiling_and_the_gain_comes_back_slowly() {
    for rate_hz in [8000, 48_000] {
        let format = MixFormat::new(rate_hz, 20).unwrap();
        for energy_level in [0, 20] {
            let mut mixer = Mixer::new(format, 9, energy_level);
            let slots: Vec<_> = (0..9).map(|_| mixer.add(false, false).unwrap()).collect();
            let block = format.block_samples();
            let mut out = vec![0; block];
            let mut peaks = Vec::new();
            for n in 0..110 {
                mixer.begin();
                for (talker, &slot) in slots[..8].iter().enumerate() {
                    // From the 50th block on one of them alone, at a quarter.
                    if n < 50 || talker == 0 {
                        let mut voice = sine(300.0 + 77.0 * talker as f32, rate_hz, n * block, block);
                        if n >= 50 {
                            voice.iter_mut().for_each(|sample| *sample /= 4);
                        }
                        mixer.input(slot, &voice);
                    }
                }
                mixer.mix();
                assert!(
                    mixer.common().iter().all(|s| s.unsigned_abs() <= 23_197),
                    "block {n}"
                );
                peaks.push(mixer.common().iter().map(|s| s.unsigned_abs()).max().unwrap());
                for &slot in &slots {
                    if mixer.signal(slot) == Signal::Own {
                        mixer.render_own(slot, &mut out);
                        assert!(out.iter().all(|s| s.unsigned_abs() <= 23_197), "block {n}");
                    }
                }
            }
            let rises = peaks[51..]
                .windows(2)
                .map(|w| 20.0 * (f32::from(w[1]) / f32::from(w[0])).log10());
            let steepest = rises.fold(f32::MIN, f32::max);
            assert!((0.1..0.45).contains(&steepest), "{steepest} dB in 20 ms");
            assert_eq!(peaks[109], 8191, "and it is all back after 1.2 s");
        }
    }
}

#[test]
fn one_talker_alone_passes_bit_exactly_at_any_level() {
    let (mut mixer, slots) = mixer(0, 2);
    let mut voice: Vec<i16> = (0..160).map(|n| (n * 409 - 32_768) as i16).collect();
    voice[0] = i16::MIN;
    voice[1] = i16::MAX;
    for _ in 0..3 {
        mixer.begin();
        mixer.input(slots[0], &voice);
        mixer.mix();
        assert_eq!(mixer.signal(slots[1]), Signal::Common);
        assert_eq!(mixer.common(), voice);
    }
}

#[test]
fn beside_digital_silence_a_talker_is_alone() {
    let (mut mixer, slots) = mixer(0, 4);
    let voice = vec![i16::MAX; 160];
    for silent_leaves in [false, true] {
        mixer.begin();
        mixer.input(slots[0], &voice);
        for &slot in &slots[1..] {
            mixer.input(slot, &[0; 160]);
        }
        if silent_leaves {
            mixer.remove(slots[3]);
        }
        mixer.mix();
        assert_eq!(mixer.common(), voice);
        assert_eq!(own(&mut mixer, slots[1]), voice);
    }
    // Two voices are a sum.
    mixer.begin();
    mixer.input(slots[0], &voice);
    mixer.input(slots[1], &[1; 160]);
    mixer.input(slots[2], &[0; 160]);
    mixer.mix();
    assert!(mixer.common()[159] < 26_000, "{}", mixer.common()[159]);
    assert!(own(&mut mixer, slots[2])[159] < 26_000);
}

#[test]
fn who_stops_talking_changes_to_the_common_mix_without_a_step() {
    let (mut mixer, slots) = mixer(0, 3);
    let inputs = [(slots[0], 20_000), (slots[1], 20_000)];
    for _ in 0..3 {
        tick(&mut mixer, &inputs); // the common gain is down by 4.2 dB, that of the two is not
        assert_eq!(own(&mut mixer, slots[1]), [20_000; 160]);
    }
    let mut alone = 0;
    let mut last = 20_000;
    for _ in 0..20 {
        tick(&mut mixer, &[(slots[0], 20_000)]);
        let mut out = [0; 160];
        if mixer.signal(slots[1]) == Signal::Own {
            mixer.render_own(slots[1], &mut out);
            alone += 1;
        } else {
            assert_eq!(mixer.signal(slots[1]), Signal::Common);
            out.copy_from_slice(mixer.common());
        }
        for sample in out {
            assert!(sample.abs_diff(last) <= 200, "{last} then {sample}");
            last = sample;
        }
    }
    assert!((9..14).contains(&alone), "{alone} blocks for 4.2 dB at 20 dB/s");
}

#[test]
fn a_higher_rate_takes_over_within_a_word() {
    let (mut mixer, slots) = mixer(20, 3);
    mixer.set_relation(slots[0], slots[2], false);
    mixer.set_output_gain(slots[1], -6.0206);
    let source = mixer.add_source(Audience::All, 0.0, None).unwrap();
    for _ in 0..3 {
        tick(&mut mixer, &[(slots[0], 30_000), (slots[1], 25_000)]);
        own(&mut mixer, slots[1]);
    }
    let floor = mixer.floor();
    let higher = MixFormat::new(48_000, 20).unwrap();
    let refused = [
        MixFormat::new(8000, 20).unwrap(),
        MixFormat::new(16_000, 30).unwrap(),
    ];
    for format in refused {
        mixer.adopt_format(MixerStorage::new(format, 8));
        assert_eq!(mixer.format().rate_hz(), 8000, "{format:?} is no higher rate");
    }
    mixer.adopt_format(MixerStorage::new(higher, 2));
    assert_eq!(mixer.format().rate_hz(), 8000, "too small");
    mixer.adopt_storage(MixerStorage::new(higher, 8));
    assert_eq!(mixer.format().rate_hz(), 8000, "not the same format");
    let old = mixer.adopt_format(MixerStorage::new(higher, 3));
    assert_eq!((old.capacity(), mixer.block_samples()), (3, 960));
    assert_eq!(
        mixer.signal(slots[0]),
        Signal::Silence,
        "the tick of before is gone"
    );
    let changes = tick(&mut mixer, &[(slots[0], 30_000), (slots[1], 25_000)]);
    assert_eq!(changes, [None, None], "talking goes on");
    assert_eq!(mixer.floor(), floor);
    let common = mixer.common();
    assert!(
        common.iter().all(|&s| (23_196..=23_197).contains(&s)),
        "no fade, and the limiter's gain goes on: {:?}",
        &common[..100]
    );
    assert_eq!(
        own(&mut mixer, slots[1]),
        [15_000; 960],
        "nor does the gain ramp anew"
    );
    assert!(!mixer.is_related_heard(slots[0], slots[2]));
    assert!(mixer.remove_source(source));
    mixer.adopt_format(old);
    assert_eq!(mixer.format().rate_hz(), 48_000, "and it never falls");
}
