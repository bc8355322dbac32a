//! Gains of what comes from a participant and of what goes to him.

#![allow(clippy::unwrap_used)]

use confab_mixer::{MemberOptions, MixFormat, Mixer, Signal, SlotId};
use proptest::prelude::*;

const BLOCK: usize = 160;
/// −3 dBFS.
const CEILING: i16 = 23_197;

fn mixer(energy_level: u16, participants: usize) -> (Mixer, Vec<SlotId>) {
    let mut mixer = Mixer::new(MixFormat::new(8000, 20).unwrap(), participants, energy_level);
    let slots = (0..participants)
        .map(|_| mixer.add(false, false).unwrap())
        .collect();
    (mixer, slots)
}

fn tick(mixer: &mut Mixer, inputs: &[(SlotId, i16)]) {
    mixer.begin();
    for &(slot, value) in inputs {
        mixer.input(slot, &[value; BLOCK]);
    }
    mixer.mix();
}

fn heard(mixer: &mut Mixer, slot: SlotId) -> Vec<i16> {
    let mut out = vec![0; BLOCK];
    match mixer.signal(slot) {
        Signal::Silence => {}
        Signal::Common => out.copy_from_slice(mixer.common()),
        Signal::Waiting => out.copy_from_slice(mixer.waiting()),
        Signal::Own => mixer.render_own(slot, &mut out),
    }
    out
}

#[test]
fn an_output_gain_changes_what_one_listener_hears_and_nothing_else() {
    let rows = [
        (6.0206, 1000, 2000),
        (-6.0206, 1000, 500),
        (-13.98, 1000, 200),
        (12.67, 1000, 4301),
        (-40.0, 1000, 10),
        (-90.0, 1000, 10),
        (20.0, 10_000, CEILING), // 100,000 held by the guard
        (20.0, -10_000, -CEILING),
        (-0.5, 32_767, 30_934), // what is made quieter is not limited
    ];
    for (decibels, spoken, expected) in rows {
        let (mut mixer, slots) = mixer(0, 3);
        mixer.set_output_gain(slots[1], decibels);
        for _ in 0..3 {
            tick(&mut mixer, &[(slots[0], spoken)]);
            assert_eq!(mixer.signal(slots[1]), Signal::Own);
            assert_eq!(mixer.signal(slots[2]), Signal::Common);
            assert_eq!(heard(&mut mixer, slots[2]), [spoken; BLOCK]);
            let out = heard(&mut mixer, slots[1]);
            assert!(
                out[40..].iter().all(|&s| s.abs_diff(expected) <= 1),
                "{decibels} dB: {out:?}"
            );
        }
    }
}

#[test]
fn an_output_gain_is_reached_within_five_milliseconds_and_goes_as_it_came() {
    let (mut mixer, slots) = mixer(0, 2);
    tick(&mut mixer, &[(slots[0], 10_000)]);
    mixer.set_output_gain(slots[1], -6.0206);
    tick(&mut mixer, &[(slots[0], 10_000)]);
    let down = heard(&mut mixer, slots[1]);
    assert!(
        down.windows(2).all(|w| (0..=126).contains(&(w[0] - w[1]))),
        "no step"
    );
    assert_eq!((down[39], down[159]), (5000, 5000));
    mixer.set_output_gain(slots[1], 0.0);
    tick(&mut mixer, &[(slots[0], 10_000)]);
    assert_eq!(mixer.signal(slots[1]), Signal::Own, "the ramp is his alone");
    let up = heard(&mut mixer, slots[1]);
    assert_eq!((up[39], up[159]), (10_000, 10_000));
    tick(&mut mixer, &[(slots[0], 10_000)]);
    assert_eq!(mixer.signal(slots[1]), Signal::Common);
}

#[test]
fn an_output_gain_keeps_shared_silence_shared() {
    let (mut mixer, slots) = mixer(20, 2);
    mixer.set_output_gain(slots[1], 6.0);
    tick(&mut mixer, &[(slots[0], 0)]);
    assert_eq!(mixer.signal(slots[1]), Signal::Silence);
    mixer.set_deaf(slots[1], true);
    tick(&mut mixer, &[(slots[0], 1000)]);
    assert_eq!(mixer.signal(slots[1]), Signal::Silence);
}

