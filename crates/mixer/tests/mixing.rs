//! Gate, talking, limiter and floor as the mixer joins them.

#![allow(clippy::unwrap_used)]

use confab_mixer::{MixFormat, Mixer, MixerStorage, Signal, SlotId};

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
        // a and c: 20,000 each way; b hears the same as a; c hears 60,000 limited to −1 dBFS
        assert_eq!(own(&mut mixer, slots[0]), [20_000; 160]);
        let loud = own(&mut mixer, slots[2]);
        assert!(
            loud[8..].iter().all(|&s| (29_202..=29_204).contains(&s)),
            "{loud:?}"
        );
        assert!(
            mixer.common()[8..]
                .iter()
                .all(|&s| (29_202..=29_204).contains(&s))
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