#[test]
fn an_input_gain_comes_before_the_gate_and_the_score() {
    let rows = [
        // gain, level, spoken, heard, score
        (6.0206, 20, 15, 30, 30),
        (0.0, 20, 15, 0, 15),
        (-6.0206, 20, 40, 0, 20),
        (-6.0206, 20, 100, 50, 50),
        (20.0, 0, 10_000, CEILING, 23_197),
        (-40.0, 0, 10_000, 100, 100),
    ];
    for (input_gain_db, level, spoken, expected, score) in rows {
        let (mut mixer, slots) = mixer(level, 2);
        mixer.remove(slots[1]);
        let options = MemberOptions {
            input_gain_db,
            ..MemberOptions::default()
        };
        let talker = mixer.add_member(&options).unwrap();
        for _ in 0..3 {
            tick(&mut mixer, &[(talker, spoken)]);
        }
        assert_eq!(
            heard(&mut mixer, slots[0]),
            [expected; BLOCK],
            "{input_gain_db} dB"
        );
        assert_eq!(mixer.score(talker), score, "{input_gain_db} dB");
    }
}

#[test]
fn own_level_and_gain_go_with_the_place() {
    let (mut mixer, slots) = mixer(20, 2);
    mixer.set_member_energy_level(slots[0], 500);
    mixer.set_input_gain(slots[0], -40.0);
    mixer.set_output_gain(slots[0], 10.0);
    assert_eq!(mixer.unheard_up_to(slots[0]), 499, "on the way down from 0 dB");
    mixer.remove(slots[0]);
    let next = mixer.add(false, false).unwrap();
    assert_eq!(next, slots[0]);
    assert_eq!(mixer.unheard_up_to(next), 20);
    tick(&mut mixer, &[(slots[1], 1000), (next, 21)]);
    let mut out = [0; BLOCK];
    mixer.render_own(slots[1], &mut out);
    assert_eq!(out[159], 21);
}

#[test]
fn a_level_at_entry_is_the_members_own() {
    let (mut mixer, slots) = mixer(20, 2);
    mixer.remove(slots[0]);
    let options = MemberOptions {
        energy_level: Some(1800),
        ..MemberOptions::default()
    };
    let quiet = mixer.add_member(&options).unwrap();
    for (spoken, signal) in [(1800, Signal::Silence), (1801, Signal::Common)] {
        tick(&mut mixer, &[(quiet, spoken)]);
        assert_eq!(mixer.signal(slots[1]), signal, "{spoken}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// The media plane drops and stretches what nobody hears: it must not be told too much.
    #[test]
    fn what_is_said_to_be_unheard_is_unheard(
        level in 0u16..2000,
        before in -45f32..25.0,
        after in -45f32..25.0,
        spoken in 0i16..4000,
    ) {
        let (mut mixer, slots) = mixer(level, 1);
        mixer.set_input_gain(slots[0], before);
        mixer.begin();
        mixer.input_quiet(slots[0]);
        mixer.set_input_gain(slots[0], after);
        let unheard = mixer.unheard_up_to(slots[0]);
        tick(&mut mixer, &[(slots[0], spoken)]);
        let mixed = mixer.common().iter().any(|&sample| sample != 0);
        prop_assert!(!(mixed && i32::from(spoken) <= i32::from(unheard) && level > 0), "{unheard}");
    }

    #[test]
    fn no_gain_leaves_the_range(
        gains in prop::collection::vec((-50f32..50.0, -50f32..50.0), 1..20),
        spoken in any::<i16>(),
    ) {
        let (mut mixer, slots) = mixer(0, 2);
        for (input, output) in gains {
            mixer.set_input_gain(slots[0], input);
            mixer.set_output_gain(slots[1], output);
            tick(&mut mixer, &[(slots[0], spoken)]);
            heard(&mut mixer, slots[1]);
        }
        for slot in slots.iter().copied() {
            mixer.set_input_gain(slot, 0.0);
            mixer.set_output_gain(slot, 0.0);
        }
        // 40 dB of both guards take two seconds each to come back.
        for _ in 0..250 {
            tick(&mut mixer, &[(slots[0], spoken)]);
            heard(&mut mixer, slots[1]);
        }
        tick(&mut mixer, &[(slots[0], spoken)]);
        prop_assert_eq!(mixer.signal(slots[1]), Signal::Common);
        prop_assert_eq!(heard(&mut mixer, slots[1]), [spoken; BLOCK]);
    }
}
